//! An application's responses, read as RFC 9112 has them.
//!
//! A reader of our own and no library's: what judges each byte also takes it, and nothing is looked at twice. What could be read in two
//! ways is a fault, and with it the connection ends.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use hyper::body::Frame;

use super::{
    chunked::ChunkedContent,
    connection_options::ConnectionOptions,
    lines::{Lines, Malformed, field},
};
use crate::semantics::{field::Length, hop_by_hop};

/// The most fields of a head.
const FIELDS: usize = 256;
/// The most heads of 1xx before a response.
const INFORMATIONAL: u8 = 10;
/// Names a file that is to be sent instead, as Apache, lighttpd and Rack know it.
pub(super) const X_SENDFILE: &str = "x-sendfile";
/// What a status line begins with (RFC 9112 §4), but for the last digit of its version.
const STATUS_LINE: &[u8] = b"HTTP/1.";

/// Whether a field of a response, by its name, is for this server alone.
pub(super) fn is_instruction(name: &str) -> bool {
    name.starts_with("x-accel-") || name == X_SENDFILE
}

/// The status and the fields of a response. What is about the connection or the framing of the content is not among the fields; but where
/// the application switches to another protocol, they say to which.
#[derive(Debug)]
pub(super) struct ResponseHead {
    /// HTTP/1.0 or HTTP/1.1.
    pub(super) version: Version,
    /// 100 to 599.
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    /// What `Connection` says: fields that it names go no further (RFC 9110 §7.6.1).
    pub(super) options: ConnectionOptions,
    /// What `Content-Length` says, in bytes. A response without content says it of another (RFC 9110 §8.6).
    pub(super) length: Option<u64>,
    /// Whether a field is for this server: how it passes the response on.
    pub(super) instructs: bool,
    /// Whether `Transfer-Encoding` says `chunked`.
    chunked: bool,
    /// How many field lines have come.
    lines: usize,
}

/// Reads the responses of one connection, each after it was [expected](Self::expect).
#[derive(Debug)]
pub(super) struct ResponseReader {
    place: ResponseState,
    /// Whether the request was HEAD: its response has no content whatever it says.
    to_head: bool,
    /// The head, as far as it has come.
    head: Option<Box<ResponseHead>>,
    lines: Lines,
    /// How many heads of 1xx have come before.
    informational: u8,
    /// Whether another response may follow on the connection.
    persistent: bool,
}

/// What the next bytes are.
#[derive(Debug)]
enum ResponseState {
    /// Nothing may come before the next request.
    Between,
    Head,
    /// Content of which so many bytes are still to come.
    Content(u64),
    Chunked(Box<ChunkedContent>),
    /// What follows the content.
    Trailers(Box<HeaderMap>),
    /// Content that ends with the connection.
    UntilClose,
    /// Another protocol.
    Switched,
    Faulty,
}

impl ResponseReader {
    pub(super) fn new() -> Self {
        Self {
            place: ResponseState::Between,
            to_head: false,
            head: None,
            lines: Lines::default(),
            informational: 0,
            persistent: true,
        }
    }

    /// A request was sent, be it HEAD: its response may come.
    pub(super) fn expect(&mut self, to_head: bool) {
        if self.is_over() {
            self.place = ResponseState::Head;
        }
        self.to_head = to_head;
        self.informational = 0;
    }

    /// The next head, once all of it has come: of a response, of one that is informational, or of a switch of protocols. What follows it
    /// is left in `bytes`.
    ///
    /// # Errors
    /// What is no head, frames the content in two ways or in none that is known (RFC 9112 §6.3), or goes beyond a bound. Each reading
    /// after it fails too.
    pub(super) fn read_head(&mut self, bytes: &mut Bytes) -> Result<Option<Box<ResponseHead>>, Malformed> {
        let read = self.read_lines(bytes);
        if read.is_err() {
            self.place = ResponseState::Faulty;
        }
        read
    }

    fn read_lines(&mut self, bytes: &mut Bytes) -> Result<Option<Box<ResponseHead>>, Malformed> {
        if !matches!(self.place, ResponseState::Head) {
            return Err(Malformed);
        }
        loop {
            let Some(line) = self.lines.next(bytes)? else {
                // Nothing is waited for behind what begins no response.
                let partial = self.lines.partial();
                let begins = STATUS_LINE.iter().zip(partial).all(|(expected, byte)| expected == byte);
                return if self.head.is_some() || begins { Ok(None) } else { Err(Malformed) };
            };
            let Some(mut head) = self.head.take() else {
                self.head = Some(Box::new(ResponseHead::begin(&line)?));
                continue;
            };
            if line.is_empty() {
                self.lines = Lines::default();
                self.place = self.place_behind(&head)?;
                return Ok(Some(head));
            }
            head.read_field(line)?;
            self.head = Some(head);
        }
    }

    /// What follows a head (RFC 9112 §6.3).
    fn place_behind(&mut self, head: &ResponseHead) -> Result<ResponseState, Malformed> {
        if head.length.is_some() && head.chunked {
            return Err(Malformed);
        }
        self.persistent = match head.version {
            Version::HTTP_10 => head.options.keep_alive && !head.options.close,
            _ => !head.options.close,
        };
        Ok(match (head.status.as_u16(), head.length, head.chunked) {
            (101, ..) => ResponseState::Switched,
            (100..200, ..) if self.informational == INFORMATIONAL => return Err(Malformed),
            (100..200, ..) => {
                self.informational += 1;
                ResponseState::Head
            }
            (204 | 304, ..) => ResponseState::Between,
            _ if self.to_head => ResponseState::Between,
            (_, None, true) if head.version == Version::HTTP_10 => return Err(Malformed),
            (_, None, true) => ResponseState::Chunked(Box::default()),
            (_, Some(0), _) => ResponseState::Between,
            (_, Some(length), _) => ResponseState::Content(length),
            (_, None, false) => ResponseState::UntilClose,
        })
    }

    /// The content or the trailers among the next bytes; none if more have to come for that, or if the response is over. What follows
    /// it is left in `bytes`.
    ///
    /// # Errors
    /// Content that is not framed as it must be. Each reading after it fails too.
    pub(super) fn read_content(&mut self, bytes: &mut Bytes) -> Result<Option<Frame<Bytes>>, Malformed> {
        let data = match &mut self.place {
            ResponseState::Between => return Ok(None),
            ResponseState::Content(left) => {
                let data = bytes.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()));
                *left -= data.len() as u64;
                if *left == 0 {
                    self.place = ResponseState::Between;
                }
                data
            }
            ResponseState::UntilClose => std::mem::take(bytes),
            ResponseState::Chunked(chunked) => match chunked.read(bytes) {
                Ok(data) => {
                    self.end_chunks();
                    data
                }
                Err(fault) => {
                    self.place = ResponseState::Faulty;
                    return Err(fault);
                }
            },
            ResponseState::Trailers(_) => Bytes::new(),
            ResponseState::Head | ResponseState::Switched | ResponseState::Faulty => return Err(Malformed),
        };
        if data.is_empty() { Ok(self.trailers()) } else { Ok(Some(Frame::data(data))) }
    }

    /// Goes on behind chunked content, if all of it has come.
    fn end_chunks(&mut self) {
        if !matches!(&self.place, ResponseState::Chunked(chunked) if chunked.is_over()) {
            return;
        }
        if let ResponseState::Chunked(chunked) = std::mem::replace(&mut self.place, ResponseState::Between) {
            let trailers = chunked.into_trailers();
            if !trailers.is_empty() {
                self.place = ResponseState::Trailers(Box::new(trailers));
            }
        }
    }

    fn trailers(&mut self) -> Option<Frame<Bytes>> {
        if !matches!(self.place, ResponseState::Trailers(_)) {
            return None;
        }
        match std::mem::replace(&mut self.place, ResponseState::Between) {
            ResponseState::Trailers(trailers) => Some(Frame::trailers(*trailers)),
            _ => None,
        }
    }

    /// The connection has ended; whether the response is whole.
    pub(super) fn end(&mut self) -> bool {
        self.persistent = false;
        if matches!(self.place, ResponseState::UntilClose) {
            self.place = ResponseState::Between;
        }
        self.is_over()
    }

    /// Whether a response has come to its end.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.place, ResponseState::Between)
    }

    /// Whether another request may follow the response, once that is over.
    pub(super) fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// How many bytes of content are still to come, where their number was said.
    pub(super) fn left(&self) -> Option<u64> {
        match self.place {
            ResponseState::Content(left) => Some(left),
            ResponseState::Between => Some(0),
            _ => None,
        }
    }
}

impl ResponseHead {
    /// A status line (RFC 9112 §4). Widespread servers leave out the space before a reason that is empty.
    fn begin(line: &[u8]) -> Result<Self, Malformed> {
        let rest = line.strip_prefix(STATUS_LINE).ok_or(Malformed)?;
        let (version, status, reason) = match rest {
            [version @ (b'0' | b'1'), b' ', a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] => {
                (*version, [*a, *b, *c], reason)
            }
            _ => return Err(Malformed),
        };
        let may_stand = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
        if !reason.iter().all(may_stand) || reason.first().is_some_and(|first| *first != b' ') {
            return Err(Malformed);
        }
        Ok(Self {
            version: if version == b'0' { Version::HTTP_10 } else { Version::HTTP_11 },
            status: StatusCode::from_bytes(&status).map_err(|_| Malformed)?,
            fields: HeaderMap::with_capacity(12),
            options: ConnectionOptions::default(),
            length: None,
            instructs: false,
            chunked: false,
            lines: 0,
        })
    }

    /// Takes a field line. A second length is refused even if it says the same (RFC 9112 §6.3 allows to), and so is a second coding.
    fn read_field(&mut self, line: Bytes) -> Result<(), Malformed> {
        self.lines += 1;
        if self.lines > FIELDS {
            return Err(Malformed);
        }
        let (name, value) = field(line)?;
        match name.as_str() {
            "content-length" => {
                let length = Length::read(value.as_bytes()).ok_or(Malformed)?;
                return if self.length.replace(length).is_none() { Ok(()) } else { Err(Malformed) };
            }
            "transfer-encoding" if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                return Err(Malformed);
            }
            "transfer-encoding" => self.chunked = true,
            "connection" => self.options.read(&value),
            text if is_instruction(text) => self.instructs = true,
            _ => {}
        }
        if self.status == StatusCode::SWITCHING_PROTOCOLS || !hop_by_hop::is_one(&name) {
            self.fields.append(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::fuzzing::Seen;

    /// The same however the bytes are cut.
    fn read(to_head: bool, bytes: impl AsRef<[u8]>) -> Result<Seen, Malformed> {
        let bytes = bytes.as_ref();
        let whole = Seen::in_pieces(bytes.len(), to_head, bytes);
        for size in [1, 2, 7] {
            assert_eq!(Seen::in_pieces(size, to_head, bytes), whole, "{:?}", String::from_utf8_lossy(bytes));
        }
        whole
    }

    #[test]
    fn responses_are_framed_in_one_way_or_refused() {
        // The status, the content, and whether the response is over.
        type Expected = Option<(u16, &'static str, bool)>;
        let table: &[(&str, Expected)] = &[
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Some((200, "hi", true))),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Some((200, "", true))),
            ("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nh", Some((200, "h", false))),
            ("HTTP/1.1 200 OK\r\ncontent-length:\t02 \r\n\r\nhi", Some((200, "hi", true))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
                Some((200, "hi", true)),
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding:CHUNKED\t\r\n\r\n2;a=b\r\nhi\r\n", Some((200, "hi", false))),
            ("HTTP/1.1 200 OK\r\n\r\nas long as it lasts\n\0", Some((200, "as long as it lasts\n\0", false))),
            ("HTTP/1.0 200 OK\r\n\r\nas long as it lasts", Some((200, "as long as it lasts", false))),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, "", true))),
            ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Some((204, "", true))),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Some((304, "", true))),
            ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 x\r\n\r\n", Some((103, "", true))),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x00\x01", Some((101, "", false))),
            ("HTTP/1.1 200 caf\u{e9}\r\nX: \u{e4}\r\nContent-Length: 0\r\n\r\n", Some((200, "", true))),
            // As far as they have come.
            ("", None),
            ("HTT", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r", None),
        ];
        for (bytes, expected) in table {
            let seen = read(false, bytes).unwrap_or_else(|_| panic!("{bytes:?}"));
            let content = String::from_utf8(seen.content).unwrap();
            let found = seen.heads.first().map(|(status, _)| (status.as_u16(), content.as_str(), seen.over));
            assert_eq!(found, *expected, "{bytes:?}");
        }
        for bytes in [
            "\r\nHTTP/1.1 204 x\r\n\r\n",
            "HTTP/1.1 204 x\n\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1\t200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "hello",
            "\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rB: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi2\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
        ] {
            assert_eq!(read(false, bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_response_to_head_ends_with_its_head() {
        for fields in ["Content-Length: 9", "Transfer-Encoding: chunked", "X: y"] {
            let seen = read(true, format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).unwrap();
            assert!(seen.over && seen.persistent, "{fields}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let informational = |many: usize| format!("{}HTTP/1.1 204 x\r\n\r\n", "HTTP/1.1 103 x\r\n\r\n".repeat(many));
        assert_eq!(read(false, informational(10)).unwrap().heads.len(), 11);
        assert_eq!(read(false, informational(11)), Err(Malformed));
        let fields = |many: usize| format!("HTTP/1.1 204 x\r\n{}\r\n", "X: y\r\n".repeat(many));
        assert!(read(false, fields(FIELDS)).unwrap().over);
        assert_eq!(read(false, fields(FIELDS + 1)), Err(Malformed));
        // Those that go no further count as well.
        assert_eq!(read(false, fields(FIELDS + 1).replace('X', "Keep-Alive")), Err(Malformed));
        let large = |length: usize| format!("HTTP/1.1 204 x\r\nX: {}\r\n\r\n", "y".repeat(length));
        assert!(read(false, large(65_000)).unwrap().over);
        assert_eq!(read(false, large(66_000)), Err(Malformed));
        assert_eq!(
            Seen::in_pieces(1000, false, "HTTP/1.1 200 ".repeat(6_000).as_bytes()),
            Err(Malformed),
            "without an end"
        );
    }

    #[test]
    fn fields_of_the_connection_are_no_fields_of_the_response() {
        let seen = read(
            false,
            b"HTTP/1.1 204 x\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nSet-Cookie: a\r\n\
              Proxy-Connection: x\r\nX-Text: caf\xe9\r\nset-cookie: b\r\n\r\n",
        );
        let (_, fields) = &seen.unwrap().heads[0];
        assert_eq!(fields.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["set-cookie", "x-text"]);
        assert_eq!(fields.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(fields["x-text"].as_bytes(), b"caf\xe9");
        let seen = read(false, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
        assert_eq!(
            (&seen.heads[0].1["connection"], &seen.heads[0].1["upgrade"]),
            (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
    }

    #[test]
    fn a_connection_persists_where_both_sides_may_know_it() {
        for (head, persistent) in [
            ("HTTP/1.1 204 x", true),
            ("HTTP/1.1 204 x\r\nConnection: keep-alive", true),
            ("HTTP/1.1 204 x\r\nConnection: close", false),
            ("HTTP/1.1 204 x\r\nConnection: X-Hop , Close", false),
            ("HTTP/1.1 204 x\r\nConnection: keep-alive\r\nConnection: close", false),
            ("HTTP/1.0 204 x", false),
            ("HTTP/1.0 204 x\r\nConnection: Keep-Alive", true),
            ("HTTP/1.0 204 x\r\nConnection: keep-alive, close", false),
            // That of an interim response says nothing of the final one.
            ("HTTP/1.1 103 x\r\nConnection: close\r\n\r\nHTTP/1.1 204 x", true),
        ] {
            let seen = read(false, format!("{head}\r\n\r\n")).unwrap();
            assert_eq!((seen.over, seen.persistent), (true, persistent), "{head:?}");
        }
    }

    #[test]
    fn nothing_may_come_between_a_response_and_the_next_request() {
        assert!(ResponseReader::new().read_head(&mut Bytes::from_static(b"H")).is_err(), "before any request");
        let mut reader = ResponseReader::new();
        for to_head in [true, false, true] {
            reader.expect(to_head);
            let mut bytes = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            assert!(reader.read_head(&mut bytes).unwrap().is_some());
            assert_eq!(reader.is_over(), to_head);
            let content = reader.read_content(&mut bytes).unwrap();
            assert_eq!(content.and_then(|frame| frame.into_data().ok()), (!to_head).then(|| Bytes::from_static(b"hi")));
            assert!(reader.is_over());
            assert_eq!(bytes.is_empty(), !to_head, "what is behind it is left");
        }
        assert!(reader.read_head(&mut Bytes::from_static(b"\r")).is_err());
        reader.expect(false);
        assert!(reader.read_head(&mut Bytes::from_static(b"HTTP")).is_err(), "and nothing after a fault");
    }

    #[test]
    fn the_end_of_the_connection_ends_only_what_says_no_length() {
        for (bytes, whole) in [
            ("HTTP/1.1 200 OK\r\n\r\nhi", true),
            ("HTTP/1.0 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Le", false),
            ("HTTP/1.1 100 Continue\r\n\r\n", false),
            ("", false),
        ] {
            let mut reader = ResponseReader::new();
            reader.expect(false);
            let mut bytes = Bytes::from_static(bytes.as_bytes());
            while let Some(head) = reader.read_head(&mut bytes).unwrap() {
                if !head.status.is_informational() {
                    reader.read_content(&mut bytes).unwrap();
                    break;
                }
            }
            assert_eq!(reader.end(), whole);
            assert!(!reader.is_persistent());
        }
    }
}
