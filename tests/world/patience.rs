//! Waiting for a condition, never for a while.

use std::time::{Duration, Instant};

/// How long to rest between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Waits until `holds` does.
///
/// # Panics
/// When it does not within `limit`; the message says `what` was waited for.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    eventually_some(what, limit, async || holds().await.then_some(())).await;
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// When it does not within `limit`; the message says `what` was waited for.
pub async fn eventually_some<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
