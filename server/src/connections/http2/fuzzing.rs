//! What must hold whatever a client sends; see [`crate::fuzzing`].

use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};

use super::{
    frame::{self, ErrorCode, LONGEST, flag, kind},
    hpack::{Decoder, Encoder, Field, RefusedBlock, Sink},
    protocol::{PREFACE, Protocol},
};
use crate::{body::Body, quota::Reservation, settings::Settings};

/// The frames behind the preface: what comes of them does not depend on how they are cut, and is well formed; no client has
/// more sent than it has room for.
pub(crate) fn frames(data: &[u8]) {
    let (mut protocol, mut said, ended) = received(data, data.len().max(1));
    let (_, single, other) = received(data, 1);
    assert_eq!((&said, ended), (&single, other), "in one piece, and in single bytes");
    if ended.is_some() {
        return;
    }
    let content = Bytes::from(vec![b'x'; 40_000]);
    let (mut sent, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
    for at in 0..protocol.streams.len() {
        protocol.streams[at].asked().expect("nothing was answered yet");
        let body = if at % 2 == 0 { Body::lying(content.clone()) } else { Body::empty() };
        protocol.respond(at, Response::new(body), &context, &mut said);
    }
    let room = protocol.window.room();
    let written = protocol.send(&mut context, 100_000, &mut said, &mut sent).unwrap();
    assert!(written <= room.min(100_000));
    sent.append(&mut said);
    let mut content = 0;
    for head in frame::heads(&sent) {
        assert!(head.length <= LONGEST, "{head:?}");
        content += if head.kind == kind::DATA { head.length } else { 0 };
        assert!(head.kind != kind::HEADERS || head.has(flag::END_HEADERS), "{head:?}");
    }
    assert_eq!(content, written);
}

/// A connection that has received `data` in pieces of `size`, what it has said, and why it ended.
fn received(data: &[u8], size: usize) -> (Protocol, Vec<u8>, Option<ErrorCode>) {
    let mut said = Vec::new();
    let mut protocol = Protocol::new(&Settings::default(), false, Reservation::alone(), &mut said);
    protocol.receive(PREFACE, &mut said).expect("the preface is one");
    for piece in data.chunks(size) {
        if let Err(code) = protocol.receive(piece, &mut said) {
            return (protocol, said, Some(code));
        }
        protocol.check();
    }
    (protocol, said, None)
}

/// Fields as they were decoded.
#[derive(Default)]
struct Taken(Vec<(HeaderName, HeaderValue)>, usize);

impl Sink for Taken {
    fn wants(&mut self, size: usize) -> Result<bool, RefusedBlock> {
        self.1 += size;
        if self.1 > 1 << 20 { Err(RefusedBlock::Bomb) } else { Ok(true) }
    }

    fn take(&mut self, field: Field) {
        if let Field::Other(name, value) = field {
            self.0.push((name, value));
        }
    }
}

/// Field blocks, each with its length before it: the table stays within its bound, and what was decoded is encoded so that
/// it is decoded alike.
pub(crate) fn field_blocks(mut data: &[u8]) {
    let mut decoder = Decoder::new();
    let (mut encoder, mut mirror) = (Encoder::new(), Decoder::new());
    while let Some((length, rest)) = data.split_first() {
        let (block, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        let mut taken = Taken::default();
        let decoded = decoder.decode(block, &mut taken);
        decoder.check();
        if decoded.is_err() {
            return;
        }
        let (mut block, mut again) = (Vec::new(), Taken::default());
        encoder.begin(http::StatusCode::OK, &mut block);
        taken.0.iter().for_each(|(name, value)| encoder.field(name, value, &mut block));
        mirror.decode(&block, &mut again).expect("it was encoded here");
        assert_eq!(taken.0, again.0);
    }
}
