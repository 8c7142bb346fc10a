//! Swaps under load: no request fails, none is answered from two versions, no connection is closed.
//!
//! ```sh
//! tests/run --no-run
//! SPOTHOST_BIN=… cargo run --release -p spothost-tests --example swaps -- --swaps 100 --requests 1000000
//! ```
//!
//! Visitors, half of them over HTTP/1.1 and half over HTTP/2, ask for all pages in turn. Every body carries the version it
//! is of, and has to be, byte by byte, that page of one of the versions. It ends with 1 where a goal is missed.

use std::{
    collections::HashMap,
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use world::{Instance, Load, Measured, Site, Visitor};

const SOON: Duration = Duration::from_secs(60);
/// A swap is over so long after its site was first seen.
const AFTER: Duration = Duration::from_millis(250);
const FILES: usize = 24;

#[tokio::main]
async fn main() -> ExitCode {
    let swaps = argument("--swaps", 100);
    let requests = argument("--requests", 1_000_000);
    let visitors = argument("--visitors", 8);
    println!("{swaps} swaps, {requests} requests, {visitors} visitors, {FILES} files");
    let sites: Vec<_> = (0..=swaps).map(version).collect();
    let mut instance = Instance::new().await;
    instance.configuration.insert("look".to_owned(), toml::toml! { package = "200ms" }.into());
    instance.account.put_with("site-latest.zip", sites[0].zip(), &[]).await;
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    let visitor = instance.visitor();

    let load = Load::start(&visitor, visitors as usize, pages(&sites));
    let begun = Instant::now();
    // A fifth of it on a quiet host, to compare with.
    while load.answered() < requests / 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let quiet = load.latencies();
    let mut swapping = quiet.since(&quiet);
    let mut seen_after = Vec::new();
    let share = (requests - requests / 5) / swaps.max(1);
    for (number, site) in sites.iter().enumerate().skip(1) {
        let before = load.latencies();
        let put = Instant::now();
        instance.account.put_with("site-latest.zip", site.zip(), &[]).await;
        until_seen(&visitor, number).await;
        seen_after.push(put.elapsed());
        tokio::time::sleep(AFTER).await;
        swapping = swapping.and(&load.latencies().since(&before));
        while load.answered() < requests / 5 + share * number as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let took = begun.elapsed();
    let tally = load.stop().await;
    report("quiet", &quiet);
    report("during swaps", &swapping);
    seen_after.sort_unstable();
    let median = seen_after.get(seen_after.len() / 2).copied().unwrap_or_default();
    println!("first visitor sees it {median:.0?} after the upload (median; looks every 200 ms)");
    println!(
        "{} requests in {took:.0?}: {} failed, {} refused, {} connections closed",
        tally.answered, tally.failed, tally.refused, tally.reopened
    );
    println!("resident at the end: {} KiB", agent.resident_kib());
    tally.failures.iter().for_each(|failure| println!("  {failure}"));
    let slower = swapping.percentile(0.99).as_secs_f64() / quiet.percentile(0.99).as_secs_f64();
    println!("p99 during swaps: {slower:.2} of quiet");
    if tally.failed + tally.refused + tally.reopened == 0 && tally.answered >= requests {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A site of which every body says which version it is of.
fn version(number: u64) -> Site {
    (0..FILES).fold(Site::titled(&format!("version {number}.")), |site, file| {
        let line = format!("<p>file {file} of version {number}.\n");
        site.with(&format!("page-{file}.html"), line.repeat(20 << (file % 6)))
    })
}

/// Each page, with its body in every version.
fn pages(sites: &[Site]) -> HashMap<String, Vec<Bytes>> {
    let mut pages: HashMap<String, Vec<Bytes>> = HashMap::new();
    for (path, bodies) in sites.iter().flat_map(Site::pages).filter(|(path, _)| path != "/style.css") {
        pages.entry(path).or_default().extend(bodies);
    }
    pages
}

async fn until_seen(visitor: &Visitor, number: usize) {
    let wanted = format!("version {number}.");
    world::eventually("the new version", SOON, async || {
        visitor.get("/").await.is_ok_and(|answer| answer.text().contains(&wanted))
    })
    .await;
}

fn report(what: &str, measured: &Measured) {
    let at = |share| measured.percentile(share);
    println!(
        "{what:<14}{:>9} answers   p50 {:>8.2?}   p99 {:>8.2?}   p99.9 {:>8.2?}",
        measured.count(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|number| number.parse().ok()).unwrap_or(default)
}
