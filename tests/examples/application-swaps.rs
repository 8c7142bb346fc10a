//! Swaps of an application under load: no request fails, and none is sent to it twice.
//!
//! ```sh
//! tests/run --no-run
//! cargo run -p spothost-tests --example application-swaps -- [--swaps 100] [--requests 1000000] [--visitors 32]
//! ```
//!
//! On a host with runners behind a wall, an application of Node.js notes the number of each request. Visitors, half of them over
//! HTTP/1.1 and half over HTTP/2, send GET and POST, half of them while versions take the place of each other beside, and half in
//! place. The longest wait of each swap in place is held against what the application itself took to end and to begin, as it
//! notes that: from SIGTERM to its last line, and from its first to its listener. It ends with 1 where a request failed or was not
//! sent once, or a wait was more than 100 ms longer.

use std::{
    collections::HashMap,
    env, fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use world::{
    Agent, Numbered, Runners,
    hosted::{Hosted, Server, version},
};

const SOON: Duration = Duration::from_secs(60);
/// A swap is over so long after its version was first seen.
const AFTER: Duration = Duration::from_millis(250);
/// How much longer than the application's own end and begin a request may wait.
const LONGER: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> ExitCode {
    let swaps = argument("--swaps", 100);
    let requests = argument("--requests", 1_000_000);
    let visitors = argument("--visitors", 32);
    println!("{swaps} swaps beside, {swaps} in place, {requests} requests, {visitors} visitors");
    let mut hosted = Hosted::new(Server::Node, Runners::start).await;
    hosted.instance.configuration.insert("look".to_owned(), toml::toml! { package = "200ms" }.into());
    hosted.publish("first", "").await;
    let mut agent = hosted.instance.start();
    hosted.answers(&mut agent, "first").await;
    agent.wait_until_serving(SOON).await;

    let load = Numbered::start(&hosted.visitor, visitors as usize);
    let begun = Instant::now();
    let quiet_until = requests / 20;
    until_answered(&load, quiet_until).await;
    let quiet = load.latencies();
    println!(
        "quiet: p50 {:?}, p99 {:?}, longest {:?}",
        quiet.percentile(0.5),
        quiet.percentile(0.99),
        load.take_longest()
    );

    let share = (requests - quiet_until) / (2 * swaps.max(1));
    let beside = swap(&hosted, &mut agent, &load, "beside", swaps, quiet_until, share).await;
    let in_place = swap(&hosted, &mut agent, &load, "in-place", swaps, quiet_until + share * swaps, share).await;
    let took = begun.elapsed();
    let seen = load.end().await;
    let counts = seen.counts(&hosted.notes_file());

    show("beside", beside.iter().map(|(_, longest)| *longest));
    show("in place", in_place.iter().map(|(_, longest)| *longest));
    let noted = own_times(&hosted.notes_file());
    let mut before = beside.last().map_or("first", |(version, _)| version);
    let mut own = Vec::new();
    let mut longer = Vec::new();
    for (version, longest) in &in_place {
        if let (Some(ends), Some(begins)) =
            (noted.get(&format!("ends {before}")), noted.get(&format!("begins {version}")))
        {
            own.push(*ends + *begins);
            longer.push(longest.saturating_sub(*ends + *begins));
        }
        before = version;
    }
    show("own end and begin", own.into_iter());
    show("in place, longer than that", longer.iter().copied());
    let at_most = longer.iter().max().copied().unwrap_or_default();
    println!(
        "{} requests in {took:.0?}: {} failed, {} never sent, {} sent more than once",
        seen.sent,
        seen.lost.len(),
        counts.never.len(),
        counts.more.len()
    );
    seen.lost.iter().take(20).for_each(|lost| println!("  {}: {}", lost.number, lost.why));
    let one_left = world::eventually("one runner is left", SOON, async || hosted.runners.running() == 1);
    one_left.await;
    println!("resident at the end: {} KiB, {} runner", agent.resident_kib(), hosted.runners.running());
    let flawless = seen.lost.is_empty() && counts.never.is_empty() && counts.more.is_empty();
    if flawless && seen.sent >= requests && longer.len() == in_place.len() && at_most <= LONGER {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Swaps that many versions, with `share` requests for each; each version with the longest wait meanwhile.
async fn swap(
    hosted: &Hosted,
    agent: &mut Agent,
    load: &Numbered,
    how: &str,
    swaps: u64,
    after: u64,
    share: u64,
) -> Vec<(String, Duration)> {
    let mut swapped = Vec::new();
    for number in 1..=swaps {
        let next = format!("{how}-{number}");
        load.take_longest();
        hosted.publish(&next, &format!("swap = '{how}'")).await;
        let is_there = async |_: &Agent| version(&hosted.visitor).await.as_deref() == Some(&next);
        agent.wait_for(&next, SOON, is_there).await;
        tokio::time::sleep(AFTER).await;
        swapped.push((next, load.take_longest()));
        until_answered(load, after + share * number).await;
    }
    swapped
}

async fn until_answered(load: &Numbered, many: u64) {
    while load.answered() < many {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long each version took to begin and to end, as it noted that: `begins VERSION`, `ends VERSION`.
fn own_times(noted: &Path) -> HashMap<String, Duration> {
    let text = fs::read_to_string(noted).unwrap_or_default();
    let time = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let [what, version, from, to] = words[..] else { return None };
        let (from, to): (f64, f64) = (from.parse().ok()?, to.parse().ok()?);
        Some((format!("{what} {version}"), Duration::from_secs_f64((to - from).max(0.0) / 1e3)))
    };
    text.lines().filter_map(time).collect()
}

fn show(what: &str, times: impl Iterator<Item = Duration>) {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    println!("{what}: {} times, median {median:.1?}, longest {longest:.1?}", times.len());
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|number| number.parse().ok()).unwrap_or(default)
}
