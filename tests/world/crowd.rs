//! Visitors who find the site by its name, as resolvers and connection pools let them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use tokio::{task::JoinSet, time::Instant};

use crate::{Account, Tally, Visitor, visitor::Line};

/// Failures that are remembered in words.
const MOST_REMEMBERED: usize = 20;

/// What a visitor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// An address for its time to live, and no connection.
    Honest,
    /// An address for ten times as long, and no connection.
    Stubborn,
    /// A connection for as long as the server lets it, over HTTP/1.1 and HTTP/2 in turn.
    Pool,
}

/// Visitors of all kinds, who ask one request after the other until they are stopped.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    account: Account,
    visitor: Visitor,
    pages: Vec<(String, Vec<Bytes>)>,
    ttl: Duration,
    pause: Duration,
    resolved: Mutex<HashMap<Keeping, (IpAddr, Instant)>>,
    stopped: AtomicBool,
    answered: AtomicU64,
    tally: Mutex<Tally>,
    gaps: Mutex<HashMap<Keeping, Gap>>,
}

/// When a visitor of one kind was last answered, and the longest time in which none was.
#[derive(Clone, Copy, Debug)]
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Crowd {
    /// Starts `number` visitors of each kind. `visitor` says whom they trust and at which port they ask, `ttl` is the
    /// records' time to live, and `pause` is between two requests of one of them.
    ///
    /// # Panics
    /// When there are no pages.
    pub fn start(
        account: &Account,
        visitor: &Visitor,
        (ttl, pause): (Duration, Duration),
        number: usize,
        pages: HashMap<String, Vec<Bytes>>,
    ) -> Crowd {
        assert!(!pages.is_empty(), "a crowd needs pages to ask for");
        let shared = Arc::new(Shared {
            account: account.clone(),
            visitor: visitor.clone(),
            pages: pages.into_iter().collect(),
            ttl,
            pause,
            resolved: Mutex::default(),
            stopped: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            tally: Mutex::default(),
            gaps: Mutex::default(),
        });
        let mut workers = JoinSet::new();
        for index in 0..number {
            for keeping in [Keeping::Honest, Keeping::Stubborn, Keeping::Pool] {
                workers.spawn(shared.clone().work(keeping, index));
            }
        }
        Crowd { shared, workers }
    }

    /// How many requests have been answered well so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// The longest time in which no visitor of that kind was answered, since the last call of [`Crowd::forget_gaps`].
    pub fn gap(&self, keeping: Keeping) -> Duration {
        self.shared.gaps.lock().expect("no visitor panics").get(&keeping).map_or(Duration::ZERO, |gap| gap.longest)
    }

    /// Begins to measure gaps anew.
    pub fn forget_gaps(&self) {
        self.shared.gaps.lock().expect("no visitor panics").clear();
    }

    /// What the visitors saw so far.
    pub fn tally(&self) -> Tally {
        let tally = self.shared.tally.lock().expect("no visitor panics").clone();
        Tally { answered: self.answered(), ..tally }
    }

    /// Lets every visitor finish the request under way, and counts.
    pub async fn stop(mut self) -> Tally {
        self.shared.stopped.store(true, Ordering::Relaxed);
        while self.workers.join_next().await.is_some() {}
        self.tally()
    }
}

impl Shared {
    async fn work(self: Arc<Self>, keeping: Keeping, index: usize) {
        let h2 = index % 2 == 1;
        let mut kept = None;
        let mut turn = index;
        while !self.stopped.load(Ordering::Relaxed) {
            tokio::time::sleep(self.pause).await;
            let mut line = match kept.take() {
                Some(line) => line,
                None => match self.open(keeping, h2).await {
                    Some(line) => line,
                    None => continue,
                },
            };
            if !line.ready().await {
                continue;
            }
            let (path, bodies) = &self.pages[turn % self.pages.len()];
            turn += 1;
            let request = self.visitor.request(Method::GET, path, &[], h2);
            let Some(answer) = line.try_send(request).await else { continue };
            match answer {
                Ok(answer) if answer.status == 200 && bodies.contains(&answer.body) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    self.was_answered(keeping);
                    kept = Some(line).filter(|_| keeping == Keeping::Pool);
                }
                Ok(answer) => self.failed(format!("{keeping:?} {path}: {}", answer.status)),
                Err(error) => self.failed(format!("{keeping:?} {path} (HTTP/{}): {error}", if h2 { 2 } else { 1 })),
            }
        }
    }

    async fn open(&self, keeping: Keeping, h2: bool) -> Option<Line> {
        let address = self.resolve(keeping).await?;
        let to = SocketAddr::new(address, self.visitor.address().port());
        match self.visitor.going_to(to).connect(h2).await {
            Ok((line, _)) => Some(line),
            Err(error) => {
                self.failed(format!("{keeping:?} at {to}: {error}"));
                None
            }
        }
    }

    /// The address, by a resolver of the visitor's kind. A name server that is asked answers at once: what takes time here
    /// is no part of what is tested.
    async fn resolve(&self, keeping: Keeping) -> Option<IpAddr> {
        let found = self.resolved.lock().expect("no visitor panics").get(&keeping).copied();
        if let Some((address, until)) = found
            && Instant::now() < until
        {
            return Some(address);
        }
        let answers = self.account.answers(&self.account.domain(), "A").await;
        let address = answers.first().and_then(|address| address.parse().ok())?;
        let keeps = if keeping == Keeping::Stubborn { self.ttl * 10 } else { self.ttl };
        self.resolved.lock().expect("no visitor panics").insert(keeping, (address, Instant::now() + keeps));
        Some(address)
    }

    fn was_answered(&self, keeping: Keeping) {
        let now = Instant::now();
        let mut gaps = self.gaps.lock().expect("no visitor panics");
        let gap = gaps.entry(keeping).or_insert(Gap { last: now, longest: Duration::ZERO });
        gap.longest = gap.longest.max(now - gap.last);
        gap.last = now;
    }

    fn failed(&self, what: String) {
        let mut tally = self.tally.lock().expect("no visitor panics");
        tally.failed += 1;
        if tally.failures.len() < MOST_REMEMBERED {
            tally.failures.push(what);
        }
    }
}
