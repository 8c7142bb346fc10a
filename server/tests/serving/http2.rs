//! What HTTP/2 and HPACK forbid, section by section (RFC 9113, RFC 7541): the frames that break a rule, and the error that
//! follows. Everybody else's requests are answered meanwhile, and on a stream error those of the same connection too.

use tokio::io::AsyncWriteExt;

use crate::{
    client::get,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
        PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect, dial, fields, frame, literal, next, status,
        try_next,
    },
    package::Package,
    server::Server,
};

/// Error codes (RFC 9113 §7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// How the server takes what it is sent (RFC 9113 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// As an error of the connection, which ends.
    Connection(u32),
    /// As an error of stream 1.
    Stream(u32),
    /// The connection ends, without a word of why.
    Closed,
    /// As a request, which is answered with this status.
    Request(u16),
    /// As nothing wrong.
    Well,
}
use Taken::{Closed, Connection, Request, Stream, Well};

/// Sends the bytes, and a PING behind them; then another, as resets may follow the first one's answer.
async fn taken(server: &Server, bytes: &[u8]) -> Taken {
    let mut stream = connect(server).await;
    let ping = frame(PING, 0, 0, b"first...");
    // If the server has closed already, what it said can still be read.
    let _ = stream.write_all(&[bytes, &ping].concat()).await;
    let mut taken = Well;
    loop {
        let Ok(got) = try_next(&mut stream).await else {
            return if taken == Well { Closed } else { taken };
        };
        let code = |at: usize| u32::from_be_bytes(got.payload[at..at + 4].try_into().unwrap());
        match got.kind {
            GOAWAY if code(4) != 0 => taken = Connection(code(4)),
            HEADERS if got.stream == 1 => taken = Request(status(&got)),
            RST_STREAM if got.stream == 1 => taken = Stream(code(0)),
            PING if got.payload == b"first..." => {
                assert_eq!(got.flags, ACK, "RFC 9113 §6.7");
                let _ = stream.write_all(&frame(PING, 0, 0, b"the last")).await;
            }
            PING if got.payload == b"the last" => return taken,
            _ => {}
        }
    }
}

async fn all_are_taken(cases: Vec<(&str, &str, Vec<u8>, Taken)>) {
    let server = Server::start();
    let mut wrong = Vec::new();
    for (section, what, bytes, expected) in cases {
        let taken = taken(&server, &bytes).await;
        if taken != expected {
            wrong.push(format!("{section}, {what}: {taken:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(get(&server, "/about", &[]).await.status, 200);
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &fields("/about"))
}

/// A request with these fields after those of a GET.
fn with(more: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[&fields("/about")[..], more].concat())
}

/// A request with just these fields.
fn only(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, block)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A request whose content may still come.
fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields("/big.bin"))
}

/// A request with two bytes of content, which says that it has another length.
fn two_bytes_announced_as(length: &str) -> Vec<u8> {
    let block = [fields("/big.bin"), literal("content-length", length)].concat();
    [frame(HEADERS, END_HEADERS, 1, &block), frame(DATA, END_STREAM, 1, b"xy")].concat()
}

#[tokio::test]
async fn frames_that_break_a_rule_end_what_they_break() {
    const MAX: u32 = (1 << 31) - 1;
    let protocol = Connection(PROTOCOL_ERROR);
    let size = Connection(FRAME_SIZE_ERROR);
    let cases = vec![
        ("§4.1", "an unknown type is ignored", frame(0xee, 0xff, 0, &[0; 8]), Well),
        ("§4.1", "unknown flags are ignored", frame(PING, 0x16, 0, &[0; 8]), Well),
        ("§4.1", "the reserved bit is ignored", frame(WINDOW_UPDATE, 0, 1 << 31, &[0, 0, 0, 1]), Well),
        ("§4.2", "DATA of more than 16,384 bytes", [open(1), frame(DATA, 0, 1, &[0; 16_385])].concat(), size),
        ("§4.2", "HEADERS of more than 16,384 bytes", frame(HEADERS, WHOLE, 1, &[0; 16_385]), size),
        (
            "§4.3",
            "another frame amid a field block",
            [frame(HEADERS, END_STREAM, 1, &fields("/")), frame(PING, 0, 0, &[0; 8])].concat(),
            protocol,
        ),
        (
            "§4.3",
            "another stream amid a field block",
            [frame(HEADERS, END_STREAM, 1, &fields("/")), request(3)].concat(),
            protocol,
        ),
        (
            "§4.3",
            "an unknown type amid a field block",
            [frame(HEADERS, END_STREAM, 1, &fields("/")), frame(0xee, 0, 1, &[])].concat(),
            protocol,
        ),
        (
            "§4.3",
            "PRIORITY amid a field block",
            [frame(HEADERS, END_STREAM, 1, &fields("/")), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])].concat(),
            protocol,
        ),
        (
            "§5.1",
            "DATA after the client's reset",
            [open(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(STREAM_CLOSED),
        ),
        (
            "§5.1",
            "HEADERS after the client's reset",
            [open(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), request(1)].concat(),
            Connection(STREAM_CLOSED),
        ),
        (
            "§5.1",
            "CONTINUATION after the client's reset",
            [open(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(CONTINUATION, END_HEADERS, 1, &[])].concat(),
            protocol,
        ),
        (
            "§5.1",
            "PRIORITY of an idle stream",
            [frame(PRIORITY, 0, 7, &[0, 0, 0, 0, 255]), request(1)].concat(),
            Request(200),
        ),
        ("§5.1", "DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), protocol),
        ("§5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), protocol),
        ("§5.1", "WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), protocol),
        (
            "§5.1",
            "DATA after the end of a request",
            [frame(HEADERS, WHOLE, 1, &fields("/big.bin")), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(STREAM_CLOSED),
        ),
        (
            "§5.1",
            "HEADERS after the end of a request",
            [frame(HEADERS, WHOLE, 1, &fields("/big.bin")), request(1)].concat(),
            Stream(STREAM_CLOSED),
        ),
        ("§5.1.1", "an even stream", request(2), protocol),
        ("§5.1.1", "a stream below the last one", [request(5), request(3)].concat(), Connection(STREAM_CLOSED)),
        ("§6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), protocol),
        (
            "§6.1",
            "more padding than payload",
            [open(1), frame(DATA, PADDED | END_STREAM, 1, &[5, 0, 0])].concat(),
            protocol,
        ),
        ("§6.2", "HEADERS on stream 0", request(0), protocol),
        ("§6.2", "more padding than field block", frame(HEADERS, WHOLE | PADDED, 1, &[200, 0x82, 0x87]), protocol),
        (
            "§6.2",
            "HEADERS with a priority and padding",
            frame(
                HEADERS,
                WHOLE | PADDED | 0x20,
                1,
                &[&[3, 0x80, 0, 0, 0, 7][..], &fields("/about"), &[0; 3]].concat(),
            ),
            Request(200),
        ),
        ("§6.2", "HEADERS with half a priority", frame(HEADERS, WHOLE | 0x20, 1, &[0, 0, 0]), size),
        ("§6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 7]), protocol),
        (
            "§6.3",
            "PRIORITY of 4 bytes",
            [open(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 3])].concat(),
            Stream(FRAME_SIZE_ERROR),
        ),
        ("§6.3", "PRIORITY of 4 bytes on an idle stream", frame(PRIORITY, 0, 1, &[0, 0, 0, 3]), size),
        (
            "§6.3",
            "PRIORITY of 4 bytes on a stream that is over",
            [request(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(PRIORITY, 0, 1, &[0, 0, 0, 3])].concat(),
            Stream(FRAME_SIZE_ERROR),
        ),
        (
            "RFC 7540 §5.3.1",
            "PRIORITY of a stream that depends on itself",
            [open(1), frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1, 7])].concat(),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "RFC 7540 §5.3.1",
            "PRIORITY of an idle stream that depends on itself",
            frame(PRIORITY, 0, 2, &[0, 0, 0, 2, 7]),
            protocol,
        ),
        (
            "RFC 7540 §5.3.1",
            "a request whose stream depends on itself",
            frame(HEADERS, WHOLE | 0x20, 1, &[&[0, 0, 0, 1, 7][..], &fields("/about")].concat()),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "RFC 7540 §5.3.1",
            "a request in two frames whose stream depends on itself",
            [
                frame(HEADERS, END_STREAM | 0x20, 1, &[&[0, 0, 0, 1, 7][..], &fields("/about")[..5]].concat()),
                frame(CONTINUATION, END_HEADERS, 1, &fields("/about")[5..]),
            ]
            .concat(),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "RFC 7540 §5.3.1",
            "trailers whose stream depends on itself",
            [open(1), frame(HEADERS, WHOLE | 0x20, 1, &[&[0, 0, 0, 1, 7][..], &literal("x", "y")].concat())].concat(),
            Stream(PROTOCOL_ERROR),
        ),
        ("§6.3", "PRIORITY is ignored", [frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]), request(1)].concat(), Request(200)),
        ("§6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0, 0, 0, 8]), protocol),
        ("§6.4", "RST_STREAM of 3 bytes", [open(1), frame(RST_STREAM, 0, 1, &[0, 0, 8])].concat(), size),
        ("§6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), protocol),
        ("§6.5", "SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), size),
        ("§6.5", "acknowledged settings with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), size),
        ("§6.5.2", "ENABLE_PUSH of 2", setting(2, 2), protocol),
        ("§6.5.2", "INITIAL_WINDOW_SIZE of 2^31", setting(4, 1 << 31), Connection(FLOW_CONTROL_ERROR)),
        ("§6.5.2", "MAX_FRAME_SIZE of 16,383", setting(5, 16_383), protocol),
        ("§6.5.2", "MAX_FRAME_SIZE of 2^24", setting(5, 1 << 24), protocol),
        ("RFC 9218 §2.1", "NO_RFC7540_PRIORITIES of 2", setting(9, 2), protocol),
        ("RFC 9218 §7.1", "PRIORITY_UPDATE on a stream", frame(16, 0, 1, b"\0\0\0\x01u=1"), protocol),
        ("RFC 9218 §7.1", "PRIORITY_UPDATE of stream 0", frame(16, 0, 0, b"\0\0\0\0u=1"), protocol),
        ("RFC 9218 §7.1", "PRIORITY_UPDATE of 3 bytes", frame(16, 0, 0, b"\0\0\0"), size),
        ("RFC 9218 §7.1", "PRIORITY_UPDATE of a pushed stream", frame(16, 0, 0, b"\0\0\0\x02u=1"), protocol),
        (
            "RFC 9218 §7.1",
            "PRIORITY_UPDATE of as many idle streams as may be open",
            (0..128).flat_map(|stream| frame(16, 0, 0, &[0, 0, 1, 2 * stream as u8 + 1])).collect(),
            Well,
        ),
        (
            "RFC 9218 §7.1",
            "PRIORITY_UPDATE of more idle streams than may be open",
            (0..129_u32).flat_map(|stream| frame(16, 0, 0, &(2 * stream + 1).to_be_bytes())).collect(),
            protocol,
        ),
        ("RFC 9218 §7.1", "PRIORITY_UPDATE of an idle stream", frame(16, 0, 0, b"\0\0\0\x09u=1"), Well),
        ("§6.5.2", "an unknown setting is ignored", setting(0xeeee, 1), Well),
        ("§6.6", "PUSH_PROMISE of a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), protocol),
        ("§6.7", "PING on a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        ("§6.7", "PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), size),
        ("§6.7", "an answer that nobody asked for", frame(PING, ACK, 0, b"unasked!"), Well),
        ("§6.8", "GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, &[0; 7]), size),
        (
            "§7",
            "GOAWAY for an unknown reason",
            [frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), request(1)].concat(),
            Request(200),
        ),
        ("§7", "a reset for an unknown reason", [open(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])].concat(), Well),
        ("§6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), protocol),
        ("§6.9", "a window update of 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), protocol),
        (
            "§6.9",
            "a window update of 0 on a stream",
            [open(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
            Stream(PROTOCOL_ERROR),
        ),
        ("§6.9", "a window update of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]), size),
        (
            "§6.9.1",
            "a window of more than 2^31-1",
            frame(WINDOW_UPDATE, 0, 0, &MAX.to_be_bytes()),
            Connection(FLOW_CONTROL_ERROR),
        ),
        (
            "§6.9.1",
            "a stream's window of more than 2^31-1",
            [open(1), frame(WINDOW_UPDATE, 0, 1, &MAX.to_be_bytes())].concat(),
            Stream(FLOW_CONTROL_ERROR),
        ),
        (
            "§6.9.2",
            "a window that a setting makes too large",
            [open(1), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]), setting(4, MAX)].concat(),
            Connection(FLOW_CONTROL_ERROR),
        ),
        (
            "§6.10",
            "many CONTINUATIONs",
            [
                frame(HEADERS, END_STREAM, 1, &fields("/about")[..2]),
                frame(CONTINUATION, 0, 1, &fields("/about")[2..9]),
                frame(CONTINUATION, 0, 1, &[]),
                frame(CONTINUATION, END_HEADERS, 1, &fields("/about")[9..]),
            ]
            .concat(),
            Request(200),
        ),
        (
            "§6.10",
            "CONTINUATION after DATA",
            [open(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, &fields("/"))].concat(),
            protocol,
        ),
        ("§6.10", "CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, &fields("/")), protocol),
        (
            "§6.10",
            "CONTINUATION after the end",
            [request(1), frame(CONTINUATION, END_HEADERS, 1, &fields("/"))].concat(),
            protocol,
        ),
        (
            "§6.10",
            "CONTINUATION on stream 0",
            [frame(HEADERS, END_STREAM, 1, &fields("/")), frame(CONTINUATION, 4, 0, &[])].concat(),
            protocol,
        ),
    ];
    all_are_taken(cases).await;
}

#[tokio::test]
async fn requests_that_break_a_rule_are_malformed() {
    let malformed = Stream(PROTOCOL_ERROR);
    let get = &[0x82, 0x87, 0x84][..];
    let fields_of = |fields: &[Vec<u8>]| only(&fields.concat());
    let cases = vec![
        (
            "§8.1",
            "trailers that do not end the request",
            [open(1), frame(HEADERS, END_HEADERS, 1, &literal("x", "y"))].concat(),
            malformed,
        ),
        ("§8.1.1", "content that is longer than announced", two_bytes_announced_as("1"), malformed),
        ("§8.1.1", "content that is shorter than announced", two_bytes_announced_as("3"), malformed),
        (
            "§8.1.1",
            "content in pieces that is shorter than announced",
            [
                frame(HEADERS, END_HEADERS, 1, &[fields("/big.bin"), literal("content-length", "3")].concat()),
                frame(DATA, 0, 1, b"x"),
                frame(DATA, END_STREAM, 1, b"y"),
            ]
            .concat(),
            malformed,
        ),
        (
            "§8.1.1",
            "content in padded pieces as long as announced, and an end without any",
            [
                frame(HEADERS, END_HEADERS, 1, &[fields("/about"), literal("content-length", "2")].concat()),
                frame(DATA, PADDED, 1, &[3, b'x', 0, 0, 0]),
                frame(DATA, 0, 1, b"y"),
                frame(DATA, END_STREAM, 1, b""),
            ]
            .concat(),
            Request(200),
        ),
        ("§8.1.1", "content that is announced and does not come", with(&literal("content-length", "1")), malformed),
        (
            "§8.1",
            "trailers",
            [open(1), frame(DATA, 0, 1, b"x"), frame(HEADERS, WHOLE, 1, &literal("x", "y"))].concat(),
            Request(200),
        ),
        ("§8.2.1", "a value with a blank before it", with(&literal("x", " y")), malformed),
        ("§8.2.1", "a value with a tab behind it", with(&literal("x", "y\t")), malformed),
        ("§8.2.1", "a name in capitals", with(&literal("X-Y", "z")), malformed),
        ("§8.2.1", "a name with a space", with(&literal("x y", "z")), malformed),
        ("§8.2.1", "a value with a line feed", with(&literal("x", "a\nb")), malformed),
        ("§8.2.1", "a value with NUL", with(&literal("x", "a\0b")), malformed),
        ("§8.2.2", "Connection", with(&literal("connection", "close")), malformed),
        ("§8.2.2", "Transfer-Encoding", with(&literal("transfer-encoding", "chunked")), malformed),
        ("§8.2.2", "Upgrade", with(&literal("upgrade", "h2c")), malformed),
        ("§8.2.2", "TE of anything but trailers", with(&literal("te", "gzip")), malformed),
        ("§8.2.2", "TE of trailers", with(&literal("te", "trailers")), Request(200)),
        ("§8.3", "an unknown pseudo-field", with(&literal(":x", "y")), malformed),
        ("§8.3", "a pseudo-field of responses", with(&literal(":status", "200")), malformed),
        (
            "§8.3",
            "a pseudo-field after others",
            fields_of(&[get.to_vec(), literal("x", "y"), literal(":authority", "a")]),
            malformed,
        ),
        (
            "§8.3",
            "a pseudo-field among trailers",
            [open(1), frame(HEADERS, WHOLE, 1, &literal(":path", "/"))].concat(),
            malformed,
        ),
        ("§8.3.1", "no method", only(&[0x87, 0x84]), malformed),
        ("§8.3.1", "no scheme", only(&[0x82, 0x84]), malformed),
        (
            "§8.3.1",
            "no path",
            only(&[&[0x82, 0x87][..], &literal(":authority", "www.example.org")].concat()),
            malformed,
        ),
        ("§8.3.1", "an empty path", only(&[&[0x82, 0x87][..], &literal(":path", "")].concat()), malformed),
        ("§8.3.1", "two methods", only(&[&[0x82][..], get].concat()), malformed),
        ("§8.3.1", "two schemes", only(&[&[0x82, 0x87][..], &[0x87, 0x84]].concat()), malformed),
        ("§8.3.1", "two paths", only(&[get, &[0x84]].concat()), malformed),
    ];
    all_are_taken(cases).await;
}

#[tokio::test]
async fn field_blocks_that_cannot_be_decoded_end_the_connection() {
    let compression = Connection(COMPRESSION_ERROR);
    let cases = vec![
        ("RFC 7541 §2.3.3", "index 0", with(&[0x80]), compression),
        ("RFC 7541 §2.3.3", "an index beyond both tables", with(&[0xff, 0x00]), compression),
        ("RFC 7541 §4.2", "a size update that is not first", with(&[0x20]), compression),
        ("RFC 7541 §5.1", "a number without end", with(&[0xff; 16]), compression),
        ("RFC 7541 §5.2", "a string that ends early", with(&[0, 1, b'x', 9, b'y']), compression),
        ("RFC 7541 §5.2", "padding of more than 7 bits", with(&[0, 1, b'x', 0x82, 0x1f, 0xff]), compression),
        ("RFC 7541 §5.2", "padding of zeros", with(&[0, 1, b'x', 0x81, 0x18]), compression),
        ("RFC 7541 §5.2", "EOS within a string", with(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]), compression),
        (
            "RFC 7541 §6.3",
            "a table larger than allowed",
            only(&[&[0x3f, 0xff, 0xff, 0x03][..], &fields("/")].concat()),
            compression,
        ),
        ("RFC 7541 §6.3", "a smaller table", only(&[&[0x20][..], &fields("/")].concat()), Request(200)),
    ];
    all_are_taken(cases).await;
}

/// RFC 9113 §3.4.
#[tokio::test]
async fn a_connection_begins_with_the_preface_and_settings() {
    let server = Server::start();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n".to_vec(),
        [&PREFACE[..23], b"\r"].concat(),
        [PREFACE, &request(1)].concat(),
        [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
    ] {
        let mut stream = dial(&server).await;
        stream.write_all(&bytes).await.unwrap();
        let mut answered = false;
        while let Ok(frame) = try_next(&mut stream).await {
            answered |= matches!(frame.kind, HEADERS | PING);
        }
        assert!(!answered, "{bytes:?}");
    }
}

/// RFC 9113 §5.1.2.
#[tokio::test]
async fn streams_beyond_the_bound_are_refused_and_those_below_go_on() {
    let server = Server::with(Package::example(), |settings| settings.bounds.streams = 5);
    let mut stream = connect(&server).await;
    let first = next(&mut stream).await;
    assert!(first.payload.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 5]), "it is announced: {first:?}");
    assert!(first.payload.chunks(6).any(|setting| setting == [0, 9, 0, 0, 0, 1]), "RFC 9218 §2.1: {first:?}");
    // No response can be finished: no window has room.
    let mut bytes = setting(4, 0);
    (0..7).for_each(|number| bytes.extend(frame(HEADERS, WHOLE, 1 + 2 * number, &fields("/about"))));
    stream.write_all(&bytes).await.unwrap();
    let (mut heads, mut refused) = (Vec::new(), Vec::new());
    while heads.len() < 5 || refused.len() < 2 {
        let frame = next(&mut stream).await;
        match frame.kind {
            HEADERS => heads.push(frame.stream),
            RST_STREAM => refused.push((frame.stream, frame.payload)),
            _ => {}
        }
    }
    heads.sort_unstable();
    let code = REFUSED_STREAM.to_be_bytes().to_vec();
    assert_eq!((heads, refused), (vec![1, 3, 5, 7, 9], vec![(11, code.clone()), (13, code)]));
}

/// RFC 9113 §6.9.2: a window that a setting made smaller, below zero too, and larger again.
#[tokio::test]
async fn windows_follow_the_settings() {
    let server = Server::start();
    let mut stream = connect(&server).await;
    let start = [setting(4, 3), frame(HEADERS, WHOLE, 1, &fields("/about.html"))].concat();
    stream.write_all(&start).await.unwrap();
    let mut content = Vec::new();
    while content.len() < 3 {
        let frame = next(&mut stream).await;
        if frame.kind == DATA {
            content.extend(frame.payload);
        }
    }
    assert_eq!(content, b"abo");
    let more = [setting(4, 1), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2]), frame(PING, 0, 0, &[7; 8])].concat();
    stream.write_all(&more).await.unwrap();
    loop {
        let frame = next(&mut stream).await;
        assert!(frame.kind != DATA, "the window is 0");
        if frame.kind == PING {
            break;
        }
    }
    stream.write_all(&setting(4, 10_000)).await.unwrap();
    loop {
        let frame = next(&mut stream).await;
        if frame.kind == DATA {
            content.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(content, get(&server, "/about.html", &[]).await.content);
}
