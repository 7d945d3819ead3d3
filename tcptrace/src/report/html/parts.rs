//! What the sections of the page have in common: the reader's view of the report, headings, numbers, names. Knows no
//! section.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};

use super::scale::TimeAxis;
use crate::{model::escape::Escaped, report::model::Report};

/// A report, and the time zone of its reader.
pub(crate) struct PageView<'a> {
    pub report: &'a Report,
    pub zone: TimeZone,
}

impl PageView<'_> {
    pub(crate) fn moment(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%-d %b %Y, %H:%M:%S").to_string()
    }

    pub(crate) fn time_of_day(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }
}

/// A section: heading, summary in a sentence (may be empty), content.
pub(crate) fn section(id: &str, title: &str, summary: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            @if !summary.is_empty() { p.told { (summary) } }
            (content)
        }
    }
}

/// Stands in for a chart without data.
pub(crate) fn empty(why: &str) -> Markup {
    html! { p.empty { (marked(why)) } }
}

/// Renders what stands between backticks as code.
pub(crate) fn marked(text: &str) -> Markup {
    html! {
        @for (nth, part) in text.split('`').enumerate() {
            @if nth.is_multiple_of(2) { (part) } @else { code { (part) } }
        }
    }
}

/// An untrusted name, escaped, that may wrap after the separators of its parts.
pub(crate) fn breakable(name: &str) -> Markup {
    let name = Escaped(name).to_string();
    html! {
        @for part in name.split_inclusive([':', '/', '_', '.', '-']) {
            (part)
            // Never between the two colons of a path, nor before the number of a line.
            @if !part.ends_with(':') || part.len() == 1 { wbr; }
        }
    }
}

/// The table under a chart, folded.
pub(crate) fn numbers(content: &Markup) -> Markup {
    html! {
        details.numbers {
            summary { "The numbers" }
            div.scroll { (content) }
        }
    }
}
/// A count with its thousands set apart: `51 139`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The labels under an axis of time.
pub(crate) fn ticks(axis: &TimeAxis) -> Markup {
    html! {
        div.ticks aria-hidden="true" {
            @for tick in axis.ticks() {
                @let class = match tick.at.0 { ..0.06 => Some("is-first"), 0.94.. => Some("is-last"), _ => None };
                span class=[class] style={ "left:" (tick.at) } { (tick.label) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(51_139).replace('\u{202f}', " "), "51 139");
        assert_eq!(grouped(999), "999");
    }
}
