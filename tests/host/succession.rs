//! Hosts come and go, and the name always leads to one that answers.

use std::time::Duration;

use nix::sys::signal::Signal;
use world::{Account, Crowd, Fault, Fleet, FleetKind, Rule, Site, eventually};

use crate::{
    SOON, front,
    hosts::{LONG, PAUSE, TTL, claim, fleet, has_role, hasty, hurry, noted, owner_and_spare, writes_of_names},
    published,
};

async fn releases(kind: FleetKind, number: u32, visitors: usize) {
    let site = Site::of_files("released", 20);
    let fleet = fleet(kind, &site, "").await;
    let mut owner = fleet.owner_other_than(None, SOON).await;
    fleet.at_rest(SOON).await;
    let crowd = Crowd::start(&fleet.account, &owner.instance.visitor(), (TTL, PAUSE), visitors, site.pages());
    eventually("visitors come", SOON, async || crowd.answered() > 100).await;
    noted(&fleet).await;
    for _ in 0..number {
        fleet.set_target(2).await;
        owner = fleet.owner_other_than(Some(&owner), SOON).await;
        fleet.at_rest(LONG).await;
        assert_eq!(fleet.owner().await.map(|left| left.id()), Some(owner.id()), "the new host is the one that is left");
    }
    let tally = crowd.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_of_a_spot_fleet_cost_no_visitor_a_request() {
    releases(FleetKind::Spot, 2, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_of_an_ec2_fleet_costs_no_visitor_a_request() {
    releases(FleetKind::Ec2, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_of_an_auto_scaling_group_costs_no_visitor_a_request() {
    releases(FleetKind::Group, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_may_not_leave_stands_by_and_says_what_is_missing() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("stays"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let denied = Fault::refuse(403, "UnauthorizedOperation");
    old.instance.aws.add(Rule::new(denied).on("ModifySpotFleetRequest"));
    fleet.set_target(2).await;
    fleet.owner_other_than(Some(&old), SOON).await;
    eventually("it says so", LONG, async || old.has_said("allow ec2:ModifySpotFleetRequest")).await;
    assert_eq!(fleet.size().await, 2, "nothing was ended");
    assert!(front(&old.instance.visitor()).await.is_some(), "it serves all the same");
    old.instance.aws.lift();
    fleet.at_rest(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_never_becomes_ready_leaves_and_the_old_one_stays() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("kept"), "give_up = \"6s\"\n").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    // A broken one would not do: a fresh host takes the last good one instead.
    fleet.account.delete("site-latest.zip").await;
    fleet.set_target(2).await;
    eventually("a second host", SOON, async || fleet.members().len() == 2).await;
    eventually("it fails", LONG, async || fleet.members().iter().any(|member| member.role() == "failed")).await;
    fleet.at_rest(LONG).await;
    assert_eq!(fleet.owner().await.map(|left| left.id()), Some(old.id()));
    assert!(front(&old.instance.visitor()).await.is_some_and(|page| page.contains("kept")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_package_makes_no_endless_row_of_replacements() {
    // With an older good version a fresh host would take that; here there is none.
    let broken = Site::titled("never").with("site.toml", "[gate]\n'/nowhere' = 200\n");
    let fleet = fleet(FleetKind::Spot, &broken, "give_up = \"3s\"\nreplacements = 1\n[fleet]\ntarget = 1\n").await;
    let first = async || fleet.members().first().map(|member| member.id());
    eventually("the first host", SOON, async || first().await.is_some()).await;
    let first_id = first().await;
    eventually("it is replaced", LONG, async || first().await.is_some_and(|id| Some(id) != first_id)).await;
    let second = fleet.members().remove(0);
    eventually("the second one stays", LONG, async || second.has_said("1 replacements of a day are used up")).await;
    assert_eq!(second.role(), "failed");
    assert_eq!(fleet.members().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spare_follows_an_owner_that_was_killed() {
    let (second, owner, first, mut spare) = owner_and_spare("then = \"stand-by\"\n").await;
    owner.kill().await;
    // EC2 says that the instance runs: only its silence tells.
    has_role(&mut spare, "owner").await;
    assert!(first.is_led_to().await);
    assert!(claim(&first.account).await.contains(&format!("over={}", second.imds.instance_id())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spare_follows_at_once_when_ec2_says_that_the_owner_is_gone() {
    let (second, owner, first, mut spare) = owner_and_spare("silence = \"10m\"\n").await;
    owner.kill().await;
    first.account.end(second.imds.instance_id()).await;
    has_role(&mut spare, "owner").await;
    assert!(first.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_was_stopped_for_long_never_takes_the_names_back() {
    let (second, mut owner, first, mut spare) = owner_and_spare("").await;
    owner.signal(Signal::SIGSTOP);
    // A stopped host accepts connections, and each probe waits for its answer.
    spare.wait_for("it follows", LONG, async |agent| agent.status()["role"] == "owner").await;
    let writes = writes_of_names(&second);
    owner.signal(Signal::SIGCONT);
    has_role(&mut owner, "superseded").await;
    let changes = first.account.changes().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(writes_of_names(&second), writes, "it wrote");
    assert_eq!(first.account.changes().await.len(), changes, "the names moved again");
    assert!(first.is_led_to().await);
    drop(owner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_people_are_adopted_only_where_that_is_allowed() {
    let (mut instance, _) = published(&Site::titled("adopted")).await;
    let domain = instance.account.domain();
    instance.account.upsert(&domain, "A", 300, &["198.51.100.7"]).await;
    let mut agent = instance.start();
    agent
        .wait_for("a fault for a person", SOON, async |agent| agent.part("address")["fault"]["cure"] == "operator")
        .await;
    let fault = agent.part("address")["fault"].clone();
    assert!(fault["said"].as_str().is_some_and(|said| said.contains("leads to 198.51.100.7")), "{fault}");
    assert_eq!(instance.account.answers(&domain, "A").await, ["198.51.100.7"]);
    assert_eq!(agent.stop().await, Some(0));

    hurry(&mut instance, "");
    instance.configuration["dns"].as_table_mut().expect("a table").insert("adopt".into(), true.into());
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert!(instance.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleet_that_ends_the_wrong_host_leaves_the_names_with_the_other() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("spared"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    fleet.set_target(2).await;
    let new = fleet.owner_other_than(Some(&old), SOON).await;
    // Somebody lowers the target by hand, and the fleet picks the one that the names lead to.
    fleet.scale_in(1).await;
    let left = fleet.owner_other_than(Some(&new), SOON).await;
    assert_eq!(left.id(), old.id());
    fleet.at_rest(LONG).await;
    assert!(front(&old.instance.visitor()).await.is_some());
    assert!(claim(&fleet.account).await.contains(&format!("over={}", new.id())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_host_with_a_broken_package_follows_with_the_last_good_one() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("good"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let broken = Site::titled("broken").with("site.toml", "[gate]\n'/nowhere' = 200\n");
    fleet.account.put("site-latest.zip", broken.zip()).await;
    fleet.set_target(2).await;
    let new = fleet.owner_other_than(Some(&old), LONG).await;
    assert!(front(&new.instance.visitor()).await.is_some_and(|page| page.contains("good")));
    fleet.at_rest(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_host_without_any_permission_is_ended_by_the_owner() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("allowed"), "give_up = \"5s\"\n").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    fleet.prepare(|instance| instance.aws.add(Rule::new(Fault::denied())));
    fleet.set_target(2).await;
    eventually("a second host", SOON, async || fleet.members().len() == 2).await;
    let new = fleet.members().into_iter().find(|member| member.id() != old.id()).expect("a second host");
    eventually("it fails", LONG, async || new.role() == "failed").await;
    fleet.at_rest(LONG).await;
    assert_eq!(fleet.owner().await.map(|left| left.id()), Some(old.id()));
    assert!(old.has_said("has never answered"), "{}", old.log());
    assert!(front(&old.instance.visitor()).await.is_some_and(|page| page.contains("allowed")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleet_whose_target_is_no_number_of_hosts_is_left_alone() {
    for kind in [FleetKind::Spot, FleetKind::Ec2] {
        let account = Account::new().await;
        account.put("site-latest.zip", Site::titled("weighed").zip()).await;
        let fleet = Fleet::weighted(&account, kind, hasty(""), 2).await;
        let owner = fleet.owner_other_than(None, SOON).await;
        eventually("it says so", SOON, async || {
            owner.has_said("one host counts 2") && owner.has_said("leave out WeightedCapacity")
        })
        .await;
        assert!(front(&owner.instance.visitor()).await.is_some());
        assert_eq!(owner.role(), "owner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_do_not_depend_on_the_clocks_of_the_hosts() {
    let site = Site::of_files("timed", 10);
    let account = Account::new().await;
    account.put("site-latest.zip", site.zip()).await;
    let fleet = Fleet::start(&account, FleetKind::Spot, hasty("")).await;
    // Minutes ahead and behind in turn; the first host may have been started with the right time.
    let behind = std::sync::atomic::AtomicBool::new(true);
    fleet.prepare(move |instance| {
        let was_behind = behind.fetch_xor(true, std::sync::atomic::Ordering::Relaxed);
        instance.skew_clock(if was_behind { -420 } else { 420 });
    });
    let mut owner = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    let crowd = Crowd::start(&account, &owner.instance.visitor(), (TTL, PAUSE), 2, site.pages());
    eventually("visitors come", SOON, async || crowd.answered() > 20).await;
    for _ in 0..2 {
        fleet.set_target(2).await;
        owner = fleet.owner_other_than(Some(&owner), SOON).await;
        fleet.at_rest(LONG).await;
        assert_eq!(fleet.owner().await.map(|left| left.id()), Some(owner.id()));
    }
    let tally = crowd.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_that_begins_before_the_first_host_is_ready_is_not_taken_for_the_size_of_the_fleet() {
    let account = Account::new().await;
    let fleet = Fleet::start(&account, FleetKind::Spot, hasty("")).await;
    eventually("the first host has seen its fleet", SOON, async || {
        fleet.members().iter().any(|member| member.has_said("the fleet of this host"))
    })
    .await;
    let first = fleet.members().remove(0);
    let looks = |member: &world::Member| {
        let calls = member.instance.aws.calls();
        calls.iter().filter(|call| call.operation == "DescribeSpotFleetRequests").count()
    };
    eventually("it has looked at it", SOON, async || looks(&first) > 0).await;
    // The second one comes to nothing for now: the host that is ready first notes what it has seen.
    fleet.prepare(|instance| instance.aws.add(Rule::new(Fault::refuse(503, "ServiceUnavailable"))));
    fleet.set_target(2).await;
    account.put("site-latest.zip", Site::titled("first").zip()).await;
    noted(&fleet).await;
    fleet.members().iter().for_each(|member| member.instance.aws.lift());
    fleet.at_rest(LONG).await;
}
