//! One judgement for both protocols (RFC 9110 §5, RFC 9112, RFC 9113 §8): each message is sent over HTTP/1.1 and over HTTP/2,
//! and what one refuses the other refuses. Where the protocols themselves differ, the table says how.

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{
    client::plain,
    frames::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, WINDOW_UPDATE, connect, frame, literal, next,
        status,
    },
    package::Package,
    server::{DOMAIN, Server},
};

/// A request, whatever carries it.
#[derive(Clone, Debug)]
struct Message {
    method: Vec<u8>,
    /// As the scheme of an absolute target in HTTP/1.1.
    scheme: Option<Vec<u8>>,
    /// `Host` or `:authority`.
    authority: Option<Vec<u8>>,
    /// What `Host` says where that is not the authority.
    host: Option<Vec<u8>>,
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    content: Vec<u8>,
    /// Fields behind the content, which is chunked in HTTP/1.1 then.
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It breaks the rules: 400 and the end of the connection in HTTP/1.1, 400 or the end of the stream in HTTP/2.
    Refused,
    /// It is answered with this status.
    Answered(u16),
}
use Verdict::{Answered, Refused};

impl Message {
    fn get() -> Self {
        Self {
            method: b"GET".into(),
            scheme: None,
            authority: Some(DOMAIN.into()),
            host: None,
            target: b"/about".into(),
            fields: Vec::new(),
            content: Vec::new(),
            trailers: Vec::new(),
        }
    }

    fn method(method: impl AsRef<[u8]>) -> Self {
        Self { method: method.as_ref().into(), ..Self::get() }
    }

    fn target(target: impl AsRef<[u8]>) -> Self {
        Self { target: target.as_ref().into(), ..Self::get() }
    }

    fn authority(authority: impl AsRef<[u8]>) -> Self {
        Self { authority: Some(authority.as_ref().into()), ..Self::get() }
    }

    fn scheme(scheme: impl AsRef<[u8]>) -> Self {
        Self { scheme: Some(scheme.as_ref().into()), ..Self::get() }
    }

    fn nobody() -> Self {
        Self { authority: None, ..Self::get() }
    }

    fn host(self, host: &str) -> Self {
        Self { host: Some(host.into()), ..self }
    }

    fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    fn content(self, content: &str) -> Self {
        Self { content: content.into(), ..self }
    }

    fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }

    fn over_http1(&self) -> Vec<u8> {
        let mut bytes = [&self.method[..], b" "].concat();
        if let (Some(scheme), Some(authority)) = (&self.scheme, &self.authority) {
            bytes.extend([&scheme[..], b"://", authority].concat());
        }
        bytes.extend([&self.target[..], b" HTTP/1.1\r\n"].concat());
        let line = |name: &[u8], value: &[u8]| [name, b": ", value, b"\r\n"].concat();
        if let Some(host) = self.host.as_ref().or(self.authority.as_ref()) {
            bytes.extend(line(b"host", host));
        }
        self.fields.iter().for_each(|(name, value)| bytes.extend(line(name, value)));
        if self.trailers.is_empty() {
            bytes.extend([b"\r\n", &self.content[..]].concat());
            return bytes;
        }
        bytes.extend(format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", self.content.len()).bytes());
        bytes.extend([&self.content[..], b"\r\n0\r\n"].concat());
        self.trailers.iter().for_each(|(name, value)| bytes.extend(line(name, value)));
        bytes.extend(b"\r\n");
        bytes
    }

    fn over_http2(&self, stream: u32) -> Vec<u8> {
        let mut block = literal(":method", &self.method);
        block.extend(literal(":scheme", self.scheme.as_deref().unwrap_or(b"https")));
        self.authority.iter().for_each(|authority| block.extend(literal(":authority", authority)));
        block.extend(literal(":path", &self.target));
        self.host.iter().for_each(|host| block.extend(literal("host", host)));
        self.fields.iter().for_each(|(name, value)| block.extend(literal(name, value)));
        let ends = |last: bool| if last { END_STREAM } else { 0 };
        let (content, trailers) = (!self.content.is_empty(), !self.trailers.is_empty());
        let mut bytes = frame(HEADERS, END_HEADERS | ends(!content && !trailers), stream, &block);
        if content {
            bytes.extend(frame(DATA, ends(!trailers), stream, &self.content));
        }
        if trailers {
            let block: Vec<u8> = self.trailers.iter().flat_map(|(name, value)| literal(name, value)).collect();
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
        }
        bytes
    }
}

/// A server, and a connection of HTTP/2 to it that bears whatever is asked.
struct Judge {
    server: Server,
    http2: TlsStream<TcpStream>,
    stream: u32,
}

impl Judge {
    async fn new() -> Self {
        let server = Server::with(Package::example(), |settings| {
            settings.plain = true;
            settings.bounds.errors = 10_000;
        });
        let mut http2 = connect(&server).await;
        http2.write_all(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await.unwrap();
        Self { server, http2, stream: 1 }
    }

    /// Whatever becomes of it, the next request is found where it begins, or the connection ends.
    async fn over_http1(&self, message: &Message) -> Verdict {
        let mut client = plain(&self.server).await;
        let next = format!("GET /about HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n");
        client.write(&[message.over_http1(), next.into()].concat()).await;
        let method = if message.method == b"HEAD" { "HEAD" } else { "GET" };
        let response = client.response_to(method).await;
        let behind = client.try_response("GET").await.map(|response| response.status);
        match (response.status, response.field("connection"), behind) {
            (400, Some("close"), None) => Refused,
            // hyper says so where a head cannot be read.
            (400, None, None) => Refused,
            (status, Some("close"), None) | (status, None, Some(200)) => Answered(status),
            other => panic!("{message:?}: {other:?}"),
        }
    }

    /// Whatever becomes of it, the connection goes on.
    async fn over_http2(&mut self, message: &Message) -> Verdict {
        let stream = self.stream;
        self.stream += 2;
        self.http2.write_all(&message.over_http2(stream)).await.unwrap();
        loop {
            let frame = next(&mut self.http2).await;
            assert_ne!(frame.kind, GOAWAY, "{message:?}");
            match (frame.kind, frame.stream == stream) {
                (HEADERS, true) if status(&frame) == 400 => return Refused,
                (HEADERS, true) => return Answered(status(&frame)),
                // PROTOCOL_ERROR, and nothing else (RFC 9113 §8.1.1).
                (RST_STREAM, true) if frame.payload == [0, 0, 0, 1] => return Refused,
                (RST_STREAM, true) => panic!("{message:?}: {frame:?}"),
                _ => {}
            }
        }
    }

    async fn both(&mut self, message: &Message) -> [Verdict; 2] {
        [self.over_http1(message).await, self.over_http2(message).await]
    }
}

/// Judges all messages, and names those that are judged otherwise than the table says.
async fn all_are_judged(cases: impl IntoIterator<Item = (Message, [Verdict; 2])>) {
    let mut judge = Judge::new().await;
    let mut wrong = Vec::new();
    for (message, expected) in cases {
        let judged = judge.both(&message).await;
        if judged != expected {
            let said = message.over_http1().escape_ascii().to_string();
            wrong.push(format!("{judged:?} instead of {expected:?}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const SERVED: Verdict = Answered(200);
const MISDIRECTED: Verdict = Answered(421);

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5, RFC 9113 §8.2.1.
#[tokio::test]
async fn each_byte_of_a_value_is_judged_alike() {
    all_are_judged((0..=255_u8).map(|byte| {
        let verdict = if matches!(byte, b'\t' | b' '..=b'~' | 0x80..) { SERVED } else { Refused };
        (Message::get().field("x", [b'a', byte, b'c']), [verdict; 2])
    }))
    .await;
}

/// RFC 9110 §5.1, RFC 9113 §8.2.1: what HTTP/1.1 takes for a capital or the name's end, HTTP/2 refuses.
#[tokio::test]
async fn each_byte_of_a_name_is_judged_alike() {
    all_are_judged((0..=255_u8).map(|byte| {
        let verdicts = match byte {
            b'A'..=b'Z' | b':' => [SERVED, Refused],
            byte if is_token(byte) => [SERVED; 2],
            _ => [Refused; 2],
        };
        (Message::get().field([b'x', byte, b'y'], "z"), verdicts)
    }))
    .await;
}

/// RFC 9110 §9.1.
#[tokio::test]
async fn each_byte_of_a_method_is_judged_alike() {
    all_are_judged((0..=255_u8).map(|byte| {
        let verdict = match byte {
            b'E' => SERVED,
            byte if is_token(byte) => Answered(501),
            _ => Refused,
        };
        (Message::method([b'G', byte, b'T']), [verdict; 2])
    }))
    .await;
}

/// RFC 9112 §3.2, RFC 9113 §8.3.1.
#[tokio::test]
async fn each_byte_of_a_target_is_judged_alike() {
    let mut judge = Judge::new().await;
    for byte in 0..=255_u8 {
        for target in [[b'/', b'a', byte, b'c'], [b'/', b'?', b'a', byte]] {
            let [one, two] = judge.both(&Message::target(target)).await;
            assert_eq!(one, two, "{byte:#x} in {:?}", target.escape_ascii().to_string());
            let refused = matches!(byte, 0..=b' ' | b'#' | 0x7f..);
            assert!(!refused || one == Refused, "{byte:#x} in {:?}: {one:?}", target.escape_ascii().to_string());
        }
    }
}

/// RFC 9110 §7.2.
#[tokio::test]
async fn each_byte_of_an_authority_is_judged_alike() {
    let mut judge = Judge::new().await;
    for byte in 0..=255_u8 {
        for place in [0, 6, 15] {
            let mut authority = DOMAIN.as_bytes().to_vec();
            authority.insert(place, byte);
            // Blanks around a value are no part of it in HTTP/1.1.
            let around = matches!(byte, b' ' | b'\t') && place != 6;
            let [one, two] = judge.both(&Message::authority(&authority)).await;
            let expected = if around { [SERVED, Refused] } else { [one; 2] };
            assert_eq!([one, two], expected, "{:?}", authority.escape_ascii().to_string());
        }
    }
}

/// RFC 9110 §4.2.4, §7.2, RFC 9112 §3.2, RFC 9113 §8.3.1.
#[tokio::test]
async fn an_authority_is_judged_alike() {
    let long = format!("{}.{DOMAIN}", "a".repeat(300));
    let cases = [
        (Message::authority(DOMAIN), SERVED),
        (Message::authority("WWW.EXAMPLE.ORG."), SERVED),
        (Message::authority("www.example.org:"), SERVED),
        (Message::authority("www.example.org:8443"), SERVED),
        (Message::authority("www.example.org:65536"), Refused),
        (Message::authority("www.example.org:+80"), Refused),
        (Message::authority("www.example.org:-1"), Refused),
        (Message::authority("www.example.org:http"), Refused),
        (Message::authority("www.example.org:80:80"), Refused),
        (Message::authority(""), Refused),
        (Message::authority(":80"), Refused),
        (Message::authority("user@www.example.org"), Refused),
        (Message::authority("user:password@www.example.org"), Refused),
        (Message::authority("@www.example.org"), Refused),
        (Message::authority("www.example.org/"), Refused),
        (Message::authority("www.example.org?a"), Refused),
        (Message::authority("www.example.org#a"), Refused),
        (Message::authority("https://www.example.org"), Refused),
        (Message::authority("www.example.org, www.example.org"), Refused),
        (Message::authority("www.ex%61mple.org"), Refused),
        (Message::authority("[::1"), Refused),
        (Message::authority("[::1]:80"), MISDIRECTED),
        (Message::authority("other.example"), MISDIRECTED),
        (Message::authority("www.example.org,other.example"), MISDIRECTED),
        (Message::authority(long), MISDIRECTED),
        (Message::nobody(), Refused),
        (Message::nobody().field("host", DOMAIN), SERVED),
        (Message::nobody().field("host", "other.example"), MISDIRECTED),
        (Message::nobody().field("host", ""), Refused),
        (Message::nobody().field("host", DOMAIN).field("host", DOMAIN), Refused),
        (Message::nobody().field("host", DOMAIN).field("host", "other.example"), Refused),
    ];
    all_are_judged(cases.map(|(message, verdict)| (message, [verdict; 2]))).await;
}

/// RFC 3986 §3.1, RFC 9112 §3.2.2, RFC 9113 §8.3.1.
#[tokio::test]
async fn a_scheme_and_what_contradicts_the_authority_are_judged_alike() {
    let long = "a".repeat(65);
    let cases = [
        (Message::scheme("http"), SERVED),
        (Message::scheme("https"), SERVED),
        (Message::scheme("HTTPS"), SERVED),
        (Message::scheme("ftp"), MISDIRECTED),
        (Message::scheme("coap+tcp"), MISDIRECTED),
        (Message::scheme(""), Refused),
        (Message::scheme("1http"), Refused),
        (Message::scheme("ht~tp"), Refused),
        (Message::scheme("ht_tp"), Refused),
        (Message::scheme("http:"), Refused),
        (Message::scheme("https://a"), Refused),
        (Message::scheme("ht tp"), Refused),
        (Message::scheme("http\u{e4}"), Refused),
        (Message::scheme(long), Refused),
        (Message::scheme("https").host("WWW.example.ORG"), SERVED),
        (Message::scheme("https").host("www.example.org:443"), SERVED),
        (Message::scheme("http").host("www.example.org:80"), SERVED),
        (Message::scheme("http").host("www.example.org:443"), Refused),
        (Message::scheme("https").host("www.example.org:80"), Refused),
        (Message::scheme("https").host("other.example"), Refused),
        (Message::scheme("https").host(""), Refused),
        (Message::scheme("https").host(DOMAIN).field("host", DOMAIN), Refused),
        (Message { authority: Some("other.example".into()), ..Message::scheme("https") }, MISDIRECTED),
        (Message { authority: Some("u@www.example.org".into()), ..Message::scheme("https") }, Refused),
        (Message { authority: Some("www.example.org:0x50".into()), ..Message::scheme("https") }, Refused),
        (Message { target: Vec::new(), authority: Some("".into()), ..Message::scheme("https") }, Refused),
    ];
    all_are_judged(cases.map(|(message, verdict)| (message, [verdict; 2]))).await;
}

/// RFC 9110 §7.1, RFC 9112 §3.2, RFC 9113 §8.3.1.
#[tokio::test]
async fn a_target_is_judged_alike() {
    let with = |method: &str, target: &str| Message { target: target.into(), ..Message::method(method) };
    let connect = |authority: &str| (with("CONNECT", authority), authority.to_owned());
    let mut cases = vec![
        (with("GET", ""), Refused),
        (with("GET", "*"), Refused),
        (with("HEAD", "*"), Refused),
        (with("POST", "*"), Refused),
        (with("OPTIONS", "*"), Answered(204)),
        (with("OPTIONS", "/about"), Answered(204)),
        (with("OPTIONS", "about"), Refused),
        (with("GET", "about"), Refused),
        (with("GET", "www.example.org"), Refused),
        (with("GET", "www.example.org:443"), Refused),
        (with("GET", "?a"), Refused),
        (with("GET", "#a"), Refused),
        (with("GET", "/about#a"), Refused),
        (with("GET", "/about?a#b"), Refused),
        (with("GET", "/about#"), Refused),
        (with("GET", "/about?"), SERVED),
        (with("GET", "/about?a=/../b&c=%"), SERVED),
        (with("GET", "/about%"), Refused),
        (with("GET", "/%00"), Refused),
        (with("GET", "/../about"), Refused),
        (with("GET", "/a\\b"), Refused),
        (with("GET", "/\u{e4}"), Answered(404)),
        (with("GET", &format!("/{}", "a".repeat(9000))), Answered(414)),
    ];
    cases.extend((0..2).map(|_| (with("GET", "/nothing"), Answered(404))));
    all_are_judged(cases.into_iter().map(|(message, verdict)| (message, [verdict; 2]))).await;

    // CONNECT has no path in HTTP/2 (RFC 9113 §8.5), so its messages are written by hand.
    let mut judge = Judge::new().await;
    for (authority, expected) in [
        ("www.example.org:443", Answered(405)),
        ("other.example:443", MISDIRECTED),
        ("www.example.org", Refused),
        ("www.example.org:", Refused),
        ("www.example.org:65536", Refused),
        ("", Refused),
    ] {
        let (message, authority) = connect(authority);
        let message = Message { authority: Some(authority.clone().into()), ..message };
        let over_http1 = judge.over_http1(&message).await;
        let block = [literal(":method", "CONNECT"), literal(":authority", &authority)].concat();
        let stream = judge.stream;
        judge.http2.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await.unwrap();
        judge.stream += 2;
        let over_http2 = loop {
            let frame = next(&mut judge.http2).await;
            match (frame.kind, frame.stream == stream) {
                (HEADERS, true) if status(&frame) == 400 => break Refused,
                (HEADERS, true) => break Answered(status(&frame)),
                (RST_STREAM, true) => break Refused,
                _ => {}
            }
        };
        assert_eq!([over_http1, over_http2], [expected; 2], "CONNECT {authority}");
    }
}

/// RFC 9110 §9.1, §9.3, RFC 5789.
#[tokio::test]
async fn methods_are_judged_alike() {
    let cases = [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 204),
        ("POST", 405),
        ("PUT", 405),
        ("DELETE", 405),
        ("PATCH", 405),
        ("TRACE", 405),
        ("get", 501),
        ("Get", 501),
        ("PROPFIND", 501),
        ("QUERY", 501),
        ("PRI", 501),
        ("GETGETGETGETGETGETGET", 501),
    ];
    all_are_judged(cases.map(|(method, status)| (Message::method(method), [Answered(status); 2]))).await;
}

/// RFC 9110 §6.5.1, §8.6, RFC 9112 §6.3, RFC 9113 §8.1.1.
#[tokio::test]
async fn lengths_and_trailers_are_judged_alike() {
    let of_three = |length: &str| Message::get().field("content-length", length).content("abc");
    let chunked = || Message::get().content("abc");
    let cases = [
        (of_three("3"), SERVED),
        (of_three("0003"), SERVED),
        (of_three("+3"), Refused),
        (of_three("-3"), Refused),
        (of_three("3, 3"), Refused),
        (of_three("3,4"), Refused),
        (of_three("3 3"), Refused),
        (of_three("0x3"), Refused),
        (of_three("3.0"), Refused),
        (of_three("3;"), Refused),
        (of_three("three"), Refused),
        (of_three("\u{663}"), Refused),
        (of_three(""), Refused),
        (of_three("1000000000000000000"), Refused),
        (of_three("18446744073709551619"), Refused),
        (of_three("3").field("content-length", "3"), Refused),
        (of_three("3").field("content-length", "4"), Refused),
        (of_three("3").field("content-length", ""), Refused),
        (Message::get().field("content-length", "0"), SERVED),
        (Message::get().field("content-length", "-0"), Refused),
        (Message::get().field("content-length", "0").field("content-length", "0"), Refused),
        (chunked().trailer("x", "y"), SERVED),
        (chunked().trailer("x", "y").trailer("z", ""), SERVED),
        (chunked().trailer("x y", "z"), Refused),
        (chunked().trailer("x", "a\0b"), Refused),
        (chunked().trailer("", "y"), Refused),
        (chunked().trailer("content-length", "3"), Refused),
        (chunked().trailer("transfer-encoding", "chunked"), Refused),
    ];
    all_are_judged(cases.map(|(message, verdict)| (message, [verdict; 2]))).await;
}

/// What is right in one protocol, and not in the other.
#[tokio::test]
async fn the_protocols_differ_only_where_they_say_so() {
    let get = Message::get;
    let many = |count: usize| (0..count).fold(get(), |message, number| message.field(format!("x-{number}"), "y"));
    let cases = [
        // Blanks around a value are no part of it in HTTP/1.1 (RFC 9112 §5.1); in HTTP/2 they may not be there (RFC 9113 §8.2.1).
        (get().field("x", " a"), [SERVED, Refused]),
        (get().field("x", "a "), [SERVED, Refused]),
        (get().field("x", "\ta\t"), [SERVED, Refused]),
        (get().field("x", " "), [SERVED, Refused]),
        (get().field("x", ""), [SERVED; 2]),
        (get().field("content-length", "3 ").content("abc"), [SERVED, Refused]),
        // What is said of a connection (RFC 9113 §8.2.2).
        (get().field("connection", "keep-alive"), [SERVED, Refused]),
        (get().field("keep-alive", "timeout=5"), [SERVED, Refused]),
        (get().field("proxy-connection", "keep-alive"), [SERVED, Refused]),
        (get().field("upgrade", "h2c"), [SERVED, Refused]),
        (get().field("upgrade", "websocket").field("connection", "upgrade"), [SERVED, Refused]),
        (get().field("transfer-encoding", "chunked").content("0\r\n\r\n"), [SERVED, Refused]),
        (get().field("transfer-encoding", "identity"), [Refused; 2]),
        (get().field("te", "gzip"), [SERVED, Refused]),
        (get().field("te", "trailers, deflate"), [SERVED, Refused]),
        (get().field("te", "trailers"), [SERVED; 2]),
        (get().field("te", "Trailers"), [SERVED; 2]),
        (get().field("http2-settings", "AAMAAABkAAQAAP__"), [SERVED; 2]),
        // Names are written in small letters (RFC 9113 §8.2.1).
        (get().field("X", "y"), [SERVED, Refused]),
        (get().field("Content-Length", "0"), [SERVED, Refused]),
        (get().field("", "y"), [Refused; 2]),
        (get().field(":path", "/"), [Refused; 2]),
        (get().field("x", "a\r\n b"), [Refused; 2]),
        // `Host` beside an authority that says the same (RFC 9113 §8.3.1); twice in HTTP/1.1.
        (get().field("host", DOMAIN), [Refused, SERVED]),
        // Fields that a server may ignore.
        (get().field("expect", "100-continue").field("content-length", "3").content("abc"), [SERVED; 2]),
        (get().field("expect", "something else"), [SERVED; 2]),
        (many(98), [SERVED; 2]),
        (many(101), [Answered(431); 2]),
    ];
    all_are_judged(cases).await;
}
