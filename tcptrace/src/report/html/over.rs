//! The section on descriptors whose connections are over.

use maud::{Markup, html};

use super::parts::{PageView, breakable, empty, grouped, section};
use crate::{model::units::plural, report::model::over::ConnectionsOver};

pub(crate) fn content(view: &PageView<'_>) -> Markup {
    let content = match &view.report.connections_over {
        None => empty("No such descriptor was recorded."),
        Some(over) => table(over),
    };
    section(
        "connections-over",
        "Connections that are over, not closed",
        "A reset or a timeout takes a socket out of every list, but not out of its holder's descriptor table.",
        &content,
    )
}

fn table(over: &ConnectionsOver) -> Markup {
    html! {
        table {
            thead { tr { th.number { "Descriptors" } th { "Process" } th { "Ended" } th { "Opened at" } } }
            tbody {
                @for share in &over.processes {
                    tr {
                        td.number { (grouped(share.descriptors)) }
                        td { @match &share.process { Some(process) => (process.to_string()), None => "nobody any more" } }
                        td { (share.ways()) }
                        td { @if share.site.is_known() { (breakable(&share.site.to_string())) } }
                    }
                }
            }
        }
        @if over.other_processes > 0 { p.others { "and " (plural(over.other_processes, "process")) " more." } }
        @if over.is_lower_bound {
            p.others { "There were too many to count each: these counts are lower bounds." }
        }
    }
}
