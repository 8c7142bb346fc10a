//! Hosts come and go, and the name always leads to one that answers.

use std::time::Duration;

use nix::sys::signal::Signal;
use world::{Account, Agent, Crowd, Fault, Fleet, FleetKind, Instance, Rule, Service, Site, eventually};

use crate::{SOON, front, published, serving};

/// A release with everything in it: boot, two times to live, lingering, leaving.
const LONG: Duration = Duration::from_secs(120);
const TTL: Duration = Duration::from_secs(1);
/// Between two requests of one visitor: there are other tests.
const PAUSE: Duration = Duration::from_millis(25);

/// Everything in a sixtieth of its usual time; a stubborn resolver keeps answers for ten times to live.
fn hasty(more: &str) -> toml::Table {
    let text = format!("[dns]\nttl = 1\n[look]\naddress = \"300ms\"\n[succession]\nlinger = \"12s\"\n{more}");
    let mut table: toml::Table = toml::from_str(&text).expect("TOML");
    let succession = table["succession"].as_table_mut().expect("a table");
    succession.entry("silence").or_insert_with(|| "3s".into());
    table
}

fn hurry(instance: &mut Instance, more: &str) {
    for (key, value) in hasty(more) {
        match (instance.configuration.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => there.extend(more),
            (_, value) => drop(instance.configuration.insert(key, value)),
        }
    }
}

async fn fleet(kind: FleetKind, site: &Site, more: &str) -> Fleet {
    let account = Account::new().await;
    account.put("site-latest.zip", site.zip()).await;
    Fleet::start(&account, kind, hasty(more)).await
}

async fn has_role(agent: &mut Agent, role: &str) {
    agent.wait_for(role, SOON, async |agent| agent.status()["role"] == role).await;
}

/// Two hosts that are not of a fleet: the owner, and the one that it followed.
async fn owner_and_spare(more: &str) -> (Instance, Agent, Instance, Agent) {
    let (mut first, _) = published(&Site::titled("spared")).await;
    hurry(&mut first, more);
    let mut spare = first.start();
    spare.wait_until_serving(SOON).await;
    let mut second = first.successor().await;
    hurry(&mut second, more);
    let mut owner = second.start();
    has_role(&mut owner, "owner").await;
    has_role(&mut spare, "superseded").await;
    (second, owner, first, spare)
}

async fn releases(kind: FleetKind, number: u32, visitors: usize) {
    let site = Site::of_files("released", 20);
    let fleet = fleet(kind, &site, "").await;
    let mut owner = fleet.owner_other_than(None, SOON).await;
    fleet.at_rest(SOON).await;
    let crowd = Crowd::start(&fleet.account, &owner.instance.visitor(), (TTL, PAUSE), visitors, site.pages());
    eventually("visitors come", SOON, async || crowd.answered() > 100).await;
    // What the fleet has at rest is noted by the first owner; a release before that would be taken for it.
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
    for _ in 0..number {
        fleet.set_target(2).await;
        owner = fleet.owner_other_than(Some(&owner), SOON).await;
        fleet.at_rest(LONG).await;
        assert_eq!(fleet.owner().await.map(|left| left.id()), Some(owner.id()), "the new host is the one that is left");
    }
    let tally = crowd.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
}

async fn claim(account: &Account) -> String {
    let name = format!("_spothost.{}", account.domain());
    account.answers(&name, "TXT").await.join("")
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
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
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
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
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
    eventually("the second one stays", LONG, async || second.has_said("1 replacements of a day are spent")).await;
    assert_eq!(second.role(), "failed");
    assert_eq!(fleet.members().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notice_under_load_costs_no_visitor_a_request() {
    let site = Site::of_files("noticed", 20);
    let fleet = fleet(FleetKind::Spot, &site, "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
    let crowd = Crowd::start(&fleet.account, &old.instance.visitor(), (TTL, PAUSE), 4, site.pages());
    eventually("visitors come", SOON, async || crowd.answered() > 100).await;

    old.instance.imds.announce("terminate", Duration::from_secs(40));
    eventually("a successor is asked for", SOON, async || fleet.target().await == 2).await;
    let new = fleet.owner_other_than(Some(&old), Duration::from_secs(20)).await;
    eventually("its place is given back", SOON, async || fleet.target().await == 1).await;
    assert_eq!(old.role(), "departing");
    eventually("the agent ends before its instance", Duration::from_secs(45), async || old.status()["phase"] == "gone")
        .await;
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
    eventually("nothing of it is left", SOON, async || {
        instance
            .account
            .records()
            .await
            .iter()
            .all(|record| !["A", "TXT"].contains(&record.kind.as_str()) || record.name.starts_with("_acme"))
    })
    .await;
    assert_eq!(agent.ended(SOON).await, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_recommendations_starts_one_host() {
    let fleet = fleet(FleetKind::Group, &Site::titled("calm"), "rebalance = true\n").await;
    let mut owner = fleet.owner_other_than(None, SOON).await;
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
    owner.instance.imds.recommend_rebalance();
    owner = fleet.owner_other_than(Some(&owner), SOON).await;
    fleet.at_rest(LONG).await;
    owner.instance.imds.recommend_rebalance();
    eventually("it is refused", SOON, async || owner.has_said("one was asked for within the hour")).await;
    assert_eq!((fleet.target().await, fleet.size().await), (1, 1));
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
    has_role(&mut spare, "owner").await;
    // It may say beside the packages that it stands by; of the names it writes nothing.
    let of_names = || second.aws.writes().iter().filter(|call| call.service == Service::Route53).count();
    let writes = of_names();
    owner.signal(Signal::SIGCONT);
    has_role(&mut owner, "superseded").await;
    let changes = first.account.changes().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(of_names(), writes, "it wrote");
    assert_eq!(first.account.changes().await.len(), changes, "the names moved again");
    assert!(first.is_led_to().await);
    drop(owner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_is_cut_off_is_not_mistaken_for_a_silent_one() {
    let (second, mut owner, first, spare) = owner_and_spare("").await;
    // No call of the owner reaches AWS any more; its visitors reach it as ever.
    second.aws.add(Rule::new(Fault::Reset));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(second.is_led_to().await);
    assert_ne!(spare.status()["role"], "owner");
    second.aws.lift();
    has_role(&mut owner, "owner").await;
    assert!(!first.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_launched_in_the_same_second_agree_on_one_owner() {
    let (first, _) = published(&Site::titled("twins")).await;
    let mut instances = vec![first];
    for _ in 0..2 {
        let twin = instances[0].successor().await;
        twin.imds.set_launched(instances[0].imds.launched());
        instances.push(twin);
    }
    let mut agents: Vec<Agent> = instances.iter().map(Instance::start).collect();
    let youngest = (0..3).max_by_key(|index| instances[*index].imds.instance_id().to_owned()).expect("three");
    has_role(&mut agents[youngest], "owner").await;
    for (index, agent) in agents.iter_mut().enumerate() {
        if index != youngest {
            agent
                .wait_for("aside", SOON, async |agent| {
                    agent.status()["role"] == "superseded" || agent.status()["role"] == "standby"
                })
                .await;
        }
    }
    let changes = instances[0].account.changes().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(instances[0].account.changes().await.len(), changes, "the name flaps");
    assert!(instances[youngest].is_led_to().await);
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
async fn rollout_ends_when_the_new_host_is_the_only_one() {
    let fleet = fleet(FleetKind::Spot, &Site::titled("rolled"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
    let config = old.instance.config_path().display().to_string();

    let program = env!("CARGO_PKG_VERSION");
    let ended = old.instance.command(&["rollout", "--config", &config, "--program", program, "--timeout", "2m"]).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("answers, and nobody else is left"), "{}", ended.stdout);
    assert!(ended.stderr.contains("the host before it serves those who still come"), "{}", ended.stderr);
    let new = fleet.owner_other_than(Some(&old), SOON).await;
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
    let fleet = fleet(FleetKind::Spot, &Site::titled("unrolled"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
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
