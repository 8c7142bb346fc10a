//! Histories are drawn, and counted.

use tokio::time::Instant;

use super::{Broken, Flaw, world::World};

/// The first rule that is broken in history `seed`, with what led there.
fn broken(seed: u64, flaw: Flaw, base: Instant) -> Option<String> {
    let _seed = Seed(seed);
    World::new(seed, flaw, base, false).check_the_end().err()?;
    let mut world = World::new(seed, flaw, base, true);
    let Err(Broken(what)) = world.check_the_end() else { return Some(format!("SPOTHOST_SEED={seed} is not repeated")) };
    let what = format!("SPOTHOST_SEED={seed}, at {} ms: {what}", world.now);
    Some(format!("{what}\n{}\n{what}", world.told()))
}

/// Prints the seed of a history that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SPOTHOST_SEED={} has panicked", self.0);
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn rules_hold_through_drawn_histories() {
    let base = Instant::now();
    let (first, many) = match number_from("SPOTHOST_SEED") {
        Some(seed) => (seed, 1),
        None => (fastrand::u64(..u64::MAX / 2), number_from("SPOTHOST_HISTORIES").unwrap_or(2_000)),
    };
    println!("{many} histories from SPOTHOST_SEED={first} on");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let found = std::thread::scope(|scope| {
        let shares: Vec<_> = (first..first + threads as u64)
            .map(|from| {
                let mut seeds = (from..first + many).step_by(threads);
                scope.spawn(move || seeds.find_map(|seed| broken(seed, Flaw::None, base)))
            })
            .collect();
        shares.into_iter().find_map(|share| share.join().expect("it has printed its seed"))
    });
    if let Some(what) = found {
        panic!("{what}");
    }
}

/// Seeds of histories that broke a rule once. In the first a runner was killed while the disk was full, which was full again before the
/// process was tried again.
#[test]
fn histories_that_have_broken_a_rule_hold_it() {
    let base = Instant::now();
    for seed in [6_350_981_627_904_072_518] {
        if let Some(what) = broken(seed, Flaw::None, base) {
            panic!("{what}");
        }
    }
}

/// That histories break a rule, as that flaw makes them.
fn is_found(flaw: Flaw, rules: &[&str]) {
    let base = Instant::now();
    let found = (0..2_000).find_map(|seed| broken(seed, flaw, base));
    let found = found.unwrap_or_else(|| panic!("{flaw:?} is not found"));
    let what = found.lines().next().unwrap_or_default();
    assert!(rules.iter().any(|rule| what.contains(rule)), "{flaw:?} is found otherwise: {found}");
}

#[test]
fn switch_to_a_process_that_is_not_well_is_found() {
    is_found(Flaw::SwitchesUnwell, &["is served, and its process was not well"]);
}

#[test]
fn old_process_that_does_not_come_back_is_found() {
    is_found(Flaw::NeverBringsBack, &["no process"]);
}

#[test]
fn swap_that_stays_cut_off_is_found() {
    is_found(Flaw::NeverUnwinds, &["no process", "nobody wants"]);
}

#[test]
fn requests_that_wait_for_a_process_of_before_are_found() {
    is_found(Flaw::ForgetsHeld, &["waited in vain"]);
}

#[test]
fn old_process_that_does_not_end_is_found() {
    is_found(Flaw::LeavesOld, &["nobody wants"]);
}

#[test]
fn process_of_another_version_that_goes_on_is_found() {
    is_found(Flaw::AdoptsAny, &["answers for version"]);
}

#[test]
fn process_that_nobody_looks_after_is_found() {
    is_found(Flaw::AdoptsNone, &["nobody wants"]);
}

#[test]
fn verdict_for_all_from_a_local_cause_is_found() {
    is_found(Flaw::TellsLocal, &["is refused for all"]);
}

#[test]
fn last_good_version_that_gives_way_to_one_on_trial_is_found() {
    is_found(Flaw::NotesAtOnce, &["last good"]);
}

#[test]
fn verdict_on_what_was_not_asked_is_found() {
    is_found(Flaw::TrustsAnswers, &["is found good"]);
}
