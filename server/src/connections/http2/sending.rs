//! Responses on their way: heads and content in frames, frames in records.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Buf;
use http::{HeaderMap, Method, Response, StatusCode, header};
use hyper::body::Body as _;

use super::{
    frame::{self, ErrorCode, HEAD, Head, LONGEST, flag, kind},
    priority::Urgency,
    protocol::Protocol,
    stream::{self, Answer, State},
};
use crate::{
    connections::session::Session,
    respond::{Body, body::Segments, conditional::http_date},
};

/// Content that is no longer than that is copied behind its head, rather than sealed from where it lies.
const COPIED: usize = 2048;
/// What is left of a record is not worth a frame if it is less than that.
const LEAST: usize = 1024;

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
    pub(super) fn respond(&mut self, at: usize, method: &Method, mut response: Response<Body>, out: &mut Vec<u8>) {
        let stream = &mut self.streams[at];
        let account = response.body_mut().discharge();
        let left = response.body().left();
        complete(response.status(), method, left, response.headers_mut());
        let ends = left == 0 && stream.content.is_none();
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
        let account = account.filter(|_| left > 0);
        stream.state = State::Answered(Answer { body: response.into_body(), piece: Segments::default(), account });
    }

    /// Lets streams write, the most urgent first and those that are as urgent in turn, until they have written `most` bytes of
    /// content, behind what is in `out` already; returns how many they wrote. What is left in `out` is to be sealed.
    pub(super) fn send(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
        out: &mut Vec<u8>,
        records: &mut impl Records,
    ) -> io::Result<usize> {
        let (mut written, many) = (0, self.streams.len());
        for urgency in Urgency::all() {
            if self.streams.iter().all(|stream| stream.urgency != urgency) {
                continue;
            }
            // How many had nothing to write since one had.
            let mut without = 0;
            while without < many && written < most {
                self.next = if self.next < many { self.next } else { 0 };
                let turn = match self.streams[self.next].urgency == urgency {
                    true => self.turn(self.next, context, most - written, out, records)?,
                    false => None,
                };
                match turn {
                    Some(bytes) => (written, without) = (written + bytes, 0),
                    None => without += 1,
                }
                self.next += 1;
            }
        }
        self.streams.retain(|stream| !matches!(stream.state, State::Over));
        if self.streams.is_empty() {
            stream::leave(mem::take(&mut self.streams));
        }
        Ok(written)
    }

    /// Whether a stream has content that the client has room for.
    pub(super) fn has_to_send(&self) -> bool {
        self.streams.iter().any(|stream| match &stream.state {
            State::Answered(answer) if answer.is_sent() => stream.is_read(),
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
        if !answer.piece.has_remaining() {
            answer.piece = match Pin::new(&mut answer.body).poll_frame(context) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                // The package does not hold what it declares.
                Poll::Ready(_) => {
                    stream.state = State::Over;
                    let id = stream.id;
                    self.forget(id, ErrorCode::Internal, out);
                    return Ok(Some(0));
                }
            };
        }
        let room = most.min(stream.window.room()).min(self.window.room());
        if room == 0 {
            return Ok(None);
        }
        // Full records, of whole frames.
        let left_of_record = LONGEST - (out.len() + HEAD) % LONGEST;
        let longest = if left_of_record < LEAST { LONGEST } else { left_of_record };
        let length = answer.piece.remaining().min(room).min(longest);
        let all = length == answer.piece.remaining() && answer.body.left() == 0;
        let ends = all && stream.content.is_none();
        let flags = if ends { flag::END_STREAM } else { 0 };
        Head { length, kind: kind::DATA, flags, stream: stream.id }.write(out);
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
        let (id, unread) = (stream.id, stream.content.is_some());
        Head { length: 0, kind: kind::DATA, flags: flag::END_STREAM, stream: id }.write(out);
        stream.state = State::Over;
        self.made_up();
        if unread {
            self.forget(id, ErrorCode::No, out);
        }
        true
    }
}

impl Answer {
    /// Whether all its content is.
    fn is_sent(&self) -> bool {
        !self.piece.has_remaining() && self.body.left() == 0
    }
}

/// The fields that follow from the response and the time (RFC 9110 §6.6.1, §8.6).
fn complete(status: StatusCode, method: &Method, length: u64, headers: &mut HeaderMap) {
    let without = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || method == Method::HEAD;
    if (length > 0 || !without) && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if !headers.contains_key(header::DATE)
        && let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH)
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
    use crate::Settings;

    /// A connection that has asked for content of this length on each stream, 1, 3 and so on, as urgently as that says.
    fn asked(length: usize, priorities: &[&str]) -> Protocol {
        let mut out = Vec::new();
        let mut protocol = Protocol::new(&Settings::default(), &mut out);
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
            protocol.respond(at, &Method::GET, Response::new(body), &mut out);
        }
        protocol
    }

    /// Streams and lengths of the frames with content that are sent, up to `most` bytes.
    fn sent(protocol: &mut Protocol, most: usize) -> Vec<(u32, usize)> {
        let (mut out, mut sent) = (Vec::new(), Vec::new());
        protocol.send(&mut Context::from_waker(Waker::noop()), most, &mut out, &mut sent).unwrap();
        sent.append(&mut out);
        let frames = frame::heads(&sent).inspect(|head| assert_eq!(head.kind, kind::DATA));
        frames.map(|head| (head.stream, head.length)).collect()
    }

    #[test]
    fn the_most_urgent_come_first_and_others_take_turns() {
        let mut protocol = asked(20_000, &["u=5", "u=1", "", "i"]);
        let streams: Vec<_> = sent(&mut protocol, usize::MAX).iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [3, 3, 5, 7, 5, 7, 1, 1]);
        assert!(protocol.streams.is_empty());
    }

    #[test]
    fn urgency_may_change_on_the_way() {
        let mut protocol = asked(20_000, &["", ""]);
        assert_eq!(sent(&mut protocol, 1), [(1, 1)]);
        let mut bytes = Vec::new();
        Head { length: 7, kind: kind::PRIORITY_UPDATE, flags: 0, stream: 0 }.write(&mut bytes);
        bytes.extend_from_slice(b"\0\0\0\x01u=0");
        protocol.receive(&bytes, &mut Vec::new()).unwrap();
        let streams: Vec<_> = sent(&mut protocol, usize::MAX).iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [1, 1, 3, 3]);
    }

    #[test]
    fn frames_fill_records_and_no_more_is_sent_than_was_asked() {
        let mut protocol = asked(40_000, &[""]);
        assert_eq!(sent(&mut protocol, 30_000), [(1, LONGEST - HEAD), (1, 30_000 - (LONGEST - HEAD))]);
        assert_eq!(sent(&mut protocol, 0), []);
        assert_eq!(sent(&mut protocol, usize::MAX), [(1, 10_000)]);
    }
}
