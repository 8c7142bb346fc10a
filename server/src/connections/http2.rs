//! HTTP/2 (RFC 9113), written here.
//!
//! hyper's HTTP/2 keeps 45 KiB for a connection that waits, none of which can be given back, copies each frame into a buffer
//! before it is sealed, and works out nothing before it has passed through queues, channels and a task for each stream. Here a
//! connection's task reads what came where rustls has left it, answers it in the same turn, and seals content from where it
//! lies in the package; a connection that waits holds its socket, its TLS session, and what the client's fields were.
//!
//! [`protocol`] is what is known of a connection, [`receiving`] what each frame does to it, [`hpack`] what field blocks say,
//! [`request`] what makes a request, [`receive_window`] how much a client may send ahead, [`sending`] how responses share the connection. This file lets them take turns.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

pub(super) use self::inbox::RequestContent;
use self::{frame::ErrorCode, protocol::Protocol};
use super::{
    Answer, RequestBody,
    exchange::Exchanges,
    farewell::Farewell,
    session::Session,
    share::{self, Share},
};
use crate::quota::Reservation;

mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hpack;
mod inbox;
mod priority;
mod protocol;
mod receive_window;
mod receiving;
mod request;
mod sending;
mod stream;
mod waits;
mod window;

/// How much content is sealed before it is sent.
const BATCH: usize = 64 * 1024;
/// More room than that is given back when a turn is over.
const KEPT: usize = 128 * 1024;

thread_local! {
    /// What the connections of this thread write frames to, one after the other.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A client's connection; as a future it is its end.
#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    protocol: Protocol,
    exchanges: Exchanges,
    share: Share,
    stage: Stage,
    farewell: Farewell,
    /// When the content of a request has been waited for long enough.
    waits: Option<Pin<Box<Sleep>>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What the client sends is looked at.
    Open,
    /// The client sends nothing more: what it has asked for is answered.
    HalfClosed,
    /// Nothing is left to be said.
    Closing,
}

impl Connection {
    pub(super) fn new(session: Session, exchanges: Exchanges) -> io::Result<Self> {
        let mut session = session.unbounded();
        let mut settings = Vec::new();
        let opens = exchanges.worker.handler.takes_websockets();
        let reservation = Reservation::new(exchanges.worker.unread.clone(), exchanges.client.address);
        let protocol = Protocol::new(&exchanges.worker.settings, opens, reservation, &mut settings);
        session.seal(&[IoSlice::new(&settings)])?;
        let share = Share::encrypted();
        Ok(Self { session, protocol, exchanges, share, stage: Stage::Open, farewell: Farewell::default(), waits: None })
    }

    /// Closes the connection as soon as nothing is lost by it: GOAWAY (§6.8).
    pub(super) fn close(&mut self) {
        let mut out = Vec::new();
        self.protocol.drain(&mut out);
        // A caller that ignores an error here meets it again when it sends.
        let _ = self.session.seal(&[IoSlice::new(&out)]);
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<()>> {
        // What the client does not take holds up its requests: no client can have more written than one turn looks at.
        ready!(self.poll_sent(context))?;
        if self.stage == Stage::Open
            && let Err(code) = self.receive(context, out)?
        {
            tracing::debug!(address = %self.exchanges.client.address, ?code, "an HTTP/2 connection ends with an error");
            self.protocol.fail(code, out);
            self.stage = Stage::Closing;
        }
        self.answer(context, out);
        self.protocol.tell_of_content(context, out);
        self.exchanges.activity.withhold(self.protocol.withholds_room());
        ready!(self.poll_send(context, out))?;
        self.protocol.note_waiting();
        self.wait_for_content(context);
        let over = match self.stage {
            Stage::Open => self.protocol.is_drained(),
            // Nor will there be room for what is left, if there is none now.
            Stage::HalfClosed => !self.protocol.has_to_send(),
            Stage::Closing => true,
        };
        if !over {
            return Poll::Pending;
        }
        self.stage = Stage::Closing;
        self.farewell.poll(&mut self.session, context, &self.exchanges.activity)
    }

    /// Looks at what has come; the error that ends the connection is in the inner result.
    fn receive(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> io::Result<Result<(), ErrorCode>> {
        let mut read = 0;
        loop {
            let received = self.session.received();
            if !received.is_empty() {
                let length = received.len();
                if let Err(code) = self.protocol.receive(received, out) {
                    return Ok(Err(code));
                }
                self.session.used(length);
                continue;
            }
            if read >= share::READ {
                context.waker().wake_by_ref();
                break;
            }
            match self.session.poll_more(context)? {
                Poll::Ready(0) => {
                    self.stage = Stage::HalfClosed;
                    self.farewell.ended();
                    break;
                }
                Poll::Ready(bytes) => read += bytes,
                Poll::Pending => break,
            }
        }
        let activity = &self.exchanges.activity;
        if self.protocol.is_amid_head() {
            activity.head_incomplete(activity.requests() + 1)
        } else {
            activity.no_head()
        }
        Ok(Ok(()))
    }

    /// Has answered what was asked in this turn, and what could not be answered before.
    fn answer(&mut self, context: &Context<'_>, out: &mut Vec<u8>) {
        for at in 0..self.protocol.streams.len() {
            let stream = &mut self.protocol.streams[at];
            if let Some(mut asked) = stream.asked() {
                if let Some(inbox) = &stream.inbox {
                    let content = RequestContent::new(inbox.clone(), self.exchanges.activity.clone());
                    *asked.request.body_mut() = RequestBody::http2(content);
                }
                match self.exchanges.answer(&mut asked.request, asked.too_large) {
                    Answer::Now(response) => self.protocol.respond(at, response, context, out),
                    Answer::Later(respond) => {
                        stream.awaits(respond, context);
                        self.protocol.busy = true;
                    }
                }
                request::leave(asked.request);
            }
            if self.protocol.busy {
                let response = self.protocol.streams[at].poll_response(context);
                self.protocol.hint(at, out);
                if let Poll::Ready(response) = response {
                    self.protocol.respond(at, response, context, out);
                }
            }
        }
    }

    /// Comes again when enough was read of requests whose responses are sent, and when streams that ended leave room for others.
    fn wait_for_content(&mut self, context: &mut Context<'_>) {
        self.protocol.give_back_room();
        let waited = self.protocol.let_go().is_some_and(|until| self.poll_until(context, until).is_ready());
        if waited || self.protocol.can_make_room() {
            context.waker().wake_by_ref();
        }
    }

    fn poll_until(&mut self, context: &mut Context<'_>, until: Instant) -> Poll<()> {
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if waits.deadline() != until {
            waits.as_mut().reset(until);
        }
        waits.as_mut().poll(context)
    }

    /// Sends what there is, up to this connection's share.
    fn poll_send(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let mut more = self.protocol.has_to_send();
        loop {
            let left =
                if more { self.share.poll_left(context, self.exchanges.activity.turn()) } else { Poll::Ready(0) };
            let most = match left {
                // What the kernel does not take now is better left where it lies.
                Poll::Ready(left) if left > 0 && self.session.poll_room(context)?.is_ready() => left.min(BATCH),
                _ => 0,
            };
            let written = self.protocol.send(context, most, out, &mut self.session)?;
            if !out.is_empty() {
                self.session.seal(&[IoSlice::new(out)])?;
                out.clear();
            }
            let sent = self.poll_sent(context)?;
            more = self.protocol.has_to_send();
            self.share.wrote(written, sent.is_pending() || more);
            ready!(sent);
            if left.is_pending() {
                // Nor is it idle: there is more to write.
                self.exchanges.activity.took_nothing();
            }
            if written == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends what is sealed.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = &self.exchanges.activity;
        let sent = self.session.poll_send(context, |bytes| activity.took(bytes, false));
        match &sent {
            Poll::Ready(_) => activity.took_all(),
            Poll::Pending => activity.took_nothing(),
        }
        sent
    }
}

impl Future for Connection {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = OUT.take();
        let polled = self.poll_turn(context, &mut out);
        // Unless it failed, all of it was sealed.
        out.clear();
        if out.capacity() <= KEPT {
            OUT.set(out);
        }
        polled
    }
}
