//! Rules about TIME_WAIT: when ports run out, which ports connect() may reuse, why bind() fails, what helps. Pure.

pub(crate) mod address_in_use;
pub(crate) mod forecast;
pub(crate) mod ports;
pub(crate) mod prose;
pub(crate) mod reuse;
pub(crate) mod rules;
