//! Where a request's head ends, and whether it is framed as RFC 9112 demands.
//!
//! hyper's parser is lenient where a server that stands alone may be: it takes a bare LF for a line's end and drops a
//! `Content-Length` beside a `Transfer-Encoding`. Each such leniency is one half of request smuggling (RFC 9112 §11.2), so
//! every byte is looked at here before hyper sees it. A fault ends the requests of a connection: hyper is handed a byte
//! that no parser takes, answers 400 in its turn, and closes.
//!
//! Content is followed to its end, as the next request begins there. All that is taken here means the same to hyper, which
//! takes more.

use crate::semantics::{
    chunk_size::ChunkSize,
    field::{Length, is_token},
    target,
};

/// Looks at the bytes of an HTTP/1 connection, however they are cut.
#[derive(Debug)]
pub(crate) struct Scan {
    place: Position,
    /// How many heads have begun.
    begun: u64,
    target: usize,
    target_limit: usize,
    name: [u8; LONGEST_NAME],
    name_length: usize,
    value: Value,
    /// What `Content-Length` says.
    length: Option<u64>,
    /// Whether `Transfer-Encoding` says `chunked`.
    coded: bool,
    /// How much of the content, or of the chunk, is still to come.
    left: u64,
    chunk: ChunkSize,
    /// Whether the field lines are trailers.
    trailers: bool,
}

/// What was found in some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing wrong so far.
    Fine,
    /// The byte at this offset may not stand in a head; hyper must not see it.
    Fault(usize),
    /// The byte at this offset may not stand in content; hyper must not see it, nor anything behind it.
    Broken(usize),
    /// The byte at this offset makes the target longer than allowed.
    LongTarget(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Before a request line; empty lines are skipped (RFC 9112 §2.2).
    Before,
    BeforeLf,
    Method,
    Target,
    Version,
    LineLf,
    /// At the start of a field line.
    Field,
    Name,
    Value,
    ValueLf,
    EndLf,
    /// Inside content of a length that was announced.
    Content,
    /// Inside the line with the size of a chunk.
    Size,
    Chunk,
    ChunkCr,
    ChunkLf,
    Faulty,
}

/// The values that matter are watched while they pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Other,
    /// `Content-Length`: as far as it came, and whether white space followed.
    Length {
        length: Length,
        ended: bool,
    },
    /// `Transfer-Encoding`: how much of `chunked` was read.
    Coding {
        matched: usize,
    },
}

const LONGEST_NAME: usize = 17;
const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";
const VERSION: &[u8] = b"HTTP/1.1";
const CHUNKED: &[u8] = b"chunked";

impl Scan {
    pub(crate) fn new(target_limit: usize) -> Self {
        Self {
            place: Position::Before,
            begun: 0,
            target: 0,
            target_limit,
            name: [0; LONGEST_NAME],
            name_length: 0,
            value: Value::Other,
            length: None,
            coded: false,
            left: 0,
            chunk: ChunkSize::default(),
            trailers: false,
        }
    }

    /// Whether nothing of a next request has come.
    pub(crate) fn between_requests(&self) -> bool {
        matches!(self.place, Position::Before | Position::BeforeLf)
    }

    /// Whether part of a head has come, and nothing of the content behind it.
    pub(crate) fn inside_head(&self) -> bool {
        !self.between_requests() && !self.inside_content() && !self.is_faulty()
    }

    /// Whether the last head announced content that has not come to its end, trailers included.
    fn inside_content(&self) -> bool {
        let content = matches!(
            self.place,
            Position::Content | Position::Size | Position::Chunk | Position::ChunkCr | Position::ChunkLf
        );
        content || (self.trailers && !self.between_requests() && !self.is_faulty())
    }

    /// Whether nothing of what comes is looked at any more.
    pub(crate) fn is_faulty(&self) -> bool {
        self.place == Position::Faulty
    }

    /// How many heads have begun: the number of the request that the last one is of.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Looks at the next bytes.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Found {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_faulty() {
                return Found::Fine;
            }
            at += self.skip(&bytes[at..]);
            let Some(&byte) = bytes.get(at) else { break };
            if self.step(byte).is_none() {
                // A byte that may not stand here changes nothing.
                let content = self.inside_content();
                self.place = Position::Faulty;
                return if content { Found::Broken(at) } else { Found::Fault(at) };
            }
            if self.target > self.target_limit {
                self.place = Position::Faulty;
                return Found::LongTarget(at);
            }
            at += 1;
        }
        Found::Fine
    }

    /// How many of the next bytes are known to be fine: most of a target, and a value that says nothing of the framing, to its
    /// line's end.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self.place {
            Position::Target => {
                let plain = bytes.iter().position(|byte| !TARGET[usize::from(*byte)]).unwrap_or(bytes.len());
                let plain = plain.min(self.target_limit.saturating_sub(self.target));
                self.target += plain;
                plain
            }
            Position::Method => bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len()),
            // What stands in nearly every request line; each of these bytes may stand there.
            Position::Version if bytes.starts_with(VERSION) => VERSION.len(),
            Position::Field if !self.trailers => skip_lines(bytes),
            // Names of which only the end matters: those that are watched begin otherwise.
            Position::Name if !matches!(self.name[0], b'c' | b't') => {
                bytes.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(bytes.len())
            }
            // Other control characters are no matter of framing, and hyper refuses them; among trailers they end what it reads.
            Position::Value if self.value == Value::Other && !self.trailers => {
                let value = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
                if !bytes[value..].starts_with(b"\r\n") {
                    return value;
                }
                self.place = Position::Field;
                value + 2
            }
            Position::Content | Position::Chunk => self.skip_content(bytes.len()),
            _ => 0,
        }
    }

    /// How many of so many bytes are content.
    fn skip_content(&mut self, bytes: usize) -> usize {
        let content = usize::try_from(self.left).map_or(bytes, |left| left.min(bytes));
        self.left -= content as u64;
        if self.left == 0 {
            self.place = if self.place == Position::Chunk { Position::ChunkCr } else { Position::Before };
        }
        content
    }

    /// `None` for a byte that may not stand here: nothing is changed by it.
    #[inline]
    fn step(&mut self, byte: u8) -> Option<()> {
        self.place = match (self.place, byte) {
            (Position::Before, b'\r') => Position::BeforeLf,
            (Position::BeforeLf, b'\n') => Position::Before,
            (Position::Before, byte) if is_token(byte) => self.begin(),
            (Position::Method, b' ') => Position::Target,
            (Position::Method, byte) if is_token(byte) => Position::Method,
            (Position::Target, b' ') if self.target > 0 => Position::Version,
            (Position::Target, byte) if target::may_hold(byte) => self.lengthen_target(),
            (Position::Version, b'\r') => Position::LineLf,
            (Position::Version, b'H' | b'T' | b'P' | b'/' | b'.' | b'0'..=b'9') => Position::Version,
            (Position::LineLf | Position::ValueLf, b'\n') => Position::Field,
            (Position::Field, b'\r') => Position::EndLf,
            (Position::Field, byte) if is_token(byte) => self.begin_name(byte),
            (Position::Name, b':') => self.begin_value()?,
            (Position::Name, byte) if is_token(byte) => self.lengthen_name(byte),
            (Position::Value, b'\r') => self.end_value()?,
            (Position::Value, b'\t' | 0x20..=0x7e | 0x80..) => self.watch(byte)?,
            (Position::EndLf, b'\n') => self.end()?,
            (Position::Size, byte) => self.read_size(byte)?,
            (Position::ChunkCr, b'\r') => Position::ChunkLf,
            (Position::ChunkLf, b'\n') => self.begin_size(),
            _ => return None,
        };
        Some(())
    }

    fn begin(&mut self) -> Position {
        *self = Self { place: Position::Method, begun: self.begun + 1, ..Self::new(self.target_limit) };
        Position::Method
    }

    fn lengthen_target(&mut self) -> Position {
        self.target += 1;
        Position::Target
    }

    fn begin_name(&mut self, byte: u8) -> Position {
        self.name_length = 0;
        self.lengthen_name(byte)
    }

    fn lengthen_name(&mut self, byte: u8) -> Position {
        if let Some(place) = self.name.get_mut(self.name_length) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_length = self.name_length.saturating_add(1);
        Position::Name
    }

    /// A second length is refused even if it says the same (RFC 9112 §6.3 allows to), and so is a second coding. Among
    /// trailers neither says anything of the content (RFC 9110 §6.5.1), and no client has a reason to send it there.
    fn begin_value(&mut self) -> Option<Position> {
        let name = self.name.get(..self.name_length).unwrap_or_default();
        self.value = match name {
            LENGTH | CODING if self.trailers => return None,
            LENGTH if self.length.is_some() => return None,
            LENGTH => Value::Length { length: Length::default(), ended: false },
            CODING if self.coded => return None,
            CODING => Value::Coding { matched: 0 },
            _ => Value::Other,
        };
        Some(Position::Value)
    }

    fn watch(&mut self, byte: u8) -> Option<Position> {
        let blank = matches!(byte, b' ' | b'\t');
        match &mut self.value {
            Value::Length { length, ended } if blank => *ended = length.end().is_some(),
            Value::Length { ended: true, .. } => return None,
            Value::Length { length, .. } => length.push(byte)?,
            // White space inside the word is caught, as a letter must follow; around it it is allowed.
            Value::Coding { matched: 0 } if blank => {}
            Value::Coding { matched } if blank && *matched == CHUNKED.len() => {}
            Value::Coding { matched } => {
                if CHUNKED.get(*matched) != Some(&byte.to_ascii_lowercase()) {
                    return None;
                }
                *matched += 1;
            }
            Value::Other => {}
        }
        Some(Position::Value)
    }

    fn end_value(&mut self) -> Option<Position> {
        match self.value {
            Value::Length { length, .. } => self.length = Some(length.end()?),
            Value::Coding { matched } if matched == CHUNKED.len() => self.coded = true,
            Value::Coding { .. } => return None,
            Value::Other => {}
        }
        Some(Position::ValueLf)
    }

    /// `Content-Length` beside `Transfer-Encoding` is how requests are smuggled (RFC 9112 §6.1).
    fn end(&mut self) -> Option<Position> {
        if self.trailers {
            return Some(Position::Before);
        }
        match (self.length, self.coded) {
            (Some(_), true) => None,
            (None, true) => Some(self.begin_size()),
            (Some(1..), false) => Some(self.begin_content()),
            (Some(0) | None, false) => Some(Position::Before),
        }
    }

    fn begin_content(&mut self) -> Position {
        self.left = self.length.unwrap_or(0);
        Position::Content
    }

    fn begin_size(&mut self) -> Position {
        self.chunk = ChunkSize::default();
        Position::Size
    }

    /// The last chunk is empty, and trailers follow it (RFC 9112 §7.1.2).
    fn read_size(&mut self, byte: u8) -> Option<Position> {
        if !self.chunk.push(byte)? {
            return Some(Position::Size);
        }
        self.left = self.chunk.size();
        self.trailers = self.left == 0;
        Some(if self.trailers { Position::Field } else { Position::Chunk })
    }
}

/// How long the whole field lines are at the beginning of these bytes that say nothing of the framing.
fn skip_lines(bytes: &[u8]) -> usize {
    let mut skipped = 0;
    loop {
        let rest = &bytes[skipped..];
        let Some(colon) = rest.iter().position(|byte| !TOKEN[usize::from(*byte)]) else { return skipped };
        // Which names these are, the slow way finds out.
        if colon == 0 || rest[colon] != b':' || colon == LENGTH.len() || colon == CODING.len() {
            return skipped;
        }
        match memchr::memchr2(b'\r', b'\n', &rest[colon..]) {
            Some(end) if rest[colon + end..].starts_with(b"\r\n") => skipped += colon + end + 2,
            _ => return skipped,
        }
    }
}

/// Which bytes a target may hold, looked up for each of them.
const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = target::may_hold(byte as u8);
        byte += 1;
    }
    table
};

/// Which bytes a token may hold, looked up for each byte of a head.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_token(byte as u8);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict must not depend on how the bytes are cut.
    fn look(bytes: &[u8]) -> (Found, Scan) {
        let mut whole = Scan::new(100);
        let found = whole.look(bytes);
        let mut single = Scan::new(100);
        let mut found_single = Found::Fine;
        for (at, byte) in bytes.iter().enumerate() {
            match single.look(&[*byte]) {
                Found::Fine => continue,
                Found::Fault(_) => found_single = Found::Fault(at),
                Found::Broken(_) => found_single = Found::Broken(at),
                Found::LongTarget(_) => found_single = Found::LongTarget(at),
            }
            break;
        }
        assert_eq!((&found, whole.place), (&found_single, single.place), "{:?}", String::from_utf8_lossy(bytes));
        (found, whole)
    }

    #[test]
    fn well_framed_heads_pass() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /%20?a=b HTTP/1.0\r\n\r\nHEAD / HTTP/1.1\r\nhost:a\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nX: \r\nY:\r\nZ:\t\u{e4} \r\n\r\n",
        ] {
            let (found, scan) = look(head.as_bytes());
            assert_eq!((found, scan.between_requests()), (Found::Fine, true), "{head:?}");
        }
    }

    /// Where it ends, the next request begins.
    #[test]
    fn content_is_followed_to_its_end() {
        let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (content, inside) in [
            ("Content-Length: 5\r\n\r\nGET x", "GET "),
            ("content-length:\t05 \r\n\r\n\n\r\n\0\r", "\n\r\n\0"),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "0\r\n\r"),
            ("transfer-encoding:CHUNKED\t\r\n\r\n1\r\nx\r\n0\r\n\r\n", "1\r\nx"),
            ("Transfer-Encoding: chunked\r\n\r\n0000A\r\n0123\r\n6789\r\n00\r\n\r\n", "0000A\r\n0123\r\n6"),
            ("Transfer-Encoding: chunked\r\n\r\n1;a=b;c=\"d\";e\r\nx\r\n0\t ;y\r\n\r\n", "1;a=b;c=\"d\""),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC:\r\n\r\n", "0\r\nA: b\r\n"),
        ] {
            let head = format!("POST / HTTP/1.1\r\n{content}");
            let (found, scan) = look(format!("{head}{next}{next}").as_bytes());
            assert_eq!((found, scan.begun(), scan.between_requests()), (Found::Fine, 3, true), "{content:?}");
            let cut = head.find("\r\n\r\n").unwrap() + 4 + inside.len();
            let (found, scan) = look(&head.as_bytes()[..cut]);
            assert_eq!((found, scan.between_requests(), scan.inside_head()), (Found::Fine, false, false), "{inside:?}");
            let faulty = format!("{head}\0");
            assert_eq!(look(faulty.as_bytes()).0, Found::Fault(head.len()), "{content:?}");
        }
    }

    /// RFC 9112 §7.1: what some take for a chunk, and others for something else.
    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_faults() {
        for chunks in [
            "\r\n",
            ";a\r\n",
            " 1\r\nx\r\n",
            "+1\r\nx\r\n",
            "-1\r\nx\r\n",
            "0x1\r\nx\r\n",
            "1 \r\nx\r\n",
            "1 1\r\nx\r\n",
            "1_0\r\nx\r\n",
            "g\r\n",
            "1\nx\r\n",
            "1\r\nx\n",
            "1\r\nxx\r\n",
            "1\r\n\r\n",
            "1\rx\r\n",
            "1;a\nb\r\nx\r\n",
            "1;a\nx\r\n0\r\n\r\n",
            "1;a\rb\r\nx\r\n",
            "1;\0\r\nx\r\n",
            "1\r\nx0\r\n",
            "1000000000000000\r\nx",
            "fffffffffffffffff\r\nx",
            "0\r\nno colon\r\n\r\n",
            "0\r\n folded: x\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\r\n\n",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            let (found, _) = look(head.as_bytes());
            assert!(matches!(found, Found::Broken(_)), "{chunks:?}: {found:?}");
        }
    }

    /// What RFC 9112 forbids, and what other servers were smuggled past with.
    #[test]
    fn badly_framed_heads_are_faults() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET\t/ HTTP/1.1\r\n\r\n",
            "GET / extra HTTP/1.1\r\n\r\n",
            "GET /\0 HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET /?a\u{7f}b HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1000000000000000000\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunk ed\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            let (found, scan) = look(head.as_bytes());
            assert!(matches!(found, Found::Fault(_)) && scan.place == Position::Faulty, "{head:?}: {found:?}");
        }
    }

    #[test]
    fn a_long_target_is_found_where_it_becomes_too_long() {
        let fits = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(99));
        assert_eq!(look(fits.as_bytes()).0, Found::Fine);
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100));
        assert_eq!(look(long.as_bytes()).0, Found::LongTarget(104));
    }

    #[test]
    fn half_a_head_is_inside_a_head() {
        for (head, inside) in
            [("", false), ("\r\n", false), ("G", true), ("GET / HTTP/1.1\r\n", true), ("GET / HTTP/1.1\r\n\r", true)]
        {
            assert_eq!(look(head.as_bytes()).1.inside_head(), inside, "{head:?}");
        }
    }
}
