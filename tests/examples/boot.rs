//! How long a boot takes, against the world with 20 ms added to every call.
//!
//! ```sh
//! tests/run --no-run && SPOTHOST_BIN=… cargo run --release -p spothost-tests --example boot
//! ```
//!
//! Cold: nothing in the vault, a certificate is ordered. Warm: a fresh instance that finds it there, once with a CA that
//! answers nothing. Each time counts
//! from the start of the process, and is the median of several instances.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use world::{Account, Agent, Call, Fault, Instance, Rule, Service, Site};

/// What every call to IMDS, AWS and the CA takes longer.
const ADDED: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured of one boot.
struct Boot {
    first_answer: Duration,
    accepted: Duration,
    resident_kib: u64,
    /// Of which the process's own, rather than pages of the binary and the package.
    own_kib: u64,
    /// The calls to AWS and the CA, one a line.
    calls: Vec<String>,
    /// How many of them had ended when visitors were first answered.
    before_answer: usize,
}

#[tokio::main]
async fn main() {
    let rounds = env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(7_usize);
    println!("{rounds} instances each, {} ms added to every call, 600 files", ADDED.as_millis());
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..rounds {
        let account = Account::new().await;
        account.put("site-latest.zip", Site::of_files("boot", 600).zip()).await;
        // A host takes a stored certificate only if it is from the CA that it is to use: both use the same way there.
        let first = Instance::launch(&account).await;
        let mut second = Instance::launch(&account).await;
        second.configuration.insert("acme".to_owned(), first.configuration["acme"].clone());
        second.imds.set_launched(OffsetDateTime::now_utc() + Duration::from_secs(60));
        first.acme.delay(ADDED);
        cold.push(boot(&first).await);
        warm.push(boot(&second).await);
        let mut third = Instance::launch(&account).await;
        third.configuration.insert("acme".to_owned(), first.configuration["acme"].clone());
        third.imds.set_launched(OffsetDateTime::now_utc() + Duration::from_secs(120));
        first.acme.add(Rule::new(Fault::Hang));
        alone.push(boot(&third).await);
    }
    println!("\n{:<24}{:>18}{:>24}{:>14}{:>12}", "", "first answer", "accepted DNS change", "RSS at rest", "its own");
    for (name, boots) in
        [("cold, with an order", &mut cold), ("warm, from the vault", &mut warm), ("warm, the CA is down", &mut alone)]
    {
        let answer = median(boots, |boot| boot.first_answer.as_millis());
        let accepted = median(boots, |boot| boot.accepted.as_millis());
        let resident = median(boots, |boot| u128::from(boot.resident_kib)) as f64 / 1024.0;
        let own = median(boots, |boot| u128::from(boot.own_kib)) as f64 / 1024.0;
        println!("{name:<24}{answer:>15} ms{accepted:>21} ms{resident:>11.1} MB{own:>9.1} MB");
    }
    for (name, boots) in [("cold", &cold), ("warm", &warm)] {
        let Some(Boot { calls, first_answer, before_answer, .. }) = boots.last() else { continue };
        let first_answer = first_answer.as_millis();
        println!("\nthe last {name} boot answered after {first_answer} ms and {before_answer} calls;");
        println!("its calls, with begin and end in ms after the start of the process:");
        calls.iter().for_each(|call| println!("  {call}"));
    }
    if let Some(size) = fs::metadata(binary()).ok().map(|about| about.len()) {
        println!("\n{} has {:.1} MB", binary().display(), size as f64 / 1e6);
    }
}

/// Starts the agent on a fresh instance, waits until the names lead to it, and ends it.
async fn boot(instance: &Instance) -> Boot {
    instance.aws.delay(ADDED);
    instance.imds.delay(ADDED);
    let visitor = instance.visitor();
    let begun = Instant::now();
    let agent = instance.start();
    let first_answer = loop {
        if visitor.get("/").await.is_ok_and(|answer| answer.status == 200) {
            break begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "no answer\n{}", agent.last_lines());
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let accepted = accepted(instance, &agent, begun).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let resident_kib = agent.resident_kib();
    let own_kib = own_kib(agent.pid());
    let mut calls = instance.aws.calls();
    calls.extend(instance.acme.calls());
    // The CA of a warm boot has been asked by another host before.
    calls.retain(|call| call.started >= begun);
    calls.sort_by_key(|call| call.started);
    let before_answer = calls.iter().filter(|call| call.ended <= begun + first_answer).count();
    let since = |at: Instant| at.saturating_duration_since(begun).as_millis();
    let line = |call: &Call| {
        let service = format!("{:?}", call.service);
        format!("{:>5} {:>5}  {service:<16}{}", since(call.started), since(call.ended), call.operation)
    };
    let calls = calls.iter().map(line).collect();
    agent.stop().await;
    Boot { first_answer, accepted, resident_kib, own_kib, calls, before_answer }
}

/// When the change of the address records was answered.
async fn accepted(instance: &Instance, agent: &Agent, begun: Instant) -> Duration {
    loop {
        let calls = instance.aws.calls();
        let change = calls.iter().rev().find(|call| {
            call.service == Service::Route53
                && call.operation == "ChangeResourceRecordSets"
                && call.target.contains("_spothost")
                && call.status == Some(200)
        });
        if let Some(change) = change {
            return change.ended.saturating_duration_since(begun);
        }
        assert!(begun.elapsed() < PATIENCE, "no change\n{}", agent.last_lines());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Anonymous memory of a process in KiB (`proc_pid_status(5)`).
fn own_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn binary() -> PathBuf {
    env::var_os("SPOTHOST_BIN").map(PathBuf::from).unwrap_or_default()
}

fn median<T: Ord + Copy>(boots: &[Boot], figure: impl Fn(&Boot) -> T) -> T {
    let mut figures: Vec<T> = boots.iter().map(figure).collect();
    figures.sort();
    figures[figures.len() / 2]
}
