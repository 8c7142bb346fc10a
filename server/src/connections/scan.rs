//! Where a request's head ends, and whether it is framed as RFC 9112 demands.
//!
//! hyper's parser is lenient where a server that stands alone may be: it takes a bare LF for a line's end and drops a
//! `Content-Length` beside a `Transfer-Encoding`. Each such leniency is one half of request smuggling (RFC 9112 §11.2), so
//! every byte is looked at here before hyper sees it. A fault ends the requests of a connection: hyper is handed a byte
//! that no parser takes, answers 400 in its turn, and closes.

/// Looks at the bytes of an HTTP/1 connection, however they are cut.
#[derive(Debug)]
pub(crate) struct Scan {
    place: Place,
    /// How many heads have begun.
    begun: u64,
    target: usize,
    target_limit: usize,
    name: [u8; LONGEST_NAME],
    name_length: usize,
    value: Value,
    length: Option<Framing>,
    coded: bool,
}

/// What was found in some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing wrong so far.
    Fine,
    /// The byte at this offset may not stand there; hyper must not see it.
    Fault(usize),
    /// The byte at this offset makes the target longer than allowed.
    LongTarget(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
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
    /// Behind a head that announced a body: what follows is content, and the last request of this connection.
    Content,
    Faulty,
}

/// What a `Content-Length` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Empty,
    Content,
}

/// The values that matter are watched while they pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Other,
    /// `Content-Length`: so many digits so far, and whether one of them was not 0, and whether white space followed.
    Length {
        digits: usize,
        zero: bool,
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
            place: Place::Before,
            begun: 0,
            target: 0,
            target_limit,
            name: [0; LONGEST_NAME],
            name_length: 0,
            value: Value::Other,
            length: None,
            coded: false,
        }
    }

    /// Whether nothing of a next request has come.
    pub(crate) fn between_requests(&self) -> bool {
        matches!(self.place, Place::Before | Place::BeforeLf)
    }

    /// Whether part of a head has come.
    pub(crate) fn inside_head(&self) -> bool {
        !self.between_requests() && !self.exhausted()
    }

    /// Whether no further request can come.
    pub(crate) fn exhausted(&self) -> bool {
        matches!(self.place, Place::Content | Place::Faulty)
    }

    /// How many heads have begun: the number of the request that the last one is of.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether the last head announced content.
    pub(crate) fn announced_content(&self) -> bool {
        self.place == Place::Content
    }

    /// Looks at the next bytes.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Found {
        let mut at = 0;
        while at < bytes.len() {
            if self.exhausted() {
                return Found::Fine;
            }
            at += self.skip(&bytes[at..]);
            let Some(&byte) = bytes.get(at) else { break };
            if self.step(byte).is_none() {
                self.place = Place::Faulty;
                return Found::Fault(at);
            }
            if self.target > self.target_limit {
                self.place = Place::Faulty;
                return Found::LongTarget(at);
            }
            at += 1;
        }
        Found::Fine
    }

    /// How many of the next bytes cannot change the place: most of a target and of values nobody watches.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self.place {
            Place::Target => {
                let plain = bytes.iter().position(|byte| *byte <= b' ').unwrap_or(bytes.len());
                let plain = plain.min(self.target_limit.saturating_sub(self.target));
                self.target += plain;
                plain
            }
            Place::Method => bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len()),
            // What stands in nearly every request line; each of these bytes may stand there.
            Place::Version if bytes.starts_with(VERSION) => VERSION.len(),
            // Names of which only the end matters: those that are watched begin otherwise.
            Place::Name if !matches!(self.name[0], b'c' | b't') => {
                bytes.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(bytes.len())
            }
            // Other control characters are no matter of framing, and hyper refuses them.
            Place::Value if self.value == Value::Other => memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len()),
            _ => 0,
        }
    }

    /// `None` for a byte that may not stand here.
    fn step(&mut self, byte: u8) -> Option<()> {
        self.place = match (self.place, byte) {
            (Place::Before, b'\r') => Place::BeforeLf,
            (Place::BeforeLf, b'\n') => Place::Before,
            (Place::Before, byte) if is_token(byte) => self.begin(),
            (Place::Method, b' ') => Place::Target,
            (Place::Method, byte) if is_token(byte) => Place::Method,
            (Place::Target, b' ') if self.target > 0 => Place::Version,
            (Place::Target, 0x21..=0x7e | 0x80..) => self.lengthen_target(),
            (Place::Version, b'\r') => Place::LineLf,
            (Place::Version, b'H' | b'T' | b'P' | b'/' | b'.' | b'0'..=b'9') => Place::Version,
            (Place::LineLf | Place::ValueLf, b'\n') => Place::Field,
            (Place::Field, b'\r') => Place::EndLf,
            (Place::Field, byte) if is_token(byte) => self.begin_name(byte),
            (Place::Name, b':') => self.begin_value()?,
            (Place::Name, byte) if is_token(byte) => self.lengthen_name(byte),
            (Place::Value, b'\r') => self.end_value()?,
            (Place::Value, b'\t' | 0x20..=0x7e | 0x80..) => self.watch(byte)?,
            (Place::EndLf, b'\n') => self.end()?,
            _ => return None,
        };
        Some(())
    }

    fn begin(&mut self) -> Place {
        *self = Self { place: Place::Method, begun: self.begun + 1, ..Self::new(self.target_limit) };
        Place::Method
    }

    fn lengthen_target(&mut self) -> Place {
        self.target += 1;
        Place::Target
    }

    fn begin_name(&mut self, byte: u8) -> Place {
        self.name_length = 0;
        self.lengthen_name(byte)
    }

    fn lengthen_name(&mut self, byte: u8) -> Place {
        if let Some(place) = self.name.get_mut(self.name_length) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_length = self.name_length.saturating_add(1);
        Place::Name
    }

    /// A second length is refused even if it says the same (RFC 9112 §6.3 allows to), and so is a second coding.
    fn begin_value(&mut self) -> Option<Place> {
        let name = self.name.get(..self.name_length).unwrap_or_default();
        self.value = match name {
            LENGTH if self.length.is_some() => return None,
            LENGTH => Value::Length { digits: 0, zero: true, ended: false },
            CODING if self.coded => return None,
            CODING => Value::Coding { matched: 0 },
            _ => Value::Other,
        };
        Some(Place::Value)
    }

    fn watch(&mut self, byte: u8) -> Option<Place> {
        let blank = matches!(byte, b' ' | b'\t');
        match &mut self.value {
            Value::Length { digits, ended, .. } if blank => *ended = *digits > 0,
            Value::Length { digits, zero, ended } => {
                if !byte.is_ascii_digit() || *ended || *digits == 18 {
                    return None;
                }
                *digits += 1;
                *zero &= byte == b'0';
            }
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
        Some(Place::Value)
    }

    fn end_value(&mut self) -> Option<Place> {
        match self.value {
            Value::Length { digits: 0, .. } => return None,
            Value::Length { zero: true, .. } => self.length = Some(Framing::Empty),
            Value::Length { .. } => self.length = Some(Framing::Content),
            Value::Coding { matched } if matched == CHUNKED.len() => self.coded = true,
            Value::Coding { .. } => return None,
            Value::Other => {}
        }
        Some(Place::ValueLf)
    }

    /// `Content-Length` beside `Transfer-Encoding` is how requests are smuggled (RFC 9112 §6.1).
    fn end(&mut self) -> Option<Place> {
        match (self.length, self.coded) {
            (Some(_), true) => None,
            (_, true) | (Some(Framing::Content), _) => Some(Place::Content),
            _ => Some(Place::Before),
        }
    }
}

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

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

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

    #[test]
    fn content_makes_a_request_the_last_one() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET x",
            "POST / HTTP/1.1\r\ncontent-length:\t05 \r\n\r\n\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0;\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding:CHUNKED\t\r\n\r\n",
        ] {
            let (found, scan) = look(head.as_bytes());
            assert_eq!((found, scan.announced_content()), (Found::Fine, true), "{head:?}");
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
            assert!(matches!(found, Found::Fault(_)) && scan.exhausted(), "{head:?}: {found:?}");
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
