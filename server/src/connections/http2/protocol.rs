//! What a client's frames mean, without its socket (RFC 9113 §5, §6).

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Duration,
};

use super::{
    frame::{self, ErrorCode, FrameHead, HEAD, LONGEST, flag, kind, setting},
    hpack::{Decoder, Encoder, RefusedBlock},
    priority::Priority,
    receive_window::ConnectionWindow,
    stream::Stream,
    window::{Overflow, Window},
};
use crate::{quota::Reservation, settings::Settings};

/// What a client begins with (§3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The payload of the PING whose answer says that a client knows of the drain (§6.8).
pub(super) const DRAINING: [u8; 8] = *b"draining";
/// The last stream that there can be.
const LAST: u32 = (1 << 31) - 1;
/// Streams that were reset here, of which frames may still be under way (§5.1).
const REMEMBERED: usize = 64;
/// CONTINUATION frames of one field block (CVE-2024-27316); one alone has room for half of what is taken of a head.
pub(super) const CONTINUATIONS: usize = 32;

/// One client's streams, and all that is known of its connection.
#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) bounds: StreamLimits,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    /// By their number, which only ever grows.
    pub(super) streams: Vec<Stream>,
    /// Which one is the next to send: 0 for the first of those that follow each other, else one more than its place among
    /// all for one that shares.
    pub(super) next: usize,
    /// How much that one has sent in its turn.
    pub(super) spent: usize,
    /// Whether a stream may have content to come, or a handler that works for it.
    pub(super) busy: bool,
    /// What was said of streams that have not begun.
    pub(super) early: BTreeMap<u32, Priority>,
    /// The last one that began.
    pub(super) last: u32,
    /// What the client has room for on all streams, and at first on each.
    pub(super) window: Window,
    pub(super) initial: Window,
    /// What the client may send on all streams.
    pub(super) receiving: ConnectionWindow,
    /// How much of the preface came, and whether SETTINGS did.
    prefaced: usize,
    begun: bool,
    /// A frame of which more is to come.
    partial: Vec<u8>,
    /// A field block of which more is to come.
    pub(super) block: Option<Box<OpenBlock>>,
    /// The last ones that were reset here.
    reset: VecDeque<u32>,
    /// Streams that were reset before they were looked at, and not made up for; streams that had to be reset here.
    pub(super) resets: usize,
    /// Streams that were reset while a handler worked for them, and not made up for.
    pub(super) cancelled: usize,
    errors: usize,
    pub(super) drain: Drain,
}

/// What one client may cost.
#[derive(Debug)]
pub(super) struct StreamLimits {
    pub(super) head: usize,
    pub(super) streams: usize,
    pub(super) resets: usize,
    errors: usize,
    /// How long content is waited for once a request is answered.
    pub(super) content: Duration,
    /// Whether streams may be opened for another protocol (RFC 8441).
    pub(super) opens: bool,
}

/// What HEADERS says of the field block that it begins (§6.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadersFlags {
    pub(super) stream: u32,
    /// Whether nothing of the stream follows.
    pub(super) ends: bool,
    /// Whether the stream depends on itself, which none may (RFC 7540 §5.3.1).
    pub(super) on_itself: bool,
}

/// A field block that is not complete (§4.3).
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) begun: HeadersFlags,
    pub(super) bytes: Vec<u8>,
    pub(super) frames: usize,
}

/// How far the end of a connection is agreed upon (§6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// It is not.
    No,
    /// The client was told, and has not said yet that it knows: until then requests may come that it takes for accepted.
    Told,
    /// None after this one is answered.
    After(u32),
}

impl Protocol {
    /// A connection's beginning, which is written to `out`. `opens`: WebSockets may be opened. Room for uploads is reserved in
    /// `reservation`.
    pub(super) fn new(settings: &Settings, opens: bool, reservation: Reservation, out: &mut Vec<u8>) -> Self {
        let bounds = &settings.bounds;
        let head = u32::try_from(bounds.head).unwrap_or(u32::MAX);
        let said = [
            (setting::MAX_CONCURRENT_STREAMS, bounds.streams),
            (setting::MAX_HEADER_LIST_SIZE, head),
            (setting::NO_RFC7540_PRIORITIES, 1),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        frame::write_settings(if opens { &said } else { &said[..3] }, out);
        Self {
            bounds: StreamLimits {
                head: bounds.head,
                streams: bounds.streams as usize,
                resets: bounds.resets,
                errors: bounds.errors,
                content: settings.patience.close,
                opens,
            },
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            streams: Vec::new(),
            next: 0,
            spent: 0,
            busy: false,
            early: BTreeMap::new(),
            last: 0,
            window: Window::new(),
            initial: Window::new(),
            receiving: ConnectionWindow::new(reservation),
            prefaced: 0,
            begun: false,
            partial: Vec::new(),
            block: None,
            reset: VecDeque::new(),
            resets: 0,
            cancelled: 0,
            errors: 0,
            drain: Drain::No,
        }
    }

    /// Takes what came of the client, and writes to `out` what it is told of that.
    ///
    /// # Errors
    /// What ends the connection (§5.4.1).
    pub(super) fn receive(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        while let Some(expected) = PREFACE.get(self.prefaced)
            && let Some((first, rest)) = bytes.split_first()
        {
            if first != expected {
                return Err(ErrorCode::Protocol);
            }
            self.prefaced += 1;
            bytes = rest;
        }
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some((head, payload, rest)) = whole(bytes)?
            {
                self.frame(head, payload, out)?;
                bytes = rest;
                continue;
            }
            let wanted = FrameHead::read(&self.partial).map_or(HEAD, |head| HEAD + head.length);
            let (more, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if whole(&self.partial)?.is_some() {
                let partial = mem::take(&mut self.partial);
                if let Some((head, payload, _)) = whole(&partial)? {
                    self.frame(head, payload, out)?;
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        if !mem::replace(&mut self.begun, true) && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(ErrorCode::Protocol);
        }
        let amid = self.block.as_ref().map(|block| block.begun.stream);
        if amid.is_some_and(|stream| head.kind != kind::CONTINUATION || head.stream != stream) {
            return Err(ErrorCode::Protocol);
        }
        let of_stream = match head.kind {
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION => Some(true),
            kind::SETTINGS | kind::PING | kind::GOAWAY | kind::PRIORITY_UPDATE => Some(false),
            _ => None,
        };
        if of_stream.is_some_and(|of_stream| of_stream != (head.stream > 0)) {
            return Err(ErrorCode::Protocol);
        }
        match head.kind {
            kind::DATA => self.data(head, payload, out),
            kind::HEADERS => self.headers(head, payload, out),
            kind::PRIORITY => self.priority(head, payload, out),
            kind::RST_STREAM => self.rst_stream(head, payload),
            kind::SETTINGS => self.settings(head, payload, out),
            kind::PUSH_PROMISE => Err(ErrorCode::Protocol),
            kind::PING => self.ping(head, payload, out),
            // A client that sends GOAWAY closes the connection once it has its responses.
            kind::GOAWAY if payload.len() < 8 => Err(ErrorCode::FrameSize),
            kind::WINDOW_UPDATE => self.window_update(head, payload, out),
            kind::CONTINUATION => self.continuation(head, payload, out),
            kind::PRIORITY_UPDATE => self.priority_update(payload),
            // Unknown types are ignored (§5.5).
            _ => Ok(()),
        }
    }

    /// A stream that is idle takes no frame but HEADERS and PRIORITY (§5.1).
    pub(super) fn check_begun(&self, id: u32) -> Result<(), ErrorCode> {
        if !id.is_multiple_of(2) && id <= self.last { Ok(()) } else { Err(ErrorCode::Protocol) }
    }

    pub(super) fn find(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    /// Ends a stream with an error of the client's (§5.4.2); bounded against MadeYouReset (CVE-2025-8671).
    pub(super) fn reset(&mut self, id: u32, code: ErrorCode, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.errors += 1;
        if self.errors > self.bounds.errors {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        if let Some(at) = self.find(id) {
            self.streams.remove(at);
        }
        self.forget(id, code, out);
        Ok(())
    }

    /// Resets a stream that is taken out.
    pub(super) fn forget(&mut self, id: u32, code: ErrorCode, out: &mut Vec<u8>) {
        frame::write_reset(id, code, out);
        if self.reset.len() >= REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    /// A response was sent to its end: that makes up for a stream which was reset too soon.
    pub(super) fn made_up(&mut self) {
        self.resets = self.resets.saturating_sub(1);
        self.cancelled = self.cancelled.saturating_sub(1);
    }

    /// Says that no more requests are to come. All that the client has sent before it knows are answered.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        if self.drain == Drain::No {
            self.drain = Drain::Told;
            frame::write_goaway(LAST, ErrorCode::No, out);
            frame::write_ping(0, DRAINING, out);
        }
    }

    /// Whether the client knows that no more requests are answered, and all are.
    pub(super) fn is_drained(&self) -> bool {
        matches!(self.drain, Drain::After(_)) && self.streams.is_empty()
    }

    /// Says for each response whether it waits for the server or for its client.
    pub(super) fn note_waiting(&mut self) {
        if !self.busy {
            return;
        }
        let room = self.window.room();
        self.streams.iter_mut().for_each(|stream| stream.note_waiting(room));
    }

    /// Ends the connection with an error of the client's (§5.4.1).
    pub(super) fn fail(&mut self, code: ErrorCode, out: &mut Vec<u8>) {
        self.streams.clear();
        // Nothing follows it.
        self.busy = false;
        frame::write_goaway(self.last, code, out);
    }

    /// What always holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn check(&self) {
        assert!(self.partial.len() < HEAD + LONGEST && self.reset.len() <= REMEMBERED);
        assert!(self.streams.len() <= self.bounds.streams && self.streams.is_sorted_by_key(|stream| stream.id));
        assert!(self.early.len() <= self.bounds.streams && self.early.keys().all(|id| *id > self.last));
        assert!(self.block.as_ref().is_none_or(|block| block.bytes.len() <= 2 * self.bounds.head.max(LONGEST)));
        assert!(self.errors <= self.bounds.errors && self.resets <= self.bounds.resets);
        self.decoder.check();
        self.receiving.check(self.unread());
    }

    /// Whether a request's head has begun, and not ended.
    pub(super) fn is_amid_head(&self) -> bool {
        self.block.is_some()
    }
}

impl From<Overflow> for ErrorCode {
    fn from(Overflow: Overflow) -> Self {
        ErrorCode::FlowControl
    }
}

impl From<RefusedBlock> for ErrorCode {
    fn from(refused: RefusedBlock) -> Self {
        match refused {
            RefusedBlock::Malformed => ErrorCode::Compression,
            RefusedBlock::Bomb => ErrorCode::EnhanceYourCalm,
        }
    }
}

/// A frame's head and payload, and what is behind it.
type Whole<'a> = (FrameHead, &'a [u8], &'a [u8]);

/// The frame that `bytes` begin with, if it is whole.
fn whole(bytes: &[u8]) -> Result<Option<Whole<'_>>, ErrorCode> {
    let Some(head) = FrameHead::read(bytes) else { return Ok(None) };
    if head.length > LONGEST {
        return Err(ErrorCode::FrameSize);
    }
    let Some((payload, rest)) = bytes[HEAD..].split_at_checked(head.length) else { return Ok(None) };
    Ok(Some((head, payload, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(settings: &Settings) -> (Protocol, Vec<u8>) {
        let mut out = Vec::new();
        let mut protocol = Protocol::new(settings, false, Reservation::alone(), &mut out);
        let mut begin = PREFACE.to_vec();
        frame::write_settings(&[], &mut begin);
        protocol.receive(&begin, &mut out).unwrap();
        out.clear();
        (protocol, out)
    }

    fn get(stream: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::write_headers(stream, true, &mut bytes, |out| out.extend_from_slice(&[0x82, 0x87, 0x84, 0x41, 1, b'a']));
        bytes
    }

    fn reset(stream: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::write_reset(stream, ErrorCode::No, &mut bytes);
        bytes
    }

    #[test]
    fn frames_mean_the_same_wherever_they_are_cut() {
        let bytes =
            [PREFACE.to_vec(), vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 9], get(1), get(3), reset(1)].concat();
        let mut said = Vec::new();
        for cut in 0..=bytes.len() {
            let mut out = Vec::new();
            let mut protocol = Protocol::new(&Settings::default(), false, Reservation::alone(), &mut out);
            for piece in [&bytes[..cut], &bytes[cut..]] {
                protocol.receive(piece, &mut out).unwrap();
                protocol.check();
            }
            let streams: Vec<_> = protocol.streams.iter().map(|stream| (stream.id, stream.window.room())).collect();
            assert_eq!((streams, protocol.resets), (vec![(3, 9)], 1), "{cut}");
            said.push(out);
        }
        said.dedup();
        assert_eq!(said.len(), 1);
    }

    #[test]
    fn resets_before_a_look_are_borne_up_to_the_bound_and_made_up_for_by_responses() {
        let mut settings = Settings::default();
        settings.bounds.resets = 3;
        let (mut protocol, mut out) = connection(&settings);
        let mut next = (1..).step_by(2);
        let mut reset_one = |protocol: &mut Protocol, out: &mut Vec<u8>| {
            let stream = next.next().unwrap();
            protocol.receive(&[get(stream), reset(stream)].concat(), out)
        };
        for _ in 0..3 {
            assert_eq!(reset_one(&mut protocol, &mut out), Ok(()));
        }
        protocol.made_up();
        assert_eq!(reset_one(&mut protocol, &mut out), Ok(()));
        assert_eq!(reset_one(&mut protocol, &mut out), Err(ErrorCode::EnhanceYourCalm));
    }

    #[test]
    fn a_drain_loses_no_request_that_was_sent_before_the_client_knew() {
        let (mut protocol, mut out) = connection(&Settings::default());
        protocol.receive(&get(1), &mut out).unwrap();
        protocol.drain(&mut out);
        protocol.drain(&mut out);
        let mut said = Vec::new();
        frame::write_goaway(LAST, ErrorCode::No, &mut said);
        frame::write_ping(0, DRAINING, &mut said);
        assert_eq!(out, said, "it is said once");
        out.clear();
        let mut pong = Vec::new();
        frame::write_ping(flag::ACK, DRAINING, &mut pong);
        protocol.receive(&[get(3), pong, get(5)].concat(), &mut out).unwrap();
        assert_eq!(protocol.streams.iter().map(|stream| stream.id).collect::<Vec<_>>(), [1, 3]);
        said.clear();
        frame::write_goaway(3, ErrorCode::No, &mut said);
        assert_eq!((out, protocol.is_drained()), (said, false));
        protocol.streams.clear();
        assert!(protocol.is_drained());
    }

    #[test]
    fn a_head_in_many_small_pieces_is_meant_to_cost() {
        let (mut protocol, mut out) = connection(&Settings::default());
        let mut bytes = get(1);
        bytes[4] = flag::END_STREAM;
        for _ in 0..CONTINUATIONS {
            FrameHead { length: 0, kind: kind::CONTINUATION, flags: 0, stream: 1 }.write(&mut bytes);
        }
        assert_eq!(protocol.receive(&bytes, &mut out), Ok(()));
        let mut one_more = Vec::new();
        FrameHead { length: 0, kind: kind::CONTINUATION, flags: 0, stream: 1 }.write(&mut one_more);
        assert_eq!(protocol.receive(&one_more, &mut out), Err(ErrorCode::EnhanceYourCalm));
    }
}
