//! A fault outside passes, and the host heals by itself unless only a person can mend it.

use std::time::Duration;

use world::{Agent, Call, Fault, Load, Rule, Service, Site, eventually};

use crate::{SOON, front, published, serving};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_was_changed_by_hand_is_changed_back() {
    let (instance, _visitor, mut agent) = serving(&Site::titled("led")).await;
    let domain = instance.account.domain();
    instance.account.upsert(&domain, "A", 300, &["192.0.2.66"]).await;
    agent.wait_for("the address is back", SOON, async |_| instance.is_led_to().await).await;
    instance.account.delete_record(&domain, "A").await;
    eventually("the record is gone", SOON, async || instance.account.answers(&domain, "A").await.is_empty()).await;
    agent.wait_for("the record is back", SOON, async |_| instance.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_token_that_ends_in_mid_life_is_replaced() {
    let (instance, visitor) = published(&Site::titled("tokens")).await;
    // Credentials are asked for anew before every call, with the token that ends.
    instance.imds.limit_credentials_to(Duration::from_secs(5));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;

    let before = instance.imds.log().len();
    instance.imds.expire_tokens();
    agent
        .wait_for("a refused token, a new one, and answers", SOON, async |_| {
            let log = &instance.imds.log()[before..];
            let since_new = log.iter().rposition(|request| request.path == "/latest/api/token").map(|at| &log[at..]);
            let answered = |part: &str, status: u16| {
                since_new.is_some_and(|log| {
                    log.iter().any(|request| request.path.contains(part) && request.status == status)
                })
            };
            let refused = log.iter().any(|request| request.status == 401);
            refused && answered("instance-action", 404) && answered("security-credentials/host", 200)
        })
        .await;
    let calls = instance.aws.calls().len();
    agent.wait_for("calls of AWS go on", SOON, async |_| instance.aws.calls().len() > calls + 3).await;
    agent.wait_until_serving(SOON).await;
    assert!(front(&visitor).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_route_53_and_broken_s3_at_boot_heal() {
    let (instance, visitor) = published(&Site::titled("healed")).await;
    instance.aws.add(Rule::new(Fault::refuse(500, "InternalError")).of(Service::S3).times(5));
    instance.aws.add(Rule::new(Fault::refuse(400, "Throttling")).of(Service::Route53).times(5));
    instance.aws.add(Rule::new(Fault::refuse(400, "PriorRequestNotComplete")).on("ChangeResourceRecordSets").times(2));
    let mut agent = instance.start();
    agent.wait_until_serving(Duration::from_secs(60)).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("healed")));
    eventually("the domain leads here", SOON, async || instance.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_permission_is_shown_as_something_for_a_person() {
    let (instance, visitor) = published(&Site::titled("denied")).await;
    instance.aws.add(Rule::new(Fault::denied()).on("ChangeResourceRecordSets").about("_spothost"));
    let mut agent = instance.start();
    let for_a_person = |agent: &Agent| {
        let fault = agent.part("address")["fault"].clone();
        fault["cure"] == "operator" && fault["remedy"].as_str().is_some_and(|remedy| remedy.contains("route53:"))
    };
    agent.wait_for("a fault for a person", SOON, async |agent| for_a_person(agent)).await;
    assert!(front(&visitor).await.is_some(), "the site serves meanwhile");
    let shown = instance.command(&["status"]).await.stdout;
    assert!(shown.contains("route53:ChangeResourceRecordSets"), "status does not say what to do:\n{shown}");

    instance.aws.lift();
    agent.wait_for("the domain leads here", Duration::from_secs(60), async |_| instance.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answer_of_a_record_change_leaves_one_right_record() {
    let (instance, _) = published(&Site::titled("lost")).await;
    instance.aws.add(Rule::new(Fault::LoseAnswer).on("ChangeResourceRecordSets").about("_spothost").times(1));
    let mut agent = instance.start();
    agent.wait_until_serving(Duration::from_secs(60)).await;
    assert!(instance.is_led_to().await);
    let claims = instance.account.answers(&format!("_spothost.{}", instance.account.domain()), "TXT").await;
    assert_eq!(claims.len(), 1, "{claims:?}");
    assert!(claims[0].contains(instance.imds.instance_id()), "{claims:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn download_that_breaks_off_is_made_again() {
    let (instance, visitor) = published(&Site::of_files("whole", 40)).await;
    instance.aws.add(Rule::new(Fault::Cut(700)).on("GetObject").times(1));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("whole")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_metadata_service_is_waited_for() {
    let (instance, _) = published(&Site::titled("patient")).await;
    instance.imds.hang();
    let mut agent = instance.start();
    agent.wait_for("some requests", SOON, async |_| instance.imds.log().len() > 3).await;
    instance.imds.reset();
    let before = instance.imds.log().len();
    agent.wait_for("some more", SOON, async |_| instance.imds.log().len() > before + 3).await;
    instance.imds.speak();
    agent.wait_until_serving(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_that_fails_is_tried_again_and_certifies_once() {
    let (instance, _) = published(&Site::titled("certified")).await;
    instance.acme.add(Rule::new(Fault::refuse(503, "serverInternal")).on("newAccount").times(1));
    instance.acme.add(Rule::new(Fault::refuse_for(429, "rateLimited", 3)).on("newOrder").times(1));
    let mut agent = instance.start();
    agent.wait_until_serving(Duration::from_secs(90)).await;
    assert_eq!(instance.acme.accepted("finalize"), 1);
    let calls = instance.acme.calls();
    let orders: Vec<_> = calls.iter().filter(|call| call.operation == "newOrder").collect();
    assert_eq!(orders[0].status, Some(429));
    let pause = orders[1].started - orders[0].ended;
    assert!(pause >= Duration::from_secs(3), "the CA asked for 3 s and got {pause:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_the_ca_cost_no_second_certificate() {
    let (instance, _) = published(&Site::titled("certified")).await;
    instance.acme.add(Rule::new(Fault::LoseAnswer).on("newOrder").times(1));
    instance.acme.add(Rule::new(Fault::LoseAnswer).on("finalize").times(1));
    instance.acme.add(Rule::new(Fault::Cut(100)).on("certificate").times(1));
    let mut agent = instance.start();
    agent.wait_until_serving(Duration::from_secs(90)).await;
    // Pebble refuses some calls for their nonce, at random; those finalised nothing.
    let finalized = |call: &&Call| call.operation == "finalize" && call.carried.is_some_and(|status| status < 300);
    assert_eq!(
        instance.acme.calls().iter().filter(finalized).count(),
        1,
        "the order was finalised although its answer was lost"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_is_replaced_during_its_download_is_never_mixed() {
    let one = Site::of_files("one", 30);
    let two = Site::of_files("two", 30);
    let (instance, visitor) = published(&one).await;
    instance.aws.add(Rule::new(Fault::Delay(Duration::from_millis(800))).on("GetObject").times(1));
    let mut agent = instance.start();
    agent.wait_for_line("fetching", SOON).await;
    instance.account.put("site-latest.zip", two.zip()).await;
    agent
        .wait_for("the second site", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("two")))
        .await;
    let paths: Vec<_> = two.files().iter().map(|(name, _)| format!("/{name}")).collect();
    let answers = visitor.get_each(&paths, true).await.expect("every file");
    for ((name, body), answer) in two.files().iter().zip(answers) {
        assert_eq!(answer.body, *body, "{name}");
    }
    assert!(!agent.log().contains("refused"), "{}", agent.last_lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn younger_host_takes_the_name_and_the_older_one_stands_aside() {
    let (older, _visitor, mut agent) = serving(&Site::titled("claimed")).await;
    let younger = older.successor().await;
    let mut successor = younger.start();
    successor.wait_until_serving(SOON).await;
    assert!(younger.is_led_to().await);
    agent.wait_for("the older one steps back", SOON, async |agent| agent.status()["phase"] == "standing-aside").await;

    // Neither a look nor a restart of the older one changes that.
    let of_names = || older.aws.writes().iter().filter(|call| call.service == Service::Route53).count();
    let writes = of_names();
    agent.kill().await;
    let mut agent = older.start();
    agent.wait_for("it steps back again", SOON, async |agent| agent.status()["phase"] == "standing-aside").await;
    assert_eq!(of_names(), writes);
    assert!(younger.is_led_to().await);
    successor.wait_until_serving(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_package_is_swapped_in_under_load_and_no_request_fails() {
    let sites = [Site::of_files("one", 60), Site::of_files("two", 60)];
    let (instance, visitor, mut agent) = serving(&sites[0]).await;
    let mut pages = sites[0].pages();
    for (path, bodies) in sites[1].pages() {
        pages.entry(path).or_default().extend(bodies);
    }
    let load = Load::start(&visitor, 6, pages);
    for site in [&sites[1], &sites[0], &sites[1]] {
        let (name, body) = &site.files()[0];
        instance.account.put("site-latest.zip", site.zip()).await;
        agent
            .wait_for("the new site", SOON, async |_| {
                visitor.get(&format!("/{name}")).await.is_ok_and(|answer| answer.body == *body)
            })
            .await;
    }
    let tally = load.stop().await;
    assert_eq!((tally.failed, tally.refused), (0, 0), "{:?}", tally.failures);
    assert!(tally.answered > 100, "{}", tally.answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_go_down_cost_a_serving_host_no_request() {
    let site = Site::of_files("independent", 40);
    let (instance, visitor, mut agent) = serving(&site).await;
    let load = Load::start(&visitor, 4, site.pages());
    instance.aws.add(Rule::new(Fault::refuse(503, "SlowDown")));
    instance.imds.reset();
    for part in ["package", "address", "departure"] {
        agent.wait_for_phase(part, "degraded", SOON).await;
    }
    let answered = load.answered();
    eventually("visitors are served all the same", SOON, async || load.answered() > answered + 200).await;
    let tally = load.stop().await;
    assert_eq!((tally.failed, tally.refused), (0, 0), "{:?}", tally.failures);
    instance.aws.lift();
    instance.imds.speak();
    agent.wait_until_serving(Duration::from_secs(120)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_address_that_changes_is_followed() {
    let (instance, visitor, mut agent) = serving(&Site::titled("moved")).await;
    let other = world::own_address();
    instance.imds.set_public_ipv4(Some(other));
    // The proof that the host answers falls back to where it listens: no client reaches the new address here.
    let domain = instance.account.domain();
    agent
        .wait_for("the record follows", Duration::from_secs(90), async |_| {
            instance.account.answers(&domain, "A").await == [other.to_string()]
        })
        .await;
    assert!(front(&visitor).await.is_some());
}
