//! The ledger: the attempts at each CA, and the time of the next one.
//!
//! It is part of the vault document, so that all hosts share it: an attempt is written down before it is made, and a
//! host that boots after the one that made it knows of it. Pure; time is an argument. Every entry is bounded in number
//! and size, and instants that a clock has written which was ahead count no longer than the limit they are of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{
    due::{Urgency, again},
    limit::{CaLimits, Limit, OWN_SPAN, TokenBucket},
};
use crate::place::Name;

/// CAs of which books are kept: two, their staging directories, and those that were configured before.
const BOOKS: usize = 6;
/// Buckets of one book; full ones are forgotten.
const BUCKETS: usize = 48;
/// Certificates of which the time is remembered, in one book.
const ISSUED: usize = 24;
/// Characters of what a CA said last.
const SAID: usize = 300;
/// An authorization that failed costs one of five an hour, which come back one every twelve minutes
/// (<https://letsencrypt.org/docs/rate-limits/>): so much is waited after one, but less after the first.
const AFTER_DISPROVEN: Duration = Duration::minutes(15);
const AFTER_THE_FIRST: Duration = Duration::minutes(1);
/// How often it is said anew that renewal fails.
const SAID_AGAIN: Duration = Duration::days(7);
/// So many attempts in a row without an end cost nothing: their hosts were killed. What comes after has a pause, of up to
/// an hour, for a host that is killed by what it does.
const KILLED: u32 = 1;

/// The attempts at each CA, by the URL of its directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ledger(BTreeMap<String, Book>);

/// The attempts at one CA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    /// Token buckets that are not full, by what they are of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    buckets: BTreeMap<String, TokenBucket>,
    /// Certificates that were ordered and count against the limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    issued: Vec<Counted>,
    /// Attempts that failed since the last that did not.
    #[serde(default)]
    pub failed: u32,
    /// Authorizations that failed since the last that did not.
    #[serde(default, rename = "disproven")]
    pub failed_authorizations: u32,
    /// Attempts without an outcome since the last that had one: their hosts were killed.
    #[serde(default)]
    unfinished: u32,
    /// When the last attempt was made or ended.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    last: Option<OffsetDateTime>,
    /// Since when all attempts fail.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// When it was last said that they do.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    alerted: Option<OffsetDateTime>,
    /// What the CA said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// Until when the CA is not to be asked, because it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
}

/// One certificate that counts against the limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    names: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// The wait that the CA has asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Hold {
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
}

/// The limits that an order is about to use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    /// The names it is for.
    pub names: &'a [Name],
    /// How pressing it is.
    pub urgency: Urgency,
    /// Whether it replaces a certificate inside the window that the CA gave, which costs nothing (RFC 9773 §5, and
    /// <https://letsencrypt.org/docs/rate-limits/>).
    pub exempt: bool,
    /// Whether an account has to be made for it.
    pub account: bool,
}

/// Why an order is not to be made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotBefore {
    /// Until when.
    pub until: OffsetDateTime,
    /// What stands against it, in a phrase.
    pub why: String,
}

/// The rest of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemainingLimit {
    /// What it limits.
    pub what: &'static str,
    /// Tokens that are left.
    pub left: u32,
    /// Tokens of a full bucket.
    pub of: u32,
    /// When the next token is there; none when all are.
    pub next: Option<OffsetDateTime>,
}

const NEVER_TRIED: &Book = &Book {
    buckets: BTreeMap::new(),
    issued: Vec::new(),
    failed: 0,
    failed_authorizations: 0,
    unfinished: 0,
    last: None,
    since: None,
    alerted: None,
    said: None,
    hold: None,
};

impl Ledger {
    /// The book of the CA with that directory.
    pub(super) fn book(&self, directory: &str) -> &Book {
        self.0.get(directory).unwrap_or(NEVER_TRIED)
    }

    /// When an order may be made there: now, or why not yet. `resumed` is one that was made before, which costs nothing
    /// any more.
    pub(super) fn ready(
        &self,
        directory: &str,
        need: Need<'_>,
        resumed: bool,
        now: OffsetDateTime,
    ) -> Result<(), NotBefore> {
        let book = self.book(directory);
        latest([book.held_off(now), book.paused(need.urgency, now)], now)?;
        if resumed { Ok(()) } else { self.limits(directory, need, now) }
    }

    /// The same as far as the limits of the CA go, and our own, whatever was tried before.
    pub(super) fn limits(&self, directory: &str, need: Need<'_>, now: OffsetDateTime) -> Result<(), NotBefore> {
        latest(self.book(directory).limited(&CaLimits::of(directory), need, now), now)
    }

    /// Writes down that an order is about to be made, and an account if there is none.
    pub(super) fn attempt(&mut self, directory: &str, account: bool, now: OffsetDateTime) {
        let limits = CaLimits::of(directory);
        let book = self.open(directory, now);
        book.spend(ORDERS.to_owned(), limits.orders, now);
        if account {
            book.spend(ACCOUNTS.to_owned(), limits.accounts, now);
        }
        book.unfinished = book.unfinished.saturating_add(1);
        book.last = Some(now);
    }

    /// Writes down that an order for `names` was made, from which a certificate will come.
    pub(super) fn ordered(&mut self, directory: &str, names: &[Name], now: OffsetDateTime) {
        let limits = CaLimits::of(directory);
        let book = self.open(directory, now);
        let key = key_of(names);
        book.spend(format!("{SAME_NAMES}{key}"), limits.same_names, now);
        for domain in domains(names) {
            book.spend(format!("{DOMAIN}{domain}"), limits.domain, now);
        }
        if book.issued.len() == ISSUED {
            book.issued.remove(0);
        }
        book.issued.push(Counted { names: key, at: now });
    }

    /// Writes down that no certificate will come from an order for `names` after all.
    pub(super) fn came_to_nothing(&mut self, directory: &str, names: &[Name]) {
        let limits = CaLimits::of(directory);
        let Some(book) = self.0.get_mut(directory) else { return };
        let key = key_of(names);
        let Some(last) = book.issued.iter().rposition(|counted| counted.names == key) else { return };
        book.issued.remove(last);
        let domains = domains(names).into_iter().map(|domain| (format!("{DOMAIN}{domain}"), limits.domain));
        for (what, limit) in domains.chain([(format!("{SAME_NAMES}{key}"), limits.same_names)]) {
            if let Some(bucket) = book.buckets.get_mut(&what) {
                bucket.put_back(limit);
            }
        }
    }

    /// Writes down that a certificate is there.
    pub(super) fn succeeded(&mut self, directory: &str, now: OffsetDateTime) {
        let book = self.open(directory, now);
        (book.failed, book.failed_authorizations, book.unfinished) = (0, 0, 0);
        (book.since, book.alerted, book.said, book.hold) = (None, None, None, None);
        book.last = Some(now);
    }

    /// Writes down that an attempt failed, with what was said, and how long the CA asked to wait.
    pub(super) fn failed(&mut self, directory: &str, said: &str, asked: Option<Duration>, now: OffsetDateTime) {
        let book = self.open(directory, now);
        book.failed = book.failed.saturating_add(1);
        book.unfinished = 0;
        book.last = Some(now);
        book.since.get_or_insert(now);
        book.said = Some(said.chars().take(SAID).collect());
        book.hold = asked.map(|asked| Hold { since: now, until: now + asked });
    }

    /// Writes down that the CA did not believe that `names` are ours.
    pub(super) fn authorization_failed(&mut self, directory: &str, names: &[Name], now: OffsetDateTime) {
        let limit = CaLimits::of(directory).failed_authorizations;
        let book = self.open(directory, now);
        book.spend(format!("{DISPROVEN}{}", key_of(names)), limit, now);
        book.failed_authorizations = book.failed_authorizations.saturating_add(1);
    }

    /// Whether it is to be said (again) that renewal fails; then it is written down that it was.
    pub(super) fn alerts(&mut self, directory: &str, now: OffsetDateTime) -> bool {
        let Some(book) = self.0.get_mut(directory).filter(|book| book.since.is_some()) else { return false };
        let due = book.alerted.is_none_or(|alerted| (now - alerted).abs() >= SAID_AGAIN);
        if due {
            book.alerted = Some(now);
        }
        due
    }

    /// The rest of every limit of that CA, for `names`.
    pub(super) fn left(&self, directory: &str, names: &[Name], now: OffsetDateTime) -> Vec<RemainingLimit> {
        let book = self.book(directory);
        let limits = CaLimits::of(directory);
        let bucket = |what, key: String, limit: Limit| {
            let bucket = book.bucket(&key, now);
            let left = bucket.left(limit, now);
            let next = (left < limit.tokens).then(|| bucket.holds(left + 1, limit, now));
            RemainingLimit { what, left, of: limit.tokens, next }
        };
        let own = book.own(&key_of(names), now);
        let mut all = vec![
            RemainingLimit {
                what: "certificates for these names, our own limit",
                left: limits.own.saturating_sub(u32::try_from(own.len()).unwrap_or(u32::MAX)),
                of: limits.own,
                next: own.first().map(|first| *first + OWN_SPAN),
            },
            bucket("certificates for these names", format!("{SAME_NAMES}{}", key_of(names)), limits.same_names),
        ];
        let tightest = domains(names).into_iter().map(|domain| format!("{DOMAIN}{domain}"));
        let tightest = tightest.max_by_key(|key| book.bucket(key, now).holds(limits.domain.tokens, limits.domain, now));
        all.push(bucket("certificates for the registered domain", tightest.unwrap_or_default(), limits.domain));
        all.push(bucket(
            "failed authorizations",
            format!("{DISPROVEN}{}", key_of(names)),
            limits.failed_authorizations,
        ));
        all.push(bucket("orders of the account", ORDERS.to_owned(), limits.orders));
        all.push(bucket("accounts from one address", ACCOUNTS.to_owned(), limits.accounts));
        all
    }

    /// The book to write in; the one that was not written in for longest makes room.
    fn open(&mut self, directory: &str, now: OffsetDateTime) -> &mut Book {
        if self.0.len() >= BOOKS && !self.0.contains_key(directory) {
            let oldest = self.0.iter().min_by_key(|(_, book)| book.last).map(|(directory, _)| directory.clone());
            self.0.remove(&oldest.unwrap_or_default());
        }
        let book = self.0.entry(directory.to_owned()).or_default();
        book.buckets.retain(|_, bucket| !bucket.is_full(now));
        book.issued.retain(|counted| (now - counted.at).abs() < OWN_SPAN * 2);
        book
    }
}

fn latest(reasons: impl IntoIterator<Item = NotBefore>, now: OffsetDateTime) -> Result<(), NotBefore> {
    let standing = reasons.into_iter().filter(|reason| reason.until > now);
    standing.max_by_key(|reason| reason.until).map_or(Ok(()), Err)
}

const SAME_NAMES: &str = "same-names ";
const DOMAIN: &str = "domain ";
const DISPROVEN: &str = "disproven ";
const ORDERS: &str = "orders";
const ACCOUNTS: &str = "accounts";

impl Book {
    fn bucket(&self, key: &str, now: OffsetDateTime) -> TokenBucket {
        self.buckets.get(key).copied().unwrap_or_else(|| TokenBucket::full(now))
    }

    fn spend(&mut self, key: String, limit: Limit, now: OffsetDateTime) {
        if self.buckets.len() >= BUCKETS && !self.buckets.contains_key(&key) {
            // The bucket that is full soonest is the one whose loss says the least.
            let fullest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.holds(limit.tokens, limit, now));
            let fullest = fullest.map(|(key, _)| key.clone()).unwrap_or_default();
            self.buckets.remove(&fullest);
        }
        self.buckets.entry(key).or_insert_with(|| TokenBucket::full(now)).spend(limit, now);
    }

    /// What the CA asked for. A clock that was ahead when it was written does not make it longer.
    fn held_off(&self, now: OffsetDateTime) -> NotBefore {
        let until = self.hold.as_ref().map_or(now, |hold| hold.until.min(now + (hold.until - hold.since)));
        let said = self.said.as_deref().unwrap_or("no reason");
        NotBefore { until, why: format!("the CA asked to wait: {said}") }
    }

    /// The pause after attempts that failed, or that have no outcome because their hosts were killed.
    fn paused(&self, urgency: Urgency, now: OffsetDateTime) -> NotBefore {
        let ladder = if self.failed == 0 { Duration::ZERO } else { again(self.failed, urgency) };
        let killed = self.unfinished.saturating_sub(KILLED);
        let longest = match urgency {
            Urgency::CanWait(longest) | Urgency::Emergency(longest) => longest.min(Duration::HOUR),
            Urgency::Without => Duration::HOUR,
        };
        let killed = if killed == 0 { Duration::ZERO } else { again(killed, Urgency::Emergency(longest)) };
        let failed_authorizations = match (self.failed_authorizations, urgency) {
            (0, _) => Duration::ZERO,
            (1, Urgency::Without) => AFTER_THE_FIRST,
            _ => AFTER_DISPROVEN,
        };
        let pause = ladder.max(failed_authorizations).max(killed);
        let until = self.last.map_or(now, |last| last.min(now) + pause);
        let why = match &self.said {
            Some(said) => format!("{} attempts failed, the last with: {said}", self.failed),
            None => format!("{} hosts in a row were killed while they ordered", self.unfinished),
        };
        NotBefore { until, why }
    }

    fn limited(&self, limits: &CaLimits, need: Need<'_>, now: OffsetDateTime) -> Vec<NotBefore> {
        // The last token is for when there is no certificate, or soon will be none.
        let tokens = if matches!(need.urgency, Urgency::CanWait(_)) { 2 } else { 1 };
        let bucket = |key: String, limit: Limit, tokens: u32, what: &str| NotBefore {
            until: self.bucket(&key, now).holds(tokens, limit, now),
            why: format!("the limit of {what} would be reached"),
        };
        let key = key_of(need.names);
        let mut reasons = vec![
            bucket(ORDERS.to_owned(), limits.orders, tokens, "orders of the account"),
            bucket(format!("{DISPROVEN}{key}"), limits.failed_authorizations, tokens, "failed authorizations"),
        ];
        if need.account {
            reasons.push(bucket(ACCOUNTS.to_owned(), limits.accounts, 1, "accounts from one address"));
        }
        if need.exempt {
            return reasons;
        }
        let what = "certificates for these names";
        reasons.push(bucket(format!("{SAME_NAMES}{key}"), limits.same_names, tokens, what));
        for domain in domains(need.names) {
            let what = format!("certificates for {domain}");
            reasons.push(bucket(format!("{DOMAIN}{domain}"), limits.domain, tokens, &what));
        }
        let own = self.own(&key, now);
        let may = usize::try_from(limits.own + 1 - tokens).unwrap_or(usize::MAX);
        if let Some(beyond) = own.len().checked_sub(may) {
            let why = format!("{} certificates for these names within {} days", own.len(), OWN_SPAN.whole_days());
            reasons.push(NotBefore { until: own[beyond] + OWN_SPAN, why });
        }
        reasons
    }

    /// When certificates for these names were ordered within the span of our own limit, oldest first.
    fn own(&self, key: &str, now: OffsetDateTime) -> Vec<OffsetDateTime> {
        let within = self.issued.iter().filter(|counted| counted.names == key);
        // One that a clock ahead has written is of now at the latest.
        let within = within.map(|counted| counted.at.min(now)).filter(|at| now - *at < OWN_SPAN);
        let mut within: Vec<_> = within.collect();
        within.sort();
        within
    }
}

/// What tells sets of names apart: they can be longer than a ledger should be.
fn key_of(names: &[Name]) -> String {
    let mut sorted: Vec<_> = names.iter().map(Name::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let all = sorted.join(" ");
    // FNV-1a: the same with every release of every compiler, which hashers of the standard library do not promise.
    let hash = all
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The registered domains of `names`: what stands before a public suffix (<https://publicsuffix.org/>).
fn domains(names: &[Name]) -> Vec<String> {
    let domain = |name: &Name| psl::domain_str(name.as_str()).unwrap_or(name.as_str()).to_owned();
    let mut domains: Vec<_> = names.iter().map(domain).collect();
    domains.sort_unstable();
    domains.dedup();
    // More than a few make no sense for one site, and each is a bucket.
    domains.truncate(8);
    domains
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const CAN_WAIT: Urgency = Urgency::CanWait(Duration::DAY);
    const EMERGENCY: Urgency = Urgency::Emergency(Duration::HOUR);

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
    const CA: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace().map(|name| name.parse().expect(name)).collect()
    }

    fn need(names: &[Name], urgency: Urgency) -> Need<'_> {
        Need { names, urgency, exempt: false, account: false }
    }

    #[test]
    fn three_certificates_in_seven_days_are_the_most_and_the_last_is_kept_for_a_host_without_one() {
        let names = names("a.example b.example");
        let mut ledger = Ledger::default();
        let ready = |ledger: &Ledger, urgency, day: i64| {
            let now = NOW + Duration::days(day);
            ledger.ready(CA, need(&names, urgency), false, now).map_err(|not| (not.until - NOW).whole_days())
        };
        for day in 0..2 {
            assert_eq!(ready(&ledger, CAN_WAIT, day), Ok(()));
            ledger.ordered(CA, &names, NOW + Duration::days(day));
        }
        assert_eq!(ready(&ledger, CAN_WAIT, 2), Err(7));
        assert_eq!(ready(&ledger, EMERGENCY, 2), Ok(()));
        assert_eq!(ready(&ledger, Urgency::Without, 2), Ok(()));
        ledger.ordered(CA, &names, NOW + Duration::days(2));
        assert_eq!(ready(&ledger, Urgency::Without, 3), Err(7));
        assert_eq!(ready(&ledger, Urgency::Without, 7), Ok(()));
        // What replaces a certificate in the CA's window costs nothing, and other names are another set.
        let exempt = Need { exempt: true, ..need(&names, CAN_WAIT) };
        assert_eq!(ledger.ready(CA, exempt, false, NOW + Duration::days(3)), Ok(()));
        assert_eq!(ledger.ready(CA, need(&names[..1], CAN_WAIT), false, NOW + Duration::days(3)), Ok(()));
        // What came to nothing counts no longer.
        ledger.came_to_nothing(CA, &names);
        assert_eq!(ready(&ledger, Urgency::Without, 3), Ok(()));
        let left = ledger.left(CA, &names, NOW + Duration::days(3));
        assert_eq!((left[0].left, left[0].of), (1, 3));
    }

    #[test]
    fn what_the_ca_asks_for_is_kept_by_every_host() {
        let names = names("a.example");
        let mut ledger = Ledger::default();
        ledger.attempt(CA, true, NOW);
        ledger.failed(CA, "rateLimited: too many", Some(Duration::hours(5)), NOW);
        let text = serde_json::to_string(&ledger).expect("JSON");
        let read: Ledger = serde_json::from_str(&text).expect("a ledger");
        assert_eq!(read, ledger);
        for urgency in [CAN_WAIT, EMERGENCY, Urgency::Without] {
            let refused = read.ready(CA, need(&names, urgency), true, NOW + Duration::hours(4)).expect_err("held off");
            assert_eq!(refused.until, NOW + Duration::hours(5));
            assert!(refused.why.contains("rateLimited"), "{}", refused.why);
            assert_eq!(read.ready(CA, need(&names, urgency), true, NOW + Duration::hours(5)), Ok(()));
        }
        // To a clock that was behind by a year when it reads this, five hours are five hours.
        let behind = NOW - Duration::days(365);
        let refused = read.ready(CA, need(&names, Urgency::Without), true, behind).expect_err("held off");
        assert_eq!(refused.until, behind + Duration::hours(5));
        ledger.succeeded(CA, NOW);
        assert_eq!(ledger.ready(CA, need(&names, CAN_WAIT), false, NOW), Ok(()));
    }

    #[test]
    fn attempt_of_a_host_that_was_killed_is_made_again_at_once_but_not_for_ever() {
        let names = names("a.example");
        let mut ledger = Ledger::default();
        ledger.attempt(CA, false, NOW);
        assert_eq!(ledger.ready(CA, need(&names, CAN_WAIT), false, NOW), Ok(()));
        ledger.attempt(CA, false, NOW);
        let refused = ledger.ready(CA, need(&names, CAN_WAIT), false, NOW).expect_err("a pause");
        assert_eq!(refused.until, NOW + Duration::minutes(1));
    }

    /// Hosts of several versions share a vault, so the fields keep their names.
    #[test]
    fn failed_authorizations_are_read_from_vaults_of_earlier_versions() {
        let before = format!(r#"{{"{CA}":{{"disproven":3}}}}"#);
        let ledger: Ledger = serde_json::from_str(&before).expect("a ledger");
        assert_eq!(ledger.book(CA).failed_authorizations, 3);
        assert!(serde_json::to_string(&ledger).expect("JSON").contains(r#""disproven":3"#));
    }

    #[test]
    fn names_are_disproven_at_most_five_times_an_hour() {
        for urgency in [CAN_WAIT, EMERGENCY, Urgency::Without] {
            let names = names("a.example");
            let mut ledger = Ledger::default();
            let mut now = NOW;
            let mut tries = Vec::new();
            while now < NOW + Duration::hours(12) {
                match ledger.ready(CA, need(&names, urgency), false, now) {
                    Err(refused) => now = refused.until,
                    Ok(()) => {
                        ledger.attempt(CA, false, now);
                        ledger.ordered(CA, &names, now);
                        ledger.came_to_nothing(CA, &names);
                        ledger.authorization_failed(CA, &names, now);
                        ledger.failed(CA, "dns: not there", None, now);
                        tries.push(now);
                    }
                }
            }
            for (index, first) in tries.iter().enumerate() {
                let hour = tries[index..].iter().filter(|at| **at - *first < Duration::HOUR).count();
                assert!(hour <= 5, "{urgency:?}: {hour} in the hour after {first}");
            }
        }
    }

    #[test]
    fn that_renewal_fails_is_said_at_first_and_every_seventh_day() {
        let mut ledger = Ledger::default();
        let mut said = Vec::new();
        for day in 0..30 {
            let now = NOW + Duration::days(day);
            ledger.failed(CA, "no", None, now);
            if ledger.alerts(CA, now) {
                said.push(day);
            }
        }
        assert_eq!(said, [0, 7, 14, 21, 28]);
        ledger.succeeded(CA, NOW);
        assert!(!ledger.alerts(CA, NOW));
    }

    #[test]
    fn ledger_stays_small_whatever_is_written_in_it() {
        let mut ledger = Ledger::default();
        for number in 0..2_000_u32 {
            let now = NOW + Duration::minutes(number.into());
            let directory = format!("https://ca-{}.example/dir", number % 9);
            let many = names(&format!("a{number}.example b{}.test", number % 100));
            ledger.attempt(&directory, true, now);
            ledger.ordered(&directory, &many, now);
            ledger.authorization_failed(&directory, &many, now);
            ledger.failed(&directory, &"x".repeat(9_999), Some(Duration::HOUR), now);
        }
        let text = serde_json::to_string(&ledger).expect("JSON");
        assert!(text.len() < 40_000, "{} bytes", text.len());
    }

    #[test]
    fn registered_domain_is_what_stands_before_a_public_suffix() {
        let table = [
            ("www.example.org example.org", "example.org"),
            ("a.example.co.uk", "example.co.uk"),
            ("one.github.io", "one.github.io"),
            ("localhost", "localhost"),
        ];
        for (text, domain) in table {
            assert_eq!(domains(&names(text)), [domain], "{text}");
        }
        assert_eq!(key_of(&names("a.example b.example")), key_of(&names("b.example a.example")));
    }
}
