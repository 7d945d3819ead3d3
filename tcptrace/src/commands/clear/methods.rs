//! Chooses how to end a socket: what the host supports, what the user asked for, and what suits the socket.
//! Ends nothing.

use crate::{
    commands::shared::ways_to_end::{can_destroy, can_shut_down},
    host::world::World,
    model::{
        clearing::{Method, Refusal, Unsupported},
        finding::Finding,
        owner::Evidence,
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
}

impl Methods {
    /// Probes this host. Logs when SOCK_DESTROY is not available.
    ///
    /// # Errors
    /// When the host cannot use the requested method, or none at all.
    pub(crate) fn of_this_host(asked: Option<Method>, world: &World) -> Result<Self, Unsupported> {
        let methods = Self::choose(asked, can_destroy(), can_shut_down(&world.proc))?;
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
        match (asked, destroy, shutdown) {
            (None, Ok(()), shutdown) => {
                Ok(Self { first: Method::Destroy, second: shutdown.is_ok().then_some(Method::Shutdown) })
            }
            (Some(Method::Destroy), Ok(()), _) => Ok(Self { first: Method::Destroy, second: None }),
            (Some(Method::Destroy), Err(why), shutdown) => {
                let remedy = if shutdown.is_ok() { "; --method shutdown needs none of it" } else { "" };
                Err(Unsupported(format!("{why}{remedy}")))
            }
            (_, _, Ok(())) => Ok(Self { first: Method::Shutdown, second: None }),
            (Some(Method::Shutdown), _, Err(why)) => Err(Unsupported(why)),
            (None, Err(destroy), Err(shutdown)) => Err(Unsupported(format!("{destroy}; and {shutdown}"))),
        }
    }

    /// The method for a socket.
    ///
    /// # Errors
    /// Why no method suits it.
    pub(crate) fn for_socket(self, finding: &Finding) -> Result<Method, Refusal> {
        fits(self.first, finding).or_else(|why| self.second.map_or(Err(why), |second| fits(second, finding)))
    }
}

fn fits(method: Method, finding: &Finding) -> Result<Method, Refusal> {
    let is_held =
        finding.owners.iter().any(|owner| owner.evidence == Evidence::FdTable && !owner.fds.is_empty());
    let listed = finding.listed_as.ok_or(Refusal::OutOfReach)?;
    match method {
        Method::Destroy if listed.flavour == TcpFlavour::Mptcp => Err(Refusal::Mptcp),
        Method::Shutdown if finding.state != State::CloseWait => Err(Refusal::NotCloseWait),
        Method::Shutdown if !is_held => Err(Refusal::NoDescriptor),
        Method::Destroy | Method::Shutdown => Ok(method),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::{
        commands::clear::recheck::tests::{SECOND, finding},
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
        let both = Methods { first: Method::Destroy, second: Some(Method::Shutdown) };
        assert_eq!(chosen(Ok(()), Ok(())), both);
        assert_eq!(chosen(Ok(()), no_shutdown()), Methods { first: Method::Destroy, second: None });
        assert_eq!(chosen(no_destroy(), Ok(())), Methods { first: Method::Shutdown, second: None });
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
