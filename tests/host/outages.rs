//! What hosts reach of AWS, of each other and of their visitors fails, and comes back.

use std::time::{Duration, Instant};

use world::{Call, Fault, Instance, Rule, Service, Site, eventually};

use crate::{
    SOON, front,
    hosts::{epoch, has_role, hurry, owner_and_spare, writes_of_names},
    published,
};

/// For how long a service is out. An hour and more are the model's.
const OUTAGE: Duration = Duration::from_secs(16);
/// What is throttled may be asked again after this.
const POLITE: u64 = 5;

fn since(instance: &Instance, begin: Instant, is: impl Fn(&Call) -> bool) -> usize {
    instance.aws.calls().iter().filter(|call| call.started > begin && is(call)).count()
}

/// A host to which the domain leads, looking often.
async fn owner() -> (Instance, world::Agent) {
    let (mut instance, _) = published(&Site::titled("owner")).await;
    hurry(&mut instance, "");
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    instance.wait_until_told(&mut agent, SOON).await;
    (instance, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_route_53_is_asked_rarely_and_the_record_is_right_soon_after() {
    let (instance, mut agent) = owner().await;
    let domain = instance.account.domain();
    let of_route_53 = |call: &Call| call.service == Service::Route53;
    let changes = |call: &Call| call.operation == "ChangeResourceRecordSets";
    type Is<'a> = &'a (dyn Fn(&Call) -> bool + Sync);
    let table: [(&str, Rule, Is<'_>); 2] = [
        ("all calls", Rule::new(Fault::refuse(400, "Throttling")).of(Service::Route53), &of_route_53),
        ("changes", Rule::new(Fault::refuse(400, "PriorRequestNotComplete")).on("ChangeResourceRecordSets"), &changes),
    ];
    for (what, rule, counted) in table {
        instance.aws.add(rule);
        let begin = Instant::now();
        instance.account.upsert(&domain, "A", 300, &["192.0.2.66"]).await;
        tokio::time::sleep(OUTAGE).await;
        let calls = since(&instance, begin, counted);
        assert!(calls as u64 <= OUTAGE.as_secs() / POLITE + 1, "{calls} calls in {OUTAGE:?}: {what}");
        assert!(calls > 1, "it does not try again: {what}");
        instance.aws.lift();
        agent.wait_for("the record is right", Duration::from_secs(10), async |_| instance.is_led_to().await).await;
        agent.wait_until_serving(SOON).await;
    }
    // At rest nothing is written.
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(since(&instance, begin, changes), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_leave_exactly_one_right_record() {
    let times = std::env::var("SPOTHOST_LOST_ANSWERS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let (instance, mut agent) = owner().await;
    let domain = instance.account.domain();
    for time in 0..times {
        let before = epoch(&instance.account).await;
        let lost = Rule::new(Fault::LoseAnswer).on("ChangeResourceRecordSets").times(1);
        instance.aws.add(lost);
        instance.account.upsert(&domain, "A", 300, &["192.0.2.66"]).await;
        agent.wait_for("it is mended", SOON, async |_| epoch(&instance.account).await > before).await;
        agent.wait_for("the record is right", SOON, async |_| instance.is_led_to().await).await;
        agent.wait_until_serving(SOON).await;
        let of_names = |kind: &str| {
            let kind = kind.to_owned();
            let records = instance.account.records();
            async move { records.await.into_iter().filter(|record| record.kind == kind).collect::<Vec<_>>() }
        };
        let addresses = of_names("A").await;
        let claims = of_names("TXT").await;
        let claims: Vec<_> = claims.iter().filter(|record| record.name.starts_with("_spothost")).collect();
        assert_eq!((addresses.len(), claims.len()), (1, 1), "time {time}: {addresses:?} {claims:?}");
        assert_eq!(addresses[0].values, [instance.address.to_string()], "time {time}");
        assert_eq!(epoch(&instance.account).await, before + 1, "time {time}: one batch was enough");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_route_53_is_tried_ever_more_rarely_and_the_site_serves() {
    let (instance, mut agent) = owner().await;
    instance.aws.add(Rule::new(Fault::denied()).on("ChangeResourceRecordSets"));
    let begin = Instant::now();
    instance.account.upsert(&instance.account.domain(), "A", 300, &["192.0.2.66"]).await;
    agent
        .wait_for("a fault for a person", SOON, async |agent| agent.part("address")["fault"]["cure"] == "operator")
        .await;
    tokio::time::sleep(OUTAGE).await;
    // One a second for the first five, then after 2, 4 and 8 seconds, each a fifth less at most.
    let tries = since(&instance, begin, |call| call.operation == "ChangeResourceRecordSets");
    assert!((4..=10).contains(&tries), "{tries} tries in {OUTAGE:?}");
    assert!(front(&instance.visitor()).await.is_some(), "the site serves meanwhile");
    assert!(!agent.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_sit_out_a_route_53_that_is_dead() {
    let (second, mut owner, first, mut spare) = owner_and_spare("then = \"stand-by\"\n").await;
    let dead = || Rule::new(Fault::Reset).of(Service::Route53);
    let writes = || writes_of_names(&first) + writes_of_names(&second);
    let before = writes();
    for host in [&first, &second] {
        host.aws.add(dead());
    }
    tokio::time::sleep(OUTAGE).await;
    let told = owner.status();
    assert_eq!((&told["role"], &told["role_confirmed"]), (&"owner".into(), &false.into()), "nobody can have read them");
    for host in [&first, &second] {
        assert!(front(&host.visitor()).await.is_some(), "both serve meanwhile");
    }
    for host in [&first, &second] {
        host.aws.lift();
    }
    for agent in [&mut owner, &mut spare] {
        agent
            .wait_for("the names are seen again", SOON, async |agent| {
                ["kept", "standing-aside"].iter().any(|phase| agent.part("address")["phase"] == *phase)
            })
            .await;
    }
    assert_eq!(writes(), before, "there was nothing to write");
    assert!(second.is_led_to().await);

    // A host that dies meanwhile is followed as soon as Route 53 is back.
    for host in [&first, &second] {
        host.aws.add(dead());
    }
    owner.kill().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    first.aws.lift();
    has_role(&mut spare, "owner").await;
    assert!(first.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spare_that_may_not_ask_ec2_goes_by_the_owners_silence() {
    let (second, owner, first, mut spare) = owner_and_spare("then = \"stand-by\"\n").await;
    first.aws.add(Rule::new(Fault::refuse(403, "UnauthorizedOperation")).of(Service::Ec2));
    owner.kill().await;
    first.account.end(second.imds.instance_id()).await;
    has_role(&mut spare, "owner").await;
    let log = spare.log();
    assert!(log.contains("which is gone"), "{log}");
    assert!(first.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_is_cut_off_from_aws_is_not_mistaken_for_a_silent_one() {
    let (second, mut owner, first, spare) = owner_and_spare("").await;
    // No call of the owner reaches AWS any more; its visitors reach it as ever.
    second.aws.add(Rule::new(Fault::Reset));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(owner.status()["role_confirmed"], false, "it cannot know");
    assert!(second.is_led_to().await);
    assert_ne!(spare.status()["role"], "owner");
    second.aws.lift();
    has_role(&mut owner, "owner").await;
    owner.wait_for("it knows again", SOON, async |agent| agent.status()["role_confirmed"] == true).await;
    assert!(!first.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_is_cut_off_from_everything_is_followed_and_never_takes_the_names_back() {
    let (mut first, _) = published(&Site::titled("reached")).await;
    hurry(&mut first, "then = \"stand-by\"\n");
    let mut spare = first.start();
    spare.wait_until_serving(SOON).await;
    let mut second = first.successor().await;
    hurry(&mut second, "then = \"stand-by\"\n");
    let gateway = second.behind_gateway().await;
    let mut owner = second.start();
    has_role(&mut owner, "owner").await;
    has_role(&mut spare, "superseded").await;

    gateway.cut();
    second.aws.add(Rule::new(Fault::Reset));
    has_role(&mut spare, "owner").await;
    assert!(first.is_led_to().await);

    let writes = writes_of_names(&second);
    gateway.mend();
    second.aws.lift();
    has_role(&mut owner, "superseded").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(writes_of_names(&second), writes, "it wrote");
    assert!(first.is_led_to().await);
    eventually("it stands by", SOON, async || owner.status()["role"] == "standby").await;
}
