//! Frames as they lie in bytes (RFC 9113 §4.1, §6).

/// The type of a frame (§6, §11.2).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
    /// RFC 9218 §7.1.
    pub(in super::super) const PRIORITY_UPDATE: u8 = 16;
}

/// Flags of frames; each has a meaning for some types only.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// What a client announces of itself or is told (§6.5.2).
pub(super) mod setting {
    pub(in super::super) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in super::super) const ENABLE_PUSH: u16 = 2;
    pub(in super::super) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in super::super) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in super::super) const MAX_FRAME_SIZE: u16 = 5;
    pub(in super::super) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441 §3.
    pub(in super::super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    /// RFC 9218 §2.1.
    pub(in super::super) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// Why a stream or a connection ends (§7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    No = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;
/// The longest payload that anybody must take, and the longest that is taken here (§4.2).
pub(super) const LONGEST: usize = 16_384;

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// The head that `bytes` begin with, if it is whole. The reserved bit is ignored (§4.1).
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3, ..] = *bytes else { return None };
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }
}

/// The heads of all frames in `bytes`, which must be whole.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn heads(mut bytes: &[u8]) -> impl Iterator<Item = FrameHead> {
    std::iter::from_fn(move || {
        let head = FrameHead::read(bytes);
        bytes = match head {
            Some(head) => &bytes[HEAD + head.length..],
            None => bytes,
        };
        assert!(head.is_some() || bytes.is_empty(), "{bytes:?} begin no frame");
        head
    })
}

/// A number of 32 bits, the first of which is reserved, that `payload` begins with.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*payload.first_chunk()?) & 0x7fff_ffff)
}

/// The settings of a payload (§6.5.1).
pub(super) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload
        .as_chunks::<6>()
        .0
        .iter()
        .map(|[i0, i1, v0, v1, v2, v3]| (u16::from_be_bytes([*i0, *i1]), u32::from_be_bytes([*v0, *v1, *v2, *v3])))
}

/// The payload without its padding (§6.1); none if there is more padding than payload.
pub(super) fn unpadded(head: FrameHead, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.split_at_checked(rest.len().checked_sub(usize::from(*padding))?).map(|(content, _)| content)
}

fn write(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    FrameHead { length: payload.len(), kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

pub(super) fn write_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    FrameHead { length: settings.len() * 6, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_settings_ack(out: &mut Vec<u8>) {
    write(kind::SETTINGS, flag::ACK, 0, &[], out);
}

pub(super) fn write_ping(flags: u8, payload: [u8; 8], out: &mut Vec<u8>) {
    write(kind::PING, flags, 0, &payload, out);
}

pub(super) fn write_reset(stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
    write(kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes(), out);
}

pub(super) fn write_window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    write(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes(), out);
}

pub(super) fn write_goaway(last: u32, code: ErrorCode, out: &mut Vec<u8>) {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last.to_be_bytes());
    payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
    write(kind::GOAWAY, 0, 0, &payload, out);
}

/// Writes the field block that `encode` makes: in HEADERS, and in CONTINUATION if it is long (§6.10).
pub(super) fn write_headers(stream: u32, end: bool, out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; HEAD]);
    encode(out);
    let length = out.len() - at - HEAD;
    let ends = if end { flag::END_STREAM } else { 0 };
    if length <= LONGEST {
        let head = FrameHead { length, kind: kind::HEADERS, flags: ends | flag::END_HEADERS, stream };
        out[at..at + HEAD].copy_from_slice(&head.bytes());
        return;
    }
    let block = out.split_off(at + HEAD);
    out.truncate(at);
    let pieces = block.len().div_ceil(LONGEST);
    for (number, piece) in block.chunks(LONGEST).enumerate() {
        let (kind, flags) = if number == 0 { (kind::HEADERS, ends) } else { (kind::CONTINUATION, 0) };
        let flags = if number + 1 == pieces { flags | flag::END_HEADERS } else { flags };
        write(kind, flags, stream, piece, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_were_written() {
        let head = FrameHead { length: 0x0102_0304 & 0xff_ffff, kind: 9, flags: 0x25, stream: 0x7fff_fffe };
        assert_eq!(FrameHead::read(&head.bytes()), Some(head));
        assert_eq!(FrameHead::read(&head.bytes()[..8]), None);
        let mut reserved = head.bytes();
        reserved[5] |= 0x80;
        assert_eq!(FrameHead::read(&reserved), Some(head));
    }

    #[test]
    fn padding_is_taken_off_and_never_more_than_there_is() {
        let padded = FrameHead { length: 0, kind: kind::DATA, flags: flag::PADDED, stream: 1 };
        for (payload, expected) in [
            (&[0, 1, 2][..], Some(&[1, 2][..])),
            (&[2, 1, 0, 0], Some(&[1])),
            (&[2, 0, 0], Some(&[])),
            (&[3, 0, 0], None),
            (&[1], None),
            (&[], None),
        ] {
            assert_eq!(unpadded(padded, payload), expected, "{payload:?}");
        }
        assert_eq!(unpadded(FrameHead { flags: 0, ..padded }, &[9, 1]), Some(&[9, 1][..]));
    }

    #[test]
    fn a_long_block_goes_on_in_further_frames() {
        for (length, expected) in [
            (0, &[(kind::HEADERS, 5, 0)][..]),
            (LONGEST, &[(kind::HEADERS, 5, LONGEST)]),
            (LONGEST + 1, &[(kind::HEADERS, 1, LONGEST), (kind::CONTINUATION, 4, 1)]),
            (2 * LONGEST, &[(kind::HEADERS, 1, LONGEST), (kind::CONTINUATION, 4, LONGEST)]),
        ] {
            let mut out = vec![1, 2, 3];
            write_headers(7, true, &mut out, |out| out.resize(out.len() + length, b'x'));
            let frames: Vec<_> = heads(&out[3..])
                .inspect(|head| assert_eq!(head.stream, 7))
                .map(|head| (head.kind, head.flags, head.length))
                .collect();
            assert_eq!(frames, expected, "{length}");
        }
    }
}
