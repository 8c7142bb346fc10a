//! Many visitors at once, who notice every request that is not answered as it should be.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::Method;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{Latencies, Measured, Visitor, visitor::Line};

/// Failures that are remembered in words.
const MOST_REMEMBERED: usize = 20;

/// Visitors that ask one request after the other over kept connections, until they are stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

/// What the visitors saw.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were answered 200 with the right body.
    pub answered: u64,
    /// Requests that were sent over an accepted connection and not answered so.
    pub failed: u64,
    /// Connections that were refused: no process listened.
    pub refused: u64,
    /// Connections that had to be opened again, because the one before was ended.
    pub reopened: u64,
    /// What the first failures were.
    pub failures: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    visitor: Visitor,
    pages: Vec<(String, Vec<Bytes>)>,
    stopped: AtomicBool,
    answered: AtomicU64,
    opened: AtomicU64,
    latencies: Latencies,
    tally: Mutex<Tally>,
}

impl Load {
    /// Starts `number` visitors, every other one over HTTP/2, who ask for these pages in turn. A page may have several
    /// bodies, any of which is right: that of the old and that of the new site.
    ///
    /// # Panics
    /// When there are no pages.
    pub fn start(visitor: &Visitor, number: usize, pages: HashMap<String, Vec<Bytes>>) -> Load {
        assert!(!pages.is_empty(), "a load needs pages to ask for");
        let shared = Arc::new(Shared {
            visitor: visitor.clone(),
            pages: pages.into_iter().collect(),
            stopped: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            latencies: Latencies::default(),
            tally: Mutex::default(),
        });
        let mut workers = JoinSet::new();
        for index in 0..number {
            workers.spawn(shared.clone().work(index));
        }
        Load { shared, workers }
    }

    /// How many requests have been answered well so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// How long every answer took until now.
    pub fn latencies(&self) -> Measured {
        self.shared.latencies.measured()
    }

    /// Lets every visitor finish the request under way, and counts.
    pub async fn stop(mut self) -> Tally {
        let visitors = self.workers.len() as u64;
        self.shared.stopped.store(true, Ordering::Relaxed);
        while self.workers.join_next().await.is_some() {}
        let tally = self.shared.tally.lock().expect("no visitor panics").clone();
        let reopened = self.shared.opened.load(Ordering::Relaxed).saturating_sub(visitors);
        Tally { answered: self.shared.answered.load(Ordering::Relaxed), reopened, ..tally }
    }
}

impl Shared {
    async fn work(self: Arc<Self>, index: usize) {
        let h2 = index % 2 == 1;
        let mut line = None;
        let mut turn = index;
        while !self.stopped.load(Ordering::Relaxed) {
            let mut open = match line.take() {
                Some(open) => open,
                None => match self.open(h2).await {
                    Some(open) => open,
                    None => continue,
                },
            };
            if !open.ready().await {
                continue;
            }
            let (path, bodies) = &self.pages[turn % self.pages.len()];
            turn += 1;
            let request = self.visitor.request(Method::GET, path, &[], h2);
            let sent = Instant::now();
            let Some(answer) = open.try_send(request).await else { continue };
            self.latencies.add(sent.elapsed());
            match answer {
                Ok(answer) if answer.status == 200 && bodies.contains(&answer.body) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    line = Some(open);
                }
                Ok(answer) => self.failed(format!("{path}: {} with {} bytes", answer.status, answer.body.len())),
                Err(error) => self.failed(format!("{path} (HTTP/{}): {error}", if h2 { 2 } else { 1 })),
            }
        }
    }

    async fn open(&self, h2: bool) -> Option<Line> {
        let Ok(stream) = TcpStream::connect(self.visitor.address()).await else {
            self.tally.lock().expect("no visitor panics").refused += 1;
            // No process listens: give the next one the time to.
            tokio::task::yield_now().await;
            return None;
        };
        match self.visitor.greet(stream, h2).await {
            Ok((line, _)) => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                Some(line)
            }
            Err(error) => {
                self.failed(format!("an accepted connection: {error}"));
                None
            }
        }
    }

    fn failed(&self, what: String) {
        let mut tally = self.tally.lock().expect("no visitor panics");
        tally.failed += 1;
        if tally.failures.len() < MOST_REMEMBERED {
            tally.failures.push(what);
        }
    }
}
