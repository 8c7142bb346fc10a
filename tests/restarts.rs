//! An agent that ends and is started again on sockets that systemd holds: nobody is refused.

use std::time::Duration;

use crate::drill::{Ending, drill};

/// Visitors at once.
const VISITORS: usize = 8;
/// A debug build on a machine full of tests. The command `restarts` measures what it really takes.
const LONGEST_GAP: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_agent_refuses_nobody_and_serves_again_without_its_network() {
    let drilled = drill(Ending::Killed, 6, VISITORS).await;
    assert_eq!(drilled.tally.refused, 0, "{drilled:?}");
    assert!(drilled.tally.failed <= (6 * VISITORS) as u64, "more than what was in flight: {drilled:?}");
    let answered_wrong = drilled.tally.failures.iter().find(|failure| failure.contains("bytes"));
    assert_eq!(answered_wrong, None, "a request was answered, and not with the page");
    assert_eq!(drilled.changes, 0, "a restart orders nothing and changes no record");
    assert!(drilled.gaps.iter().all(|gap| *gap < LONGEST_GAP), "{:?}", drilled.gaps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_that_is_asked_to_end_under_load_loses_no_request() {
    let drilled = drill(Ending::Asked, 2, VISITORS).await;
    assert_eq!((drilled.tally.refused, drilled.tally.failed), (0, 0), "{drilled:?}");
    assert_eq!(drilled.changes, 0, "a restart orders nothing and changes no record");
    assert!(drilled.gaps.iter().all(|gap| *gap < LONGEST_GAP), "{:?}", drilled.gaps);
}
