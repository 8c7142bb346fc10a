//! How a roll-out is shown: a line for each host on a terminal, a line for each change elsewhere, or JSON.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

use crate::succession::{Phase, PhaseChange};

/// Shows what changes.
pub(super) struct Display {
    begun: Instant,
    json: bool,
    bars: MultiProgress,
    whole: ProgressBar,
    hosts: BTreeMap<String, ProgressBar>,
    said: Option<String>,
}

/// One line of JSON: what has changed, and how many seconds after the beginning.
#[derive(Serialize)]
struct JsonLine<'a, T: Serialize> {
    after: u64,
    #[serde(flatten)]
    what: &'a T,
}

/// The roll-out as a whole, in words.
#[derive(Serialize)]
struct Whole {
    progress: String,
}

impl Display {
    /// Begins to show on standard error, or as `json` on standard output.
    pub(super) fn new(json: bool) -> Display {
        let bars = MultiProgress::new();
        let whole = bars.add(line("{spinner} {elapsed:>4} {msg}"));
        Display { begun: Instant::now(), json, bars, whole, hosts: BTreeMap::new(), said: None }
    }

    /// How long it has been shown.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Shows the changes of hosts and of the whole.
    pub(super) fn tell(&mut self, changes: &[PhaseChange], progress: &impl ToString) {
        for change in changes {
            self.tell_change(change);
        }
        let progress = progress.to_string();
        if self.said.as_ref() != Some(&progress) {
            self.say(progress.clone());
            self.said = Some(progress);
        }
    }

    fn tell_change(&mut self, change: &PhaseChange) {
        if self.json {
            return self.print(change);
        }
        let PhaseChange { host, phase, .. } = change;
        if self.whole.is_hidden() {
            return anstream::eprintln!("{:>4} s {host}: {phase}", self.elapsed().as_secs());
        }
        let bars = &self.bars;
        let bar = self.hosts.entry(host.clone()).or_insert_with(|| bars.add(line("  {prefix} {elapsed:>4} {msg}")));
        bar.set_prefix(host.clone());
        bar.set_message(phase.to_string());
        // A line says how long its host has been in its phase; that of one that is gone stands still.
        bar.reset_elapsed();
        if *phase == Phase::Gone {
            bar.abandon();
        }
    }

    /// Says how the whole is.
    fn say(&self, progress: String) {
        match (self.json, self.whole.is_hidden()) {
            (true, _) => self.print(&Whole { progress }),
            (false, true) => anstream::eprintln!("{:>4} s {progress}", self.elapsed().as_secs()),
            (false, false) => self.whole.set_message(progress),
        }
    }

    /// Prints the result, and clears the lines.
    pub(super) fn done(self, progress: &impl std::fmt::Display) {
        let after = self.elapsed().as_secs();
        self.clear();
        if !self.json {
            anstream::println!("{progress}, after {after} s");
        }
    }

    /// Takes the lines away.
    pub(super) fn clear(&self) {
        // A terminal that cannot be written to has nothing to be taken away.
        let _ = self.bars.clear();
    }

    fn print(&self, what: &impl Serialize) {
        let line = JsonLine { after: self.elapsed().as_secs(), what };
        match serde_json::to_string(&line) {
            Ok(line) => anstream::println!("{line}"),
            Err(error) => tracing::warn!(%error, "a line of JSON is missing"),
        }
    }
}

fn line(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
