//! The application that a package brings, on a host: a runner of its own starts it behind a wall, and ends with the connection.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use http::Method;
use nix::sys::signal::{Signal, kill};
use time::OffsetDateTime;
use toml::Value;
use world::{
    Agent, Instance, Numbered, Runners,
    hosted::{Hosted, Server, about, lives, pid, version},
    tools,
};

use super::plain;
use crate::{SOON, front};

/// How runners are started for the connections to a socket.
type Start = fn(&Path) -> Runners;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_runs_the_application_behind_a_wall_and_swaps_it_without_a_lost_request() {
    for (server, swap) in [(Server::Gunicorn, "beside"), (Server::Gunicorn, "in-place"), (Server::Node, "auto")] {
        let hosted = Hosted::new(server, Runners::start).await;
        hosted.publish("one", "").await;
        let mut agent = hosted.instance.start();
        hosted.answers(&mut agent, "one").await;
        let about = about(&hosted.visitor).await.expect("it answers");
        assert_eq!(about["environment"]["WEB_CONCURRENCY"], "2", "{about}");
        assert_eq!(about["environment"]["SPOTHOST_DOMAIN"], hosted.instance.account.domain(), "{about}");
        assert_eq!(about["environment"]["AWS_ACCESS_KEY_ID"], serde_json::Value::Null, "{about}");
        let folder = PathBuf::from(about["folder"].as_str().expect("a folder"));
        assert!(folder.starts_with("/var/tmp"), "on disk: {}", folder.display());
        let first = pid(&about, "pid");

        agent.wait_until_serving(SOON).await;
        assert!(hosted.instance.is_led_to().await);

        let load = Numbered::start(&hosted.visitor, 6);
        for next in ["two", "three"] {
            hosted.publish(next, &format!("swap = '{swap}'")).await;
            hosted.answers(&mut agent, next).await;
            agent
                .wait_for("its page", SOON, async |_| {
                    front(&hosted.visitor).await.is_some_and(|page| page.contains(next))
                })
                .await;
        }
        agent.wait_for("requests", SOON, async |_| load.answered() > 50).await;
        let seen = load.end().await;
        seen.was_flawless(&hosted.notes_file());
        println!("{server:?} {swap}: {} requests, the longest took {:?}", seen.sent, seen.longest);
        agent.wait_for("the end of the first", SOON, async |_| !lives(first)).await;
        agent.wait_for("the end of its runner", SOON, async |_| hosted.runners.running() == 1).await;
        agent.wait_for("its folder to go", SOON, async |_| !folder.exists()).await;

        let last = pid(&world::hosted::about(&hosted.visitor).await.expect("it answers"), "pid");
        agent.stop().await;
        let until = Instant::now() + SOON;
        while lives(last) || hosted.runners.running() > 0 {
            assert!(Instant::now() < until, "it outlives the agent");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_that_is_killed_and_one_whose_runner_is_killed_come_back_while_requests_wait() {
    let hosted = Hosted::new(Server::Node, Runners::start).await;
    hosted.publish("one", "").await;
    let mut agent = hosted.instance.start();
    hosted.answers(&mut agent, "one").await;
    for (round, what) in ["application", "runner"].into_iter().enumerate() {
        let before = pid(&about(&hosted.visitor).await.expect("it answers"), "pid");
        if what == "runner" {
            assert_eq!(hosted.runners.kill(), 1);
        } else {
            kill(before, Signal::SIGKILL).expect("killed");
        }
        agent.wait_for("its end", SOON, async |_| !lives(before)).await;
        assert!(front(&hosted.visitor).await.is_some(), "files are served meanwhile");
        let answer = hosted.visitor.send(plain(Method::POST, &format!("/work?after-{round}")), true).await;
        assert_eq!(answer.expect("an answer").status, 200, "{what}: it waited");
        assert_ne!(pid(&about(&hosted.visitor).await.expect("it answers"), "pid"), before, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_that_fills_its_disk_is_ended_and_told_apart_from_one_that_crashes() {
    let hosted = Hosted::new(Server::Node, Runners::start_on_a_small_disk).await;
    hosted.publish("one", "").await;
    let mut agent = hosted.instance.start();
    hosted.answers(&mut agent, "one").await;
    let before = pid(&about(&hosted.visitor).await.expect("it answers"), "pid");
    let little = hosted.visitor.send(plain(Method::POST, "/fill?8"), true).await.expect("an answer");
    assert_eq!(little.text(), "wrote 8");
    assert!(lives(before));
    let _ = hosted.visitor.send(plain(Method::POST, "/fill?40"), true).await;
    let says = async |agent: &Agent| agent.log().contains("it took more of the disk than it may");
    agent.wait_for("why it ended", SOON, says).await;
    hosted.answers(&mut agent, "one").await;
    assert!(!lives(before), "another process, with room again");
    assert_eq!(hosted.runners.running(), 1, "of the same runner");
    let again = hosted.visitor.send(plain(Method::POST, "/fill?8"), true).await.expect("an answer");
    assert_eq!(again.text(), "wrote 8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_is_not_begun_without_a_wall_and_the_names_stay_at_a_host_whose_application_answers() {
    let first = Hosted::new(Server::Node, Runners::start).await;
    first.publish("one", "").await;
    let mut agent = first.instance.start();
    first.answers(&mut agent, "one").await;
    agent.wait_until_serving(SOON).await;
    let walls: [(Start, _); 2] = [
        (Runners::start_unwalled, "could reach 169.254.169.254"),
        (Runners::start_unconnected, "no filter that keeps the application"),
    ];
    for (round, (start, why)) in walls.into_iter().enumerate() {
        let mut instance = Instance::launch(&first.instance.account).await;
        instance.configuration.insert("acme".to_owned(), first.instance.configuration["acme"].clone());
        let later = Duration::from_secs(60 * (round as u64 + 1));
        instance.imds.set_launched(OffsetDateTime::now_utc() + later);
        let second = Hosted::on(instance, Server::Node, start);
        let mut agent = second.instance.start();
        let files = async |_: &Agent| front(&second.visitor).await.is_some_and(|page| page.contains("one"));
        agent.wait_for("the files", SOON, files).await;
        agent
            .wait_for("why", SOON, async |agent| {
                let said = agent.part("application").to_string();
                said.contains(why) && said.contains("spothost-app@.service")
            })
            .await;
        assert!(version(&second.visitor).await.is_none());
        let waits = async |agent: &Agent| agent.part("listener")["waits_for"] == "the application";
        agent.wait_for("the listener to wait for the application", SOON, waits).await;
        assert!(first.instance.is_led_to().await && !second.instance.is_led_to().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_without_runners_serves_the_files_and_says_which_units_are_missing() {
    let mut hosted = Hosted::new(Server::Node, Runners::start).await;
    let none = hosted.instance.config_path().with_file_name("none.sock").display().to_string();
    hosted.instance.configuration["app"]["runner"] = Value::String(none);
    hosted.publish("one", "").await;
    let mut agent = hosted.instance.start();
    let says = async |agent: &Agent| agent.part("application").to_string().contains("spothost-app.socket");
    agent.wait_for("what is missing", SOON, says).await;
    let files = async |_: &Agent| front(&hosted.visitor).await.is_some_and(|page| page.contains("one"));
    agent.wait_for("the files", SOON, files).await;
    let waits = async |agent: &Agent| agent.part("listener")["waits_for"] == "the application";
    agent.wait_for("the listener to wait for the application", SOON, waits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_runs_a_command_beside_the_application_and_sees_how_it_does() {
    let hosted = Hosted::new(Server::Node, Runners::start).await;
    hosted.publish("one", "").await;
    let mut agent = hosted.instance.start();
    hosted.answers(&mut agent, "one").await;
    agent.wait_for_phase("application", "kept", SOON).await;
    let shown = hosted.instance.command(&["app", "status"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("application") && shown.stdout.contains("app.js"), "{}", shown.stdout);

    let folder = about(&hosted.visitor).await.expect("it answers")["folder"].as_str().map(PathBuf::from);
    let config = hosted.instance.config_path().display().to_string();
    let script = "test -f app.js && echo \"$VERSION in $PWD for $SPOTHOST_DOMAIN\" && echo wrong >&2; exit 3";
    let ran = hosted.instance.command(&["app", "run", "--config", &config, "--", "sh", "-c", script]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let said = format!("for {}\n", hosted.instance.account.domain());
    assert!(ran.stdout.starts_with("one in /var/tmp/") && ran.stdout.ends_with(&said), "{}", ran.stdout);
    assert_eq!(ran.stderr.trim(), "wrong");
    let beside = ran.stdout.split(' ').nth(2).map(PathBuf::from);
    assert!(beside.is_some() && beside != folder, "in folders of its own: {ran:?}");
    let missing = hosted.instance.command(&["app", "run", "--config", &config, "--", "surely-not-installed"]).await;
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert_eq!(version(&hosted.visitor).await.as_deref(), Some("one"), "the application goes on");
}

/// In the small what systemd does with what an agent stores: its next process has it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_does_not_notice_that_its_agent_is_killed_or_restarted() {
    for server in [Server::Gunicorn, Server::Node] {
        let hosted = Hosted::new(server, Runners::start).await;
        hosted.publish("one", "").await;
        let unit = hosted.instance.unit();
        let mut agent = hosted.instance.start_in(&unit);
        hosted.answers(&mut agent, "one").await;
        // What it tells first it stores first.
        agent.wait_until_serving(SOON).await;
        let before = pid(&about(&hosted.visitor).await.expect("it answers"), "parent");
        for restarts in [false, true] {
            if restarts {
                agent.stop().await;
            } else {
                agent.kill().await;
            }
            agent = hosted.instance.start_in(&unit);
            // The application answers the connections in the queue of the socket at once.
            let first = hosted.visitor.send(plain(Method::POST, "/work?first"), true).await.expect("an answer");
            assert_eq!(first.status, 200, "{server:?}, restarts: {restarts}: {first:?}");
            hosted.answers(&mut agent, "one").await;
            let now = about(&hosted.visitor).await.expect("it answers");
            assert_eq!(pid(&now, "parent"), before, "{server:?}, restarts: {restarts}: {}", agent.log());
            assert_eq!(hosted.runners.running(), 1);
        }
        hosted.publish("two", "swap = 'in-place'").await;
        hosted.answers(&mut agent, "two").await;
        agent.wait_for("the end of the first", SOON, async |_| !lives(before)).await;
        agent.wait_for("the end of its runner", SOON, async |_| hosted.runners.running() == 1).await;

        // Another version while there is no agent: the one that runs ends, and the new one follows.
        let second = pid(&about(&hosted.visitor).await.expect("it answers"), "parent");
        agent.kill().await;
        hosted.publish("three", "").await;
        agent = hosted.instance.start_in(&unit);
        hosted.answers(&mut agent, "three").await;
        agent.wait_for("the end of the second", SOON, async |_| !lives(second)).await;
        agent.wait_for("the end of its runner", SOON, async |_| hosted.runners.running() == 1).await;
        agent.stop().await;
        assert_eq!(hosted.runners.running(), 1, "it goes on while its unit lives");
        if server == Server::Node {
            drop(unit);
        } else {
            // A host that is to run no application any more ends the one that there is.
            let mut hosted_no_more = hosted.instance;
            hosted_no_more.configuration.remove("app");
            let _agent = hosted_no_more.start_in(&unit);
            ended(&hosted.runners).await;
            continue;
        }
        ended(&hosted.runners).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_whose_process_does_not_start_is_neither_kept_nor_good_and_a_new_host_takes_the_one_before() {
    let hosted = Hosted::new(Server::Node, Runners::start).await;
    let account = &hosted.instance.account;
    let good = hosted.publish("one", "").await;
    let unit = hosted.instance.unit();
    let mut agent = hosted.instance.start_in(&unit);
    hosted.answers(&mut agent, "one").await;
    agent.wait_until_serving(SOON).await;
    hosted.instance.wait_until_told(&mut agent, SOON).await;
    assert_eq!(account.verdict(&good).await.expect("a verdict")["verdict"], "good");
    let before = pid(&about(&hosted.visitor).await.expect("it answers"), "pid");

    let run = format!("{} surely-no-file.js", tools::tool("apps/bin/python").display());
    let broken = hosted.publish_running(&run, "broken", "ready = '3s'").await;
    let failed = async |agent: &Agent| agent.part("application").to_string().contains("surely-no-file.js");
    agent.wait_for("the fault", SOON, failed).await;
    // An agent that is started again begins with the one that is well.
    agent.kill().await;
    agent = hosted.instance.start_in(&unit);
    agent.wait_for("the fault again", SOON, failed).await;
    assert_eq!(pid(&about(&hosted.visitor).await.expect("it answers"), "pid"), before, "{}", agent.log());
    assert!(front(&hosted.visitor).await.is_some_and(|page| page.contains("one")));
    assert_eq!(account.verdict(&broken).await, None);

    // A new one has nothing to go on with: it serves the files, and then the version before, as a whole.
    let mut instance = Instance::launch(account).await;
    instance.configuration.insert("acme".to_owned(), hosted.instance.configuration["acme"].clone());
    instance.imds.set_launched(OffsetDateTime::now_utc() + Duration::from_secs(60));
    let second = Hosted::on(instance, Server::Node, Runners::start);
    let mut next = second.instance.start();
    second.answers(&mut next, "one").await;
    assert!(front(&second.visitor).await.is_some_and(|page| page.contains("one")));
    let told = async |agent: &Agent| {
        let said = agent.part("package").to_string();
        said.contains("surely-no-file.js") && said.contains("an older version")
    };
    next.wait_for("why it serves no newer one", SOON, told).await;
    assert_eq!(account.verdict(&broken).await, None, "other hosts try it themselves");
    // The next one that is well ends it.
    second.publish("two", "").await;
    second.answers(&mut next, "two").await;
}

/// Waits until no runner is left.
async fn ended(runners: &Runners) {
    let until = Instant::now() + SOON;
    while runners.running() > 0 {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
