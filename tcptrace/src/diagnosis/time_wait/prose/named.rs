//! A process as advice names it: enough to find it, and harmless to a terminal.

use std::fmt;

use crate::model::{
    escape::{Escaped, EscapedName},
    owner_count::OwnerCount,
};

/// `shop (71, "shop --port 8080") in shop.service`, `worker (40 processes) in shop.service`.
pub(crate) struct NamedProcess<'a>(pub &'a OwnerCount);

impl fmt::Display for NamedProcess<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(OwnerCount { owner, processes, .. }) = self;
        let process = &owner.process;
        let comm = EscapedName(&process.comm);
        match (processes, process.command()) {
            (1, None) => write!(out, "{comm} ({})", process.pid)?,
            (1, Some(command)) => write!(out, "{comm} ({}, \"{}\")", process.pid, Escaped(&command))?,
            (more, _) => write!(out, "{comm} ({more} processes)")?,
        }
        process.place().map_or(Ok(()), |place| write!(out, " in {}", Escaped(&place)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{examples, owner::Owner, pid::Pid, process::ProcessIdentity};

    #[test]
    fn a_process_is_named_with_its_command_line_and_place_and_many_with_their_number() {
        let named = |process: ProcessIdentity, processes| {
            let owner = Owner { process: Arc::new(process), ..examples::owner() };
            NamedProcess(&OwnerCount { owner, count: 9, processes }).to_string()
        };
        let gone = ProcessIdentity::from_name(Pid::new(71), "a\u{1b}b");
        assert_eq!(named(gone.clone(), 1), "a\\u{1b}b (71)");
        let shop = ProcessIdentity {
            cmdline: ["shop", "--port", "80\n80"].map(str::to_owned).to_vec(),
            unit: Some("shop.service".to_owned()),
            ..gone
        };
        assert_eq!(named(shop.clone(), 1), "a\\u{1b}b (71, \"shop --port 80\\n80\") in shop.service");
        assert_eq!(named(shop, 40), "a\\u{1b}b (40 processes) in shop.service");
    }
}
