//! How much content a client may send ahead of the handlers that read it (RFC 9113 §6.9): on one stream, and on all of a connection.
//!
//! Each stream begins with 64 KiB. Over a long way that is little, as a client that has sent them waits for a round trip until it hears
//! of more. So the window of a stream grows fourfold where a good part of what the client could send in a round trip, which a PING
//! measures, has come and was taken: a stream whose handler stalls never gets more.
//!
//! All that is beyond the first 64 KiB is reserved in a quota that all connections share, and may lie unread on the connection in
//! addition to what may lie there at first. So the memory of all is bounded, and no stream takes the room of another.

use super::frame::ErrorCode;
use crate::quota::Reservation;

/// The window of each stream and connection at first (§6.9.2), in bytes.
pub(super) const INITIAL: u32 = 65_535;
/// The largest that the window of a stream becomes: what TCP has room for, too, as Linux is set. Over a way of 100 ms more than 40 MB a
/// second pass.
const LARGEST: u32 = 96 * INITIAL;
/// How many times larger it becomes at once.
const GROWTH: u32 = 4;
/// How much content of all streams of a connection may be unread without a reservation. It is more than a few streams can hold, so that
/// an upload whose handler stalls stops no other.
const MOST_UNREAD: usize = 512 * 1024;

/// The least content on a stream behind which a round trip is measured: small uploads cost no PING.
const WORTH_MEASURING: u32 = 16 * 1024;
/// The payload of the PING that measures a round trip.
pub(super) const MEASURING: [u8; 8] = *b"measured";

/// What a client may send on one stream.
#[derive(Debug)]
pub(super) struct StreamWindow {
    /// What it may still send.
    left: u32,
    /// That, and what it has sent and the handler has not taken.
    size: u32,
    /// What the client could still send when it was told of more, or could have been.
    had: u32,
    /// What has come since the last PING, and what the client could send then without hearing of more.
    came: u32,
    could: u32,
}

impl StreamWindow {
    pub(super) fn new() -> Self {
        Self { left: INITIAL, size: INITIAL, had: INITIAL, came: 0, could: INITIAL }
    }

    /// Takes a frame of so many bytes.
    ///
    /// # Errors
    /// The stream error, of a frame for which there was no room (§6.9.1).
    pub(super) fn take(&mut self, length: usize) -> Result<(), ErrorCode> {
        self.left = less(self.left, length)?;
        self.came = self.came.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        Ok(())
    }

    /// How many bytes more the client is to be told of, once that is a quarter of the window, where `unread` bytes are not taken.
    pub(super) fn more(&mut self, unread: usize) -> Option<u32> {
        let unread = u32::try_from(unread).unwrap_or(u32::MAX);
        let more = self.size.saturating_sub(self.left).saturating_sub(unread);
        self.had = self.left;
        (more > self.size / 4).then(|| {
            self.left += more;
            more
        })
    }

    /// Whether a round trip is to be measured, as a larger window may be of use for so many bytes that are still to come.
    pub(super) fn wants_measure(&self, to_come: u64) -> bool {
        self.came >= WORTH_MEASURING && self.may_grow(to_come)
    }

    fn may_grow(&self, to_come: u64) -> bool {
        self.size < LARGEST && to_come > u64::from(self.size)
    }

    /// A round trip begins.
    pub(super) fn measure(&mut self) {
        self.came = 0;
        self.could = self.had;
    }

    /// The round trip is over, and `unread` bytes are not taken: the window grows if it is short, and there is room on the connection.
    pub(super) fn measured(&mut self, unread: usize, to_come: u64, connection: &mut ConnectionWindow) {
        let taken = (self.came as usize).saturating_sub(unread);
        // A client that has little left has sent much in a moment: it waits for the whole round trip.
        let is_used_up = self.could < self.size / 4 && unread <= self.size as usize / 4;
        let larger = LARGEST.min(self.size * GROWTH);
        if (is_used_up || taken > self.could as usize / 2)
            && self.may_grow(to_come)
            && connection.reserve(larger - self.size)
        {
            self.size = larger;
        }
    }

    /// How many bytes beyond those of the first window may lie unread, where `unread` do and so many are to come.
    pub(super) fn reserved(&self, unread: usize, to_come: u64) -> usize {
        let to_come = usize::try_from(to_come).unwrap_or(usize::MAX);
        beyond_first(to_come.saturating_add(unread).min(self.size as usize))
    }
}

/// How many of so many bytes are beyond the first window of a stream.
pub(super) fn beyond_first(bytes: usize) -> usize {
    bytes.saturating_sub(INITIAL as usize)
}

/// Content that all streams of a connection have not taken, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unread {
    pub(super) bytes: usize,
    /// How much more than at first may be unread.
    pub(super) reserved: usize,
}

/// What a client may send on all streams of a connection.
#[derive(Debug)]
pub(super) struct ConnectionWindow {
    /// What it may still send.
    left: u32,
    /// Whether it has sent any content.
    is_used: bool,
    /// What may be unread beyond what may be at first.
    reservation: Reservation,
    /// Whether a PING was sent whose answer has not come.
    is_measuring: bool,
}

impl ConnectionWindow {
    pub(super) fn new(reservation: Reservation) -> Self {
        Self { left: INITIAL, is_used: false, reservation, is_measuring: false }
    }

    /// Takes a frame of so many bytes.
    ///
    /// # Errors
    /// The connection error, of a frame for which there was no room (§6.9.1).
    pub(super) fn take(&mut self, length: usize) -> Result<(), ErrorCode> {
        self.left = less(self.left, length)?;
        self.is_used |= length > 0;
        Ok(())
    }

    /// Whether the client may send little.
    pub(super) fn is_narrow(&self) -> bool {
        self.left < INITIAL / 2
    }

    /// Whether it may be told of more, as far as is known without a look at all streams.
    pub(super) fn may_have_more(&self) -> bool {
        self.is_used && (self.left as usize) < part(MOST_UNREAD + self.reservation.held())
    }

    /// How many bytes more the client may be told of, if they are worth it.
    pub(super) fn free(&self, unread: Unread) -> Option<u32> {
        let most = (MOST_UNREAD + unread.reserved).saturating_sub(unread.bytes);
        let more = most.saturating_sub(self.left as usize);
        let is_worth_it = (self.left as usize) < part(most) && more >= INITIAL as usize / 2;
        u32::try_from(more).ok().filter(|_| is_worth_it)
    }

    /// The client is told of so many bytes more.
    pub(super) fn add(&mut self, more: u32) {
        self.left += more;
    }

    /// Reserves so many bytes more, if there are.
    fn reserve(&mut self, bytes: u32) -> bool {
        self.reservation.add(bytes as usize)
    }

    /// Whether anything is reserved.
    pub(super) fn reserves(&self) -> bool {
        self.reservation.held() > 0
    }

    /// Gives back what is reserved for nothing: neither for a stream, nor for what the client was told that it may send.
    pub(super) fn settle(&mut self, unread: Unread) {
        self.reservation.keep(unread.reserved.max(self.needs(unread)));
    }

    /// How many bytes beyond those at first may come to lie unread.
    fn needs(&self, unread: Unread) -> usize {
        (self.left as usize + unread.bytes).saturating_sub(MOST_UNREAD)
    }

    /// Whether a round trip is being measured.
    pub(super) fn is_measuring(&self) -> bool {
        self.is_measuring
    }

    /// A PING is sent, to measure a round trip.
    pub(super) fn measure(&mut self) {
        self.is_measuring = true;
    }

    /// The answer to a PING has come: whether it was to measure.
    pub(super) fn has_measured(&mut self) -> bool {
        std::mem::take(&mut self.is_measuring)
    }

    /// What always holds: all that the client may send has a place to lie.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn check(&self, unread: Unread) {
        assert!(unread.reserved.max(self.needs(unread)) <= self.reservation.held(), "{self:?} {unread:?}");
    }
}

/// The part of the connection's window below which the client is told of more.
fn part(window: usize) -> usize {
    window / 4 * 3
}

/// What is left of a window behind a frame of so many bytes.
fn less(left: u32, length: usize) -> Result<u32, ErrorCode> {
    u32::try_from(length).ok().and_then(|length| left.checked_sub(length)).ok_or(ErrorCode::FlowControl)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{IpAddr, Ipv4Addr},
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{
        activity::Activity,
        connections::http2::{
            RequestContent,
            frame::{self, FrameHead, LONGEST, flag, kind},
            protocol::{PREFACE, Protocol},
        },
        quota::Quota,
        settings::Settings,
    };

    const MEBIBYTE: usize = 1 << 20;

    /// A client that sends all it may, the server, and a long way between them: what one says reaches the other a round later.
    struct LongWay {
        protocol: Protocol,
        contents: BTreeMap<u32, RequestContent>,
        /// What the server has said since the last round.
        said: Vec<u8>,
        /// What the client may send, in all and on each stream, and still wants to.
        room: usize,
        rooms: BTreeMap<u32, usize>,
        left: BTreeMap<u32, usize>,
        answers_pings: bool,
        /// How many PINGs have come.
        pings: usize,
        /// How many frames of each stream come in one turn of the connection.
        in_a_turn: usize,
    }

    impl LongWay {
        fn new(quota: &Arc<Quota>) -> Self {
            let reservation = Reservation::new(quota.clone(), Ipv4Addr::LOCALHOST.into());
            let mut protocol = Protocol::new(&Settings::default(), false, reservation, &mut Vec::new());
            let mut begin = PREFACE.to_vec();
            frame::write_settings(&[], &mut begin);
            protocol.receive(&begin, &mut Vec::new()).unwrap();
            Self {
                protocol,
                contents: BTreeMap::new(),
                said: Vec::new(),
                room: INITIAL as usize,
                rooms: BTreeMap::new(),
                left: BTreeMap::new(),
                answers_pings: true,
                pings: 0,
                in_a_turn: 1,
            }
        }

        /// Begins an upload, of a length that is announced or of one that never ends.
        fn post(&mut self, stream: u32, length: Option<usize>) {
            let mut bytes = Vec::new();
            frame::write_headers(stream, false, &mut bytes, |out| {
                out.extend_from_slice(&[0x83, 0x87, 0x84, 0x41, 1, b'a']);
                if let Some(length) = length.map(|length| length.to_string()) {
                    out.extend_from_slice(&[0x0f, 0x0d, length.len() as u8]);
                    out.extend_from_slice(length.as_bytes());
                }
            });
            self.protocol.receive(&bytes, &mut self.said).unwrap();
            let at = self.protocol.find(stream).unwrap();
            self.protocol.streams[at].asked().unwrap();
            let inbox = self.protocol.streams[at].inbox.clone().unwrap();
            let activity = Arc::new(Activity::new(&Settings::default().bounds));
            self.contents.insert(stream, RequestContent::new(inbox, activity));
            self.rooms.insert(stream, INITIAL as usize);
            self.left.insert(stream, length.unwrap_or(usize::MAX));
        }

        /// One round, in which the handlers of these streams take what comes: how much the client has sent on each stream. It sends no
        /// more than `most` on each.
        fn round(&mut self, takes: &[u32], most: usize) -> BTreeMap<u32, usize> {
            self.hear();
            let mut sent: BTreeMap<u32, usize> = self.rooms.keys().map(|stream| (*stream, 0)).collect();
            let mut bytes = Vec::new();
            for frames in 1.. {
                let before = bytes.len();
                for (stream, sent) in &mut sent {
                    let room = self.rooms.get_mut(stream).unwrap();
                    let left = self.left.get_mut(stream).unwrap();
                    let length = LONGEST.min(*room).min(self.room).min(*left).min(most - *sent);
                    if length > 0 {
                        *sent += length;
                        (*room, *left, self.room) = (*room - length, *left - length, self.room - length);
                        let flags = if *left == 0 { flag::END_STREAM } else { 0 };
                        FrameHead { length, kind: kind::DATA, flags, stream: *stream }.write(&mut bytes);
                        bytes.extend(vec![7; length]);
                    }
                }
                let is_all = bytes.len() == before;
                if is_all || frames % self.in_a_turn == 0 {
                    self.turn(&bytes, takes);
                    bytes.clear();
                }
                if is_all {
                    break;
                }
            }
            sent
        }

        /// The client hears what the server has said, and answers.
        fn hear(&mut self) {
            let said = std::mem::take(&mut self.said);
            let mut at = 0;
            let mut answers = Vec::new();
            for head in frame::heads(&said) {
                let payload = &said[at + frame::HEAD..][..head.length];
                at += frame::HEAD + head.length;
                if head.kind == kind::WINDOW_UPDATE {
                    let more = frame::number(payload).unwrap() as usize;
                    *if head.stream == 0 { &mut self.room } else { self.rooms.get_mut(&head.stream).unwrap() } += more;
                }
                if head.kind != kind::PING || head.has(flag::ACK) {
                    continue;
                }
                self.pings += 1;
                if self.answers_pings {
                    frame::write_ping(flag::ACK, payload.try_into().unwrap(), &mut answers);
                }
            }
            self.turn(&answers, &[]);
        }

        /// A turn of the connection.
        fn turn(&mut self, bytes: &[u8], takes: &[u32]) {
            self.protocol.receive(bytes, &mut self.said).unwrap();
            let mut context = Context::from_waker(Waker::noop());
            for stream in takes {
                let content = self.contents.get_mut(stream).unwrap();
                while let Poll::Ready(Some(piece)) = content.poll(&mut context) {
                    piece.unwrap();
                }
            }
            self.protocol.tell_of_content(&context, &mut self.said);
            self.protocol.give_back_room();
            self.protocol.check();
        }

        fn unread(&self) -> usize {
            self.protocol.unread().bytes
        }

        fn held(&self) -> usize {
            self.protocol.receiving.reservation.held()
        }
    }

    fn quota() -> Arc<Quota> {
        Quota::new(64 * MEBIBYTE, 12 * MEBIBYTE)
    }

    #[test]
    fn a_window_grows_in_each_round_trip_in_which_it_is_used_and_taken() {
        let mut way = LongWay::new(&quota());
        way.post(1, None);
        let sent: Vec<usize> = (0..12).map(|_| way.round(&[1], usize::MAX)[&1] / INITIAL as usize).collect();
        assert_eq!(
            sent,
            [1, 0, 3, 12, 51, 77, 77, 77, 77, 72, 72, 72],
            "in first windows: most of what was taken is room again"
        );
        assert_eq!(way.held(), (LARGEST - INITIAL) as usize);
    }

    /// However much comes in one turn.
    #[test]
    fn a_window_grows_alike_whether_its_content_comes_at_once_or_in_pieces() {
        for in_a_turn in [1, 2, 4, 100, usize::MAX] {
            let mut way = LongWay::new(&quota());
            way.in_a_turn = in_a_turn;
            way.post(1, None);
            let sent: Vec<usize> = (0..8).map(|_| way.round(&[1], usize::MAX)[&1]).collect();
            assert!(sent[7] > 3 * MEBIBYTE, "{in_a_turn}: {sent:?}");
        }
    }

    #[test]
    fn a_window_stays_where_nothing_asks_for_more() {
        for (what, answers_pings, takes, most, announced) in [
            ("its handler does not read", true, &[][..], usize::MAX, None),
            ("its client sends little in a round trip", true, &[1], 10_000, None),
            ("its client does not say how long one takes", false, &[1], usize::MAX, None),
            ("no more is to come", true, &[1], usize::MAX, Some(65_000)),
        ] {
            let mut way = LongWay::new(&quota());
            way.answers_pings = answers_pings;
            way.post(1, announced);
            for _ in 0..20 {
                let sent = way.round(takes, most)[&1];
                assert!(sent <= INITIAL as usize && way.held() == 0, "{what}: {sent}");
            }
            assert_eq!(way.unread(), if takes.is_empty() { INITIAL as usize } else { 0 }, "{what}");
        }
    }

    #[test]
    fn a_round_trip_is_measured_only_while_content_comes_that_is_read() {
        for reads in [true, false] {
            let mut way = LongWay::new(&quota());
            way.post(1, None);
            way.in_a_turn = usize::MAX;
            way.round(&[1], 60_000);
            if !reads {
                way.contents.clear();
            }
            for _ in 0..20 {
                way.hear();
            }
            assert!((1..=2).contains(&way.pings), "{reads}: {}", way.pings);
        }
        let mut way = LongWay::new(&quota());
        way.post(1, None);
        way.round(&[1], 16_000);
        way.hear();
        assert_eq!(way.pings, 0, "little costs none");
    }

    #[test]
    fn a_setting_of_the_client_is_about_what_it_receives() {
        let mut way = LongWay::new(&quota());
        way.post(1, None);
        let mut settings = Vec::new();
        frame::write_settings(&[(frame::setting::INITIAL_WINDOW_SIZE, 1)], &mut settings);
        way.turn(&settings, &[]);
        way.post(3, None);
        let sent = way.round(&[1, 3], usize::MAX);
        assert_eq!(sent.values().sum::<usize>(), INITIAL as usize);
        for _ in 0..8 {
            way.round(&[1, 3], usize::MAX);
        }
        assert!(way.round(&[1, 3], usize::MAX).values().all(|sent| *sent > MEBIBYTE));
    }

    #[test]
    fn uploads_that_stall_with_the_largest_windows_stop_no_other() {
        let quota = quota();
        let mut way = LongWay::new(&quota);
        let streams = [1, 3, 5, 7, 9, 11, 13];
        streams.iter().for_each(|stream| way.post(*stream, None));
        for _ in 0..20 {
            way.round(&streams, usize::MAX);
        }
        assert!(way.held() > 4 * MEBIBYTE, "the windows are as large as the quota lets them be: {}", way.held());
        for _ in 0..20 {
            way.round(&[], usize::MAX);
        }
        assert!(way.rooms.values().all(|room| *room == 0), "what was announced is honoured: {:?}", way.rooms);
        assert!(way.unread() > 4 * MEBIBYTE && way.unread() <= way.held() + MOST_UNREAD, "{}", way.unread());
        way.post(15, None);
        for round in 0..20 {
            let sent = way.round(&[15], usize::MAX)[&15];
            assert!(round == 0 || sent >= 32_000, "round {round}: {sent}");
        }
        // Once they are taken, they go on.
        way.round(&streams, usize::MAX);
        way.turn(&[], &streams);
        let sent = way.round(&streams, usize::MAX);
        assert!(streams.iter().all(|stream| sent[stream] > 32_000), "{sent:?}");
    }

    #[test]
    fn all_connections_share_what_there_is_and_give_it_back() {
        let quota = Quota::new(3 * MEBIBYTE, 2 * MEBIBYTE);
        let mut ways: Vec<LongWay> = (0..5).map(|_| LongWay::new(&quota)).collect();
        for way in &mut ways {
            (1..16).step_by(2).for_each(|stream| way.post(stream, Some(2_000_000)));
        }
        let streams: Vec<u32> = (1..16).step_by(2).collect();
        let mut held = 0;
        for round in 0.. {
            let mut sent = 0;
            for way in &mut ways {
                sent += way.round(&streams, usize::MAX).values().sum::<usize>();
            }
            let now: usize = ways.iter().map(LongWay::held).sum();
            assert!(now <= 2 * MEBIBYTE, "all are of one address: {now}");
            held = held.max(now);
            if ways.iter().all(|way| way.left.values().all(|left| *left == 0)) {
                break;
            }
            assert!(sent > 0 || round == 0, "round {round}");
        }
        assert!(held > MEBIBYTE, "{held}");
        assert!(quota.is_unused(), "content that is whole and taken needs no room");
    }

    #[test]
    fn a_connection_keeps_what_its_client_was_told_of_and_no_more() {
        let quota = quota();
        let mut way = LongWay::new(&quota);
        way.post(1, None);
        for _ in 0..12 {
            way.round(&[1], usize::MAX);
        }
        let reset = {
            let mut bytes = Vec::new();
            frame::write_reset(1, ErrorCode::No, &mut bytes);
            bytes
        };
        way.contents.clear();
        way.hear();
        way.turn(&reset, &[]);
        let promised = way.room;
        assert_eq!(way.held(), promised - MOST_UNREAD);
        // What others send of it is not given anew.
        way.rooms.clear();
        way.left.clear();
        for stream in [3, 5, 7] {
            way.post(stream, None);
            for _ in 0..200 {
                way.round(&[stream], 10_000);
            }
        }
        assert!(way.room <= MOST_UNREAD, "{}", way.room);
        assert!(quota.is_unused());
        let other: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert!(quota.take_many(other, 12 * MEBIBYTE).is_some());
    }
}
