//! The simulated CA, with the limits that Let's Encrypt publishes.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    certificate::{
        document::{Issued, VaultDocument},
        due::{Life, Window},
        limit::{CaLimits, Limit, TokenBucket},
        plan::{Holding, LeafCertificate},
        steps::{FailureKind, OrderProgress, StepFailure},
    },
    fault::Fault,
    place::Name,
};

/// How long a proof need not be repeated (<https://letsencrypt.org/docs/profiles/>, classic until 2027).
const REUSE: Duration = Duration::days(30);
/// How long an order that was not finalized lasts.
const ORDER_LIFE: Duration = Duration::days(7);

pub(super) struct Ca {
    life: Duration,
    ari: bool,
    limits: CaLimits,
    buckets: BTreeMap<&'static str, TokenBucket>,
    accounts: Vec<Option<OffsetDateTime>>,
    orders: Vec<Order>,
    certificates: Vec<Certificate>,
    /// When it went down and came up again.
    outages: Vec<(OffsetDateTime, Option<OffsetDateTime>)>,
    down: u32,
    /// Refusals because of a limit.
    pub(super) touched: u32,
    /// Orders that were accepted.
    pub(super) accepted: u32,
}

struct Order {
    account: String,
    names: Vec<Name>,
    made: OffsetDateTime,
    proven: bool,
    invalid: bool,
    exempt: bool,
    replaces: Option<String>,
    certificate: Option<usize>,
}

struct Certificate {
    life: Life,
    names: Vec<Name>,
    key: String,
}

impl Ca {
    pub(super) fn new(life: Duration, ari: bool) -> Ca {
        Ca {
            life,
            ari,
            limits: CaLimits::of(super::DIRECTORY),
            buckets: BTreeMap::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            certificates: Vec::new(),
            outages: Vec::new(),
            down: 0,
            touched: 0,
            accepted: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.down == 0
    }

    pub(super) fn down_at(&mut self, at: OffsetDateTime) {
        if self.down == 0 {
            self.outages.push((at, None));
        }
        self.down += 1;
    }

    pub(super) fn up_at(&mut self, at: OffsetDateTime) {
        self.down -= 1;
        if let (0, Some((_, until))) = (self.down, self.outages.last_mut()) {
            *until = Some(at);
        }
    }

    /// For how long at a stretch it was there, at the most, between these instants.
    pub(super) fn longest_up(&self, from: OffsetDateTime, until: OffsetDateTime) -> Duration {
        let mut since = from;
        let mut longest = Duration::ZERO;
        for (down, up) in &self.outages {
            longest = longest.max((*down).min(until) - since);
            since = since.max(up.unwrap_or(until));
        }
        longest.max(until - since)
    }

    /// URL of a new account.
    pub(super) fn new_account(&mut self, now: OffsetDateTime) -> Option<String> {
        self.spend("accounts", self.limits.accounts, now).ok()?;
        self.accounts.push(None);
        Some((self.accounts.len() - 1).to_string())
    }

    pub(super) fn new_order(
        &mut self,
        account: &str,
        names: &[Name],
        replaces: Option<&Issued>,
        now: OffsetDateTime,
    ) -> Result<usize, StepFailure> {
        let replaced = replaces.map(|issued| issued.chain.clone()).filter(|_| self.ari);
        if let Some(chain) = &replaced {
            let again =
                self.orders.iter().any(|order| order.replaces.as_ref() == Some(chain) && self.lives(order, now));
            if again {
                let fault = Fault::retry("making an order", "alreadyReplaced");
                return Err(StepFailure { fault, kind: FailureKind::NotAsReplacement });
            }
        }
        let window = replaces.filter(|_| replaced.is_some()).and_then(|issued| self.window(issued));
        let exempt = window.is_some_and(|window| window.start <= now && now <= window.end);
        if !exempt {
            self.spend("orders", self.limits.orders, now)?;
            for (what, limit) in [("names", self.limits.same_names), ("domain", self.limits.domain)] {
                self.has(what, limit, now)?;
            }
        }
        let pending = |order: &Order| {
            order.account == account && replaced.is_none() && order.replaces.is_none() && order.certificate.is_none()
        };
        if let Some(index) = self.orders.iter().position(|order| pending(order) && self.lives(order, now)) {
            return Ok(index);
        }
        self.accepted += 1;
        let proven = account.parse().ok().and_then(|index: usize| *self.accounts.get(index)?);
        let proven = proven.is_some_and(|proven| now - proven < REUSE);
        self.orders.push(Order {
            account: account.to_owned(),
            names: names.to_vec(),
            made: now,
            proven,
            invalid: false,
            exempt,
            replaces: replaced,
            certificate: None,
        });
        Ok(self.orders.len() - 1)
    }

    fn lives(&self, order: &Order, now: OffsetDateTime) -> bool {
        order.certificate.is_some() || (!order.invalid && now - order.made < ORDER_LIFE)
    }

    pub(super) fn found(&self, order: usize, now: OffsetDateTime) -> OrderProgress {
        match self.orders.get(order) {
            None => OrderProgress::Gone,
            Some(order) if order.certificate.is_some() => OrderProgress::Finalized,
            Some(order) if !self.lives(order, now) => OrderProgress::Invalid,
            Some(order) if order.proven => OrderProgress::Ready,
            Some(_) => OrderProgress::Pending,
        }
    }

    /// Looks at the challenges of an order. One that is invalid stays so (RFC 8555 §7.1.6), whoever proves it again.
    pub(super) fn prove(&mut self, order: usize, well: bool, now: OffsetDateTime) -> Result<(), StepFailure> {
        if self.orders.get(order).is_some_and(|order| order.invalid) {
            return Err(StepFailure {
                fault: Fault::retry("proving", "the order is invalid"),
                kind: FailureKind::AuthorizationFailed,
            });
        }
        if self.orders.get(order).is_some_and(|order| order.proven) {
            return Ok(());
        }
        self.has("disproven", self.limits.failed_authorizations, now)?;
        if !well {
            self.spend("disproven", self.limits.failed_authorizations, now)?;
        }
        self.proven(order, well);
        if let Some(order) = self.orders.get(order).filter(|_| well)
            && let Some(proven) = order.account.parse().ok().and_then(|index: usize| self.accounts.get_mut(index))
        {
            *proven = Some(now);
        }
        if well {
            Ok(())
        } else {
            Err(StepFailure {
                fault: Fault::retry("proving", "dns: not there"),
                kind: FailureKind::AuthorizationFailed,
            })
        }
    }

    pub(super) fn proven(&mut self, order: usize, well: bool) {
        if let Some(order) = self.orders.get_mut(order) {
            (order.proven, order.invalid) = (well, !well);
        }
    }

    /// The number of the certificate that this issues; none when the order is not ready, or was finalized before.
    pub(super) fn finalize(&mut self, order: usize, key: &str, now: OffsetDateTime) -> Option<usize> {
        let (exempt, names) = {
            let order = self.orders.get(order)?;
            let ready = order.certificate.is_none() && order.proven && self.lives(order, now);
            ready.then(|| (order.exempt, order.names.clone()))?
        };
        if !exempt {
            for (what, limit) in [("names", self.limits.same_names), ("domain", self.limits.domain)] {
                self.bucket(what, now).spend(limit, now);
            }
        }
        let life = Life { not_before: now - Duration::HOUR, not_after: now - Duration::HOUR + self.life };
        self.certificates.push(Certificate { life, names, key: key.to_owned() });
        let number = self.certificates.len() - 1;
        self.orders.get_mut(order)?.certificate = Some(number);
        Some(number)
    }

    pub(super) fn of_order(&self, order: usize) -> Option<usize> {
        self.orders.get(order)?.certificate
    }

    /// The certificate with that number, as a document holds it; the number stands for the chain.
    pub(super) fn issued(&self, number: usize, directory: &str) -> Issued {
        let key = Zeroizing::new(self.certificates.get(number).map(|made| made.key.clone()).unwrap_or_default());
        Issued { chain: number.to_string(), key, ..Issued::sketched(directory) }
    }

    fn certificate(&self, issued: &Issued) -> Option<&Certificate> {
        self.certificates.get(issued.chain.parse::<usize>().ok()?)
    }

    pub(super) fn key_fits(&self, issued: &Issued) -> bool {
        self.certificate(issued).is_some_and(|certificate| *certificate.key == **issued.key)
    }

    pub(super) fn life(&self, issued: &Issued) -> Option<Life> {
        self.certificate(issued).map(|certificate| certificate.life)
    }

    pub(super) fn holding(&self, document: &VaultDocument) -> Holding {
        let Some(issued) = &document.certificate else { return Holding::Nothing };
        match self.certificate(issued) {
            Some(certificate) => {
                let number: u32 = issued.chain.parse().unwrap_or_default();
                let dice = f64::from(number.wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
                Holding::Leaf(LeafCertificate { life: certificate.life, names: certificate.names.clone(), dice })
            }
            None => Holding::Unusable("there is no such certificate".to_owned()),
        }
    }

    /// Two thirds of the life, half of a short one, and one in a hundred to both sides.
    pub(super) fn window(&self, issued: &Issued) -> Option<Window> {
        let life = self.life(issued).filter(|_| self.ari)?;
        let whole = life.not_after - life.not_before;
        let middle = if whole < Duration::days(10) { whole / 2 } else { whole * 2 / 3 };
        let start = life.not_before + middle - whole / 100;
        let end = life.not_before + middle + whole / 100;
        Some(Window { start, end, explanation: None })
    }

    fn bucket(&mut self, what: &'static str, now: OffsetDateTime) -> &mut TokenBucket {
        self.buckets.entry(what).or_insert_with(|| TokenBucket::full(now))
    }

    fn has(&mut self, what: &'static str, limit: Limit, now: OffsetDateTime) -> Result<(), StepFailure> {
        let bucket = *self.bucket(what, now);
        if bucket.left(limit, now) > 0 {
            return Ok(());
        }
        self.touched += 1;
        let wait = bucket.holds(1, limit, now) - now;
        let fault = Fault::wait("asking the CA", format!("rateLimited: {what}"), wait.try_into().unwrap_or_default());
        Err(fault.into())
    }

    fn spend(&mut self, what: &'static str, limit: Limit, now: OffsetDateTime) -> Result<(), StepFailure> {
        self.has(what, limit, now)?;
        self.bucket(what, now).spend(limit, now);
        Ok(())
    }
}
