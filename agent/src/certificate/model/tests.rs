//! Histories that are drawn, and checked.

use std::sync::atomic::{AtomicBool, Ordering};

use time::Duration;

use super::{BEGIN, Ca, History, Policy, Setting, live};
use crate::certificate::steps::{FailureKind, OrderProgress};

/// Histories of one test; `SPOTHOST_HISTORIES` says otherwise.
const HISTORIES: u64 = 2_000;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// Lives through many rough histories, on all cores; one whose rules were broken, with its seed.
fn broken(policy: Policy, histories: u64) -> Option<(u64, History)> {
    let first = from_environment("SPOTHOST_SEED", 1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let found = AtomicBool::new(false);
    let lived = |core: usize| {
        let mut seeds = (first..first + histories).skip(core).step_by(cores);
        seeds.find_map(|seed| {
            if found.load(Ordering::Relaxed) {
                return None;
            }
            let history = live(Setting::rough(policy, seed), seed);
            let broken = !history.broken.is_empty() || history.touched > 0 || history.writes_a_day >= 100;
            found.fetch_or(broken, Ordering::Relaxed);
            broken.then_some((seed, history))
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                scope.spawn({
                    let lived = &lived;
                    move || lived(core)
                })
            })
            .collect();
        threads.into_iter().find_map(|thread| thread.join().expect("a history ends"))
    })
}

#[test]
fn rules_of_the_vault_hold_over_histories_that_are_drawn() {
    if let Some((seed, history)) = broken(Policy::Vault, from_environment("SPOTHOST_HISTORIES", HISTORIES)) {
        let setting = Setting::rough(Policy::Vault, seed);
        // Of a log often only the one or the other end is kept.
        panic!(
            "SPOTHOST_SEED={seed} {setting:?}: {history:#?}\nSPOTHOST_SEED={seed} {setting:?}: {:?}",
            history.broken
        );
    }
}

/// Of two hosts that prove the same order, the second does not make good what the first could not.
#[test]
fn order_that_is_invalid_is_neither_proven_nor_finalized() {
    let mut ca = Ca::new(Duration::days(90), true);
    let account = ca.new_account(BEGIN).expect("an account");
    let order = ca.new_order(&account, &[], None, BEGIN).expect("an order");
    for well in [false, true] {
        let refused = ca.prove(order, well, BEGIN).map_err(|refused| refused.kind);
        assert_eq!(refused, Err(FailureKind::AuthorizationFailed), "proven well: {well}");
        assert_eq!(ca.found(order, BEGIN), OrderProgress::Invalid);
        assert_eq!(ca.finalize(order, "key", BEGIN), None);
    }
}

#[test]
fn model_notices_what_breaks_the_rules() {
    for policy in [Policy::EveryBoot, Policy::UsedBeforeStored] {
        assert!(broken(policy, 100).is_some(), "{policy:?} broke no rule");
    }
    // A zone that is not the one the domain is delegated to: every proof fails, for a month.
    let unbelieved = |policy| Setting { days: 30, disbelief: Some(1), ..Setting::quiet(policy) };
    assert!(live(unbelieved(Policy::NoLedger), 1).touched > 0, "without a ledger no limit was touched");
    assert_eq!(live(unbelieved(Policy::Vault), 1).touched, 0);
    let race = Setting { policy: Policy::NotReadAgain, ..Setting::race(8, false) };
    let twice = (1..200).any(|seed| live(race, seed).certificates > 1);
    assert!(twice, "who does not read again made no second certificate");
    let race = Setting { policy: Policy::FilledBlindly, ..Setting::lagging_race(2, true, 60) };
    let twice = (1..200).any(|seed| live(race, seed).certificates > 1);
    assert!(twice, "who fills a vault that a late read shows empty made no second certificate");
}

#[test]
fn four_hundred_quiet_days_take_seven_certificates_and_leave_no_gap() {
    let ours = live(Setting::quiet(Policy::Vault), 1);
    let theirs = live(Setting::quiet(Policy::EveryBoot), 1);
    assert_eq!(ours.boots, theirs.boots, "they live through the same");
    assert_eq!((ours.certificates, ours.touched), (7, 0), "{ours:?}");
    assert!(ours.uncovered <= 1, "{ours:?}");
    assert!(theirs.touched > 100 && theirs.uncovered > 60 * 24, "{theirs:?}");
}

#[test]
fn hosts_that_race_on_an_empty_vault_make_one_certificate() {
    for (hosts, leases) in [(2, true), (8, true), (2, false), (8, false)] {
        for lag in [0, 3, 30] {
            for seed in 0..250 {
                let history = live(Setting::lagging_race(hosts, leases, lag), seed);
                assert_eq!(history.broken, Vec::<String>::new(), "{hosts} hosts, reads {lag} s late, seed {seed}");
                assert_eq!(
                    (history.certificates, history.orders),
                    (1, 1),
                    "{hosts} hosts, lease {leases}, reads {lag} s late, seed {seed}: {history:?}"
                );
            }
        }
    }
}
