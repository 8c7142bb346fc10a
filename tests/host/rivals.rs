//! Several hosts that want the names at once: one has them, and they stay there.

use std::time::{Duration, Instant};

use world::{Agent, Instance, REGIONS, Site, eventually};

use crate::{
    SOON,
    hosts::{claim, epoch, has_role, hurry, moves_of_names, owner_and_spare, writes_of_names},
    published,
};

/// For how long nothing may move until all is taken for settled; a look is 300 ms.
const STILL: Duration = Duration::from_secs(5);
/// How long a host in a hurry lets another be silent.
const SILENCE: Duration = Duration::from_secs(3);

/// So many hosts with one package; the last two were launched in the same second, the others a minute before each other.
async fn rivals(many: usize) -> Vec<Instance> {
    let (first, _) = published(&Site::titled("rivals")).await;
    let mut instances = vec![first];
    while instances.len() < many {
        let next = instances[instances.len() - 1].successor().await;
        instances.push(next);
    }
    let second = instances[many - 2].imds.launched();
    instances[many - 1].imds.set_launched(second);
    for instance in &mut instances {
        hurry(instance, "then = \"stand-by\"\n");
    }
    instances
}

/// The youngest; of two launched in the same second the one with the greater id.
fn newest(instances: &[Instance]) -> usize {
    let key = |index: &usize| (instances[*index].imds.launched(), instances[*index].imds.instance_id().to_owned());
    (0..instances.len()).max_by_key(key).expect("some")
}

/// Waits until nothing has moved for a while.
async fn are_still(instances: &[Instance]) {
    let account = &instances[0].account;
    let begun = Instant::now();
    let mut changes = 0;
    let mut since = Instant::now();
    while since.elapsed() < STILL {
        let now = account.changes().await.len();
        if now != changes {
            (changes, since) = (now, Instant::now());
        }
        assert!(begun.elapsed() < SOON, "the names move on and on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_hosts_at_once_the_newest_gets_the_names_and_they_stay_there() {
    let instances = rivals(5).await;
    let newest = newest(&instances);
    let mut agents: Vec<Agent> = instances.iter().map(Instance::start).collect();
    has_role(&mut agents[newest], "owner").await;
    for (index, agent) in agents.iter_mut().enumerate().filter(|(index, _)| *index != newest) {
        let aside = async |agent: &Agent| ["superseded", "standby"].iter().any(|role| agent.status()["role"] == *role);
        agent.wait_for(&format!("host {index} stands aside"), SOON, aside).await;
    }
    are_still(&instances).await;
    assert!(instances[newest].is_led_to().await);
    let moves: Vec<_> = instances.iter().map(moves_of_names).collect();
    assert!(moves.iter().all(|moves| *moves <= 2), "{moves:?}");
    // Each of the others can be in the way of a host once with each move of its own.
    let asked: usize = instances.iter().map(writes_of_names).sum();
    assert!(asked <= moves.iter().sum::<usize>() * instances.len(), "{asked} for {moves:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spares_that_see_the_owner_die_at_once_agree_on_one() {
    let instances = rivals(4).await;
    let newest = newest(&instances);
    let mut agents: Vec<Option<Agent>> = instances.iter().map(|instance| Some(instance.start())).collect();
    for agent in agents.iter_mut().flatten() {
        agent
            .wait_for("all have their place", SOON, async |agent| {
                ["owner", "superseded", "standby"].iter().any(|role| agent.status()["role"] == *role)
            })
            .await;
    }
    eventually("the newest has the names", SOON, async || instances[newest].is_led_to().await).await;
    let before: Vec<_> = instances.iter().map(moves_of_names).collect();
    agents[newest].take().expect("it runs").kill().await;
    instances[0].account.end(instances[newest].imds.instance_id()).await;
    let owner = async || {
        let mut led = Vec::new();
        for (index, instance) in instances.iter().enumerate() {
            if instance.is_led_to().await {
                led.push(index);
            }
        }
        led
    };
    eventually("another has them", SOON, async || owner().await.iter().any(|index| *index != newest)).await;
    are_still(&instances).await;
    assert_eq!(owner().await.len(), 1);
    let moves: Vec<_> = instances.iter().zip(before).map(|(host, before)| moves_of_names(host) - before).collect();
    assert!(moves.iter().all(|moves| *moves <= 2), "{moves:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_is_edited_beside_several_hosts_is_mended_by_its_owner_alone() {
    let (second, mut owner, first, spare) = owner_and_spare("then = \"stand-by\"\n").await;
    let domain = second.account.domain();
    let before = writes_of_names(&first);
    second.account.upsert(&domain, "A", 300, &[&first.address.to_string()]).await;
    owner.wait_for("it is mended", SOON, async |_| epoch(&second.account).await > 2).await;
    assert!(second.is_led_to().await);
    let name = format!("_spothost.{domain}");
    second.account.delete_record(&name, "TXT").await;
    let me = second.imds.instance_id();
    owner.wait_for("it claims again", SOON, async |_| epoch(&second.account).await == 1).await;
    assert!(claim(&second.account).await.contains(me));
    has_role(&mut owner, "owner").await;
    assert!(second.is_led_to().await);
    assert_eq!(writes_of_names(&first), before, "the other one wrote: {}", spare.last_lines());
}

/// A host, and a younger one of the same domain in another region, which has the names.
async fn of_two_regions() -> (Instance, Agent, Instance, Agent) {
    let (mut first, _) = published(&Site::titled("regions")).await;
    hurry(&mut first, "");
    let mut older = first.start();
    older.wait_until_serving(SOON).await;
    let mut second = first.successor_in(REGIONS[1]).await;
    hurry(&mut second, "");
    let mut younger = second.start();
    has_role(&mut younger, "owner").await;
    has_role(&mut older, "superseded").await;
    (first, older, second, younger)
}

/// Nothing moves for several times as long as silence has to last.
async fn stays_with(owner: &Instance, others: &[&Instance]) {
    let before: Vec<_> = others.iter().map(|other| moves_of_names(other)).collect();
    let epoch = epoch(&owner.account).await;
    let begun = Instant::now();
    while begun.elapsed() < 3 * SILENCE {
        assert!(owner.is_led_to().await, "the names have moved: {}", claim(&owner.account).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(crate::hosts::epoch(&owner.account).await, epoch, "{}", claim(&owner.account).await);
    let after: Vec<_> = others.iter().map(|other| moves_of_names(other)).collect();
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_in_two_regions_follow_each_other_once_and_the_names_stay_there() {
    let (first, mut older, second, younger) = of_two_regions().await;
    let held = claim(&first.account).await;
    assert!(held.contains(&format!("in={}/{}", REGIONS[1], first.account.id)), "{held}");
    stays_with(&second, &[&first]).await;
    for agent in [&older, &younger] {
        assert!(!agent.log().contains("is gone"), "{}", agent.last_lines());
    }
    older.wait_for_line("holds the names (epoch", SOON).await;

    // One that does not answer is followed by silence alone, whatever the EC2 here knows; and comes back as a spare.
    younger.kill().await;
    has_role(&mut older, "owner").await;
    assert!(first.is_led_to().await);
    assert!(older.log().contains("which is gone"), "{}", older.last_lines());
    let mut back = second.start();
    back.wait_for("it stands aside", SOON, async |agent| agent.part("address")["phase"] == "standing-aside").await;
    stays_with(&first, &[&second]).await;
    assert!(
        !back.log().lines().any(|line| line.contains("after") && line.contains("is gone")),
        "{}",
        back.last_lines()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_ec2_does_not_know_or_calls_ended_keeps_the_names_as_long_as_it_answers() {
    let (owner, agent, first, spare) = owner_and_spare("").await;
    let id = owner.imds.instance_id();
    // As of one that was launched a moment ago.
    owner.account.forget(id).await;
    stays_with(&owner, &[&first]).await;
    // EC2 ends it, and it is still there: it answers its visitors.
    owner.account.remember(id).await;
    owner.account.end(id).await;
    stays_with(&owner, &[&first]).await;
    assert!(!spare.log().contains("is gone"), "{}", spare.last_lines());
    agent.kill().await;
    eventually("the spare follows", SOON, async || first.is_led_to().await).await;
}
