//! Who called on a socket, from which line, or why that is not known. Names stacks; guesses no opener.

use std::sync::Arc;

use super::{inspector::Inspector, proc_fd};
use crate::{
    model::{
        close_wait::{Due, Stuck},
        connection_side::ConnectionSide,
        no_site::{NoSite, NoSiteBecause},
        owner::{CalledBy, OpenedBy, Owner},
        socket::KernelSocket,
        stack::Stack,
        task::{Call, Opener},
        verdict::Verdict,
    },
    stacks::{
        point::{Points, addresses},
        unwind::{CallStack, UnwoundStacks, joined},
    },
};

/// The threads of the kernel that work on requests of a ring, by what their names begin with: `create_io_worker` of
/// io_uring/io-wq.c and `io_sq_thread` of io_uring/sqpoll.c.
const RING_WORKERS: [&[u8]; 2] = [b"iou-wrk-", b"iou-sqp-"];

/// A stack of which the copy was lost: frame pointers alone do not tell why it has no line.
fn without_copy(stack: Arc<Stack>) -> Arc<Stack> {
    let no_site = stack.no_site.as_ref().filter(|no_site| no_site.because.is_of_frames());
    let Some(NoSite { because: _, of }) = no_site.cloned() else { return stack };
    Arc::new(Stack { no_site: Some(NoSite { because: NoSiteBecause::StackNotKept, of }), ..(*stack).clone() })
}

impl Inspector {
    /// The opener of a socket that is still open.
    pub(super) fn opened_by(&mut self, socket: KernelSocket, is_over: bool) -> Option<OpenedBy> {
        let calls = self.calls.as_ref()?;
        let opener = if is_over { calls.opener_of_over(socket) } else { calls.opener(socket) };
        let Opener { call, how } = opener?;
        Some(OpenedBy { how, called: self.named(socket, call) })
    }

    /// The first reader of the end of file of a socket that is still open.
    pub(super) fn eof_read_by(&mut self, socket: KernelSocket) -> Option<CalledBy> {
        let call = self.calls.as_ref()?.eof_read(socket)?;
        Some(self.named(socket, call))
    }

    /// Names the stack of a call on a socket, or says why it has none.
    fn named(&mut self, socket: KernelSocket, call: Call) -> CalledBy {
        let stack = self.stack(socket, &call).unwrap_or_else(|because| Arc::new(because.into()));
        CalledBy { call, stack: Some(stack) }
    }

    fn stack(&mut self, socket: KernelSocket, call: &Call) -> Result<Arc<Stack>, NoSiteBecause> {
        if RING_WORKERS.iter().any(|worker| call.task.comm.as_bytes().starts_with(worker)) {
            return Err(NoSiteBecause::IoUring);
        }
        let pid = call.task.pid.visible().ok_or(NoSiteBecause::NotVisible)?;
        let unwound = self.unwound.as_ref().and_then(|unwound| unwound.of(socket, call.ktime_ns));
        let is_lost = unwound.is_none() && self.unwound.as_ref().is_some_and(UnwoundStacks::copies_stacks);
        let kept = self.calls.as_ref().zip(call.stack);
        let walked = kept.map(|(memory, id)| addresses(&memory.stack(id))).unwrap_or_default();
        let (points, code): (Points, _) = match unwound {
            Some(CallStack { points, code }) => (joined(&points, &walked).into(), code),
            None => (walked.into(), None),
        };
        let (symbols, processes) = (&mut self.symbols, &mut self.processes);
        let stack = symbols.name(pid, &points, code, || processes.caller(call).is_some())?;
        Ok(if is_lost { without_copy(stack) } else { stack })
    }

    /// Why nobody knows who opened a socket.
    pub(super) fn why_unopened(
        &mut self,
        due: &Due,
        verdict: Option<Verdict>,
        side: Option<ConnectionSide>,
        owners: &[Owner],
    ) -> NoSiteBecause {
        let owner = owners.first();
        if verdict == Some(Verdict::NeverAccepted) {
            return NoSiteBecause::NotAccepted;
        }
        let Some(calls) = self.calls.as_ref() else { return NoSiteBecause::NotWatched };
        if due.kernel_socket.is_none() {
            // A descriptor whose connection is over may have been found later: by then its opener is forgotten.
            let is_over = due.stuck != Stuck::InCloseWait;
            return if is_over { NoSiteBecause::Unseen } else { NoSiteBecause::BeforeStart };
        }
        let may_be_accepted = side != Some(ConnectionSide::Connected);
        if may_be_accepted && owner.is_some_and(|owner| owner.process.is_32_bit == Some(true)) {
            return NoSiteBecause::Accept32Bit;
        }
        if may_be_accepted && !calls.sees_accept {
            return NoSiteBecause::AcceptUnseen;
        }
        // A process that came later has opened its sockets since, unless it was given them.
        let began = self.processes.boot_ticks_at(self.began_ns);
        let is_later = |owner: &&Owner| owner.process.start_ticks.is_some_and(|started| started > began);
        let Some(owner) = owner.filter(is_later) else { return NoSiteBecause::Unseen };
        let pid = owner.process.pid.visible();
        if may_be_accepted && pid.is_some_and(|pid| self.has_ring(pid)) {
            return NoSiteBecause::IoUring;
        }
        NoSiteBecause::OverBudget
    }

    /// Whether a process has an io_uring ring; looks once in each look.
    fn has_ring(&mut self, pid: u32) -> bool {
        let proc_root = &self.dumper.world().proc;
        *self.with_rings.entry(pid).or_insert_with(|| proc_fd::has_ring(proc_root, pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_whose_copy_was_lost_does_not_tell_of_the_code() {
        let reason = |because| {
            let no_site = NoSite { because, of: Some("socket.so".to_owned()) };
            without_copy(Arc::new(Stack::unknown(no_site))).no_site.clone()
        };
        let of = |because| Some(NoSite { because, of: Some("socket.so".to_owned()) });
        for because in [NoSiteBecause::CutShort, NoSiteBecause::InterpretedRuby, NoSiteBecause::Library] {
            assert_eq!(reason(because), of(NoSiteBecause::StackNotKept));
        }
        for because in [NoSiteBecause::Stripped, NoSiteBecause::NotNamed, NoSiteBecause::LibraryThread] {
            assert_eq!(reason(because), of(because));
        }
    }
}
