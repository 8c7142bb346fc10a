//! The keeper, over a route that is a claim and nothing else.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::watch,
    time::{advance, timeout},
};

use super::*;
use crate::{
    aws::{Host, host::tests::host, memory::Memory},
    claim::{RoutedHere, Takeover},
    fleet::{AtRest, FleetClient},
    listener::{Answering, PlaceholderState},
};

/// What there is of the route, and what was done to it.
#[derive(Default)]
struct World {
    claim: Option<Claim>,
    looks: u32,
    carried_out: Vec<String>,
    departed: Vec<String>,
}

struct OnlyAClaim(Arc<Mutex<World>>);

impl Route for OnlyAClaim {
    type Found = Option<Claim>;
    type Change = String;
    const ALONE: bool = true;
    const OWN_ADDRESS: bool = true;

    async fn look(&mut self, _: &NameService, _: &RoutingInputs) -> Result<Option<Claim>, Fault> {
        let mut world = self.0.lock().expect("unpoisoned");
        world.looks += 1;
        Ok(world.claim.clone())
    }

    fn claim(_: &NameService, found: &Option<Claim>) -> Option<Claim> {
        found.clone()
    }

    async fn heard(_: &NameService, _: &RoutingInputs, _: &Option<Claim>, _: &Claim) -> Heard {
        Heard::Nothing
    }

    fn plan(wanted: &DesiredRouting<'_>, found: &Option<Claim>) -> RoutingPlan<String> {
        match (wanted.takeover(found.as_ref()), found) {
            (Takeover::StandAside, Some(claim)) => RoutingPlan::StandAside(claim.clone()),
            (Takeover::Hold, Some(claim)) => RoutingPlan::Leads(wanted.held("here".to_owned(), claim)),
            _ => RoutingPlan::Change(format!("package {:?}, certified: {}", wanted.package, wanted.certified)),
        }
    }

    fn besides(_: &DesiredRouting<'_>, _: &Option<Claim>) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    async fn carry_out(
        &mut self,
        _: &Aws,
        _: &NameService,
        _: &DesiredRouting<'_>,
        change: String,
    ) -> Result<(), Fault> {
        self.0.lock().expect("unpoisoned").carried_out.push(change);
        Ok(())
    }

    async fn depart(&mut self, _: &Aws, _: &NameService, instance: &str) -> Result<(), Fault> {
        self.0.lock().expect("unpoisoned").departed.push(instance.to_owned());
        Ok(())
    }

    fn why(change: &String) -> &str {
        change
    }

    fn holding(held: &Routing) -> String {
        held.to_string()
    }
}

/// Where the other parts yield.
pub(super) struct Given {
    pub(super) aws: watch::Sender<Option<Aws>>,
    pub(super) host: watch::Sender<Option<Host>>,
    pub(super) answering: watch::Sender<Option<Answering>>,
    pub(super) waiting: watch::Sender<Option<PlaceholderState>>,
}

impl Given {
    /// Nothing yet; and what takes it.
    pub(super) fn new() -> (Given, RoutingSources) {
        let config = config();
        let (aws, from_aws) = watch::channel(None);
        let (host, from_host) = watch::channel(None);
        let (answering, from_answering) = watch::channel(None);
        let (waiting, from_waiting) = watch::channel(None);
        let names = NameService::of(&config).expect("a zone");
        let fleets = FleetClient::new(&config, names, from_aws.clone(), from_host.clone());
        let sources = RoutingSources {
            aws: from_aws,
            host: from_host,
            answering: from_answering,
            waiting: from_waiting,
            at_rest: AtRest::new(fleets, config.look.address),
        };
        (Given { aws, host, answering, waiting }, sources)
    }
}

fn config() -> Config {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = "domain = \"www.example.org\"\npackage = \"s3://example-sites/www/\"\n\
                vault = \"www.example.org/identity\"\nzone = \"Z0123456789ABC\"\n[fleet]\ntarget = 1\n";
    file.write_all(text.as_bytes()).expect("it is written");
    Config::load(file.path()).expect("valid")
}

/// A keeper of a host that answers with the package `a`.
async fn keeper() -> (Given, Arc<Mutex<World>>, Router<OnlyAClaim>) {
    let (given, sources) = Given::new();
    given.aws.send_replace(Some(Memory::default().aws().await));
    given.host.send_replace(Some(host("i-me", 5)));
    given.answering.send_replace(Some(Answering::with("a")));
    let config = config();
    let world = Arc::new(Mutex::new(World::default()));
    let names = NameService::of(&config).expect("a zone");
    (given, world.clone(), Router::new(&config, names, OnlyAClaim(world), sources))
}

#[tokio::test(start_paused = true)]
async fn what_is_done_follows_from_what_was_yielded_when_the_look_began() {
    let (given, world, mut keeper) = keeper().await;
    let seen = keeper.observe().await.expect("a look");
    given.answering.send_replace(None);
    given.host.send_replace(None);
    let Judgement::Drifted { drift, .. } = keeper.judge(seen) else { panic!("nobody claims it") };
    given.answering.send_replace(Some(Answering::with("b")));
    keeper.converge(drift).await.expect("it is claimed");
    assert_eq!(world.lock().expect("unpoisoned").carried_out, ["package \"a\", certified: true"]);
}

#[tokio::test(start_paused = true)]
async fn early_look_serves_a_host_that_answers_soon_and_no_other() {
    for (answers_after, looks) in [(8, 1), (11, 2)] {
        let (given, world, mut keeper) = keeper().await;
        given.answering.send_replace(None);
        // Until it is woken by nothing any more.
        while timeout(Duration::from_secs(1), keeper.woken()).await.is_ok() {}
        assert_eq!(world.lock().expect("unpoisoned").looks, 1);
        advance(Duration::from_secs(answers_after)).await;
        given.answering.send_replace(Some(Answering::with("a")));
        let seen = keeper.observe().await.expect("a look");
        assert_eq!(world.lock().expect("unpoisoned").looks, looks, "after {answers_after} s");
        let Judgement::Drifted { drift, .. } = keeper.judge(seen) else { panic!("nobody claims it") };
        assert_eq!(drift.change, "package \"a\", certified: true", "it has a certificate by now");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_too_long_ago_is_no_reason_to_do_anything() {
    for (after, done) in [(60, true), (61, false)] {
        let (_given, world, mut keeper) = keeper().await;
        let seen = keeper.observe().await.expect("a look");
        let Judgement::Drifted { drift, .. } = keeper.judge(seen) else { panic!("nobody claims it") };
        advance(Duration::from_secs(after)).await;
        assert_eq!(keeper.converge(drift).await.is_ok(), done, "after {after} s");
        assert_eq!(world.lock().expect("unpoisoned").carried_out.is_empty(), !done);
    }
}

#[tokio::test(start_paused = true)]
async fn host_departs_by_its_route_once_it_is_known() {
    let (given, world, mut keeper) = keeper().await;
    given.host.send_replace(None);
    keeper.depart().await.expect("nothing led here");
    assert!(world.lock().expect("unpoisoned").departed.is_empty());
    given.host.send_replace(Some(host("i-me", 5)));
    keeper.depart().await.expect("it is gone");
    assert_eq!(world.lock().expect("unpoisoned").departed, ["i-me"]);
}

#[test]
fn judgement_says_whose_the_names_are_while_they_are_moved() {
    let me = host("i-me", 5);
    let names = Vec::new();
    let wanted = plan::wanted(&me, &names);
    let older = || Some(Claim::of(&host("i-a", 1), 3));
    let younger = || Some(Claim::of(&host("i-z", 9), 3));
    let mine = || Some(Claim::of(&me, 3));
    let elsewhere = |claim: Option<Claim>, held| {
        Routing::Elsewhere(Box::new(RoutedElsewhere { claim: claim.expect("a claim"), held, answers: true }))
    };
    let change = || "package \"\", certified: true".to_owned();
    let here = Routing::Here(RoutedHere { to: "here".to_owned(), epoch: 3, target: None, asked_in: None });
    let table = [
        ("nobody's", None, false, Judgement::Drifted { drift: change(), meanwhile: None }),
        ("mine", mine(), true, Judgement::Kept(here)),
        ("an older one's", older(), false, Judgement::Drifted { drift: change(), meanwhile: None }),
        (
            "an older one's, after this host",
            older(),
            true,
            Judgement::Drifted { drift: change(), meanwhile: Some(elsewhere(older(), true)) },
        ),
        ("a younger one's", younger(), false, Judgement::StandsAside(elsewhere(younger(), false))),
        ("a younger one's, after this host", younger(), true, Judgement::StandsAside(elsewhere(younger(), true))),
    ];
    for (what, claim, held, expected) in table {
        let looked = Looked { found: claim.clone(), claim, liveness: Liveness::Lives, answers: true };
        assert_eq!(judged::<OnlyAClaim>(&wanted, held, &looked), expected, "{what}");
    }
}
