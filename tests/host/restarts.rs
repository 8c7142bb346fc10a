//! An agent that ends and is started again on sockets that systemd holds: no client is refused.

use std::time::Duration;

use world::{Instance, Site, eventually};

use crate::SOON;
use world::drill::{Ending, burdened, drill};

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

/// In the small what `systemctl restart` does: the next main process is started when the one before has ended, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_lets_nobody_wait_for_a_slow_reader_and_cuts_no_reader() {
    let burdened = burdened(2).await;
    assert_eq!((&burdened.failures[..], &burdened.cut[..]), (&[][..], &[][..]), "{burdened:?}");
    assert!(burdened.answered >= 40, "new visitors waited for those who were there: {burdened:?}");
    assert!(burdened.ends.iter().chain(&burdened.gaps).all(|gap| *gap < LONGEST_GAP), "{burdened:?}");
    assert_eq!(burdened.changes, 0, "a restart orders nothing and changes no record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_and_its_supervisor_die_together_and_the_next_starts_at_once() {
    let instance = Instance::new().await;
    instance.account.put("site-latest.zip", Site::titled("supervised").zip()).await;
    let unit = instance.unit();
    let mut agent = instance.start_in(&unit);
    agent.wait_until_serving(SOON).await;
    assert!(unit.told().contains(&"READY=1".to_owned()));
    let serving = agent.serving_pid().expect("it serves");
    assert_ne!(serving, agent.pid(), "one serves, and one supervises");
    agent.kill().await;
    let gone =
        |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    eventually("the agent dies with its supervisor", SOON, async || gone(serving)).await;

    let mut agent = instance.start_in(&unit);
    agent.wait_until_serving(SOON).await;
    let serving = agent.serving_pid().expect("it serves");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(serving), nix::sys::signal::Signal::SIGKILL)
        .expect("it is there");
    assert_eq!(agent.ended(SOON).await, None, "the supervisor ends as its agent has");

    let mut agent = instance.start_in(&unit);
    agent.wait_until_serving(SOON).await;
    assert_eq!(agent.stop().await, Some(0));
}

/// Who waits in the queue while an agent starts, and is shown a certificate before anybody else.
async fn first_shown(instance: &Instance, sockets: &world::Sockets) -> (Vec<u8>, world::Agent) {
    let visitor = instance.visitor();
    let waits = tokio::spawn(async move { visitor.shown().await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let mut agent = instance.start_on(Some(sockets));
    agent.wait_until_serving(SOON).await;
    (waits.await.expect("it does not panic").expect("a certificate is shown"), agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waited_is_shown_no_placeholder_where_the_vault_is_a_file() {
    for directory in [None, Some("internal")] {
        let mut instance = Instance::new().await;
        instance.account.put("site-latest.zip", Site::titled("near").zip()).await;
        let vault = format!("file://{}", instance.disk().join("vault.json").display());
        instance.configuration.insert("vault".to_owned(), vault.into());
        if let Some(directory) = directory {
            let acme = toml::Table::from_iter([("directory".to_owned(), directory.into())]);
            instance.configuration.insert("acme".to_owned(), acme.into());
        }
        let sockets = instance.sockets();
        let (shown, agent) = first_shown(&instance, &sockets).await;
        let held = instance.visitor().shown().await.expect("a certificate is shown");
        assert!(directory.is_none() || shown == held, "the CA is as near as the vault");
        assert_eq!(agent.stop().await, Some(0));
        let (shown, _agent) = first_shown(&instance, &sockets).await;
        assert_eq!(shown, held, "after a restart, with the CA {directory:?}");
    }
}
