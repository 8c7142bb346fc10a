//! What EC2 announces to a host: that it is taken, or may have to be.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use time::OffsetDateTime;
use world::{Crowd, FleetKind, Site, eventually};

use crate::{
    SOON,
    hosts::{LONG, PAUSE, TTL, claim, fleet, has_role, hurry, noted, owner_and_spare},
    published, serving,
};

/// How long before its end a host is told here; EC2 tells it two minutes before.
const NOTICE: Duration = Duration::from_secs(40);
/// How soon a notice has to be seen, with looks a second apart.
const SEEN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notice_under_load_costs_no_visitor_a_request() {
    let site = Site::of_files("noticed", 20);
    let fleet = fleet(FleetKind::Spot, &site, "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let crowd = Crowd::start(&fleet.account, &old.instance.visitor(), (TTL, PAUSE), 4, site.pages());
    eventually("visitors come", SOON, async || crowd.answered() > 100).await;

    let noticed = Instant::now();
    old.instance.imds.announce("terminate", NOTICE);
    eventually("it is seen", SEEN, async || old.role() == "departing").await;
    eventually("a successor is asked for", SOON, async || fleet.target().await == 2).await;
    let new = fleet.owner_other_than(Some(&old), Duration::from_secs(20)).await;
    eventually("its place is given back", SOON, async || fleet.target().await == 1).await;
    assert_eq!(old.role(), "departing");
    eventually("the agent ends before its instance", NOTICE, async || old.status()["phase"] == "gone").await;
    let left = NOTICE.saturating_sub(noticed.elapsed());
    assert!(left > Duration::from_secs(4), "it ended {left:?} before its instance");
    fleet.account.end(&old.id()).await;
    fleet.at_rest(SOON).await;
    assert_eq!(fleet.owner().await.map(|left| left.id()), Some(new.id()));
    let tally = crowd.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawn_notice_leaves_the_host_in_its_place() {
    let (instance, visitor, mut agent) = serving(&Site::titled("stayed")).await;
    instance.imds.announce("terminate", Duration::from_secs(120));
    has_role(&mut agent, "departing").await;
    eventually("the claim says so", SOON, async || claim(&instance.account).await.contains("departing")).await;
    let answer = visitor.get("/").await.expect("it still answers");
    assert_eq!(answer.header("connection"), "close");

    instance.imds.clear_notice();
    has_role(&mut agent, "owner").await;
    eventually("the claim says that too", SOON, async || !claim(&instance.account).await.contains("departing")).await;
    assert_ne!(visitor.get("/").await.expect("an answer").header("connection"), "close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_host_that_is_taken_are_removed_where_that_is_wanted() {
    let (mut instance, _) = published(&Site::titled("removed")).await;
    hurry(&mut instance, "");
    instance.configuration["dns"].as_table_mut().expect("a table").insert("on_departure".into(), "remove".into());
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    instance.imds.announce("terminate", Duration::from_secs(24));
    let domain = instance.account.domain();
    eventually("nothing leads to it", SOON, async || instance.account.answers(&domain, "A").await.is_empty()).await;
    // The documents that the next host needs stay.
    assert!(claim(&instance.account).await.contains("departing"));
    assert_eq!(agent.ended(SOON).await, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_recommendations_starts_one_host() {
    let fleet = fleet(FleetKind::Group, &Site::titled("calm"), "rebalance = true\n").await;
    let mut owner = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    owner.instance.imds.recommend_rebalance();
    owner = fleet.owner_other_than(Some(&owner), SOON).await;
    fleet.at_rest(LONG).await;
    owner.instance.imds.recommend_rebalance();
    eventually("it is refused", SOON, async || owner.has_said("one was asked for within the hour")).await;
    assert_eq!((fleet.target().await, fleet.size().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notice_is_carried_out_by_the_time_of_aws_whatever_the_clock_of_the_host() {
    for seconds in [-600, 600] {
        let (mut instance, visitor) = published(&Site::titled("timed")).await;
        instance.skew_clock(seconds);
        let mut agent = instance.start();
        agent.wait_until_serving(SOON).await;
        let noticed = Instant::now();
        instance.imds.announce("terminate", Duration::from_secs(24));
        has_role(&mut agent, "departing").await;
        // Until fifteen seconds before its end it accepts every client.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(visitor.get("/").await.map(|answer| answer.status.as_u16()), Ok(200), "{seconds} s");
        assert_eq!(agent.ended(SOON).await, Some(3), "{seconds} s");
        let ended = noticed.elapsed();
        assert!(ended < Duration::from_secs(22), "a clock off by {seconds} s: it ended after {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_is_stopped_hands_over_and_is_a_new_one_when_it_comes_back() {
    let (mut instance, _) = published(&Site::titled("stopped")).await;
    hurry(&mut instance, "");
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    instance.imds.announce("stop", Duration::from_secs(20));
    has_role(&mut agent, "departing").await;
    eventually("the claim says so", SOON, async || claim(&instance.account).await.contains("departing")).await;
    assert_eq!(agent.ended(SOON).await, Some(3), "its instance ends, and nobody starts it again");

    // EC2 starts it again on the same disk, with another address and another time of launch.
    instance.imds.clear_notice();
    instance.imds.set_launched(OffsetDateTime::now_utc());
    let _gateway = instance.behind_gateway().await;
    let mut agent = instance.start();
    has_role(&mut agent, "owner").await;
    assert!(instance.is_led_to().await);
    eventually("the claim is a fresh one", SOON, async || !claim(&instance.account).await.contains("departing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_is_hibernated_goes_on_where_it_was_unless_another_has_followed() {
    for followed in [false, true] {
        let (second, mut owner, first, mut spare) = owner_and_spare("then = \"stand-by\"\n").await;
        if !followed {
            spare.signal(Signal::SIGSTOP);
        }
        second.imds.announce("hibernate", Duration::from_secs(2));
        has_role(&mut owner, "departing").await;
        eventually("the claim says so", SOON, async || {
            let claim = claim(&second.account).await;
            claim.contains("departing") || claim.contains(first.imds.instance_id())
        })
        .await;
        // Its memory is written to the disk, it stands still for a while, and goes on as if nothing had been.
        owner.signal(Signal::SIGSTOP);
        if followed {
            has_role(&mut spare, "owner").await;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        second.imds.clear_notice();
        owner.signal(Signal::SIGCONT);
        has_role(&mut owner, if followed { "superseded" } else { "owner" }).await;
        assert!(if followed { first.is_led_to().await } else { second.is_led_to().await });
        if !followed {
            eventually("it stays after all", SOON, async || !claim(&second.account).await.contains("departing")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_lives_without_its_metadata_and_departs_when_it_was_told_to_before() {
    let (instance, visitor, mut agent) = serving(&Site::titled("untold")).await;
    instance.imds.enable(false);
    agent.wait_for("it is said", SOON, async |agent| agent.part("departure")["fault"]["cure"] == "operator").await;
    let remedy = agent.part("departure")["fault"]["remedy"].clone();
    assert!(remedy.as_str().is_some_and(|remedy| remedy.contains("http-endpoint enabled")), "{remedy}");
    assert_eq!(visitor.get("/").await.map(|answer| answer.status.as_u16()), Ok(200));
    assert_eq!(agent.status()["role"], "owner");

    instance.imds.enable(true);
    agent.wait_for_phase("departure", "kept", SOON).await;
    instance.imds.announce("terminate", Duration::from_secs(24));
    has_role(&mut agent, "departing").await;
    instance.imds.hang();
    assert_eq!(agent.ended(SOON).await, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successor_of_a_host_that_removed_its_records_knows_the_size_of_the_fleet() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("sized"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let mut removing = crate::hosts::hasty("");
    removing["dns"].as_table_mut().expect("a table").insert("on_departure".into(), "remove".into());
    fleet.configure(removing);
    fleet.set_target(2).await;
    let going = fleet.owner_other_than(Some(&old), SOON).await;
    fleet.at_rest(LONG).await;

    // The new host comes only after the old one has gone with its records.
    fleet.prepare(|instance| instance.imds.set_public_ipv4(None));
    going.instance.imds.announce("terminate", Duration::from_secs(24));
    eventually("nothing leads anywhere", SOON, async || {
        fleet.account.answers(&fleet.account.domain(), "A").await.is_empty()
    })
    .await;
    fleet.prepare(|_| {});
    for member in fleet.members().into_iter().filter(|member| member.id() != going.id()) {
        member.instance.imds.set_public_ipv4(Some(member.instance.address));
    }
    fleet.account.end(&going.id()).await;
    fleet.owner_other_than(Some(&going), SOON).await;
    noted(&fleet).await;
    fleet.at_rest(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noticed_host_of_a_group_gives_its_own_place_back_in_the_end() {
    let fleet = fleet(FleetKind::Group, &Site::titled("grouped"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    old.instance.imds.announce("terminate", Duration::from_secs(30));
    let new = fleet.owner_other_than(Some(&old), SOON).await;
    // A group whose target is lowered ends a host of its own choice: no host lowers it while both are there.
    assert_eq!(fleet.target().await, 2);
    fleet.at_rest(LONG).await;
    assert_eq!(fleet.owner().await.map(|left| left.id()), Some(new.id()));
    assert_eq!(fleet.started(), 2, "nobody was started in the place of the one that went");
}
