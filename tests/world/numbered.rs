//! Visitors of an application, each of whose requests has a number of its own that the application notes.

use std::{
    collections::HashMap,
    fs, mem,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request};
use tokio::task::JoinSet;

use crate::{Latencies, Measured, Visitor};

/// Visitors who ask one request after the other, every other one of them over HTTP/2, until they are ended. Each third request is
/// a POST with content.
#[derive(Debug)]
pub struct Numbered {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicU64,
    answered: AtomicU64,
    latencies: Latencies,
    longest: Mutex<Duration>,
    lost: Mutex<Vec<Lost>>,
}

/// A request that was not answered as the application answers it.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Its number.
    pub number: u64,
    /// Whether it may be sent once more: it is a GET.
    pub idempotent: bool,
    /// When it was sent.
    pub sent: Instant,
    /// When that was known.
    pub known: Instant,
    /// What came instead of the answer.
    pub why: String,
}

/// What the visitors saw.
#[derive(Debug)]
pub struct Seen {
    /// How many requests were sent.
    pub sent: u64,
    /// Those that were not answered.
    pub lost: Vec<Lost>,
    /// How long all of them took.
    pub latencies: Measured,
    /// The longest time since the last [`Numbered::take_longest`].
    pub longest: Duration,
}

/// How often the application was sent each number, where that was not once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Numbers that never came.
    pub never: Vec<u64>,
    /// Numbers that came more than once.
    pub more: Vec<u64>,
}

impl Numbered {
    /// Starts that many visitors.
    pub fn start(visitor: &Visitor, many: usize) -> Numbered {
        let shared = Arc::<Shared>::default();
        let mut workers = JoinSet::new();
        for index in 0..many {
            workers.spawn(shared.clone().ask(visitor.clone(), index % 2 == 1));
        }
        Numbered { shared, workers }
    }

    /// How many requests were answered well.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Relaxed)
    }

    /// How long all requests took until now.
    pub fn latencies(&self) -> Measured {
        self.shared.latencies.measured()
    }

    /// The longest time that a request took which ended after the last call.
    ///
    /// # Panics
    /// When a visitor has.
    pub fn take_longest(&self) -> Duration {
        mem::take(&mut *self.shared.longest.lock().expect("no visitor panics"))
    }

    /// Lets every visitor finish the request under way.
    ///
    /// # Panics
    /// When a visitor has.
    pub async fn end(mut self) -> Seen {
        self.shared.stop.store(true, Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("no visitor panics");
        }
        Seen {
            sent: self.shared.next.load(Relaxed),
            lost: mem::take(&mut *self.shared.lost.lock().expect("no visitor panics")),
            latencies: self.latencies(),
            longest: self.take_longest(),
        }
    }
}

impl Shared {
    async fn ask(self: Arc<Self>, visitor: Visitor, h2: bool) {
        let mut talk = visitor.talk(h2);
        while !self.stop.load(Relaxed) {
            let number = self.next.fetch_add(1, Relaxed);
            let idempotent = !number.is_multiple_of(3);
            let (method, content) = if idempotent {
                (Method::GET, Bytes::new())
            } else {
                (Method::POST, Bytes::from(format!("the content of {number}")))
            };
            let request = Request::builder().method(method).uri(format!("/work?{number}")).body(content);
            let sent = Instant::now();
            let why = match talk.send(request.expect("a valid request")).await {
                Ok(answer) if answer.status == 200 && answer.text() == format!("did {number}") => None,
                Ok(answer) => {
                    Some(format!("{} {} {:.80}", answer.status, answer.header("proxy-status"), answer.text()))
                }
                Err(error) => Some(error),
            };
            let known = Instant::now();
            self.latencies.add(known - sent);
            let mut longest = self.longest.lock().expect("no visitor panics");
            *longest = (*longest).max(known - sent);
            drop(longest);
            match why {
                None => {
                    self.answered.fetch_add(1, Relaxed);
                }
                Some(why) => {
                    let lost = Lost { number, idempotent, sent, known, why };
                    self.lost.lock().expect("no visitor panics").push(lost);
                }
            }
        }
    }
}

impl Seen {
    /// How often the application noted each of these requests in that file.
    pub fn counts(&self, noted: &Path) -> Counts {
        let mut times = HashMap::<u64, u32>::new();
        for line in fs::read_to_string(noted).unwrap_or_default().lines() {
            if let Ok(number) = line.parse() {
                *times.entry(number).or_default() += 1;
            }
        }
        let mut counts = Counts::default();
        for number in 0..self.sent {
            match times.get(&number) {
                None => counts.never.push(number),
                Some(1) => {}
                Some(_) => counts.more.push(number),
            }
        }
        counts
    }

    /// Panics unless all requests were answered, and each was sent to the application once.
    ///
    /// # Panics
    /// See above.
    pub fn was_flawless(&self, noted: &Path) {
        assert!(
            self.lost.is_empty(),
            "{} of {}: {:?}",
            self.lost.len(),
            self.sent,
            &self.lost[..self.lost.len().min(5)]
        );
        let counts = self.counts(noted);
        assert_eq!(counts, Counts::default(), "of {} requests these were not sent once", self.sent);
    }
}
