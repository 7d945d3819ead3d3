//! Chooses how to end a socket: what the host supports, what the user asked for, and what suits the socket.
//! Ends nothing.

use rustix::process::getuid;

use crate::{
    commands::shared::ways_to_end::{can_destroy, can_shut_down, may_copy_of_others},
    host::world::World,
    model::{
        clearing::{Method, Refusal, Unsupported},
        finding::Finding,
        owner::{Evidence, Owner},
        socket::TcpFlavour,
        state::State,
    },
};

/// The methods to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods {
    first: Method,
    /// For sockets that the first method does not suit.
    second: Option<Method>,
    /// The user whose processes alone descriptors are copied of; `None` where those of all are.
    copies_of: Option<u32>,
}

impl Methods {
    /// Probes this host. Logs when SOCK_DESTROY is not available.
    ///
    /// # Errors
    /// When the host cannot use the requested method, or none at all.
    pub(crate) fn of_this_host(asked: Option<Method>, world: &World) -> Result<Self, Unsupported> {
        let copies_of = (!may_copy_of_others()).then(|| getuid().as_raw());
        let methods = Self { copies_of, ..Self::choose(asked, can_destroy(), can_shut_down(&world.proc))? };
        if asked.is_none()
            && methods.first == Method::Shutdown
            && let Err(why) = can_destroy()
        {
            log::warn!(
                "{why}: shutdown(2) is used, which ends only sockets in CLOSE_WAIT that a process holds, of other users with \
                 CAP_SYS_PTRACE alone"
            );
        }
        Ok(methods)
    }

    fn choose(
        asked: Option<Method>,
        destroy: Result<(), String>,
        shutdown: Result<(), String>,
    ) -> Result<Self, Unsupported> {
        let way = |first, second| Ok(Self { first, second, copies_of: None });
        match (asked, destroy, shutdown) {
            (None, Ok(()), shutdown) => way(Method::Destroy, shutdown.is_ok().then_some(Method::Shutdown)),
            (Some(Method::Destroy), Ok(()), _) => way(Method::Destroy, None),
            (Some(Method::Destroy), Err(why), shutdown) => {
                let remedy = if shutdown.is_ok() { "; --method shutdown needs none of it" } else { "" };
                Err(Unsupported(format!("{why}{remedy}")))
            }
            (_, _, Ok(())) => way(Method::Shutdown, None),
            (Some(Method::Shutdown), _, Err(why)) => Err(Unsupported(why)),
            (None, Err(destroy), Err(shutdown)) => Err(Unsupported(format!("{destroy}; and {shutdown}"))),
        }
    }

    /// The method for a socket.
    ///
    /// # Errors
    /// Why no method suits it.
    pub(crate) fn for_socket(self, finding: &Finding) -> Result<Method, Refusal> {
        self.fits(self.first, finding)
            .or_else(|why| self.second.map_or(Err(why), |second| self.fits(second, finding)))
    }

    fn fits(self, method: Method, finding: &Finding) -> Result<Method, Refusal> {
        let holders = || {
            finding.owners.iter().filter(|owner| owner.evidence == Evidence::FdTable && !owner.fds.is_empty())
        };
        let may_copy =
            |owner: &Owner| self.copies_of.is_none_or(|user| owner.process.uid.is_none_or(|uid| uid == user));
        let listed = finding.listed_as.ok_or(Refusal::OutOfReach)?;
        match method {
            Method::Destroy if listed.flavour == TcpFlavour::Mptcp => Err(Refusal::Mptcp),
            Method::Shutdown if finding.state != State::CloseWait => Err(Refusal::NotCloseWait),
            Method::Shutdown if holders().next().is_none() => Err(Refusal::NoDescriptor),
            Method::Shutdown if !holders().any(may_copy) => Err(Refusal::OfAnotherUser),
            Method::Destroy | Method::Shutdown => Ok(method),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::{
        commands::clear::recheck::tests::{SECOND, finding},
        model::process::ProcessIdentity,
        netlink as sock_diag,
    };

    fn no_destroy() -> Result<(), String> {
        Err(sock_diag::Error::NoDestroy.to_string())
    }

    fn no_shutdown() -> Result<(), String> {
        Err("pidfd_getfd is missing".to_owned())
    }

    #[test]
    fn destroying_comes_first_and_shutting_down_steps_in() {
        let chosen = |destroy, shutdown| Methods::choose(None, destroy, shutdown).unwrap();
        let methods = |first, second| Methods { first, second, copies_of: None };
        let both = methods(Method::Destroy, Some(Method::Shutdown));
        assert_eq!(chosen(Ok(()), Ok(())), both);
        assert_eq!(chosen(Ok(()), no_shutdown()), methods(Method::Destroy, None));
        assert_eq!(chosen(no_destroy(), Ok(())), methods(Method::Shutdown, None));
    }

    #[test]
    fn what_is_missing_is_named_with_what_would_do_instead() {
        let why =
            |asked, destroy, shutdown| Methods::choose(asked, destroy, shutdown).unwrap_err().to_string();
        let asked = why(Some(Method::Destroy), no_destroy(), Ok(()));
        assert!(asked.contains("CONFIG_INET_DIAG_DESTROY") && asked.contains("--method shutdown"), "{asked}");
        let neither = why(None, no_destroy(), no_shutdown());
        assert!(neither.contains("CONFIG_INET_DIAG_DESTROY") && neither.contains("pidfd_getfd"), "{neither}");
        assert!(why(Some(Method::Shutdown), Ok(()), no_shutdown()).contains("pidfd_getfd"));
    }

    #[test]
    fn each_socket_gets_the_way_that_fits_it() {
        let both = Methods::choose(None, Ok(()), Ok(())).unwrap();
        let only = |method| Methods::choose(Some(method), Ok(()), Ok(())).unwrap();
        let held = finding(State::CloseWait, SECOND);
        assert_eq!(both.for_socket(&held), Ok(Method::Destroy));
        assert_eq!(only(Method::Shutdown).for_socket(&held), Ok(Method::Shutdown));

        let of_one = Methods { copies_of: Some(7), ..only(Method::Shutdown) };
        let of_user = |uid| {
            let mut of_user = held.clone();
            let process = ProcessIdentity { uid, ..(*of_user.owners[0].process).clone() };
            of_user.owners[0].process = process.into();
            of_one.for_socket(&of_user)
        };
        assert_eq!(of_user(Some(7)), Ok(Method::Shutdown));
        assert_eq!(of_user(Some(8)), Err(Refusal::OfAnotherUser));

        let mut mptcp = held.clone();
        mptcp.listed_as.as_mut().unwrap().flavour = TcpFlavour::Mptcp;
        assert_eq!(both.for_socket(&mptcp), Ok(Method::Shutdown));
        assert_eq!(only(Method::Destroy).for_socket(&mptcp), Err(Refusal::Mptcp));

        let mut unaccepted = held.clone();
        unaccepted.owners[0].evidence = Evidence::Listener;
        assert_eq!(both.for_socket(&unaccepted), Ok(Method::Destroy));
        assert_eq!(only(Method::Shutdown).for_socket(&unaccepted), Err(Refusal::NoDescriptor));

        let fin_wait = finding(State::FinWait2, SECOND);
        assert_eq!(only(Method::Shutdown).for_socket(&fin_wait), Err(Refusal::NotCloseWait));

        let mut unlisted = held;
        unlisted.listed_as = None;
        assert_eq!(both.for_socket(&unlisted), Err(Refusal::OutOfReach));
    }
}
