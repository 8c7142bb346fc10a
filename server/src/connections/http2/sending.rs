//! Responses on their way: heads and content in frames, frames in records.

use std::{
    io::{self, IoSlice},
    mem,
    task::{Context, Poll},
    time::UNIX_EPOCH,
};

use bytes::Buf;
use http::{HeaderMap, Response, StatusCode, header};
use tokio::time::Instant;

use super::{
    frame::{self, ErrorCode, FrameHead, HEAD, LONGEST, flag, kind},
    priority::{Priority, Urgency},
    protocol::Protocol,
    stream::{self, Sending, State},
    waits::Waits,
};
use crate::{body::Body, clock, connections::session::Session, semantics::conditional::http_date};

/// Content that is no longer than that is copied behind its head, rather than sealed from where it lies.
const COPIED: usize = 2048;
/// What is left of a record is not worth a frame if it is less than that.
const LEAST: usize = 1024;
/// How much each of those that share a connection sends in its turn, at least: a frame, or what a head leaves of it.
const TURN: usize = LONGEST - HEAD - LEAST;

/// Takes what is to be sent.
pub(super) trait Records {
    /// Takes these bytes, one part after the other.
    fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()>;
}

/// One without a bound takes all.
impl Records for Session {
    fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        Session::seal(self, parts).map(drop)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Records for Vec<u8> {
    fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        parts.iter().for_each(|part| self.extend_from_slice(part));
        Ok(())
    }
}

impl Protocol {
    /// Writes the head of the response to the request at that place.
    pub(super) fn respond(
        &mut self,
        at: usize,
        mut response: Response<Body>,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) {
        let stream = &mut self.streams[at];
        // A handler may know better than its client (RFC 9218 §5).
        stream.priority = stream.priority.of_response(response.headers());
        let account = response.body_mut().discharge();
        date(response.headers_mut());
        let is_over = response.body().is_over();
        let ends = is_over && stream.content.is_none();
        let encoder = &mut self.encoder;
        frame::write_headers(stream.id, ends, out, |out| {
            encoder.begin(response.status(), out);
            // None is of the connection (RFC 9113 §8.2.2): a package cannot set those.
            response.headers().iter().for_each(|(name, value)| encoder.field(name, value, out));
        });
        if ends {
            stream.state = State::Over;
            self.made_up();
            return;
        }
        // What has no content was handed over with its head, even if the request has not ended.
        let account = account.filter(|_| !is_over);
        let waits = response.body().is_streamed().then(|| Waits::new(context));
        self.busy |= waits.is_some();
        let mut body = response.into_body();
        let piece = body.take_lying().unwrap_or_default();
        stream.state = State::Answered(Sending { waits, body, piece, account });
    }

    /// Writes the heads of 103 that the handler of the request at that place has given (RFC 8297).
    pub(super) fn hint(&mut self, at: usize, out: &mut Vec<u8>) {
        let stream = &self.streams[at];
        let encoder = &mut self.encoder;
        for fields in stream.hints() {
            frame::write_headers(stream.id, false, out, |out| {
                encoder.begin(StatusCode::EARLY_HINTS, out);
                fields.iter().for_each(|(name, value)| encoder.field(name, value, out));
            });
        }
    }

    /// Lets streams write, the most urgent first, until they have written `most` bytes of content, behind what is in `out`
    /// already; returns how many they wrote. What is left in `out` is to be sealed.
    pub(super) fn send(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
        out: &mut Vec<u8>,
        records: &mut impl Records,
    ) -> io::Result<usize> {
        let mut written = 0;
        for urgency in Urgency::all() {
            let mut of_it = self.streams.iter().filter(|stream| stream.priority.urgency == urgency).peekable();
            if of_it.peek().is_none() {
                continue;
            }
            written += if of_it.any(|stream| stream.priority.incremental) {
                self.send_in_turn(urgency, context, most - written, out, records)?
            } else {
                self.send_in_order(urgency, context, most - written, out, records)?
            };
        }
        self.streams.retain(|stream| !matches!(stream.state, State::Over));
        if self.streams.is_empty() {
            stream::leave(mem::take(&mut self.streams));
        }
        Ok(written)
    }

    /// What is of no use in part is sent one after the other, in the order in which it was asked for (RFC 9218 §10).
    fn send_in_order(
        &mut self,
        urgency: Urgency,
        context: &mut Context<'_>,
        most: usize,
        out: &mut Vec<u8>,
        records: &mut impl Records,
    ) -> io::Result<usize> {
        let mut written = 0;
        let mut first = 0;
        while written < most
            && let Some(bytes) = self.first_turn(urgency, &mut first, context, most - written, out, records)?
        {
            written += bytes;
        }
        Ok(written)
    }

    /// Each response that is of use in part has its turn, and so has the first of those that are not. A turn that is cut
    /// short here goes on next time: else it would always be the same one that has the rest of a batch.
    fn send_in_turn(
        &mut self,
        urgency: Urgency,
        context: &mut Context<'_>,
        most: usize,
        out: &mut Vec<u8>,
        records: &mut impl Records,
    ) -> io::Result<usize> {
        let turns = self.streams.len() + 1;
        let mut written = 0;
        let mut first = 0;
        // How many had nothing to write since one had.
        let mut without = 0;
        while without < turns && written < most {
            let at = if self.next < turns { self.next } else { 0 };
            let left = most - written;
            let turn = match at.checked_sub(1) {
                None => self.first_turn(urgency, &mut first, context, left, out, records)?,
                Some(at) if self.streams[at].priority == (Priority { urgency, incremental: true }) => {
                    self.turn(at, context, left, out, records)?
                }
                Some(_) => None,
            };
            match turn {
                Some(bytes) => {
                    written += bytes;
                    without = 0;
                    self.spent += bytes;
                }
                None => without += 1,
            }
            let is_over = turn.is_none() || self.spent >= TURN;
            self.next = if is_over { at + 1 } else { at };
            self.spent = if is_over { 0 } else { self.spent };
        }
        Ok(written)
    }

    /// One frame of the first stream that follows others and has something to write; those before `first` have nothing.
    fn first_turn(
        &mut self,
        urgency: Urgency,
        first: &mut usize,
        context: &mut Context<'_>,
        most: usize,
        out: &mut Vec<u8>,
        records: &mut impl Records,
    ) -> io::Result<Option<usize>> {
        while let Some(stream) = self.streams.get(*first) {
            if stream.priority == (Priority { urgency, incremental: false })
                && let Some(bytes) = self.turn(*first, context, most, out, records)?
            {
                return Ok(Some(bytes));
            }
            *first += 1;
        }
        Ok(None)
    }

    /// Whether a stream has content that the client has room for.
    pub(super) fn has_to_send(&self) -> bool {
        self.streams.iter().any(|stream| match &stream.state {
            State::Answered(answer) if answer.is_sent() => stream.is_read(),
            State::Answered(answer) if answer.is_waiting() => false,
            State::Answered(answer) if answer.is_given() => true,
            State::Answered(_) => stream.window.room().min(self.window.room()) > 0,
            _ => false,
        })
    }

    /// One frame of one stream, at most; how much content it has, or nothing if there is nothing to write.
    fn turn(
        &mut self,
        at: usize,
        context: &mut Context<'_>,
        most: usize,
        out: &mut Vec<u8>,
        records: &mut impl Records,
    ) -> io::Result<Option<usize>> {
        let stream = &mut self.streams[at];
        let State::Answered(answer) = &mut stream.state else { return Ok(None) };
        if answer.is_sent() {
            return Ok(self.end(at, out).then_some(0));
        }
        let room = most.min(stream.window.room()).min(self.window.room());
        // The end of content takes no room.
        if room == 0 && !answer.is_given() {
            return Ok(None);
        }
        // Full records, of whole frames.
        let left_of_record = LONGEST - (out.len() + HEAD) % LONGEST;
        let longest = if left_of_record < LEAST { LONGEST } else { left_of_record }.min(room);
        if !answer.piece.has_remaining() {
            // No more than is sent at once: a client that makes no room must not have anything inflated that waits for it.
            answer.piece = match answer.poll_next(context, longest) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Some(Ok(piece))) => piece,
                Poll::Ready(None) => return Ok(self.end(at, out).then_some(0)),
                // The package does not hold what it declares, or a handler fails.
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a response is reset amid its content");
                    stream.state = State::Over;
                    let id = stream.id;
                    self.forget(id, ErrorCode::Internal, out);
                    return Ok(Some(0));
                }
            };
        }
        let length = answer.piece.remaining().min(longest);
        let all = length == answer.piece.remaining() && answer.body.is_over();
        let ends = all && stream.content.is_none();
        let flags = if ends { flag::END_STREAM } else { 0 };
        FrameHead { length, kind: kind::DATA, flags, stream: stream.id }.write(out);
        let [first, second, third] = answer.piece.first(length);
        if length > COPIED {
            records.seal(&[&*out, first, second, third].map(IoSlice::new))?;
            out.clear();
        } else {
            [first, second, third].iter().for_each(|part| out.extend_from_slice(part));
            if out.len() >= LONGEST {
                records.seal(&[IoSlice::new(out)])?;
                out.clear();
            }
        }
        answer.piece.advance(length);
        stream.window.take(length);
        self.window.take(length);
        if let Some(account) = &mut answer.account {
            account.add(length as u64);
        }
        if all {
            answer.account = None;
        }
        if ends {
            stream.state = State::Over;
            self.made_up();
        }
        Ok(Some(length))
    }

    /// Ends a stream whose response is sent, if its request has ended, or enough was read of it.
    fn end(&mut self, at: usize, out: &mut Vec<u8>) -> bool {
        let stream = &mut self.streams[at];
        if !stream.is_read() {
            return false;
        }
        let id = stream.id;
        let unread = stream.content.is_some();
        let trailers = match &mut stream.state {
            State::Answered(answer) => answer.body.trailers(),
            _ => None,
        };
        match trailers {
            Some(trailers) => frame::write_headers(id, true, out, |out| self.encoder.trailers(&trailers, out)),
            None => FrameHead { length: 0, kind: kind::DATA, flags: flag::END_STREAM, stream: id }.write(out),
        }
        stream.state = State::Over;
        self.made_up();
        if unread {
            self.forget(id, ErrorCode::No, out);
        }
        true
    }

    /// Lets go of what is still to come of requests whose responses are sent. Says when the first of them has been waited for
    /// long enough.
    pub(super) fn let_go(&mut self) -> Option<Instant> {
        if !self.busy {
            return None;
        }
        let time = self.bounds.content;
        self.streams.iter_mut().filter_map(|stream| stream.let_go(time)).min()
    }
}

/// When the response was made (RFC 9110 §6.6.1).
fn date(headers: &mut HeaderMap) {
    if !headers.contains_key(header::DATE)
        && let Ok(now) = clock::now().duration_since(UNIX_EPOCH)
        && let Some(date) = http_date(now.as_secs())
    {
        headers.insert(header::DATE, date);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;

    use super::{super::protocol::PREFACE, *};
    use crate::{quota::Reservation, settings::Settings};

    /// A connection that has asked for content of this length on each stream, 1, 3 and so on, as urgently as that says.
    fn asked(length: usize, priorities: &[&str]) -> Protocol {
        let mut out = Vec::new();
        let mut protocol = Protocol::new(&Settings::default(), false, Reservation::alone(), &mut out);
        let mut bytes = PREFACE.to_vec();
        frame::write_settings(&[(frame::setting::INITIAL_WINDOW_SIZE, 1 << 30)], &mut bytes);
        frame::write_window_update(0, 1 << 30, &mut bytes);
        for (at, priority) in priorities.iter().enumerate() {
            let field = [b"\x00\x08priority", &[priority.len() as u8][..], priority.as_bytes()].concat();
            frame::write_headers(1 + 2 * at as u32, true, &mut bytes, |out| {
                out.extend_from_slice(&[0x82, 0x87, 0x84, 0x41, 1, b'a']);
                out.extend_from_slice(&field);
            });
        }
        protocol.receive(&bytes, &mut out).unwrap();
        for at in 0..protocol.streams.len() {
            let body = Body::lying(Bytes::from(vec![b'x'; length]));
            protocol.respond(at, Response::new(body), &Context::from_waker(Waker::noop()), &mut out);
        }
        protocol
    }

    /// Streams and lengths of the frames with content that are sent, up to `most` bytes.
    fn sent(protocol: &mut Protocol, most: usize) -> Vec<(u32, usize)> {
        let mut out = Vec::new();
        let mut sent = Vec::new();
        protocol.send(&mut Context::from_waker(Waker::noop()), most, &mut out, &mut sent).unwrap();
        sent.append(&mut out);
        let frames = frame::heads(&sent).inspect(|head| assert_eq!(head.kind, kind::DATA));
        frames.map(|head| (head.stream, head.length)).collect()
    }

    #[test]
    fn the_most_urgent_come_first_then_those_that_follow_each_other_and_others_share() {
        for (priorities, expected) in [
            (&["u=5", "u=1", "", "i"][..], &[3, 3, 5, 7, 5, 7, 1, 1][..]),
            (&["", "", ""], &[1, 1, 3, 3, 5, 5]),
            (&["i", "i", "i"], &[1, 3, 5, 1, 3, 5]),
            (&["", "", "i"], &[1, 5, 1, 3, 5, 3]),
            (&["i", "", "i", ""], &[3, 1, 5, 3, 7, 1, 5, 7]),
            (&["u=4, i", "u=4", "u=2, i=?0"], &[5, 5, 3, 1, 3, 1]),
        ] {
            let mut protocol = asked(20_000, priorities);
            let streams: Vec<_> = sent(&mut protocol, usize::MAX).iter().map(|(stream, _)| *stream).collect();
            assert_eq!(streams, expected, "{priorities:?}");
            assert!(protocol.streams.is_empty());
        }
    }

    /// However much or little is sent at once.
    #[test]
    fn shares_are_alike_whatever_the_size_of_a_batch() {
        for batch in [1_000, 10_000, 20_000, 65_536] {
            let mut protocol = asked(100_000, &["", "i", "i", "i", "i", ""]);
            let mut sent_of = [0; 12];
            while sent_of.iter().sum::<usize>() < 300_000 {
                for (stream, length) in sent(&mut protocol, batch) {
                    sent_of[stream as usize] += length;
                }
            }
            let shares = [1, 3, 5, 7, 9].map(|stream| sent_of[stream]);
            let least = shares.iter().min().unwrap();
            let most = shares.iter().max().unwrap();
            assert!(most - least < 2 * LONGEST && sent_of[11] == 0, "{batch}: {sent_of:?}");
        }
    }

    #[test]
    fn who_has_no_room_for_the_first_response_gets_the_next_one() {
        let mut protocol = asked(20_000, &["", "", "i"]);
        protocol.streams[0].window.take(1 << 30);
        let streams: Vec<_> = sent(&mut protocol, usize::MAX).iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [3, 5, 3, 5]);
        let mut bytes = Vec::new();
        frame::write_window_update(1, 1 << 20, &mut bytes);
        protocol.receive(&bytes, &mut Vec::new()).unwrap();
        let streams: Vec<_> = sent(&mut protocol, usize::MAX).iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [1, 1]);
    }

    fn priority_update(stream: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        FrameHead { length: 4 + value.len(), kind: kind::PRIORITY_UPDATE, flags: 0, stream: 0 }.write(&mut bytes);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn priority_may_change_on_the_way() {
        let mut protocol = asked(40_000, &["", ""]);
        assert_eq!(sent(&mut protocol, 1), [(1, 1)]);
        protocol.receive(&priority_update(1, b"i"), &mut Vec::new()).unwrap();
        protocol.receive(&priority_update(3, b"i"), &mut Vec::new()).unwrap();
        let streams: Vec<_> = sent(&mut protocol, 4 * LONGEST).iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams[..4], [1, 3, 1, 3]);
        protocol.receive(&priority_update(3, b"u=0"), &mut Vec::new()).unwrap();
        let streams: Vec<_> = sent(&mut protocol, usize::MAX).iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [3, 1]);
    }

    /// RFC 9218 §7.1.
    #[test]
    fn priority_said_before_a_stream_begins_counts_and_no_more_is_kept_than_could_begin() {
        let mut out = Vec::new();
        let mut settings = Settings::default();
        settings.bounds.streams = 3;
        let mut protocol = Protocol::new(&settings, false, Reservation::alone(), &mut out);
        let mut bytes = PREFACE.to_vec();
        frame::write_settings(&[], &mut bytes);
        for (stream, value) in [(7, &b"u=7"[..]), (3, b"u=1"), (3, b"u=2, i"), (5, b"u=6")] {
            bytes.extend(priority_update(stream, value));
        }
        protocol.receive(&bytes, &mut out).unwrap();
        let request = |stream: u32| {
            let mut bytes = Vec::new();
            frame::write_headers(stream, true, &mut bytes, |out| {
                out.extend_from_slice(b"\x82\x87\x84\x41\x01a\x00\x08priority\x03u=0");
            });
            bytes
        };
        protocol.receive(&request(3), &mut out).unwrap();
        assert_eq!(protocol.streams[0].priority, Priority::updated(b"u=2, i"));
        protocol.receive(&request(7), &mut out).unwrap();
        assert_eq!(protocol.streams[1].priority, Priority::updated(b"u=7"));
        assert!(protocol.early.is_empty(), "stream 5 never begins");
        protocol.receive(&priority_update(5, b"u=1"), &mut out).unwrap();
        assert!(protocol.early.is_empty());
        protocol.receive(&priority_update(9, b"u=1"), &mut out).unwrap();
        protocol.receive(&priority_update(9, b"u=2"), &mut out).unwrap();
        assert_eq!(protocol.receive(&priority_update(11, b"u=1"), &mut out), Err(ErrorCode::Protocol));
    }

    #[test]
    fn frames_fill_records_and_no_more_is_sent_than_was_asked() {
        let mut protocol = asked(40_000, &[""]);
        assert_eq!(sent(&mut protocol, 30_000), [(1, LONGEST - HEAD), (1, 30_000 - (LONGEST - HEAD))]);
        assert_eq!(sent(&mut protocol, 0), []);
        assert_eq!(sent(&mut protocol, usize::MAX), [(1, 10_000)]);
    }
}
