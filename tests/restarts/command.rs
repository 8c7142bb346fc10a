//! Ends the agent under load, again and again, and says who noticed.
//!
//! ```sh
//! tests/run --no-run && cargo build --release -p spothost
//! SPOTHOST_BIN=target/release/spothost cargo run --release -p spothost-tests --example restarts -- [KILLS [STOPS [VISITORS]]]
//! ```

use std::time::Duration;

use crate::drill::{Drilled, Ending, drill};

mod drill;

#[tokio::main]
async fn main() {
    let given: Vec<usize> = std::env::args().skip(1).map(|number| number.parse().expect("a number")).collect();
    let given = |index: usize, default| given.get(index).copied().unwrap_or(default);
    let (kills, stops, visitors) = (given(0, 100), given(1, 20), given(2, 16));
    println!(
        "{:8} {:>5} {:>9} {:>8} {:>7} {:>10} {:>8} {:>8}",
        "", "times", "answered", "refused", "failed", "gap median", "longest", "changes"
    );
    for (name, ending, times) in [("kill -9", Ending::Killed, kills), ("SIGTERM", Ending::Asked, stops)] {
        if times > 0 {
            show(name, &drill(ending, times, visitors).await);
        }
    }
}

fn show(name: &str, drilled: &Drilled) {
    let mut gaps = drilled.gaps.clone();
    gaps.sort();
    let ms = |gap: Option<&Duration>| format!("{:.1} ms", gap.map_or(0.0, |gap| gap.as_secs_f64() * 1e3));
    let (median, longest) = (ms(gaps.get(gaps.len() / 2)), ms(gaps.last()));
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
