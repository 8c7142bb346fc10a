//! The gaps that visitors see when a host is followed by another.
//!
//! ```sh
//! tests/run --no-run && SPOTHOST_BIN=… cargo run -p spothost-tests --example gaps
//! ```
//!
//! Everything takes a sixtieth of its usual time: a time to live of a second, a look every quarter of one, three seconds of
//! silence. A gap is the longest time in which no visitor of a kind was answered, with one asking every few milliseconds.

use std::{env, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use world::{Account, Crowd, Fleet, FleetKind, Keeping, Member, Site, eventually};

const TTL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(240);
const SETTINGS: &str =
    "[dns]\nttl = 1\n[look]\naddress = \"250ms\"\n[succession]\nlinger = \"12s\"\nsilence = \"3s\"\n";

#[tokio::main]
async fn main() {
    println!(
        "{:44} {:>9} {:>9} {:>9} {:>7}",
        "longest time without an answer, in seconds", "honest", "stubborn", "kept", "failed"
    );
    let only = env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    if wanted("release") {
        release().await;
    }
    if wanted("notice") {
        notice().await;
    }
    for (name, spare, told) in [
        ("killed, with a spare, EC2 says it runs", true, false),
        ("killed, with a spare, EC2 says it is gone", true, true),
        ("killed, without a spare", false, true),
    ] {
        if wanted(name) {
            killed(name, spare, told).await;
        }
    }
}

/// A site on a fleet, and its visitors.
struct Scene {
    fleet: Fleet,
    owner: Arc<Member>,
    crowd: Crowd,
}

impl Scene {
    async fn set(more: &str) -> Scene {
        let site = Site::of_files("seen", 20);
        let account = Account::new().await;
        account.put("site-latest.zip", site.zip()).await;
        let settings = format!("{SETTINGS}{more}");
        let fleet = Fleet::start(&account, FleetKind::Spot, toml::from_str(&settings).expect("TOML")).await;
        let owner = fleet.owner_other_than(None, PATIENCE).await;
        let crowd = Crowd::start(&account, &owner.instance.visitor(), (TTL, PAUSE), 2, site.pages());
        eventually("visitors come", PATIENCE, async || crowd.answered() > 100).await;
        Scene { fleet, owner, crowd }
    }

    async fn tell(self, name: &str) {
        let gap = |keeping| self.crowd.gap(keeping).as_secs_f64();
        let honest = gap(Keeping::Honest);
        let stubborn = gap(Keeping::Stubborn);
        let kept = gap(Keeping::Pool);
        let tally = self.crowd.stop().await;
        println!("{name:44} {honest:>9.2} {stubborn:>9.2} {kept:>9.2} {:>7}", tally.failed);
    }
}

async fn release() {
    let scene = Scene::set("[fleet]\ntarget = 1\n").await;
    scene.crowd.forget_gaps();
    scene.fleet.set_target(2).await;
    scene.fleet.owner_other_than(Some(&scene.owner), PATIENCE).await;
    scene.fleet.at_rest(PATIENCE).await;
    scene.tell("planned release").await;
}

/// Two minutes, as EC2 gives them.
async fn notice() {
    let scene = Scene::set("[fleet]\ntarget = 1\n").await;
    scene.crowd.forget_gaps();
    scene.owner.instance.imds.announce("terminate", Duration::from_secs(120));
    scene.fleet.owner_other_than(Some(&scene.owner), PATIENCE).await;
    eventually("it ends", PATIENCE, async || scene.owner.status()["phase"] == "gone").await;
    scene.fleet.account.end(&scene.owner.id()).await;
    scene.fleet.at_rest(PATIENCE).await;
    scene.tell("spot notice of two minutes").await;
}

async fn killed(name: &str, spare: bool, told: bool) {
    let mut scene = Scene::set(if spare { "then = \"stand-by\"\n" } else { "" }).await;
    if spare {
        scene.fleet.set_target(2).await;
        scene.owner = scene.fleet.owner_other_than(Some(&scene.owner), PATIENCE).await;
        let stands_by = async || scene.fleet.members().iter().any(|member| member.role() == "standby");
        eventually("the other stands by", PATIENCE, stands_by).await;
    }
    scene.crowd.forget_gaps();
    let begun = scene.crowd.answered();
    eventually("visitors come", PATIENCE, async || scene.crowd.answered() > begun + 20).await;
    scene.owner.signal(Signal::SIGKILL);
    if told {
        scene.fleet.account.end(&scene.owner.id()).await;
    }
    scene.fleet.owner_other_than(Some(&scene.owner), PATIENCE).await;
    // Stubborn resolvers have kept the old address for ten times to live.
    tokio::time::sleep(TTL * 11).await;
    scene.tell(name).await;
}
