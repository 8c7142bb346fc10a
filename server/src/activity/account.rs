//! One exchange, accounted for when it is over.

use std::sync::Arc;

use http::StatusCode;

use super::Activity;
use crate::{
    access::{Line, Log, Passage},
    counters::Counters,
};

/// Lives as long as a request is answered and its response handed over, and accounts for it when dropped, however that happens.
#[derive(Debug)]
pub(crate) struct Account {
    counters: Arc<Counters>,
    activity: Arc<Activity>,
    /// None while the handler works out the response.
    status: Option<StatusCode>,
    bytes: u64,
    line: Option<(Log, Box<Line>)>,
    /// Whether it is one of those that wait for the server.
    waits: bool,
}

impl Account {
    /// That of a request which has begun ([`Activity::began`]).
    pub(crate) fn new(counters: Arc<Counters>, activity: Arc<Activity>, line: Option<(Log, Box<Line>)>) -> Self {
        counters.began();
        Self { counters, activity, status: None, bytes: 0, line, waits: false }
    }

    /// The response has this status.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The request was passed to an application.
    pub(crate) fn passed(&mut self, passage: Passage) {
        if let Some((_, line)) = &mut self.line {
            line.passed(passage);
        }
    }

    /// So many more bytes of content were handed over.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The exchange goes on when the server has something to say, or else when the client takes what there is.
    pub(crate) fn wait_for_server(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            self.activity.wait_for_server(waits);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.wait_for_server(false);
        self.activity.ended();
        self.counters.ended(self.status.map(|status| status.as_u16()), self.bytes);
        if let Some((log, mut line)) = self.line.take() {
            line.end(self.status, self.bytes);
            log.push(*line);
        }
    }
}
