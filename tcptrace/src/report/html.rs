//! placeholder
use super::model::Report;
pub fn page(_report: &Report) -> maud::Markup { maud::html! { } }
