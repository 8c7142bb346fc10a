//! The application that a package brings: `spothost up` runs it, swaps it with the files, and ends it.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use http::Method;
use nix::sys::signal::{Signal, kill};
use world::{
    Agent, Numbered, Visitor,
    hosted::{Server, about, lives, pid, version},
    tools,
};

use super::plain;
use crate::{SOON, front, up::Laptop};

/// A site with an application of its own, on a laptop.
struct Owned {
    laptop: Laptop,
    server: Server,
}

impl Owned {
    fn new(server: Server) -> Owned {
        let laptop = Laptop::new();
        let tree = laptop.site().join(".app");
        fs::create_dir(&tree).expect("a folder");
        let of = tools::repository().join("tests/applications/owned");
        for file in ["app.py", "app.js"] {
            fs::copy(of.join(file), tree.join(file)).expect("a file of the application");
        }
        Owned { laptop, server }
    }

    /// Publishes that version: its front page and its application, in one change.
    fn publish(&self, version: &str, more: &str) {
        self.publish_running(&self.server.run(), version, more);
    }

    fn publish_running(&self, run: &str, version: &str, more: &str) {
        let notes = self.notes_file();
        let settings = format!(
            "[app]\nrun = '{run}'\nhealth = '/health'\n{more}\n[app.env]\nVERSION = '{version}'\nNOTES = '{}'\n",
            notes.display()
        );
        fs::write(self.laptop.site().join("site.toml"), settings).expect("written");
    }

    fn notes_file(&self) -> PathBuf {
        self.laptop.folder.path().join("notes")
    }

    /// What the application was sent, each as often as it was.
    fn notes(&self) -> HashMap<String, usize> {
        notes(&self.notes_file())
    }

    async fn up(&self) -> (Agent, Visitor) {
        let variables = [("CANARY", "of the agent".to_owned())];
        let (agent, visitor, _) = self.laptop.up_with(&self.laptop.site(), &[], &variables).await;
        (agent, visitor)
    }

    /// Starts with the first version, and waits until it answers.
    async fn started(&self) -> (Agent, Visitor) {
        self.publish("one", "");
        let (mut agent, visitor) = self.up().await;
        agent.wait_for("the application", SOON, async |_| version(&visitor).await.as_deref() == Some("one")).await;
        (agent, visitor)
    }
}

/// What an application has noted in that file, each line as often as it was.
fn notes(file: &Path) -> HashMap<String, usize> {
    let mut notes = HashMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        *notes.entry(line.to_owned()).or_default() += 1;
    }
    notes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_runs_the_application_of_the_site_with_its_listener_and_nothing_of_its_own_environment() {
    for server in [Server::Gunicorn, Server::Uvicorn, Server::Node] {
        let owned = Owned::new(server);
        let (agent, visitor) = owned.started().await;
        assert!(front(&visitor).await.is_some_and(|page| page.contains("first")), "files come first");
        let about = about(&visitor).await.expect("it answers");
        let environment = &about["environment"];
        assert_eq!(environment["CANARY"], serde_json::Value::Null, "{server:?}");
        assert_eq!(environment["SPOTHOST_DOMAIN"], "localhost");
        let listens = environment["LISTEN_PID"].as_str().map(str::to_owned);
        let leader = if server == Server::Gunicorn { "parent" } else { "pid" };
        // gunicorn takes these variables out of its workers' environment.
        assert!(listens.is_none_or(|listens| listens == pid(&about, leader).to_string()), "{about}");
        let folder = PathBuf::from(about["folder"].as_str().expect("a folder"));
        assert!(folder.join("app.py").exists() && fs::write(folder.join("x"), "").is_err() != is_root(), "{about}");
        for path in ["/.app/app.py", "/%2eapp/app.py", "/site.toml"] {
            let answer = visitor.send(plain(Method::GET, path), true).await.expect("an answer");
            assert_eq!((answer.status.as_u16(), answer.text().contains("import")), (404, false), "{path}");
        }
        let leader = pid(&about, leader);
        assert_eq!(agent.stop().await, Some(0), "{server:?}");
        assert!(!lives(leader) && !lives(pid(&about, "pid")), "{server:?}: it ends with the agent");
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_version_takes_the_place_of_the_old_one_without_a_lost_request() {
    for (server, swap) in [
        (Server::Gunicorn, "beside"),
        (Server::Gunicorn, "in-place"),
        (Server::Uvicorn, "beside"),
        (Server::Uvicorn, "in-place"),
        (Server::Node, "in-place"),
    ] {
        let owned = Owned::new(server);
        let (mut agent, visitor) = owned.started().await;
        let first = pid(&about(&visitor).await.expect("it answers"), "pid");
        let load = Numbered::start(&visitor, 6);
        for version_now in ["two", "three"] {
            owned.publish(version_now, &format!("swap = '{swap}'"));
            owned.laptop.write(version_now);
            agent
                .wait_for("the new version", SOON, async |_| version(&visitor).await.as_deref() == Some(version_now))
                .await;
            agent
                .wait_for("its page", SOON, async |_| {
                    front(&visitor).await.is_some_and(|page| page.contains(version_now))
                })
                .await;
        }
        agent.wait_for("requests", SOON, async |_| load.answered() > 50).await;
        let seen = load.end().await;
        seen.was_flawless(&owned.notes_file());
        println!("{server:?} {swap}: {} requests, the longest took {:?}", seen.sent, seen.longest);
        agent.wait_for("the end of the first", SOON, async |_| !lives(first)).await;
    }
}

/// Its client comes back, and finds the new version (RFC 6455 §7.4.1: 1001, going away).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_and_event_stream_end_in_good_order_when_their_version_goes() {
    for swap in ["beside", "in-place"] {
        let owned = Owned::new(Server::Uvicorn);
        owned.publish("one", "websocket = true");
        let (mut agent, visitor) = owned.up().await;
        agent.wait_for("the application", SOON, async |_| version(&visitor).await.as_deref() == Some("one")).await;
        let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
        let key = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==";
        let opening = format!("GET /socket HTTP/1.1\r\nHost: localhost:8443\r\n{fields}\r\n{key}\r\n\r\n");
        let socket = {
            let visitor = visitor.clone();
            tokio::spawn(async move { visitor.exchange(opening.as_bytes()).await })
        };
        let events = {
            let visitor = visitor.clone();
            let request = "GET /events HTTP/1.1\r\nHost: localhost:8443\r\nConnection: close\r\n\r\n";
            tokio::spawn(async move { visitor.exchange(request.as_bytes()).await })
        };
        agent.wait_for("the WebSocket", SOON, async |_| owned.notes().contains_key("accepted")).await;
        agent.wait_for("the events", SOON, async |_| owned.notes().contains_key("streams")).await;
        owned.publish("two", &format!("websocket = true\nswap = '{swap}'"));
        agent.wait_for("the next one", SOON, async |_| version(&visitor).await.as_deref() == Some("two")).await;
        let seen = socket.await.expect("no panic").expect("the connection ends");
        assert!(seen.starts_with(b"HTTP/1.1 101 "), "{swap}: {}", String::from_utf8_lossy(&seen));
        assert!(seen.ends_with(&[0x88, 2, 0x03, 0xE9]), "{swap}: {:?}", String::from_utf8_lossy(&seen));
        let events = events.await.expect("no panic").expect("the connection ends");
        let text = String::from_utf8_lossy(&events);
        assert!(text.ends_with("data: 1\n\n\r\n0\r\n\r\n"), "{swap}: {text}");
        for end in ["closed with 1001", "streams no more"] {
            agent.wait_for(end, SOON, async |_| owned.notes().contains_key(end)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_that_is_not_well_changes_nothing() {
    for swap in ["beside", "in-place"] {
        let owned = Owned::new(Server::Gunicorn);
        let (mut agent, visitor) = owned.started().await;
        let load = Numbered::start(&visitor, 6);
        let broken = [
            ("surely_no_module", format!("{} -m surely_no_module", python())),
            ("was not found", "surely-not-installed --port 1".to_owned()),
        ];
        for (why, run) in broken {
            owned.publish_running(&run, "broken", &format!("swap = '{swap}'\nready = '5s'"));
            agent.wait_for("the fault", SOON, async |agent| agent.log().contains(why)).await;
            assert_eq!(version(&visitor).await.as_deref(), Some("one"), "{swap}, {why}");
        }
        owned.publish_unwell(swap);
        agent
            .wait_for("the fault", SOON, async |agent| {
                let said = agent.log();
                said.contains("/health answers 500") && said.contains("health of unwell")
            })
            .await;
        assert_eq!(version(&visitor).await.as_deref(), Some("one"), "{swap}");
        owned.publish_gated("broken gate", swap, "'/missing' = 200\n");
        agent
            .wait_for("the fault", SOON, async |agent| agent.log().contains("[gate] \"/missing\" answers 404, not 200"))
            .await;
        assert_eq!(version(&visitor).await.as_deref(), Some("one"), "{swap}");
        load.end().await.was_flawless(&owned.notes_file());
        let gate = "'/about' = { header = { content-type = 'text/plain' }, contains = 'two' }\n'/health' = 200\n";
        owned.publish_gated("two", swap, gate);
        agent.wait_for("the next one", SOON, async |_| version(&visitor).await.as_deref() == Some("two")).await;
    }
}

impl Owned {
    /// Publishes a version with that gate.
    fn publish_gated(&self, version: &str, swap: &str, gate: &str) {
        self.publish(version, &format!("swap = '{swap}'\nready = '6s'"));
        let file = self.laptop.site().join("site.toml");
        let settings = fs::read_to_string(&file).expect("the settings");
        fs::write(&file, format!("{settings}[gate]\n{gate}")).expect("written");
    }

    /// Publishes a version whose health is bad.
    fn publish_unwell(&self, swap: &str) {
        self.publish("unwell", &format!("swap = '{swap}'\nready = '6s'"));
        let file = self.laptop.site().join("site.toml");
        let settings = fs::read_to_string(&file).expect("the settings");
        fs::write(&file, format!("{settings}HEALTH = '500'\n")).expect("written");
    }
}

fn python() -> String {
    tools::tool("apps/bin/python").display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_is_killed_is_started_again_while_requests_wait_and_files_are_served() {
    let owned = Owned::new(Server::Node);
    let (mut agent, visitor) = owned.started().await;
    for round in 0..3 {
        let before = pid(&about(&visitor).await.expect("it answers"), "pid");
        kill(before, Signal::SIGKILL).expect("killed");
        agent.wait_for("its end", SOON, async |_| !lives(before)).await;
        assert!(front(&visitor).await.is_some(), "files are served meanwhile");
        let answer = visitor.send(plain(Method::POST, &format!("/work?after-{round}")), true).await.expect("an answer");
        assert_eq!(answer.status, 200, "round {round}: it waited: {answer:?}");
        assert_ne!(pid(&about(&visitor).await.expect("it answers"), "pid"), before);
    }
    assert!((0..3).all(|round| owned.notes().get(&format!("after-{round}")) == Some(&1)), "{:?}", owned.notes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_does_not_outlive_an_agent_that_is_killed() {
    let owned = Owned::new(Server::Gunicorn);
    let (agent, visitor) = owned.started().await;
    let about = about(&visitor).await.expect("it answers");
    agent.kill().await;
    let until = Instant::now() + SOON;
    while lives(pid(&about, "pid")) || lives(pid(&about, "parent")) {
        assert!(Instant::now() < until, "it lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_served_though_the_application_does_not_start_and_it_is_said_why() {
    let owned = Owned::new(Server::Gunicorn);
    owned.publish_running(&format!("{} -m surely_no_module", python()), "one", "ready = '20s'");
    let (mut agent, visitor) = owned.up().await;
    agent.wait_for("the files", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("first"))).await;
    agent.wait_for("why", SOON, async |agent| agent.log().contains("No module named surely_no_module")).await;
    // The mended one takes its place.
    owned.publish("two", "");
    agent.wait_for("the application", SOON, async |_| version(&visitor).await.as_deref() == Some("two")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_listens_at_a_port_or_at_a_socket_where_its_command_says_so() {
    let table = [
        ("port", format!("{} -m gunicorn app:application --bind 127.0.0.1:$PORT", python())),
        ("socket", format!("{} -m gunicorn app:application --bind unix:$SOCKET", python())),
        ("port", format!("{} app.js $PORT", tools::tool("apps/bin/node").display())),
    ];
    for (listen, run) in table {
        let owned = Owned::new(Server::Gunicorn);
        owned.publish_running(&run, "one", &format!("listen = '{listen}'"));
        let (mut agent, visitor) = owned.up().await;
        agent.wait_for("the application", SOON, async |_| version(&visitor).await.as_deref() == Some("one")).await;
        owned.publish_running(&run, "two", &format!("listen = '{listen}'\nswap = 'in-place'"));
        agent.wait_for("the next one", SOON, async |_| version(&visitor).await.as_deref() == Some("two")).await;
        assert_eq!(about(&visitor).await.expect("it answers")["environment"]["LISTEN_FDS"], serde_json::Value::Null);
    }
}
