//! An agent that ends again and again under load, on sockets that are held for it.

use std::{
    fs::File,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{Agent, Burden, Fault, Instance, Load, Rule, Site, Sockets, Tally, Visitor, eventually};
use tokio::task::JoinHandle;

/// How long anything may take here that should take a moment; other tests share the machine.
const SOON: Duration = Duration::from_secs(30);
/// Requests between two ends.
const BETWEEN: u64 = 40;

/// How an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By SIGKILL, in the middle of whatever it does.
    Killed,
    /// By SIGTERM, as when it is upgraded.
    Asked,
}

/// What came of it.
#[derive(Debug)]
pub struct Drilled {
    /// What the visitors saw.
    pub tally: Tally,
    /// For each end: from the moment that no process was there until a new visitor had the front page.
    pub gaps: Vec<Duration>,
    /// Calls to AWS that were to change something, and orders at the CA, after the first agent had served.
    pub changes: usize,
}

/// Ends the agent `times` times under the load of `visitors`, the second half of it cut off from its whole network.
pub async fn drill(ending: Ending, times: usize, visitors: usize) -> Drilled {
    let site = Site::of_files("restarted", 60).with("large.bin", vec![7; 300_000]);
    let instance = Instance::new().await;
    instance.account.put("site-latest.zip", site.zip()).await;
    let sockets = instance.sockets();
    let mut agent = instance.start_on(Some(&sockets));
    agent.wait_until_serving(SOON).await;
    instance.wait_until_told(&mut agent, SOON).await;
    let visitor = instance.visitor();
    let changes = || instance.aws.writes().len() + instance.acme.accepted("newOrder");
    let before = changes();

    let load = Load::start(&visitor, visitors, site.pages());
    let mut gaps = Vec::new();
    for turn in 0..times {
        if turn == times / 2 {
            agent.wait_until_serving(SOON).await;
            instance.aws.add(Rule::new(Fault::Hang));
            instance.imds.hang();
        }
        let answered = load.answered();
        eventually("the load goes on", SOON, async || load.answered() > answered + BETWEEN).await;
        let (next, gap) = again(ending, agent, &instance, &sockets, &visitor).await;
        agent = next;
        gaps.push(gap);
    }
    let tally = load.stop().await;
    instance.aws.lift();
    instance.imds.speak();
    agent.wait_until_serving(SOON).await;
    Drilled { tally, gaps, changes: changes() - before }
}

async fn again(
    ending: Ending,
    agent: Agent,
    instance: &Instance,
    sockets: &Sockets,
    visitor: &Visitor,
) -> (Agent, Duration) {
    match ending {
        Ending::Killed => agent.kill().await,
        Ending::Asked => assert_eq!(agent.stop().await, Some(0), "it ends well"),
    }
    let gone = Instant::now();
    let next = instance.start_on(Some(sockets));
    let page = visitor.get("/").await.expect("who waits is answered");
    let gap = gone.elapsed();
    assert_eq!(page.status, 200, "nobody is sent away\n{}", next.last_lines());
    (next, gap)
}

/// How long the file is that a slow reader takes: more than it gets while anything is looked at.
const LARGE: usize = 24 << 20;
/// New visitors who have to be answered while the slow reader still reads.
const BESIDE: usize = 20;

/// What came of restarts under a burden.
#[derive(Debug, Default)]
pub struct Burdened {
    /// For each restart, the longest time in which no new visitor had an answer.
    pub gaps: Vec<Duration>,
    /// For each restart, from SIGTERM to the end of the main process.
    pub ends: Vec<Duration>,
    /// New visitors who were answered from SIGTERM on, while the slow reader was still being served.
    pub answered: usize,
    /// What new visitors got instead of an answer.
    pub failures: Vec<String>,
    /// Slow readers who did not get all, and why.
    pub cut: Vec<String>,
    /// Calls to AWS that were to change something, and orders at the CA, after the first agent had served.
    pub changes: usize,
}

/// Restarts the agent `times` times, each time with a slow reader, a slow sender and an idle HTTP/2 connection.
pub async fn burdened(times: usize) -> Burdened {
    let large: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(LARGE).collect();
    let site = Site::titled("burdened").with("large.bin", large);
    let instance = Instance::new().await;
    instance.account.put("site-latest.zip", site.zip()).await;
    let unit = instance.unit();
    let mut agent = instance.start_in(&unit);
    agent.wait_until_serving(SOON).await;
    instance.wait_until_told(&mut agent, SOON).await;
    let visitor = instance.visitor();
    let changes = || instance.aws.writes().len() + instance.acme.accepted("newOrder");
    let before = changes();

    let mut burdened = Burdened::default();
    for _ in 0..times {
        let burden = Burden::lay(&visitor, "/large.bin").await;
        let newcomers = Newcomers::come(&visitor);
        eventually("new visitors are answered", SOON, async || newcomers.answered().len() > BESIDE).await;
        let told = Instant::now();
        let was = agent.serving_pid();
        assert_eq!(agent.stop().await, Some(0), "its main process ends well");
        burdened.ends.push(told.elapsed());
        agent = instance.start_in(&unit);
        agent.wait_until_serving(SOON).await;
        let since = Instant::now();
        let by_the_next = async || newcomers.answered().iter().filter(|at| **at > since).count() > BESIDE;
        eventually("new visitors are answered by the next", SOON, by_the_next).await;
        let answered = newcomers.leave(&mut burdened.failures).await;
        let beside: Vec<Instant> = answered.into_iter().filter(|at| *at > told).collect();
        burdened.answered += if burden.weighs() { beside.len() } else { 0 };
        let all = std::iter::once(told).chain(beside).collect::<Vec<_>>();
        burdened.gaps.push(all.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default());
        match burden.lift().await {
            Ok(LARGE) => {}
            Ok(length) => burdened.cut.push(format!("{length} bytes came")),
            Err(error) => burdened.cut.push(error),
        }
        let draining = File::open(instance.disk().join("run/draining")).expect("what is locked by who drains");
        eventually("the one before has ended", SOON, async || draining.try_lock().is_ok()).await;
        drop(draining);
        assert!(
            agent.serving_pid().is_some_and(|pid| Some(pid) != was),
            "the one before wrote its status over the next"
        );
    }
    burdened.changes = changes() - before;
    burdened
}

/// Visitors who come one after the other, each over a connection of its own.
struct Newcomers {
    answered: Arc<Mutex<Vec<Instant>>>,
    failed: Arc<Mutex<Vec<String>>>,
    coming: JoinHandle<()>,
}

impl Newcomers {
    fn come(visitor: &Visitor) -> Newcomers {
        let answered = Arc::<Mutex<Vec<_>>>::default();
        let failed = Arc::<Mutex<Vec<_>>>::default();
        let visitor = visitor.clone();
        let times = answered.clone();
        let failures = failed.clone();
        let coming = tokio::spawn(async move {
            loop {
                match visitor.get("/").await {
                    Ok(page) if page.status == 200 => times.lock().expect("no holder panics").push(Instant::now()),
                    Ok(page) => failures.lock().expect("no holder panics").push(page.status.to_string()),
                    Err(error) => failures.lock().expect("no holder panics").push(error),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Newcomers { answered, failed, coming }
    }

    fn answered(&self) -> Vec<Instant> {
        self.answered.lock().expect("no holder panics").clone()
    }

    /// When each was answered; `failures` are those who were not.
    async fn leave(self, failures: &mut Vec<String>) -> Vec<Instant> {
        self.coming.abort();
        let _ = self.coming.await;
        failures.append(&mut self.failed.lock().expect("no holder panics"));
        self.answered.lock().expect("no holder panics").clone()
    }
}
