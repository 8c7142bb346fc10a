//! Requests that were passed to an application, counted.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::StatusClasses;
use crate::access::Passage;

/// Counts of what was passed since the start.
#[derive(Debug, Default)]
pub(super) struct PassedCounters {
    /// Those that say why there is none among them.
    responses: StatusClasses,
    /// How many of the application's responses began, and how long they took to, in microseconds.
    began: AtomicU64,
    micros: AtomicU64,
    retries: AtomicU64,
    /// Requests that wait for the application now.
    pub(super) held: AtomicU64,
    /// WebSockets that are open now.
    pub(super) tunnels: AtomicU64,
    /// Requests without a response of the application, by why.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

impl PassedCounters {
    pub(super) fn passed(&self, passage: &Passage, status: u16) {
        self.responses.count(status);
        if let Some(first_byte) = passage.first_byte {
            self.began.fetch_add(1, Relaxed);
            self.micros.fetch_add(u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
        self.retries.fetch_add(u64::from(passage.retries), Relaxed);
        if let Some(failure) = passage.failure {
            *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(failure).or_default() += 1;
        }
    }

    /// The counts in the text format of Prometheus; nothing where nothing was passed.
    pub(super) fn prometheus(&self, text: &mut String) {
        let held = self.held.load(Relaxed);
        let tunnels = self.tunnels.load(Relaxed);
        if self.responses.all() + held + tunnels == 0 {
            return;
        }
        // Writing to a string cannot fail.
        let _ = self.write(held, tunnels, text);
    }

    fn write(&self, held: u64, tunnels: u64, text: &mut String) -> std::fmt::Result {
        const APP: &str = "spothost_application";
        let help = "Responses to requests for the application, by the class of their status.";
        self.responses.write(&format!("{APP}_responses_total"), help, text)?;
        writeln!(
            text,
            "# HELP {APP}_failures_total Requests without a response of the application, by RFC 9209's error."
        )?;
        writeln!(text, "# TYPE {APP}_failures_total counter")?;
        for (error, count) in &*self.failures.lock().unwrap_or_else(PoisonError::into_inner) {
            writeln!(text, "{APP}_failures_total{{error=\"{error}\"}} {count}")?;
        }
        writeln!(
            text,
            "# HELP {APP}_first_byte_seconds Time from a request that was sent to the head of its response."
        )?;
        writeln!(text, "# TYPE {APP}_first_byte_seconds summary")?;
        let seconds = self.micros.load(Relaxed) as f64 / 1e6;
        writeln!(
            text,
            "{APP}_first_byte_seconds_sum {seconds}\n{APP}_first_byte_seconds_count {}",
            self.began.load(Relaxed)
        )?;
        for (name, kind, help, value) in [
            (
                "retries_total",
                "counter",
                "Requests that were sent to the application again.",
                self.retries.load(Relaxed),
            ),
            ("requests_held", "gauge", "Requests that wait for the application to take connections.", held),
            ("tunnels_open", "gauge", "Open WebSockets.", tunnels),
        ] {
            writeln!(text, "# HELP {APP}_{name} {help}\n# TYPE {APP}_{name} {kind}\n{APP}_{name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_passed_is_shown_once_there_is_any() {
        let counters = PassedCounters::default();
        let mut text = String::new();
        counters.prometheus(&mut text);
        assert_eq!(text, "");
        let answered = Passage { first_byte: Some(Duration::from_millis(1500)), retries: 1, ..Passage::default() };
        counters.passed(&answered, 201);
        counters.passed(&Passage { failure: Some("connection_refused"), ..Passage::default() }, 502);
        counters.held.fetch_add(1, Relaxed);
        counters.prometheus(&mut text);
        for line in [
            "spothost_application_responses_total{class=\"2xx\"} 1",
            "spothost_application_responses_total{class=\"5xx\"} 1",
            "spothost_application_failures_total{error=\"connection_refused\"} 1",
            "spothost_application_first_byte_seconds_sum 1.5",
            "spothost_application_first_byte_seconds_count 1",
            "spothost_application_retries_total 1",
            "spothost_application_requests_held 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
