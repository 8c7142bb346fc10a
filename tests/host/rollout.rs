//! `spothost rollout` and `spothost hosts`.

use nix::sys::signal::Signal;
use serde_json::Value;
use world::{FleetKind, Site, eventually};

use crate::{
    SOON,
    hosts::{LONG, fleet, noted},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollout_ends_when_the_new_host_is_the_only_one() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("rolled"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let config = old.instance.config_path().display().to_string();

    let program = env!("CARGO_PKG_VERSION");
    let ended = old.instance.command(&["rollout", "--config", &config, "--program", program, "--timeout", "2m"]).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("answers, and no other host is left"), "{}", ended.stdout);
    assert!(ended.stderr.contains("the host before it serves the remaining visitors"), "{}", ended.stderr);
    let new = fleet.owner_other_than(Some(&old), SOON).await;
    let told = |host: &str, phase: &str| ended.stderr.contains(&format!("{host}: {phase}"));
    for (host, phase) in [(old.id(), "owner"), (old.id(), "superseded"), (old.id(), "gone"), (new.id(), "owner")] {
        assert!(told(&host, phase), "{host} is not shown as {phase}: {}", ended.stderr);
    }
    assert_eq!((fleet.target().await, fleet.size().await), (1, 1));

    let config = new.instance.config_path().display().to_string();
    let ended = new.instance.command(&["hosts", "--config", &config, "--json"]).await;
    let hosts: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(hosts.as_array().map(Vec::len), Some(1), "{hosts}");
    assert_eq!((&hosts[0]["instance"], &hosts[0]["owner"]), (&new.id().into(), &true.into()), "{hosts}");
    assert_eq!((&hosts[0]["answers"], &hosts[0]["program"]), (&true.into(), &program.into()), "{hosts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollout_of_what_never_becomes_ready_puts_the_target_back_and_says_why() {
    tokio::join!(unrolled(FleetKind::Spot), unrolled(FleetKind::Ec2), unrolled(FleetKind::Group));
}

async fn unrolled(kind: FleetKind) {
    let fleet = fleet(kind, &Site::titled("unrolled"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    // A broken one would not do: a fresh host takes the last good one instead.
    fleet.account.delete("site-latest.zip").await;
    let config = old.instance.config_path().display().to_string();
    let ended = old.instance.command(&["rollout", "--config", &config, "--boot", "8s"]).await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("no new host owned the names within 8s"), "{}", ended.stderr);
    assert!(ended.stderr.contains("the fleet's target is 1 again"), "{}", ended.stderr);
    fleet.at_rest(SOON).await;
    assert_eq!(fleet.owner().await.map(|left| left.id()), Some(old.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollout_that_is_killed_or_interrupted_is_gone_on_with_when_it_is_run_again() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("resumed"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let config = old.instance.config_path().display().to_string();
    let rollout = ["rollout", "--config", &config, "--timeout", "2m", "--json"];

    let killed = old.instance.start_command(&rollout);
    eventually("the target is raised", SOON, async || fleet.target().await == 2).await;
    killed.kill().await;
    let interrupted = old.instance.start_command(&rollout);
    let new = fleet.owner_other_than(Some(&old), SOON).await;
    interrupted.printed_line(&new.id(), SOON).await;
    interrupted.signal(Signal::SIGTERM);
    assert_eq!(interrupted.ended(SOON).await, Some(75));

    // The owner is the new one already: what is left is that the old one goes.
    let ended = old.instance.command(&rollout).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let phase = |host: &str, phase: &str| lines.iter().any(|line| line["host"] == host && line["phase"] == phase);
    assert!(phase(&new.id(), "owner") && phase(&old.id(), "gone"), "{}", ended.stdout);
    assert!(lines.iter().all(|line| line["after"].is_u64()), "{}", ended.stdout);
    fleet.at_rest(LONG).await;
    assert_eq!(fleet.owner().await.map(|left| left.id()), Some(new.id()), "one release was made, and no more");
    assert_eq!(fleet.started(), 2);
}
