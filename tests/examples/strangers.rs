//! Strangers try for ten minutes, or as long as is said, to make a host look ill.
//!
//! ```sh
//! tests/run --no-run && cargo build --release -p spothost
//! SPOTHOST_BIN=target/release/spothost cargo run --release -p spothost-tests --example strangers -- [SECONDS]
//! ```

use std::time::Duration;

use world::siege::besieged;

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(600, |seconds| seconds.parse().expect("a number of seconds"));
    let besieged = besieged(Duration::from_secs(seconds)).await;
    println!("{} streams to inflate, {} connections within {seconds} s", besieged.streams, besieged.connections);
    println!(
        "{} looks at the owner, ill at {}; the name moved {} times",
        besieged.looks,
        besieged.ills.len(),
        besieged.moves
    );
    for ill in besieged.ills.iter().take(20) {
        println!("  {ill}");
    }
}
