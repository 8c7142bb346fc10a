//! One response, accounted for when it is over.

use std::sync::Arc;

use http::StatusCode;

use crate::{
    Counters,
    access::{Line, Log},
    connections::Pulse,
};

/// Lives as long as a response is being handed over, and accounts for it when dropped, however that happens.
#[derive(Debug)]
pub(crate) struct Account {
    counters: Arc<Counters>,
    pulse: Arc<Pulse>,
    status: StatusCode,
    bytes: u64,
    line: Option<(Log, Box<Line>)>,
}

impl Account {
    pub(crate) fn new(counters: Arc<Counters>, pulse: Arc<Pulse>, status: StatusCode) -> Self {
        counters.began();
        Self { counters, pulse, status, bytes: 0, line: None }
    }

    /// Leaves this line to be written at the end.
    pub(crate) fn log(&mut self, log: Log, line: Line) {
        self.line = Some((log, line.into()));
    }

    /// So many more bytes of content were handed over.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pulse.ended();
        self.counters.ended(self.status.as_u16(), self.bytes);
        if let Some((log, mut line)) = self.line.take() {
            line.end(self.bytes);
            log.push(*line);
        }
    }
}
