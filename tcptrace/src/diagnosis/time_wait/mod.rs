//! Rules about TIME_WAIT: when ports run out, which ports connect() may reuse, what helps. Pure.

pub(crate) mod forecast;
pub(crate) mod ports;
pub(crate) mod prose;
pub(crate) mod reuse;
pub(crate) mod rules;
