//! Releases in a row, and what visitors of three kinds see of them.
//!
//! ```sh
//! tests/run --no-run && SPOTHOST_BIN=… cargo run --release -p spothost-tests --example succession -- --releases 100 --requests 1000000
//! ```
//!
//! A Spot Fleet is scaled to two and left alone, again and again: the new host takes over when it is ready, the old one
//! serves those who still come, leaves, and the fleet is back at one. Everything takes a sixtieth of its usual time: the
//! time to live is a second, a stubborn resolver keeps answers for ten. Meanwhile visitors ask; a request that is not
//! answered with the right page, whatever the reason, has failed.

use std::{
    env,
    time::{Duration, Instant},
};

use world::{Account, Crowd, Fleet, FleetKind, Member, Site};

const TTL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(180);
const SETTINGS: &str = "[dns]\nttl = 1\n[look]\naddress = \"300ms\"\n[succession]\nlinger = \"12s\"\nsilence = \"20s\"\n\
                        [fleet]\ntarget = 1\n";

#[tokio::main]
async fn main() {
    let releases = number("--releases").unwrap_or(10);
    let requests = number("--requests").unwrap_or(0);
    let site = Site::of_files("released", 60);
    let account = Account::new().await;
    account.put("site-latest.zip", site.zip()).await;
    let fleet = Fleet::start(&account, FleetKind::Spot, toml::from_str(SETTINGS).expect("TOML")).await;
    let mut owner = fleet.owner_other_than(None, PATIENCE).await;
    let crowd = Crowd::start(&account, &owner.instance.visitor(), (TTL, PAUSE), 8, site.pages());
    println!(
        "{releases} releases, at least {requests} requests, 24 visitors: resolvers that keep to the time to live, resolvers"
    );
    println!("that keep an answer ten times as long, and kept connections over HTTP/1.1 and HTTP/2");
    let begun = Instant::now();
    let mut took = Vec::new();
    for release in 1..=releases {
        let started = Instant::now();
        owner = released(&fleet, &owner).await;
        took.push(started.elapsed().as_secs_f64());
        let tally = crowd.tally();
        println!(
            "{release:>4}: {:>6.1} s, {} answered, {} failed so far",
            started.elapsed().as_secs_f64(),
            tally.answered,
            tally.failed
        );
    }
    while crowd.answered() < requests {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let tally = crowd.stop().await;
    took.sort_by(f64::total_cmp);
    println!(
        "\n{} requests answered, {} failed, in {:.0} s",
        tally.answered,
        tally.failed,
        begun.elapsed().as_secs_f64()
    );
    println!("median of a release: {:.1} s", took.get(took.len() / 2).copied().unwrap_or_default());
    tally.failures.iter().for_each(|failure| println!("  {failure}"));
    std::process::exit(i32::from(tally.failed > 0));
}

async fn released(fleet: &Fleet, old: &Member) -> std::sync::Arc<Member> {
    fleet.set_target(2).await;
    let new = fleet.owner_other_than(Some(old), PATIENCE).await;
    fleet.at_rest(PATIENCE).await;
    new
}

fn number(flag: &str) -> Option<u64> {
    let mut arguments = env::args().skip_while(|argument| argument != flag);
    arguments.nth(1)?.parse().ok()
}
