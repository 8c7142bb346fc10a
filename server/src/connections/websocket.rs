//! WebSocket (RFC 6455), as far as a proxy has to know it: its opening, and where its frames end.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, header};

/// What a server adds to a client's key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Going away (§7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// Where the frames of one direction end (§5.2).
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; 14],
    /// How many bytes of the head came.
    have: usize,
    /// How many bytes of the payload are still to come.
    left: u64,
}

impl Frames {
    /// These bytes go by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let payload = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= payload as u64;
                bytes = &bytes[payload..];
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have == self.head_length() {
                self.left = self.payload();
                self.have = 0;
            }
        }
    }

    /// Whether the last frame has come to its end.
    pub(super) fn are_whole(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    fn head_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload(&self) -> u64 {
        let long = |bytes: &[u8]| bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        match self.head[1] & 0x7f {
            126 => long(&self.head[2..4]),
            127 => long(&self.head[2..10]),
            length => u64::from(length),
        }
    }

    /// A Close frame of a server (§5.5.1).
    pub(super) fn close() -> Vec<u8> {
        [&[0x88, 0x02][..], &GOING_AWAY].concat()
    }

    /// That of a client, which masks (§5.3).
    pub(super) fn close_masked() -> Vec<u8> {
        let mask = fastrand::u32(..).to_ne_bytes();
        [&[0x88, 0x82][..], &mask, &[GOING_AWAY[0] ^ mask[0], GOING_AWAY[1] ^ mask[1]]].concat()
    }
}

/// Lets bytes pass whole, and one by one.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn frames_of_websocket(data: &[u8]) {
    let mut whole = Frames::default();
    let mut single = Frames::default();
    whole.pass(data);
    data.iter().for_each(|byte| single.pass(&[*byte]));
    assert_eq!((whole.are_whole(), whole.left, whole.have), (single.are_whole(), single.left, single.have));
}

/// What a client's opening says (§4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// It is one.
    Good,
    /// It asks for another version.
    OtherVersion,
    /// Its key is none, or it has several.
    Bad,
}

/// Whether these fields ask for WebSocket and nothing else.
pub(crate) fn is_asked_for(fields: &HeaderMap) -> bool {
    let mut upgrade = fields.get_all(header::UPGRADE).iter();
    let only = matches!((upgrade.next(), upgrade.next()), (Some(to), None) if to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let tokens = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    only && fields.get_all(header::CONNECTION).iter().any(tokens)
}

/// What an opening over HTTP/1.1 says.
pub(crate) fn opening(fields: &HeaderMap) -> Handshake {
    match only(fields, &header::SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => {}
        _ => return Handshake::OtherVersion,
    }
    let key = only(fields, &header::SEC_WEBSOCKET_KEY).and_then(|key| BASE64_STANDARD.decode(key.as_bytes()).ok());
    if key.is_some_and(|key| key.len() == 16) { Handshake::Good } else { Handshake::Bad }
}

/// A key by chance, for a client that has none of its own as it speaks HTTP/2.
pub(crate) fn key() -> HeaderValue {
    let key = BASE64_STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    HeaderValue::try_from(key).unwrap_or_else(|_| HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

/// Whether a response accepts the key (§4.1).
pub(crate) fn is_accepted(key: &HeaderValue, fields: &HeaderMap) -> bool {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(GUID.as_bytes());
    let accept = BASE64_STANDARD.encode(digest.finish());
    is_asked_for(fields) && only(fields, &header::SEC_WEBSOCKET_ACCEPT).is_some_and(|said| said == accept.as_str())
}

fn only<'a>(fields: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(said: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in said {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn the_end_of_a_frame_is_found_however_it_is_cut() {
        let frames: [Vec<u8>; 5] = [
            vec![0x81, 0x00],
            [&[0x82, 0x05][..], b"hello"].concat(),
            [&[0x81, 0x85, 1, 2, 3, 4][..], b"hello"].concat(),
            [&[0x82, 126, 1, 0][..], &[7; 256]].concat(),
            [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &[7; 65_536]].concat(),
        ];
        let all = frames.concat();
        for size in [1, 2, 3, 1000, all.len()] {
            let mut passed = Frames::default();
            let mut at = 0;
            let mut ends = Vec::new();
            for part in all.chunks(size) {
                passed.pass(part);
                at += part.len();
                if passed.are_whole() {
                    ends.push(at);
                }
            }
            let lengths = frames.iter().scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            });
            let expected: Vec<_> = lengths.filter(|end| end % size == 0 || *end == all.len()).collect();
            assert_eq!(ends, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_frame_may_be_longer_than_memory() {
        let mut frames = Frames::default();
        frames.pass(&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]);
        frames.pass(&[0; 16]);
        assert_eq!(frames.left, (1 << 32) - 16);
    }

    #[test]
    fn only_a_whole_opening_is_one() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert!(is_asked_for(&fields(&good)) && opening(&fields(&good)) == Handshake::Good);
        for (at, with, asked, expected) in [
            (0, ("upgrade", "h2c"), false, Handshake::Good),
            (0, ("upgrade", "websocket, h2c"), false, Handshake::Good),
            (1, ("connection", "keep-alive"), false, Handshake::Good),
            (2, ("sec-websocket-version", "8"), true, Handshake::OtherVersion),
            (2, ("x", "y"), true, Handshake::OtherVersion),
            (3, ("sec-websocket-key", "short"), true, Handshake::Bad),
            (3, ("sec-websocket-key", "AAAA"), true, Handshake::Bad),
            (3, ("x", "y"), true, Handshake::Bad),
        ] {
            let mut said = good;
            said[at] = with;
            assert_eq!((is_asked_for(&fields(&said)), opening(&fields(&said))), (asked, expected), "{with:?}");
        }
        let with = |again: (&'static str, &'static str)| fields(&[&good[..], &[again]].concat());
        assert_eq!(opening(&with(good[3])), Handshake::Bad);
        assert_eq!(opening(&with(good[2])), Handshake::OtherVersion);
        assert!(!is_asked_for(&with(good[0])) && !is_asked_for(&with(("upgrade", "h2c"))));
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn a_key_is_accepted_by_its_digest_alone() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let response = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        assert!(is_accepted(&key, &fields(&response)));
        assert!(!is_accepted(&super::key(), &fields(&response)));
        assert!(!is_accepted(&key, &fields(&response[..2])) && !is_accepted(&key, &fields(&response[1..])));
        assert_eq!(opening(&fields(&[("sec-websocket-version", "13")])), Handshake::Bad);
        assert_ne!(super::key(), super::key());
    }
}
