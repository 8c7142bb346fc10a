//! How a request was passed to an application.

use std::time::Duration;

/// How a request was passed to an application, for its access line and the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// From the sending of the request to the head of the response; none if there was none.
    pub(crate) first_byte: Option<Duration>,
    /// How often it was sent again.
    pub(crate) retries: u32,
    /// How long it waited for the application to take connections.
    pub(crate) held: Duration,
    /// Why there was no response, as RFC 9209 §2.3 names it.
    pub(crate) failure: Option<&'static str>,
}
