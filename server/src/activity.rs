//! How a connection is doing, so that a slow client is told from a slow answer of this server's.

mod account;
mod content;
mod driver;
mod pace;

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use self::{account::Account, content::ContentState};
use self::{content::LastContent, driver::Driver, pace::Pace};
use crate::settings::{Bounds, Patience};

/// How long a connection that waits for the server alone may do so: no limit that anyone sees.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the reading, answering and writing sides of one connection know of its progress.
///
/// A connection waits *for its client* while that has content to take or to send, and *for the server* while the handler works
/// out an answer, gives no content of it, or leaves the client no room to send any. Only the client's time is limited here.
///
/// They all run in one task, so relaxed atomics are enough; times are milliseconds since the connection was made, 0 for never.
/// What a handler spawns only starts and stops waiting for content, and wakes that task if a deadline follows from it.
#[derive(Debug)]
pub(crate) struct Activity {
    made: Instant,
    /// How often the connection's task had its turn.
    turn: AtomicU64,
    requests: AtomicU64,
    in_flight: AtomicU32,
    /// How many of those wait for the server.
    for_server: AtomicU32,
    /// How many handlers wait for content that the client has not sent.
    for_content: AtomicU32,
    /// Whether the client gets no room to send more of it.
    withheld: AtomicBool,
    /// What became of the content of the last request of HTTP/1.
    content: LastContent,
    /// Since when nothing is under way.
    idle: AtomicU64,
    /// Since when a head is incomplete.
    head: AtomicU64,
    /// The number of the request whose head that is: those before it may still have to be answered.
    incomplete: AtomicU64,
    /// How fast the client takes what there is, and sends what is waited for.
    taking: Pace,
    sending: Pace,
    /// Whether the client did not take all that was written last.
    pending: AtomicBool,
    /// Since when this side is closed.
    closed: AtomicU64,
    driver: Driver,
}

impl Activity {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            made: Instant::now(),
            turn: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            for_server: AtomicU32::new(0),
            for_content: AtomicU32::new(0),
            withheld: AtomicBool::new(false),
            content: LastContent::default(),
            idle: AtomicU64::new(0),
            head: AtomicU64::new(0),
            incomplete: AtomicU64::new(0),
            taking: Pace::new(bounds.progress),
            sending: Pace::new(bounds.progress),
            pending: AtomicBool::new(false),
            closed: AtomicU64::new(0),
            driver: Driver::default(),
        }
    }

    /// The task that runs drives the connection: whatever brings a deadline nearer outside of its turns has it woken.
    pub(crate) fn driven_by(&self, waker: &Waker) {
        self.driver.is(waker);
    }

    /// The connection's task has its next turn.
    pub(crate) fn begin_turn(&self) {
        self.turn.store(self.turn() + 1, Relaxed);
    }

    /// Which turn it is.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// A request's head is complete.
    pub(crate) fn began(&self) {
        let now = self.now();
        if self.requests.fetch_add(1, Relaxed) + 1 >= self.incomplete.load(Relaxed) {
            self.head.store(0, Relaxed);
        }
        let waits = self.waits_for_taking();
        if self.in_flight.fetch_add(1, Relaxed) == 0 || !waits {
            self.taking.begin(now);
        }
    }

    /// One of the requests waits for the server, or no longer does.
    pub(crate) fn wait_for_server(&self, waits: bool) {
        let before = self.waits_for_taking();
        count(&self.for_server, waits);
        if !before && self.waits_for_taking() {
            self.taking.begin(self.now());
        }
    }

    /// A handler waits for content of the client's, or no longer does.
    pub(crate) fn wait_for_content(&self, waits: bool) {
        let before = self.waits_for_sending();
        count(&self.for_content, waits);
        self.begin_sending(before);
    }

    /// Whether the client gets no room to send more content, as too much of it is unread.
    pub(crate) fn withhold(&self, withheld: bool) {
        if self.withheld.load(Relaxed) != withheld {
            let before = self.waits_for_sending();
            self.withheld.store(withheld, Relaxed);
            self.begin_sending(before);
        }
    }

    /// This became of the content of the last request.
    pub(crate) fn content_is(&self, content: ContentState) {
        self.content.set(content);
    }

    /// What has become so far of the last request's content.
    pub(crate) fn content(&self) -> ContentState {
        self.content.get()
    }

    /// Whether a request waits for the server.
    pub(crate) fn waits_for_server(&self) -> bool {
        self.for_server.load(Relaxed) > 0
    }

    /// A response's content was handed over to the end.
    pub(crate) fn ended(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.idle.store(self.now(), Relaxed);
        }
    }

    /// Bytes of this request's head came, but not its end.
    pub(crate) fn head_incomplete(&self, request: u64) {
        if self.incomplete.swap(request, Relaxed) != request {
            self.head.store(self.now(), Relaxed);
        }
    }

    /// No head is incomplete: one that was had no request in it.
    pub(crate) fn no_head(&self) {
        self.head.store(0, Relaxed);
    }

    /// The client took `bytes`; `all` says whether that is all it was offered.
    pub(crate) fn took(&self, bytes: u64, all: bool) {
        self.taking.moved(bytes, || self.now());
        self.set_pending(!all);
    }

    /// So many bytes came of a request's content that a handler reads.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sending.moved(bytes, || self.now());
    }

    /// The client takes nothing now.
    pub(crate) fn took_nothing(&self) {
        self.set_pending(true);
    }

    /// The client took all it was offered.
    pub(crate) fn took_all(&self) {
        self.set_pending(false);
    }

    /// This side is closed; what still comes is read and thrown away.
    pub(crate) fn closed(&self) {
        self.closed.store(self.now(), Relaxed);
    }

    /// How many requests have begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many requests would be cut with the connection.
    pub(crate) fn under_way(&self) -> u64 {
        if self.closed.load(Relaxed) != 0 {
            return 0;
        }
        let unwritten = u32::from(self.pending.load(Relaxed));
        u64::from(self.in_flight.load(Relaxed).max(unwritten))
    }

    /// Whether a request is being answered, or its response being taken.
    pub(crate) fn busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0 || self.pending.load(Relaxed)
    }

    /// Whether the client has something to take before a request can go on.
    fn waits_for_taking(&self) -> bool {
        self.pending.load(Relaxed) || self.in_flight.load(Relaxed) > self.for_server.load(Relaxed)
    }

    /// Whether the client has something to send, and may, before a request can go on.
    fn waits_for_sending(&self) -> bool {
        self.for_content.load(Relaxed) > 0 && !self.withheld.load(Relaxed)
    }

    /// Whether all responses were taken, but not all content was read of the request before the last one: none can follow
    /// it, as the client was told.
    fn is_behind_the_last(&self) -> bool {
        self.content() != ContentState::Read && !self.busy()
    }

    /// Whether the connection is not one that was just made and is about to ask something.
    pub(crate) fn settled(&self) -> bool {
        self.requests() > 0 || Instant::now() >= self.settles()
    }

    /// When a connection that was made and asks nothing may be closed.
    pub(crate) fn settles(&self) -> Instant {
        const ABOUT_TO_ASK: Duration = Duration::from_secs(1);
        self.made + ABOUT_TO_ASK
    }

    /// When a connection that waits for its next request gives its buffers back; `None` if it does not wait for that. Behind
    /// content that was not read there is none to wait for (RFC 9112 §9.3): what came of it would be taken for one.
    pub(crate) fn rests(&self, patience: &Patience) -> Option<Instant> {
        let elsewhere = self.closed.load(Relaxed) != 0 || self.head.load(Relaxed) != 0;
        let waits = self.requests() > 0 && !self.busy() && !elsewhere && self.content() == ContentState::Read;
        waits.then(|| self.made + Duration::from_millis(self.idle.load(Relaxed)) + patience.rest)
    }

    /// When the client's patience is used up if nothing happens until then.
    pub(crate) fn deadline(&self, patience: &Patience) -> Instant {
        let (since, allowed) = self.waiting_for(patience);
        self.made + Duration::from_millis(since) + allowed
    }

    fn waiting_for(&self, patience: &Patience) -> (u64, Duration) {
        match (self.closed.load(Relaxed), self.head.load(Relaxed)) {
            (closed @ 1.., _) => (closed, patience.close),
            _ if self.is_behind_the_last() => (self.idle.load(Relaxed), patience.close),
            _ if self.waits_for_sending() => self.waiting_for_content(patience),
            _ if self.waits_for_taking() => (self.taking.since(), patience.write),
            _ if self.busy() => (0, FOREVER),
            (_, head @ 1..) => (head, patience.head),
            _ if self.requests() == 0 => (0, patience.first),
            _ => (self.idle.load(Relaxed), patience.idle),
        }
    }

    /// A client that has both to send and to take may be too slow in either.
    fn waiting_for_content(&self, patience: &Patience) -> (u64, Duration) {
        let sending = (self.sending.since(), patience.content);
        let taking = (self.taking.since(), patience.write);
        let ends = |(since, allowed): (u64, Duration)| Duration::from_millis(since) + allowed;
        if self.waits_for_taking() && ends(taking) < ends(sending) { taking } else { sending }
    }

    fn set_pending(&self, pending: bool) {
        if self.pending.load(Relaxed) == pending {
            return;
        }
        if pending && !self.waits_for_taking() {
            self.taking.begin(self.now());
        }
        self.pending.store(pending, Relaxed);
        if self.is_behind_the_last() {
            self.idle.store(self.now(), Relaxed);
        }
    }

    /// The client's time begins where it was not waited for `before`, and is now.
    fn begin_sending(&self, before: bool) {
        if !before && self.waits_for_sending() {
            self.sending.begin(self.now());
            self.driver.wake();
        }
    }

    /// Never 0, which stands for never.
    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// Counts one more or one less of those who wait.
fn count(waiting: &AtomicU32, waits: bool) {
    if waits {
        waiting.fetch_add(1, Relaxed)
    } else {
        waiting.fetch_sub(1, Relaxed)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(activity: &Activity) -> u64 {
        (activity.deadline(&Patience::default()) - Instant::now()).as_millis() as u64
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_of_a_connection_has_its_own_deadline() {
        let bounds = Bounds::default();
        let activity = Activity::new(&bounds);
        assert_eq!(activity.rests(&Patience::default()), None, "nothing was asked yet");
        assert_eq!(left(&activity), 9_000, "before the first request");
        pass(3).await;
        activity.head_incomplete(1);
        pass(4).await;
        activity.head_incomplete(1);
        assert_eq!(left(&activity), 6_000, "a head counts from its first byte");
        activity.began();
        assert_eq!(left(&activity), 22_000, "a response");
        pass(10).await;
        activity.took(100, true);
        assert_eq!(left(&activity), 12_000, "a trickle is no progress");
        activity.took(bounds.progress, false);
        assert_eq!(left(&activity), 22_000, "progress");
        activity.ended();
        pass(5).await;
        assert_eq!((left(&activity), activity.under_way()), (17_000, 1), "handed over, but not taken");
        activity.took(10, true);
        assert_eq!((left(&activity), activity.under_way()), (55_000, 0), "idle");
        assert!(
            activity.rests(&Patience::default()).is_some_and(|rests| rests <= Instant::now()),
            "long enough to rest"
        );
        activity.head_incomplete(3);
        activity.began();
        activity.ended();
        assert_eq!(left(&activity), 10_000, "a head that began before the requests before it were answered");
        assert_eq!(activity.rests(&Patience::default()), None, "a head is coming");
        activity.began();
        assert_eq!(activity.rests(&Patience::default()), None, "a response is under way");
        activity.ended();
        activity.closed();
        assert_eq!(left(&activity), 2_000, "closing");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_is_waited_for_is_cut() {
        let bounds = Bounds::default();
        let activity = Activity::new(&bounds);
        let limited = || left(&activity) < 60_000;
        activity.began();
        activity.wait_for_server(true);
        pass(100).await;
        assert!(!limited(), "the handler works");
        activity.wait_for_content(true);
        pass(10).await;
        assert_eq!(left(&activity), 20_000, "it waits for content, from then on, and as long as content may take");
        activity.sent(100);
        assert_eq!(left(&activity), 20_000, "a trickle is no progress");
        activity.sent(bounds.progress);
        assert_eq!(left(&activity), 30_000, "content came");
        activity.withhold(true);
        pass(100).await;
        assert!(!limited(), "the client may send nothing");
        activity.withhold(false);
        assert_eq!(left(&activity), 30_000, "it may again, from now on");
        activity.wait_for_content(false);
        pass(100).await;
        assert!(!limited(), "the handler works again");
        activity.wait_for_server(false);
        assert_eq!(left(&activity), 22_000, "the client has a response to take, from now on");
        activity.took(10, false);
        activity.wait_for_server(true);
        pass(5).await;
        assert_eq!(left(&activity), 17_000, "not all that the handler gave was taken");
        activity.took(10, true);
        assert!(!limited(), "all of it was");
        activity.began();
        pass(5).await;
        assert_eq!(left(&activity), 17_000, "another response is to be taken beside it");
        activity.ended();
        assert!(!limited() && activity.busy() && activity.under_way() == 1);
        activity.wait_for_server(false);
        activity.ended();
        assert_eq!(left(&activity), 60_000, "idle");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_has_to_take_and_one_that_takes_has_to_send() {
        let bounds = Bounds::default();
        let activity = Activity::new(&bounds);
        pass(1).await;
        activity.began();
        activity.wait_for_content(true);
        pass(10).await;
        activity.sent(bounds.progress);
        assert_eq!(left(&activity), 12_000, "it sends, and takes nothing");
        activity.took(bounds.progress, false);
        pass(15).await;
        activity.took(bounds.progress, false);
        assert_eq!(left(&activity), 15_000, "it takes, and sends nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_neither_rests_nor_goes_on_behind_content_that_was_not_read() {
        let patience = Patience::default();
        let activity = Activity::new(&Bounds::default());
        pass(1).await;
        activity.began();
        activity.content_is(ContentState::Unread);
        activity.took(100, false);
        activity.ended();
        activity.wait_for_content(true);
        pass(5).await;
        assert_eq!(left(&activity), 17_000, "handed over, but not taken");
        activity.took(100, true);
        assert_eq!((left(&activity), activity.rests(&patience)), (2_000, None), "taken: as long as closing may take");
        activity.content_is(ContentState::Read);
        activity.wait_for_content(false);
        assert!(activity.rests(&patience).is_some(), "it was read after all");
        assert_eq!(left(&activity), 60_000);
    }
}
