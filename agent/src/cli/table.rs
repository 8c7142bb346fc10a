//! Tables for people.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, Color, Table, presets::UTF8_BORDERS_ONLY};

use crate::{
    clock::time_of_day,
    status::{HostPhase, PartPhase, PartStatus},
};

/// The parts of a host, one a row.
pub(super) fn parts(parts: &[PartStatus]) -> Table {
    let mut table = headed(&["part", "state", "holds", "since", "needs", "looks next"]);
    for part in parts {
        let holds = part.holds.as_deref();
        let doing = part.doing.as_deref();
        let holds = holds.map_or_else(
            || part.waits_for.as_ref().map_or("-".to_owned(), |need| format!("waits for {need}")),
            str::to_owned,
        );
        let next = part.next_look.map_or_else(|| doing.unwrap_or("-").to_owned(), time_of_day);
        let needs: Vec<_> = part.needs.iter().map(ToString::to_string).collect();
        table.add_row([
            Cell::new(part.part),
            Cell::new(part.phase).fg(colour(part.phase)),
            Cell::new(holds),
            Cell::new(part.since.map_or_else(|| "-".to_owned(), time_of_day)),
            Cell::new(if needs.is_empty() { "-".to_owned() } else { needs.join(", ") }),
            Cell::new(next),
        ]);
    }
    table
}

/// A table with these headings, for anything.
pub(super) fn headed(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(headings.to_vec());
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    table
}

/// The phase of the host in its colour.
pub(super) fn painted_host(phase: HostPhase) -> String {
    let colour = match phase {
        HostPhase::Serving => AnsiColor::Green,
        HostPhase::Booting | HostPhase::StandingAside | HostPhase::Departing | HostPhase::Gone => AnsiColor::Yellow,
        HostPhase::Degraded => AnsiColor::Red,
    };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{phase}{style:#}")
}

fn colour(phase: PartPhase) -> Color {
    match phase {
        PartPhase::Kept => Color::Green,
        PartPhase::Starting | PartPhase::Waiting | PartPhase::StandingAside => Color::Yellow,
        PartPhase::Degraded | PartPhase::Failing => Color::Red,
    }
}
