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

/// What the parts of names are joined by.
const SEPARATORS: [char; 5] = [':', '/', '_', '.', '-'];

/// An untrusted name, escaped, that may wrap after the separators of its parts.
pub(crate) fn breakable(name: &str) -> Markup {
    let name = Escaped(name).to_string();
    let parts = name.split_inclusive(SEPARATORS).scan(0, |end, part| {
        *end += part.len();
        Some((part, may_wrap(name.split_at(*end))))
    });
    html! {
        @for (part, may_wrap) in parts {
            (part)
            @if may_wrap { wbr; }
        }
    }
}

/// Whether a name may wrap here: behind separators and never among them, not behind those that a word begins with
/// (`__libc_accept`, `--listen`), and not before the number of a line.
fn may_wrap((before, after): (&str, &str)) -> bool {
    let word = before.trim_end_matches(SEPARATORS);
    let begins_a_word = word.is_empty() || word.ends_with([' ', '(']);
    let is_before_number = before.strip_prefix(word) == Some(":");
    !after.is_empty() && !after.starts_with(SEPARATORS) && !begins_a_word && !is_before_number
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

    #[test]
    fn names_wrap_between_their_parts_and_nowhere_else() {
        let shown = |name| breakable(name).into_string();
        assert_eq!(shown("opened at __libc_accept (accept:26)"), "opened at __libc_<wbr>accept (accept:26)");
        assert_eq!(shown("shop::serve"), "shop::<wbr>serve");
        assert_eq!(shown("/usr/bin/shop --listen"), "/usr/<wbr>bin/<wbr>shop --listen");
        assert_eq!(shown("foo__bar-"), "foo__<wbr>bar-");
    }
}
