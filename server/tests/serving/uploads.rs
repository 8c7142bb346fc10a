//! Content of requests that a handler wants, or does not.

use std::{
    pin::Pin,
    process::Command,
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    body::{Body as HttpBody, Frame as BodyFrame},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    client::{handshake, plain, tls},
    frames::{
        ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PADDED, PING, RST_STREAM, WINDOW_UPDATE, connect, frame,
        literal, next, status,
    },
    handler::{PIECE, Works},
    server::{DOMAIN, Server},
};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// The next frame on that stream, whatever else comes.
async fn next_on(stream: &mut TlsStream<TcpStream>, id: u32) -> Frame {
    loop {
        let frame = next(stream).await;
        if frame.stream == id {
            return frame;
        }
    }
}

/// The next content on that stream.
async fn data_on(stream: &mut TlsStream<TcpStream>, id: u32) -> Vec<u8> {
    loop {
        let frame = next_on(stream, id).await;
        assert!(frame.kind != RST_STREAM, "{frame:?}");
        if frame.kind == DATA {
            return frame.payload;
        }
    }
}

/// A POST to `target` with these fields more, whose content follows.
fn post(id: u32, target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x87, 0x04, target.len() as u8];
    block.extend(target.as_bytes());
    block.extend([0x41, DOMAIN.len() as u8]);
    block.extend(DOMAIN.as_bytes());
    more.iter().for_each(|(name, value)| block.extend(literal(name, value)));
    frame(HEADERS, END_HEADERS, id, &block)
}

/// Bytes of which no two pieces are alike.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[tokio::test]
async fn content_comes_to_the_handler_whole_and_goes_back_as_it_comes() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = tls(&server).await;
    for (framing, content, expected) in [
        ("Content-Length: 5", "hello", "5 3610a686 "),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", "5 3610a686 "),
        ("Transfer-Encoding: chunked", "5;x=y\r\nhello\r\n0\r\nX-Trailer: t\r\nY: z\r\n\r\n", "5 3610a686 t"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", "0 0 "),
        ("Content-Length: 0", "", "0 0 "),
    ] {
        client.send("POST", "/reads", &[framing]).await;
        client.write(content.as_bytes()).await;
        let response = client.response().await;
        assert_eq!((&response.text()[..], response.field("connection")), (expected, None), "{framing} {content:?}");
    }
    client.send("POST", "/echo", &["Transfer-Encoding: chunked"]).await;
    client.until(b"\r\n\r\n").await;
    for said in ["one", "two", "three"] {
        let chunk = format!("{:X}\r\n{said}\r\n", said.len());
        client.write(chunk.as_bytes()).await;
        assert_eq!(client.until(chunk.as_bytes()).await, chunk.as_bytes(), "while more is to come");
    }
    client.write(b"0\r\n\r\n").await;
    client.until(b"0\r\n\r\n").await;

    let mut client = connect(&server).await;
    let content = [
        post(1, "/reads", &[("content-length", "5")]),
        frame(DATA, PADDED, 1, &[3, b'h', b'e', 0, 0, 0]),
        frame(DATA, 0, 1, b""),
        frame(DATA, END_STREAM, 1, b"llo"),
        post(3, "/reads", &[]),
        frame(DATA, 0, 3, b"hello"),
        frame(HEADERS, WHOLE, 3, &[literal("x-trailer", "t"), literal("y", "z")].concat()),
        post(5, "/reads", &[]),
        frame(DATA, END_STREAM, 5, b""),
    ];
    client.write_all(&content.concat()).await.unwrap();
    let mut answers: Vec<(u32, String)> = Vec::new();
    while answers.len() < 3 {
        let frame = next(&mut client).await;
        assert!(frame.kind != RST_STREAM, "{frame:?}");
        if frame.kind == DATA {
            answers.push((frame.stream, String::from_utf8(frame.payload).unwrap()));
        }
    }
    answers.sort();
    let answers: Vec<_> = answers.iter().map(|(stream, answer)| (*stream, answer.as_str())).collect();
    assert_eq!(answers, [(1, "5 3610a686 "), (3, "5 3610a686 t"), (5, "0 0 ")]);
    client.write_all(&post(7, "/echo", &[])).await.unwrap();
    for said in ["one", "two", "three"] {
        client.write_all(&frame(DATA, 0, 7, said.as_bytes())).await.unwrap();
        assert_eq!(data_on(&mut client, 7).await, said.as_bytes(), "while more is to come");
    }
    client.write_all(&frame(DATA, END_STREAM, 7, b"")).await.unwrap();
    let last = next_on(&mut client, 7).await;
    assert_eq!((last.kind, last.payload.len(), last.flags), (DATA, 0, END_STREAM));
}

/// RFC 9110 §10.1.1.
#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked_when_the_handler_reads() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let expects = ["Expect: 100-continue", "Content-Length: 5"];
    let mut client = tls(&server).await;
    client.send("POST", "/reads-when-told", &expects).await;
    assert!(client.silent_for(Duration::from_millis(100)).await, "nothing is read yet");
    works.reads.send_replace(true);
    assert_eq!(client.until(b"\r\n\r\n").await, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write(b"hello").await;
    assert_eq!(client.response().await.text(), "5 3610a686 ");
    for target in ["/ignores", "/leaves", "/now"] {
        let mut client = tls(&server).await;
        client.send("POST", target, &expects).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (200, Some("close")), "{target}");
    }

    works.reads.send_replace(false);
    let expects = [("expect", "100-continue"), ("content-length", "5")];
    let mut client = connect(&server).await;
    client.write_all(&post(1, "/reads-when-told", &expects)).await.unwrap();
    works.until("it has begun", |works| works.begun.load(SeqCst) == 3).await;
    works.reads.send_replace(true);
    let asked = next_on(&mut client, 1).await;
    assert_eq!((asked.kind, asked.flags, status(&asked)), (HEADERS, END_HEADERS, 100));
    client.write_all(&frame(DATA, END_STREAM, 1, b"hello")).await.unwrap();
    assert_eq!(status(&next_on(&mut client, 1).await), 200);
    assert_eq!(data_on(&mut client, 1).await, b"5 3610a686 ");
    for (stream, target) in [(3, "/ignores"), (5, "/leaves"), (7, "/now")] {
        client.write_all(&post(stream, target, &expects)).await.unwrap();
        assert_eq!(status(&next_on(&mut client, stream).await), 200, "{target}");
    }
    // A client that sends it unasked is not asked any more.
    let unasked = [post(9, "/reads", &expects), frame(DATA, END_STREAM, 9, b"hello")].concat();
    client.write_all(&unasked).await.unwrap();
    assert_eq!(status(&next_on(&mut client, 9).await), 200);
}

#[tokio::test]
async fn content_that_breaks_its_frame_is_an_error_to_its_handler_and_ends_what_it_breaks() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    for (framing, content) in [
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nx\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"),
    ] {
        let mut client = tls(&server).await;
        client.send("POST", "/reads", &[framing]).await;
        client.write(content.as_bytes()).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (422, Some("close")), "{content:?}");
        client.rest().await;
    }
    let mut client = plain(&server).await;
    client.send("POST", "/reads", &["Content-Length: 10"]).await;
    client.write(b"hello").await;
    works.until("it has begun", |works| works.read.load(SeqCst) >= 15).await;
    client.half_close().await;
    works.all_dropped(3).await;
    assert_eq!(works.errors.lock().unwrap().len(), 3);

    let mut client = connect(&server).await;
    let too_long = [post(1, "/reads", &[("content-length", "3")]), frame(DATA, 0, 1, b"hello")];
    let too_short = [post(3, "/reads", &[("content-length", "9")]), frame(DATA, END_STREAM, 3, b"hello")];
    let fields_amid = [post(5, "/reads", &[]), frame(HEADERS, END_HEADERS, 5, &literal("x", "y"))];
    client.write_all(&[too_long, too_short, fields_amid].concat().concat()).await.unwrap();
    for stream in [1, 3, 5] {
        let reset = next_on(&mut client, stream).await;
        assert_eq!((reset.kind, &reset.payload[..]), (RST_STREAM, &[0, 0, 0, 1][..]), "stream {stream}");
    }
    // Not begun, or dropped.
    let begun = works.begun.load(SeqCst);
    works.all_dropped(begun).await;
    client.write_all(&post(7, "/reads", &[])).await.unwrap();
    works.until("it has begun", |works| works.begun.load(SeqCst) == begun + 1).await;
    client.write_all(&frame(RST_STREAM, 0, 7, &[0, 0, 0, 8])).await.unwrap();
    works.all_dropped(begun + 1).await;
}

#[tokio::test]
async fn what_a_handler_leaves_of_content_is_dropped_within_bounds() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = tls(&server).await;
    for target in ["/leaves", "/now"] {
        client.send("POST", target, &["Content-Length: 5"]).await;
        client.write(b"hello").await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (200, None), "{target}: the connection goes on");
    }
    client.send("POST", "/leaves", &["Content-Length: 1000000"]).await;
    let response = client.response().await;
    assert_eq!((&response.text()[..], response.field("connection")), ("left", Some("close")));
    let mut client = tls(&server).await;
    client.send("POST", "/ignores", &["Content-Length: 5"]).await;
    let response = client.response().await;
    assert_eq!((&response.text()[..], response.field("connection")), ("ignored", Some("close")));

    let mut client = connect(&server).await;
    for (stream, target) in [(1, "/ignores"), (3, "/leaves"), (5, "/now")] {
        client.write_all(&post(stream, target, &[])).await.unwrap();
        assert_eq!(status(&next_on(&mut client, stream).await), 200, "{target}");
        // More than a window: room is made for it.
        for _ in 0..5 {
            client.write_all(&frame(DATA, 0, stream, &[0; 16_000])).await.unwrap();
        }
        client.write_all(&frame(DATA, END_STREAM, stream, b"")).await.unwrap();
        while next_on(&mut client, stream).await.flags & END_STREAM == 0 {}
    }
}

#[tokio::test]
async fn a_handler_that_does_not_read_holds_its_client_back_and_no_other_stream() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = connect(&server).await;
    // Seven uploads whose handlers stall, and one that goes on beside them.
    let stalled = [1, 3, 5, 7, 9, 11, 13];
    let (mut room, mut sent) = (65_535_i64, 0);
    let mut updated = Vec::new();
    for stream in stalled {
        client.write_all(&post(stream, "/reads-when-told", &[])).await.unwrap();
        for length in [16_384, 16_384, 16_384, 16_383] {
            while room < length {
                room += i64::from(window(&mut client, &mut updated).await);
            }
            client.write_all(&frame(DATA, 0, stream, &vec![7; length as usize])).await.unwrap();
            room -= length;
        }
    }
    client.write_all(&post(15, "/reads", &[])).await.unwrap();
    let mut of_stream = 65_535_i64;
    while sent < 1 << 20 {
        while room < 16_384 || of_stream < 16_384 {
            let before = updated.len();
            room += i64::from(window(&mut client, &mut updated).await);
            of_stream += updated[before..].iter().map(|(_, more)| i64::from(*more)).sum::<i64>();
        }
        client.write_all(&frame(DATA, 0, 15, &[7; 16_384])).await.unwrap();
        (room, of_stream, sent) = (room - 16_384, of_stream - 16_384, sent + 16_384);
    }
    client.write_all(&frame(DATA, END_STREAM, 15, b"")).await.unwrap();
    let answer = String::from_utf8(data_on(&mut client, 15).await).unwrap();
    assert!(answer.starts_with("1048576 "), "{answer}");
    assert!(updated.iter().all(|(stream, _)| *stream == 15), "nothing was read of the others: {updated:?}");
    // They get room as soon as they are read.
    works.reads.send_replace(true);
    let mut more = Vec::new();
    while more.len() < stalled.len() {
        let frame = next(&mut client).await;
        if frame.kind == WINDOW_UPDATE && frame.stream > 0 {
            assert_eq!(frame.payload, 65_535_u32.to_be_bytes());
            more.push(frame.stream);
        }
    }
    more.sort_unstable();
    assert_eq!(more, stalled);
    for stream in stalled {
        client.write_all(&frame(DATA, END_STREAM, stream, b"")).await.unwrap();
        let answer = String::from_utf8(data_on(&mut client, stream).await).unwrap();
        assert!(answer.starts_with("65535 "), "{answer}");
    }
}

/// An upload over a long way would wait for a round trip behind each 64 KiB. Here the PING that measures one is answered behind all
/// that may be sent.
#[tokio::test]
async fn a_window_grows_while_a_handler_takes_what_comes() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = connect(&server).await;
    client.write_all(&post(1, "/reads", &[])).await.unwrap();
    let (mut room, mut of_stream, mut sent, mut largest) = (65_535, 65_535, 0, 0);
    while largest < 1 << 20 {
        while room.min(of_stream) > 0 {
            let length = room.min(of_stream).min(16_384);
            client.write_all(&frame(DATA, 0, 1, &vec![7; length])).await.unwrap();
            (room, of_stream, sent) = (room - length, of_stream - length, sent + length);
        }
        let told = next(&mut client).await;
        match (told.kind, told.stream) {
            (WINDOW_UPDATE, stream) => {
                let more = u32::from_be_bytes(told.payload.try_into().unwrap()) as usize;
                *if stream == 0 { &mut room } else { &mut of_stream } += more;
                largest = largest.max(if stream == 0 { 0 } else { more });
            }
            (PING, 0) => client.write_all(&frame(PING, ACK, 0, &told.payload)).await.unwrap(),
            _ => assert!(told.stream == 0, "{told:?}"),
        }
    }
    client.write_all(&frame(DATA, END_STREAM, 1, b"")).await.unwrap();
    let answer = String::from_utf8(data_on(&mut client, 1).await).unwrap();
    assert!(answer.starts_with(&format!("{sent} ")), "{answer}");
}

/// Waits for more room on the connection; notes what streams got until then.
async fn window(client: &mut TlsStream<TcpStream>, updated: &mut Vec<(u32, u32)>) -> u32 {
    let frame = next(client).await;
    if frame.kind != WINDOW_UPDATE {
        return 0;
    }
    let more = u32::from_be_bytes(frame.payload.try_into().unwrap());
    if frame.stream == 0 {
        return more;
    }
    updated.push((frame.stream, more));
    0
}

#[tokio::test]
async fn one_client_may_have_no_more_unread_than_the_bound() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = connect(&server).await;
    let (mut room, mut unread, mut updated) = (65_535, 0, Vec::new());
    'all: for stream in (1..200).step_by(2) {
        client.write_all(&post(stream, "/reads-when-told", &[])).await.unwrap();
        for length in [16_384, 16_384, 16_384, 16_383] {
            while room < length {
                let more = timeout(Duration::from_millis(300), window(&mut client, &mut updated)).await;
                let Ok(more) = more else { break 'all };
                room += more;
            }
            client.write_all(&frame(DATA, 0, stream, &vec![7; length as usize])).await.unwrap();
            (room, unread) = (room - length, unread + length);
        }
    }
    assert!((400_000..=600_000).contains(&unread), "{unread}");
    works.reads.send_replace(true);
    let mut more = 0;
    while more == 0 {
        more = window(&mut client, &mut updated).await;
    }
}

#[tokio::test]
async fn a_client_is_slow_only_where_its_content_is_waited_for() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| {
        settings.patience.content = Duration::from_millis(400);
        settings.patience.write = Duration::from_millis(400);
        settings.patience.idle = Duration::from_millis(400);
    });
    let mut one = tls(&server).await;
    one.send("POST", "/reads-when-told", &["Content-Length: 5"]).await;
    let mut two = connect(&server).await;
    two.write_all(&post(1, "/reads-when-told", &[])).await.unwrap();
    works.until("both have begun", |works| works.begun.load(SeqCst) == 2).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!((works.dropped.load(SeqCst), server.running().counters().cut()), (0, 0), "nothing is read");
    works.reads.send_replace(true);
    works.until("both are cut", |_| server.running().counters().cut() == 2).await;
    works.all_dropped(2).await;
    assert_eq!(one.rest().await, b"");
}

/// The handler's task is another than the connection's, which sleeps until its deadline: it has to be told of a nearer one.
#[tokio::test]
async fn a_stalled_upload_is_cut_whichever_task_reads_it() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.patience.content = Duration::from_millis(400));
    let mut one = tls(&server).await;
    one.send("POST", "/reads-elsewhere", &["Content-Length: 10"]).await;
    one.write(b"hello").await;
    let mut two = connect(&server).await;
    two.write_all(&post(1, "/reads-elsewhere", &[])).await.unwrap();
    let begun = Instant::now();
    works.until("both are cut", |_| server.running().counters().cut() == 2).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "by their own deadline");
    works.until("both readers know", |works| works.errors.lock().unwrap().len() == 2).await;
    drop((one, two));
}

/// Content has a time of its own: that for taking a response is for slow readers.
#[tokio::test]
async fn content_that_is_waited_for_may_take_longer_than_a_response() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.patience.write = Duration::from_millis(300));
    let mut one = plain(&server).await;
    one.send("POST", "/reads", &["Content-Length: 5"]).await;
    let mut two = connect(&server).await;
    two.write_all(&post(1, "/reads", &[])).await.unwrap();
    works.until("both have begun", |works| works.begun.load(SeqCst) == 2).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    one.write(b"hello").await;
    assert_eq!(one.response().await.text(), "5 3610a686 ");
    two.write_all(&frame(DATA, END_STREAM, 1, b"hello")).await.unwrap();
    assert_eq!(data_on(&mut two, 1).await, b"5 3610a686 ");
    assert_eq!(server.running().counters().cut(), 0);
}

/// The bytes behind a response are its request's, for as long as they come: what looks like a request among them is none
/// (RFC 9112 §9.3, §11.2).
#[tokio::test]
async fn content_that_is_held_behind_its_response_is_never_a_request() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| {
        settings.patience.rest = Duration::from_millis(50);
        settings.patience.close = Duration::from_millis(600);
    });
    let smuggled = format!("GET /now HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n");
    for (target, framing, content) in [
        ("/holds", format!("Content-Length: {}", smuggled.len()), smuggled.clone()),
        ("/holds-and-says-nothing", format!("Content-Length: {}", smuggled.len() + 9), smuggled.clone()),
        ("/holds", "Transfer-Encoding: chunked".into(), format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len())),
    ] {
        let mut client = plain(&server).await;
        client.send("POST", target, &[&framing]).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (200, Some("close")), "{framing}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.write(content.as_bytes()).await;
        let begun = Instant::now();
        assert_eq!(String::from_utf8_lossy(&client.rest().await), "", "{framing}");
        assert!(begun.elapsed() < Duration::from_secs(5), "as long as closing may take");
    }
    assert_eq!((server.running().counters().resting(), server.running().counters().requests()), (0, 3));
}

/// A response ends soon whatever becomes of the request's content (RFC 9113 §8.1), and is accounted for when it is sent.
#[tokio::test]
async fn a_response_ends_behind_content_that_its_handler_holds() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.patience.close = Duration::from_millis(800));
    for (target, content) in
        [("/holds", &b"held"[..]), ("/holds-and-says-nothing", b""), ("/holds-and-streams", &[0; 10])]
    {
        let mut client = connect(&server).await;
        client.write_all(&[post(1, target, &[]), frame(DATA, 0, 1, b"hello")].concat()).await.unwrap();
        let head = next_on(&mut client, 1).await;
        assert_eq!((head.kind, status(&head), head.flags & END_STREAM), (HEADERS, 200, 0), "{target}");
        let begun = Instant::now();
        if !content.is_empty() {
            assert_eq!(data_on(&mut client, 1).await, content, "{target}");
        }
        works
            .until("it is accounted for", |works| {
                server.running().counters().in_flight() == 0 && works.begun.load(SeqCst) == works.dropped.load(SeqCst)
            })
            .await;
        assert!(begun.elapsed() < Duration::from_millis(800), "{target}: as soon as it is sent");
        let last = next_on(&mut client, 1).await;
        assert_eq!((last.kind, last.payload.len(), last.flags), (DATA, 0, END_STREAM), "{target}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{target}");
        let reset = next_on(&mut client, 1).await;
        assert_eq!((reset.kind, &reset.payload[..]), (RST_STREAM, &[0; 4][..]), "{target}: without an error");
    }
}

/// Uploads to `target` until there is no room for another frame; returns how much there is, and the next stream.
async fn fill(client: &mut TlsStream<TcpStream>, target: &str) -> (u32, u32) {
    let mut room = 65_535;
    for stream in (1..200).step_by(2) {
        client.write_all(&post(stream, target, &[])).await.unwrap();
        for length in [16_384, 16_384, 16_384, 16_383] {
            while room < length {
                let more = timeout(Duration::from_millis(300), window(client, &mut Vec::new())).await;
                let Ok(more) = more else { return (room, stream + 2) };
                room += more;
            }
            client.write_all(&frame(DATA, 0, stream, &vec![7; length as usize])).await.unwrap();
            room -= length;
        }
    }
    panic!("there is always room");
}

/// What a stream left unread when it ended is room for others.
#[tokio::test]
async fn streams_that_end_leave_their_room_to_others() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.patience.close = Duration::from_millis(1_500));
    let mut client = connect(&server).await;
    fill(&mut client, "/holds").await;
    // Nothing else happens on the connection.
    let mut more = 0;
    while more == 0 {
        more = window(&mut client, &mut Vec::new()).await;
    }
}

/// Nothing else wakes the connection: its handlers wait, and nothing more comes of their requests.
#[tokio::test]
async fn content_that_is_whole_makes_room_when_it_is_read() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = connect(&server).await;
    let (mut room, mut updated) = (65_535, Vec::new());
    for stream in (1..).step_by(2) {
        while room < 8_192 {
            let more = timeout(Duration::from_millis(300), window(&mut client, &mut updated)).await;
            let Ok(more) = more else { break };
            room += more;
        }
        if room < 8_192 {
            break;
        }
        // In one record, so that it is whole when it is looked at first.
        let whole = [post(stream, "/reads-elsewhere-and-waits", &[]), frame(DATA, END_STREAM, stream, &[7; 8_192])];
        client.write_all(&whole.concat()).await.unwrap();
        room -= 8_192;
    }
    works.reads.send_replace(true);
    let begun = Instant::now();
    let mut more = 0;
    while more == 0 {
        more = window(&mut client, &mut updated).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "for no other reason");
}

/// What a handler leaves unread takes the room of what others wait for.
#[tokio::test]
async fn a_client_that_is_given_no_room_is_not_slow() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.patience.content = Duration::from_millis(500));
    let mut client = connect(&server).await;
    let (room, stream) = fill(&mut client, "/reads-when-told").await;
    client.write_all(&post(stream, "/reads", &[])).await.unwrap();
    client.write_all(&frame(DATA, 0, stream, &vec![7; room as usize])).await.unwrap();
    let all = (stream as usize).div_ceil(2);
    works.until("all have begun", |works| works.begun.load(SeqCst) == all).await;
    works.until("all that it may send is read", |works| works.read.load(SeqCst) == u64::from(room)).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((works.dropped.load(SeqCst), server.running().counters().cut()), (0, 0), "it cannot send any more");
    works.reads.send_replace(true);
    let mut more = 0;
    while more == 0 {
        more = window(&mut client, &mut Vec::new()).await;
    }
    client.write_all(&frame(DATA, END_STREAM, stream, b"end")).await.unwrap();
    let answer = String::from_utf8(data_on(&mut client, stream).await).unwrap();
    assert!(answer.starts_with(&format!("{} ", room + 3)), "{answer}");
    // Now that there is room, a client that sends nothing is slow.
    works.until("it is cut", |_| server.running().counters().cut() == 1).await;
}

/// What a handler reads and what it gives of a gigabyte, over all protocols: the process holds hardly any of it at a time. As
/// other tests have memory of their own, this one runs in a process for itself.
#[test]
fn a_gigabyte_in_each_direction_takes_bounded_memory() {
    const ALONE: &str = "SPOTHOST_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "uploads::a_gigabyte_in_each_direction_takes_bounded_memory";
        let this = std::env::current_exe().unwrap();
        let output = Command::new(this).args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let works = Works::new();
        let server = Server::handled_by(works.clone(), |_| {});
        // What is done once is done before anything is measured.
        over_h1(&server, 1 << 20).await;
        over_h2(&server, 1 << 20).await;
        let before = resident();
        over_h1(&server, 1 << 30).await;
        let after_h1 = resident();
        over_h2(&server, 1 << 30).await;
        let after_h2 = resident();
        println!("{before} KiB before, {after_h1} KiB at most over HTTP/1.1, {after_h2} KiB at most over HTTP/2 too");
        assert!(after_h2 < before + 16 * 1024, "{before} KiB, {after_h1} KiB, {after_h2} KiB");
    });
}

/// The most memory that this process had resident so far, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn over_h1(server: &Server, length: usize) {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!("POST /reads HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![7; 64 * 1024];
    for _ in 0..length / piece.len() {
        stream.write_all(&piece).await.unwrap();
    }
    let mut client = crate::client::Client::of(stream);
    let response = client.response().await;
    assert!(response.text().starts_with(&format!("{length} ")), "{}", response.text());
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let target = if length == 1 << 30 { "/gigabyte" } else { "/ten" };
    let head = format!("GET {target} HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut buffer, mut came) = (vec![0; 64 * 1024], 0);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            bytes => came += bytes,
        }
    }
    // Each piece has its chunk around it.
    assert!(length != 1 << 30 || came > length && came < length + (length / PIECE) * 12 + 1_000, "{came}");
}

/// So many bytes, in pieces.
struct Zeros(usize);

impl HttpBody for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Self::Error>>> {
        static ZEROS: [u8; PIECE] = [0; PIECE];
        let length = self.0.min(PIECE);
        self.0 -= length;
        Poll::Ready((length > 0).then(|| Ok(BodyFrame::data(Bytes::from_static(&ZEROS[..length])))))
    }
}

async fn over_h2(server: &Server, length: usize) {
    let stream = handshake(server.https, &server.certificate, &[b"h2"]).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = |path| format!("https://{DOMAIN}{path}");
    let request = http::Request::post(uri("/reads")).body(Zeros(length)).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    assert!(answer.starts_with(format!("{length} ").as_bytes()), "{answer:?}");
    let target = if length == 1 << 30 { "/gigabyte" } else { "/ten" };
    let request = http::Request::get(uri(target)).body(Zeros(0)).unwrap();
    let mut content = sender.send_request(request).await.unwrap().into_body();
    let mut came = 0;
    while let Some(frame) = content.frame().await {
        came += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert!(length != 1 << 30 || came == length, "{came}");
}

/// Bytes that come in many pieces are those that were sent.
#[tokio::test]
async fn a_megabyte_comes_back_byte_by_byte() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let content = noise(1 << 20);
    let stream = handshake(server.https, &server.certificate, &[b"h2"]).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Full::new(Bytes::from(content.clone()));
    let request = http::Request::post(format!("https://{DOMAIN}/echo")).body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes() == content, "other bytes came back over HTTP/2");
    let stream = TcpStream::connect(server.http).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let sent = content.clone();
    let sends = tokio::spawn(async move {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            sent.len()
        );
        to.write_all(head.as_bytes()).await.unwrap();
        to.write_all(&sent).await.unwrap();
        to
    });
    let mut response = Vec::new();
    from.read_to_end(&mut response).await.unwrap();
    assert!(response.ends_with(&content), "other bytes came back over HTTP/1.1");
    drop(sends.await.unwrap());
}
