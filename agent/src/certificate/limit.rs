//! How often a CA may be asked for what: token buckets, as it publishes them.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Tokens of a full bucket.
    pub tokens: u32,
    /// In which time one token comes back.
    pub refill: Duration,
}

/// The limits of one CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CaLimits {
    /// Certificates for exactly the same names.
    pub same_names: Limit,
    /// Certificates for names of one registered domain.
    pub domain: Limit,
    /// Names that the CA looked at in vain.
    pub failed_authorizations: Limit,
    /// Orders of one account.
    pub orders: Limit,
    /// Accounts from one address.
    pub accounts: Limit,
    /// Certificates for exactly the same names in [`OWN_SPAN`] that we allow ourselves.
    pub own: u32,
}

/// The span of our own limit.
pub(super) const OWN_SPAN: Duration = Duration::days(7);

/// <https://letsencrypt.org/docs/rate-limits/>, and our own limit below it: the CA's counts the certificates of everybody
/// who shows it the same names. A CA that publishes none is treated as if these were its own.
const LETS_ENCRYPT: CaLimits = CaLimits {
    same_names: Limit { tokens: 5, refill: Duration::hours(34) },
    domain: Limit { tokens: 50, refill: Duration::minutes(202) },
    failed_authorizations: Limit { tokens: 5, refill: Duration::minutes(12) },
    orders: Limit { tokens: 300, refill: Duration::seconds(36) },
    accounts: Limit { tokens: 10, refill: Duration::minutes(18) },
    own: 3,
};

/// <https://letsencrypt.org/docs/staging-environment/>.
const LETS_ENCRYPT_STAGING: CaLimits = CaLimits {
    same_names: Limit { tokens: 30_000, refill: Duration::seconds(20) },
    domain: Limit { tokens: 30_000, refill: Duration::seconds(20) },
    failed_authorizations: Limit { tokens: 200, refill: Duration::seconds(18) },
    orders: Limit { tokens: 1_500, refill: Duration::seconds(7) },
    accounts: Limit { tokens: 50, refill: Duration::minutes(4) },
    own: 30_000,
};

/// Versions of the secret. Secrets Manager wants none written more often than every ten minutes for long, keeps 100, and
/// removes none that is younger than a day
/// (<https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>): 24 at once and one every twenty
/// minutes are 96 in the worst day.
pub(super) const VERSIONS: Limit = Limit { tokens: 24, refill: Duration::minutes(20) };

impl CaLimits {
    /// Those of the CA with that directory.
    pub(super) fn of(directory: &str) -> CaLimits {
        if directory.starts_with("https://acme-staging") { LETS_ENCRYPT_STAGING } else { LETS_ENCRYPT }
    }
}

/// How full a bucket is, told by the instant at which it is full again (the generic cell rate algorithm, as Let's
/// Encrypt keeps its own): one instant says all, and every host can add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct TokenBucket(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

impl TokenBucket {
    /// A full one.
    pub(super) fn full(now: OffsetDateTime) -> TokenBucket {
        TokenBucket(now)
    }

    /// Whether nothing is missing from it.
    pub(super) fn is_full(self, now: OffsetDateTime) -> bool {
        self.0 <= now
    }

    /// Takes one token, be there one or not: what was done at the CA was done.
    pub(super) fn spend(&mut self, limit: Limit, now: OffsetDateTime) {
        self.0 = self.full_at(limit, now) + limit.refill;
    }

    /// Puts one token back.
    pub(super) fn put_back(&mut self, limit: Limit) {
        self.0 -= limit.refill;
    }

    /// How many tokens are in it.
    pub(super) fn left(self, limit: Limit, now: OffsetDateTime) -> u32 {
        let missing = (self.full_at(limit, now) - now).as_seconds_f64() / limit.refill.as_seconds_f64();
        // At most `tokens`, so the cast is exact.
        limit.tokens - (missing.ceil() as u32).min(limit.tokens)
    }

    /// When so many tokens are in it; `now` when they are.
    pub(super) fn holds(self, tokens: u32, limit: Limit, now: OffsetDateTime) -> OffsetDateTime {
        let may_miss = limit.tokens.saturating_sub(tokens);
        (self.full_at(limit, now) - limit.refill * may_miss).max(now)
    }

    /// No bucket is emptier than empty: what a clock that was ahead has written counts no longer than that.
    fn full_at(self, limit: Limit, now: OffsetDateTime) -> OffsetDateTime {
        self.0.clamp(now, now + limit.refill * limit.tokens)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
    const FIVE: Limit = Limit { tokens: 5, refill: Duration::hours(34) };

    #[test]
    fn bucket_empties_by_the_token_and_fills_by_the_refill() {
        let mut bucket = TokenBucket::full(NOW);
        for spent in 0..5 {
            assert_eq!(bucket.left(FIVE, NOW), 5 - spent);
            assert_eq!(bucket.holds(1, FIVE, NOW), NOW);
            bucket.spend(FIVE, NOW);
        }
        assert_eq!(bucket.left(FIVE, NOW), 0);
        let next = NOW + FIVE.refill;
        assert_eq!((bucket.holds(1, FIVE, NOW), bucket.left(FIVE, next)), (next, 1));
        assert_eq!(bucket.left(FIVE, next - Duration::seconds(1)), 0);
        assert_eq!(bucket.holds(2, FIVE, NOW), NOW + FIVE.refill * 2);
        assert_eq!(bucket.left(FIVE, NOW + FIVE.refill * 5), 5);
        bucket.put_back(FIVE);
        assert_eq!(bucket.left(FIVE, NOW), 1);
    }

    #[test]
    fn one_a_day_empties_the_bucket_of_five_in_about_two_weeks() {
        let mut bucket = TokenBucket::full(NOW);
        let empty = (0..).find(|day| {
            let now = NOW + Duration::days(*day);
            let empty = bucket.left(FIVE, now) == 0;
            bucket.spend(FIVE, now);
            empty
        });
        // A day takes one and brings 24/34 back.
        assert!(matches!(empty, Some(14..=17)), "{empty:?}");
    }

    #[test]
    fn versions_of_the_secret_stay_below_a_hundred_on_the_worst_day() {
        let mut bucket = TokenBucket::full(NOW);
        let mut written = Vec::new();
        for minute in 0..3 * 24 * 60 {
            let now = NOW + Duration::minutes(minute);
            while bucket.left(VERSIONS, now) > 0 {
                bucket.spend(VERSIONS, now);
                written.push(now);
            }
        }
        let within = |from: OffsetDateTime| written.iter().filter(move |at| (from..from + Duration::DAY).contains(*at));
        let most = written.iter().map(|from| within(*from).count()).max();
        assert!(most.is_some_and(|most| (90..100).contains(&most)), "{most:?}");
    }

    #[test]
    fn clock_that_was_ahead_locks_nobody_out_for_longer_than_a_whole_refill() {
        let mut bucket = TokenBucket::full(NOW);
        bucket.spend(FIVE, NOW + Duration::days(9_999));
        assert_eq!(bucket.left(FIVE, NOW), 0);
        assert_eq!(bucket.holds(1, FIVE, NOW), NOW + FIVE.refill);
    }
}
