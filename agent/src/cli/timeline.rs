//! The boot as a timeline: what waited for what, and how long each took.

use std::fmt::Write as _;

use crate::status::{Part, Span, Spent};

/// Width of the bars, in characters.
const WIDTH: u64 = 48;
/// More spans than this of one part are summed up.
const MOST_LINES: usize = 12;

/// Draws `spans`, with a bar for each part and a line for each stretch.
pub(super) fn drawn(spans: &[Span]) -> String {
    let end = spans.iter().map(|span| span.to.unwrap_or(span.from)).max().unwrap_or(0);
    let mut text = format!("boot, {end} ms    · waits   ─ looks   █ corrects   ░ pauses after a fault\n");
    let mut parts: Vec<Part> = spans.iter().map(|span| span.part).collect();
    parts.sort();
    parts.dedup();
    for part in parts {
        let own: Vec<&Span> = spans.iter().filter(|span| span.part == part).collect();
        let _ = writeln!(text, "  {part:<12}{}", bar(&own, end));
        for span in own.iter().take(MOST_LINES) {
            let took = span.to.map_or_else(|| "…".to_owned(), |to| format!("{} ms", to.saturating_sub(span.from)));
            let _ = writeln!(text, "  {:<12}{:>7} ms  {took:>9}  {}", "", span.from, words(span));
        }
        if own.len() > MOST_LINES {
            let _ = writeln!(text, "  {:<12}and {} more", "", own.len() - MOST_LINES);
        }
    }
    text
}

fn bar(spans: &[&Span], end: u64) -> String {
    let column = |at: u64| at.saturating_mul(WIDTH) / end.max(1);
    let mut bar = vec![' '; WIDTH as usize + 1];
    for span in spans {
        let from = column(span.from);
        let to = column(span.to.unwrap_or(end));
        for place in bar.iter_mut().skip(from as usize).take((to - from) as usize + 1) {
            *place = sign(span.spent);
        }
    }
    bar.into_iter().collect::<String>().trim_end().to_owned()
}

fn sign(spent: Spent) -> char {
    match spent {
        Spent::Waiting => '·',
        Spent::Looking => '─',
        Spent::Correcting => '█',
        Spent::Pausing => '░',
    }
}

fn words(span: &Span) -> String {
    match span.spent {
        Spent::Waiting => format!("waited {}", span.what),
        Spent::Looking => "looked".to_owned(),
        Spent::Correcting | Spent::Pausing => span.what.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeline_shows_what_waited_for_what() {
        let span = |part, spent, what: &str, from, to| Span { part, spent, what: what.into(), from, to };
        let text = drawn(&[
            span(Part::Package, Spent::Looking, "looking", 0, Some(40)),
            span(Part::Package, Spent::Correcting, "fetching site", 40, Some(96)),
            span(Part::Listener, Spent::Waiting, "for the package", 0, Some(96)),
        ]);
        assert!(text.contains("boot, 96 ms"), "{text}");
        assert!(text.contains(&format!("package     {}{}", "─".repeat(20), "█".repeat(29))), "{text}");
        assert!(text.contains("waited for the package"), "{text}");
    }

    #[test]
    fn timeline_of_nothing_is_no_panic() {
        assert!(drawn(&[]).starts_with("boot, 0 ms"));
    }
}
