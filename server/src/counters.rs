//! What was served, counted.

mod gauge;
mod passed;
mod status_classes;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

pub(crate) use self::gauge::Gauge;
use self::{passed::PassedCounters, status_classes::StatusClasses};
use crate::access::Passage;

/// Counts since the start. Threads add without waiting for each other; a reader may see one figure before another.
#[derive(Debug, Default)]
pub struct Counters {
    responses: StatusClasses,
    in_flight: AtomicU64,
    open: AtomicU64,
    resting: AtomicU64,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    cut: AtomicU64,
    sent: AtomicU64,
    passed: PassedCounters,
}

impl Counters {
    /// Responses whose status begins with `class` (1 to 5); 0 for any other digit.
    pub fn responses(&self, class: u16) -> u64 {
        self.responses.of(class)
    }

    /// All responses.
    pub fn requests(&self) -> u64 {
        self.responses.all()
    }

    /// Requests that are being answered now.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Open HTTP/1.1 connections that wait for their next request as little more than a socket; see
    /// [`Patience::rest`](crate::Patience::rest).
    pub fn resting(&self) -> u64 {
        self.resting.load(Relaxed)
    }

    /// Connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections that were closed at once, because a bound was reached.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Relaxed)
    }

    /// Connections that were cut because their client was too slow.
    pub fn cut(&self) -> u64 {
        self.cut.load(Relaxed)
    }

    /// Bytes of content that were handed to connections.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// All counts in the text format of Prometheus (exposition format 0.0.4).
    pub fn prometheus(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.responses.write("spothost_responses_total", "Responses by the class of their status.", &mut text);
        for (name, kind, help, value) in [
            ("requests_in_flight", "gauge", "Requests being answered.", self.in_flight()),
            ("connections_open", "gauge", "Open connections.", self.open()),
            ("connections_resting", "gauge", "Open connections that hold no buffers.", self.resting()),
            ("connections_accepted_total", "counter", "Accepted connections.", self.accepted()),
            (
                "connections_turned_away_total",
                "counter",
                "Connections closed at once because a bound was reached.",
                self.turned_away(),
            ),
            ("connections_cut_total", "counter", "Connections cut because their client was too slow.", self.cut()),
            ("content_sent_bytes_total", "counter", "Bytes of content handed to connections.", self.sent()),
        ] {
            let _ =
                writeln!(text, "# HELP spothost_{name} {help}\n# TYPE spothost_{name} {kind}\nspothost_{name} {value}");
        }
        self.passed.prometheus(&mut text);
        text
    }

    /// A request was passed to an application, and answered with that status.
    pub(crate) fn passed(&self, passage: &Passage, status: u16) {
        self.passed.passed(passage, status);
    }

    /// A request waits for an application as long as this lives.
    pub(crate) fn holds(self: &Arc<Self>) -> Gauge {
        Gauge::one_more(self, |counters| &counters.passed.held)
    }

    /// A WebSocket is open as long as this lives.
    pub(crate) fn opens_tunnel(self: &Arc<Self>) -> Gauge {
        Gauge::one_more(self, |counters| &counters.passed.tunnels)
    }

    pub(crate) fn began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A request is over, with a response of that status if there was one.
    pub(crate) fn ended(&self, status: Option<u16>, bytes: u64) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.sent.fetch_add(bytes, Relaxed);
        if let Some(status) = status {
            self.answered(status);
        }
    }

    /// A response that was no request's: the head could not be read.
    pub(crate) fn answered(&self, status: u16) {
        self.responses.count(status);
    }

    pub(crate) fn opened(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(crate) fn rests(&self) {
        self.resting.fetch_add(1, Relaxed);
    }

    pub(crate) fn stirs(&self) {
        self.resting.fetch_sub(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    pub(crate) fn cut_off(&self) {
        self.cut.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_by_class_and_shown_as_prometheus_reads_them() {
        let counters = Counters::default();
        for status in [200, 206, 304, 404, 503] {
            counters.began();
            counters.ended(Some(status), 10);
        }
        assert_eq!([1, 2, 3, 4, 5, 6, 0].map(|class| counters.responses(class)), [0, 2, 1, 1, 1, 0, 0]);
        assert_eq!((counters.requests(), counters.in_flight(), counters.sent()), (5, 0, 50));
        let text = counters.prometheus();
        assert!(text.contains("spothost_responses_total{class=\"2xx\"} 2\n"), "{text}");
        assert!(text.contains("# TYPE spothost_connections_open gauge\nspothost_connections_open 0\n"), "{text}");
    }

    #[test]
    fn what_a_gauge_counts_is_there_until_it_is_dropped() {
        let counters = Arc::new(Counters::default());
        let open = (counters.holds(), counters.holds(), counters.opens_tunnel());
        let text = counters.prometheus();
        for line in ["spothost_application_requests_held 2", "spothost_application_tunnels_open 1"] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        drop(open);
        let all = [&counters.passed.held, &counters.passed.tunnels];
        assert_eq!(all.map(|count| count.load(Relaxed)), [0, 0]);
    }
}
