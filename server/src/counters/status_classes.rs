//! Responses by the class of their status.

use std::{
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// How many responses there were of each first digit of a status, from 1xx on.
#[derive(Debug, Default)]
pub(super) struct StatusClasses([AtomicU64; 5]);

impl StatusClasses {
    /// A response with that status; none is counted whose class RFC 9110 does not know.
    pub(super) fn count(&self, status: u16) {
        if let Some(count) = self.at(status / 100) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Responses whose status begins with `class` (1 to 5); 0 for any other digit.
    pub(super) fn of(&self, class: u16) -> u64 {
        self.at(class).map_or(0, |count| count.load(Relaxed))
    }

    /// All responses.
    pub(super) fn all(&self) -> u64 {
        self.0.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// The counts as a counter of Prometheus with that name.
    ///
    /// # Errors
    /// Those of writing to `text`, which a string has none of.
    pub(super) fn write(&self, name: &str, help: &str, text: &mut String) -> fmt::Result {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter")?;
        (1..=5).try_for_each(|class| writeln!(text, "{name}{{class=\"{class}xx\"}} {}", self.of(class)))
    }

    fn at(&self, class: u16) -> Option<&AtomicU64> {
        self.0.get(usize::from(class).wrapping_sub(1))
    }
}
