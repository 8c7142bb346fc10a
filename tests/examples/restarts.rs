//! Ends the agent under load, again and again, and says who noticed.
//!
//! ```sh
//! tests/run --no-run && cargo build --release -p spothost
//! SPOTHOST_BIN=target/release/spothost cargo run --release -p spothost-tests --example restarts -- [KILLS [STOPS [VISITORS [BURDENED]]]]
//! ```

use std::time::Duration;

use world::drill::{Burdened, Drilled, Ending, burdened, drill};

#[tokio::main]
async fn main() {
    let given: Vec<usize> = std::env::args().skip(1).map(|number| number.parse().expect("a number")).collect();
    let given = |index: usize, default| given.get(index).copied().unwrap_or(default);
    let kills = given(0, 100);
    let stops = given(1, 20);
    let visitors = given(2, 16);
    let burdens = given(3, 10);
    println!(
        "{:8} {:>5} {:>9} {:>8} {:>7} {:>10} {:>8} {:>8}",
        "", "times", "answered", "refused", "failed", "gap median", "longest", "changes"
    );
    for (name, ending, times) in [("kill -9", Ending::Killed, kills), ("SIGTERM", Ending::Asked, stops)] {
        if times > 0 {
            show(name, &drill(ending, times, visitors).await);
        }
    }
    if burdens > 0 {
        show_burdened(&burdened(burdens).await);
    }
}

/// Restarts with a slow reader, a slow sender and an idle HTTP/2 connection, as new visitors see them.
fn show_burdened(burdened: &Burdened) {
    let ms = |gaps: &[Duration]| {
        let mut gaps = gaps.to_vec();
        gaps.sort();
        let of = |gap: Option<&Duration>| gap.map_or(0.0, |gap| gap.as_secs_f64() * 1e3);
        format!("{:.1} ms in the median, {:.1} at most", of(gaps.get(gaps.len() / 2)), of(gaps.last()))
    };
    println!("SIGTERM beside a slow reader, a slow sender and idle HTTP/2, {} times:", burdened.gaps.len());
    println!("  without an answer to a new visitor {}", ms(&burdened.gaps));
    println!("  until the main process had ended   {}", ms(&burdened.ends));
    println!("  new visitors answered beside them  {}, failed {}", burdened.answered, burdened.failures.len());
    println!("  readers cut {}, changes {}", burdened.cut.len(), burdened.changes);
    for failure in burdened.failures.iter().chain(&burdened.cut) {
        println!("         {failure}");
    }
}

fn show(name: &str, drilled: &Drilled) {
    let mut gaps = drilled.gaps.clone();
    gaps.sort();
    let ms = |gap: Option<&Duration>| format!("{:.1} ms", gap.map_or(0.0, |gap| gap.as_secs_f64() * 1e3));
    let median = ms(gaps.get(gaps.len() / 2));
    let longest = ms(gaps.last());
    let tally = &drilled.tally;
    println!(
        "{name:8} {:>5} {:>9} {:>8} {:>7} {median:>10} {longest:>8} {:>8}",
        gaps.len(),
        tally.answered,
        tally.refused,
        tally.failed,
        drilled.changes
    );
    for failure in &tally.failures {
        println!("         {failure}");
    }
}
