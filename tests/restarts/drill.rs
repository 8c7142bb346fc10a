//! An agent that ends again and again under load, on sockets that are held for it.

use std::time::{Duration, Instant};

use world::{Agent, Fault, Instance, Load, Rule, Site, Sockets, Tally, Visitor, eventually};

/// How long anything may take here that should take a moment; other tests share the machine.
const SOON: Duration = Duration::from_secs(30);
/// Requests between two ends.
const BETWEEN: u64 = 40;

/// How an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By SIGKILL, in the middle of whatever it does.
    Killed,
    /// By SIGTERM, as when it is upgraded.
    Asked,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Drilled {
    /// What the visitors saw.
    pub(crate) tally: Tally,
    /// For each end: from the moment that no process was there until a new visitor had the front page.
    pub(crate) gaps: Vec<Duration>,
    /// Calls to AWS that were to change something, and orders at the CA, after the first agent had served.
    pub(crate) changes: usize,
}

/// Ends the agent `times` times under the load of `visitors`, the second half of it cut off from its whole network.
pub(crate) async fn drill(ending: Ending, times: usize, visitors: usize) -> Drilled {
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
