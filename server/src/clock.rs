//! The wall clock, which nothing else reads.

use std::time::SystemTime;

/// What this machine's clock says.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
