//! No load that a stranger can make is a reason to move the name.

use std::time::Duration;

use world::siege::besieged;

/// The command `strangers` tries for ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_make_no_host_look_ill_and_move_no_name() {
    let besieged = besieged(Duration::from_secs(12)).await;
    assert!(besieged.connections >= 100, "the strangers did nothing: {besieged:?}");
    assert_eq!(besieged.ills, Vec::<String>::new(), "{besieged:?}");
    assert!(besieged.moves == 0, "{besieged:?}");
}
