//! What a command goes on needing once it has loaded and attached what it runs; the rest is given up before any thread is
//! started, because threads have rights of their own.

use std::path::Path;

use clap::ValueEnum;
use rustix::thread::CapabilitySet;

use super::error::CommandError;
use crate::{
    host::{
        bpf_settings::raise_memlock,
        file_access::{self, FileAccess},
        rights::{self, Rights},
        system_calls::{self, Uses},
        user,
    },
    output::standard_error::STANDARD_ERROR,
};

/// How much is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sandbox {
    /// Nothing: what tcptrace was started with stays
    Off,
    /// Whatever the options do not need; nothing is lost
    #[default]
    On,
    /// The same, and commands of --exec have no more; ends where the kernel cannot do it
    Strict,
}

/// What a command goes on doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one thing is done")]
pub(crate) struct Needs {
    /// It reads what programs have kept, or runs some of them.
    pub(crate) programs: bool,
    /// It looks into processes and network namespaces.
    pub(crate) looks: bool,
    /// It names lines of code.
    pub(crate) lines: bool,
    /// It loads programs later.
    pub(crate) loads: bool,
    /// It ends sockets.
    pub(crate) ends_sockets: bool,
    /// It runs commands.
    pub(crate) commands: bool,
    /// It may open its output files anew, wherever they are.
    pub(crate) files: bool,
}

impl Needs {
    /// The capabilities for that, and why (capabilities(7) unless another source is named).
    fn capabilities(self) -> CapabilitySet {
        let Self { programs, looks, lines, loads, ends_sockets, commands, files } = self;
        [
            // Maps are read, and iterators run: every bpf(2) took it before Linux 5.19.
            (programs, CapabilitySet::BPF),
            // To load programs that read the kernel's memory.
            (loads, CapabilitySet::PERFMON),
            // Links and memory of other users' processes; setns(2); what is not for everybody's eyes.
            (looks, CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH),
            // Files that processes have mapped; the priority of the thread that looks for Python.
            (lines, CapabilitySet::CHECKPOINT_RESTORE | CapabilitySet::SYS_NICE),
            (ends_sockets, CapabilitySet::NET_ADMIN),
            // A command that takes too long may run as another user.
            (commands, CapabilitySet::KILL),
            // Files and directories of other users, and their permissions (--mode).
            (files, CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER),
        ]
        .into_iter()
        .filter_map(|(is_needed, capabilities)| is_needed.then_some(capabilities))
        .fold(CapabilitySet::empty(), CapabilitySet::union)
    }

    fn rights(self, sandbox: Sandbox, root: bool) -> Rights {
        let for_children = self.commands && sandbox != Sandbox::Strict;
        Rights { capabilities: self.capabilities(), for_children, root }
    }
}

/// Whose a command that was started by root is afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'a> {
    /// Root's: what it looks into, or runs, is root's.
    Same,
    /// Another user's, who opens these files alone.
    Other(&'a FileAccess),
}

/// What is left of the rights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited(Option<Rights>);

/// Gives up what is not needed, in this thread and in all that it starts from now on.
///
/// # Errors
/// When that fails and was insisted on.
pub(crate) fn limit(sandbox: Sandbox, needs: Needs, owner: Owner<'_>) -> Result<Limited, CommandError> {
    if needs.loads {
        // It takes a capability that goes.
        raise_memlock();
    }
    if sandbox == Sandbox::Off {
        return Ok(Limited(None));
    }
    let root = match owner {
        Owner::Same => true,
        Owner::Other(access) => !leave_root(sandbox, access)?,
    };
    let wanted = needs.rights(sandbox, root);
    let left = match rights::keep(wanted) {
        Ok(left) => Some(left),
        Err(error) if sandbox == Sandbox::Strict => return Err(error.into()),
        // Whoever looks for a leak is not stopped by what nothing is lost without.
        Err(error) => {
            log::warn!("goes on with the rights that it was started with: {error}");
            None
        }
    };
    // Commands have filters as their parents do, and need what nobody knows.
    let filter = if wanted.for_children {
        "no system call is given up, because commands are run".to_owned()
    } else {
        let uses = Uses { executes: needs.commands, loads: needs.loads };
        match system_calls::keep(uses) {
            Ok(()) => "system calls that it has no use for are refused".to_owned(),
            Err(error) if sandbox == Sandbox::Strict => return Err(error.into()),
            Err(error) => error.to_string(),
        }
    };
    let words = left.map_or_else(|| "all".to_owned(), |left| left.to_string());
    log::debug!("rights that are left: {words}; {filter}");
    Ok(Limited(left))
}

/// Whether the user is not root now.
fn leave_root(sandbox: Sandbox, access: &FileAccess) -> Result<bool, CommandError> {
    match user::leave_root(&access.places()) {
        Ok(has_left) => Ok(has_left),
        Err(source) if sandbox == Sandbox::Strict => {
            Err(CommandError::System { what: "become another user than root", source })
        }
        Err(error) => {
            log::debug!("cannot become another user than root: {error}");
            Ok(false)
        }
    }
}

/// Gives up all files but these, of a command that looks into no process; after [`limit`].
///
/// # Errors
/// When that fails and was insisted on.
pub(crate) fn limit_files(sandbox: Sandbox, access: &FileAccess) -> Result<(), CommandError> {
    if sandbox == Sandbox::Off {
        return Ok(());
    }
    match file_access::keep(access) {
        Ok(()) => log::debug!("no files are opened but beside those that were named"),
        Err(error) if sandbox == Sandbox::Strict => return Err(error.into()),
        Err(error) => log::debug!("{error}"),
    }
    Ok(())
}

impl Limited {
    /// Checks every thread there is.
    ///
    /// # Errors
    /// When one has more.
    pub(crate) fn verify(self, proc: &Path) -> Result<(), CommandError> {
        let Some(rights) = self.0 else { return Ok(()) };
        STANDARD_ERROR.await_start();
        Ok(rights::verify(proc, rights)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_need_keeps_its_capabilities_and_nothing_else() {
        let of = |needs: Needs| needs.capabilities();
        assert_eq!(of(Needs::default()), CapabilitySet::empty());
        assert_eq!(of(Needs { programs: true, ..Needs::default() }), CapabilitySet::BPF);
        let looks = CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH;
        assert_eq!(of(Needs { looks: true, ..Needs::default() }), looks);
        assert!(of(Needs { ends_sockets: true, ..Needs::default() }).contains(CapabilitySet::NET_ADMIN));
        let all = Needs {
            programs: true,
            looks: true,
            lines: true,
            loads: true,
            ends_sockets: true,
            commands: true,
            files: true,
        };
        for never in [
            CapabilitySet::SYS_MODULE,
            CapabilitySet::SETUID,
            CapabilitySet::SYS_RAWIO,
            CapabilitySet::SETPCAP,
        ] {
            assert!(!of(all).contains(never));
        }
    }

    #[test]
    fn commands_have_what_tcptrace_was_started_with_unless_it_is_strict() {
        let commands = Needs { commands: true, ..Needs::default() };
        assert!(commands.rights(Sandbox::On, true).for_children);
        assert!(!commands.rights(Sandbox::Strict, true).for_children);
        assert!(!Needs::default().rights(Sandbox::On, true).for_children);
    }
}
