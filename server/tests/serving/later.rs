//! Responses that come later, and in pieces.

use std::{
    io,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use spothost_server::{Access, AccessFormat, AccessTo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{
    client::{Client, h2, h2_get, h2_request, plain, tls},
    frames::{
        DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect,
        fields, frame, literal, next, status, try_next,
    },
    handler::{PIECE, Works},
    server::{DOMAIN, Server},
};

const WHOLE: u8 = END_HEADERS | END_STREAM;
const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];

/// A server whose clients have little time.
fn impatient(works: &Arc<Works>) -> Server {
    Server::handled_by(works.clone(), |settings| {
        let patience = &mut settings.patience;
        patience.first = Duration::from_millis(500);
        patience.head = Duration::from_millis(500);
        patience.idle = Duration::from_millis(500);
        patience.write = Duration::from_millis(500);
        patience.rest = Duration::from_millis(50);
    })
}

/// The next frame of that kind.
async fn next_of(stream: &mut TlsStream<TcpStream>, kind: u8) -> Frame {
    loop {
        let frame = next(stream).await;
        assert!(frame.kind != GOAWAY && (frame.kind != RST_STREAM || kind == RST_STREAM), "{frame:?}");
        if frame.kind == kind {
            return frame;
        }
    }
}

#[tokio::test]
async fn a_slow_answer_is_not_a_slow_client() {
    let works = Works::new();
    let server = impatient(&works);
    let over_plain = async {
        let mut client = plain(&server).await;
        for _ in 0..2 {
            client.send("GET", "/sleeps", &[]).await;
            assert_eq!(client.response().await.text(), "slept");
        }
    };
    let over_tls = async {
        let mut client = tls(&server).await;
        client.send("GET", "/sleeps", &[]).await;
        assert_eq!(client.response().await.text(), "slept");
    };
    let over_h2 = async {
        let mut sender = h2(&server).await;
        assert_eq!(h2_get(&mut sender, h2_request("GET", "/sleeps")).await.unwrap().1, "slept");
    };
    tokio::join!(over_plain, over_tls, over_h2);
    let tell = works.tells();
    let mut client = tls(&server).await;
    client.send("GET", "/told", &[]).await;
    for said in ["one", "two"] {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        tell.send(Ok(said.into())).unwrap();
        client.until(said.as_bytes()).await;
    }
    let tell = works.tells();
    let mut client = connect(&server).await;
    client.write_all(&frame(HEADERS, WHOLE, 1, &fields("/told"))).await.unwrap();
    for said in ["one", "two"] {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        tell.send(Ok(said.into())).unwrap();
        assert_eq!(next_of(&mut client, DATA).await.payload, said.as_bytes());
    }
    assert_eq!(server.running().counters().cut(), 0);
}

#[tokio::test]
async fn a_client_that_does_not_take_a_stream_is_cut_and_the_stream_is_polled_only_when_there_is_room() {
    let works = Works::new();
    let server = impatient(&works);
    let mut one = plain(&server).await;
    one.send("GET", "/endless", &[]).await;
    let mut two = tls(&server).await;
    two.send("GET", "/endless", &[]).await;
    // Windows that have no room, and a kernel that has none.
    let mut three = connect(&server).await;
    three.write_all(&frame(HEADERS, WHOLE, 1, &fields("/endless"))).await.unwrap();
    let mut four = connect(&server).await;
    let window = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let room = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    four.write_all(&[window, room, frame(HEADERS, WHOLE, 1, &fields("/endless"))].concat()).await.unwrap();
    let counters = server.running().counters();
    let begun = Instant::now();
    works.until("all four are cut", |_| counters.cut() == 4).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    works.all_dropped(4).await;
    // What the kernels on both sides and the client hold of three of them is all that was made.
    let given = works.given.load(SeqCst) * PIECE;
    assert!(given < 32 << 20, "{given} bytes were made");
    drop((one, two, three, four));
}

#[tokio::test]
async fn a_client_without_a_window_is_slow_even_if_nothing_is_said_to_it() {
    let works = Works::new();
    let server = impatient(&works);
    let tell = works.tells();
    let mut client = connect(&server).await;
    client.write_all(&frame(HEADERS, WHOLE, 1, &fields("/told"))).await.unwrap();
    tell.send(Ok("said".into())).unwrap();
    assert_eq!(next_of(&mut client, DATA).await.payload, b"said");
    client.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await.unwrap();
    works.until("it is cut", |_| server.running().counters().cut() == 1).await;
    works.all_dropped(1).await;
}

#[tokio::test]
async fn a_stream_of_unknown_length_is_sent_as_it_comes_in_chunks_and_in_frames() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let tell = works.tells();
    let mut client = plain(&server).await;
    client.send("GET", "/told", &[]).await;
    let head = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("transfer-encoding: chunked\r\n"), "{head}");
    for said in ["first", "", "second"] {
        tell.send(Ok(said.into())).unwrap();
        if !said.is_empty() {
            let chunk = format!("{:X}\r\n{said}\r\n", said.len());
            assert_eq!(client.until(chunk.as_bytes()).await, chunk.as_bytes());
        }
    }
    drop(tell);
    assert_eq!(client.until(b"0\r\n\r\n").await, b"0\r\n\r\n");
    client.send("GET", "/now", &[]).await;
    assert_eq!(client.response().await.text(), "now", "the connection goes on");

    let tell = works.tells();
    tell.send(Ok("all of it".into())).unwrap();
    drop(tell);
    let mut old = plain(&server).await;
    old.write(b"GET /told HTTP/1.0\r\nHost: www.example.org\r\n\r\n").await;
    let response = String::from_utf8(old.rest().await).unwrap();
    assert!(response.ends_with("\r\n\r\nall of it") && !response.contains("chunked"), "{response}");

    let tell = works.tells();
    let mut client = connect(&server).await;
    client.write_all(&frame(HEADERS, WHOLE, 1, &fields("/told"))).await.unwrap();
    let head = next_of(&mut client, HEADERS).await;
    assert_eq!((status(&head), head.flags), (200, END_HEADERS));
    assert!(!head.payload.windows(2).any(|bytes| bytes == [0x0f, 0x0d]), "no content-length");
    for said in ["first", "second"] {
        tell.send(Ok(said.into())).unwrap();
        let data = next_of(&mut client, DATA).await;
        assert_eq!((&data.payload[..], data.flags), (said.as_bytes(), 0));
    }
    drop(tell);
    let last = next_of(&mut client, DATA).await;
    assert_eq!((last.payload.len(), last.flags), (0, END_STREAM));
    works.all_dropped(3).await;
}

#[tokio::test]
async fn a_handler_that_fails_midway_truncates_its_response() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    truncated(&works, plain(&server).await).await;
    truncated(&works, tls(&server).await).await;
    // Where nothing was sent yet, nothing is.
    let mut short = plain(&server).await;
    short.send("GET", "/short", &[]).await;
    let said = short.rest().await;
    assert!(!said.ends_with(&[0; 20]), "{said:?}");

    let tell = works.tells();
    let mut client = connect(&server).await;
    let both = [frame(HEADERS, WHOLE, 1, &fields("/told")), frame(HEADERS, WHOLE, 3, &fields("/waits"))].concat();
    client.write_all(&both).await.unwrap();
    tell.send(Ok("begun".into())).unwrap();
    assert_eq!(next_of(&mut client, DATA).await.payload, b"begun");
    tell.send(Err(io::Error::other("failed"))).unwrap();
    let reset = next_of(&mut client, RST_STREAM).await;
    assert_eq!((reset.stream, &reset.payload[..]), (1, &INTERNAL_ERROR[..]));
    client.write_all(&frame(HEADERS, WHOLE, 5, &fields("/short"))).await.unwrap();
    let reset = next_of(&mut client, RST_STREAM).await;
    assert_eq!((reset.stream, &reset.payload[..]), (5, &INTERNAL_ERROR[..]));
    works.go_on.notify_one();
    let data = next_of(&mut client, DATA).await;
    assert_eq!((data.stream, &data.payload[..]), (3, &b"waited"[..]), "other streams go on");
}

async fn truncated<S: AsyncRead + AsyncWrite + Unpin>(works: &Works, mut client: Client<S>) {
    let tell = works.tells();
    client.send("GET", "/told", &[]).await;
    tell.send(Ok("begun".into())).unwrap();
    client.until(b"\r\n\r\n5\r\nbegun\r\n").await;
    tell.send(Err(io::Error::other("failed"))).unwrap();
    assert_eq!(client.rest().await, b"", "no last chunk");
}

/// A client of HTTP/1.0 takes the end of the connection for that of the content (RFC 9112 §6.3): one that is not must not look so.
#[tokio::test]
async fn content_that_ends_with_the_connection_is_reset_where_it_is_not_whole() {
    const REQUEST: &[u8] = b"GET /told HTTP/1.0\r\nHost: www.example.org\r\n\r\n";
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let counters = server.running().counters();
    let told = async |secure: bool| {
        let tell = works.tells();
        let client: Box<dyn Stream> = if !secure {
            Box::new(plain(&server).await.into_stream())
        } else {
            Box::new(tls(&server).await.into_stream())
        };
        let mut client = Client::of(client);
        client.write(REQUEST).await;
        tell.send(Ok("begun".into())).unwrap();
        client.until(b"\r\n\r\nbegun").await;
        (tell, client.into_stream())
    };
    for secure in [false, true] {
        let (tell, mut client) = told(secure).await;
        tell.send(Err(io::Error::other("failed"))).unwrap();
        let end = client.read(&mut [0; 100]).await;
        assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "it fails: {secure}");
        let (tell, mut client) = told(secure).await;
        drop(tell);
        assert_eq!(client.read(&mut [0; 100]).await.unwrap(), 0, "it is whole: {secure}");
    }
    let (_tell, mut client) = told(false).await;
    assert_eq!(server.drain(0, 100).await.requests_cut, 1);
    let end = client.read(&mut [0; 100]).await;
    assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "it is cut");
    assert_eq!(counters.in_flight(), 0);
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// RFC 9110 §6.5.1: over HTTP/1.1 to a client that takes them alone, in chunks.
#[tokio::test]
async fn trailers_follow_a_stream_where_they_can() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let content = format!("A\r\n{}\r\n", "\0".repeat(10));
    let mut client = plain(&server).await;
    for (target, fields, expected) in [
        ("/trailers", &["TE: trailers", "Connection: TE"][..], format!("{content}0\r\nx-trailer: t\r\n\r\n")),
        ("/trailers", &[], format!("{content}0\r\n\r\n")),
        ("/trailers-behind-nothing", &["TE: trailers"], "0\r\nx-trailer: t\r\n\r\n".into()),
        ("/trailers-behind-a-length", &["TE: trailers"], "\0".repeat(10)),
    ] {
        client.send("GET", target, fields).await;
        client.until(b"\r\n\r\n").await;
        assert_eq!(client.until(expected.as_bytes()).await, expected.as_bytes(), "{target} {fields:?}");
        client.send("GET", "/now", &[]).await;
        assert_eq!(client.response().await.text(), "now", "the connection goes on");
    }
    let mut old = plain(&server).await;
    old.write(b"GET /trailers HTTP/1.0\r\nHost: www.example.org\r\nTE: trailers\r\n\r\n").await;
    assert!(old.rest().await.ends_with(&[&b"\r\n\r\n"[..], &[0; 10]].concat()));
    let mut sender = h2(&server).await;
    for (target, length) in [("/trailers", 10), ("/trailers-behind-nothing", 0), ("/trailers-behind-a-length", 10)] {
        let response = sender.send_request(h2_request("GET", target)).await.unwrap();
        let content = response.into_body().collect().await.unwrap();
        let trailers = content.trailers().unwrap();
        assert_eq!((trailers.len(), trailers.get("x-trailer").unwrap().as_bytes()), (1, &b"t"[..]), "{target}");
        assert_eq!(content.to_bytes().len(), length, "{target}");
    }
    // A window that has no room for another byte has room for the end.
    let mut narrow = connect(&server).await;
    let asked =
        [frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]), frame(HEADERS, WHOLE, 1, &fields("/trailers-behind-a-length"))];
    narrow.write_all(&asked.concat()).await.unwrap();
    next_of(&mut narrow, HEADERS).await;
    let data = next_of(&mut narrow, DATA).await;
    assert_eq!((data.payload.len(), data.flags), (10, 0));
    assert_eq!(next_of(&mut narrow, HEADERS).await.flags, WHOLE);
}

#[tokio::test]
async fn a_response_without_content_has_none_and_lengths_are_those_of_content() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = tls(&server).await;
    client.send("GET", "/ten", &[]).await;
    let response = client.response().await;
    assert_eq!((response.content.len(), response.field("connection")), (10, None));
    client.send("HEAD", "/ten", &[]).await;
    let response = client.response_to("HEAD").await;
    assert_eq!((response.status, response.field("content-length")), (200, Some("10")));
    client.send("GET", "/nothing", &[]).await;
    let response = client.response().await;
    assert_eq!((response.status, response.content.len()), (204, 0));
    client.send("GET", "/now", &[]).await;
    assert_eq!(client.response().await.text(), "now");
    let mut sender = h2(&server).await;
    for (method, target, expected, length, content) in [
        ("GET", "/ten", 200, Some("10"), 10),
        ("HEAD", "/ten", 200, Some("10"), 0),
        ("HEAD", "/endless", 200, None, 0),
        ("GET", "/nothing", 204, None, 0),
        ("GET", "/unknown", 404, Some("0"), 0),
    ] {
        let (head, got) = h2_get(&mut sender, h2_request(method, target)).await.unwrap();
        let said = head.headers.get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!((head.status.as_u16(), said, got.len()), (expected, length, content), "{method} {target}");
        assert!(head.headers.contains_key("date") && !head.headers.contains_key("connection"));
    }
}

/// However a handler answers: at once, later, or to what the wire refuses.
#[tokio::test]
async fn no_handler_frames_its_response() {
    const FRAMING: [&str; 4] = ["transfer-encoding", "keep-alive", "proxy-connection", "upgrade"];
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.bounds.target = 100);
    let long = format!("/{}", "x".repeat(200));
    for (target, status, text) in [
        ("/now-framed", 200, "now"),
        ("/now-with-two-lengths", 500, ""),
        ("/with-two-lengths", 500, ""),
        (&long, 414, "refused"),
    ] {
        let mut client = tls(&server).await;
        client.send("GET", target, &[]).await;
        let response = client.response().await;
        assert_eq!((response.status, &response.text()[..]), (status, text), "{target}");
        assert_eq!(response.field("content-length"), Some(&text.len().to_string()[..]), "{target}");
        assert!(FRAMING.iter().all(|name| response.field(name).is_none()), "{target}: {response:?}");
        let expected = if status == 414 { Some("close") } else { None };
        assert_eq!(response.field("connection"), expected, "{target}");
        if status != 414 {
            client.send("HEAD", target, &[]).await;
            let response = client.response_to("HEAD").await;
            assert_eq!(response.field("content-length"), Some(&text.len().to_string()[..]), "HEAD {target}");
            client.send("GET", "/now", &[]).await;
            assert_eq!(client.response().await.text(), "now", "the connection goes on behind {target}");
        }
        let mut sender = h2(&server).await;
        let (head, content) = h2_get(&mut sender, h2_request("GET", target)).await.unwrap();
        assert_eq!((head.status.as_u16(), &content[..]), (status, text.as_bytes()), "{target}");
        let lengths: Vec<_> = head.headers.get_all("content-length").iter().collect();
        assert_eq!(lengths, [&text.len().to_string()[..]], "{target}");
        let framing = FRAMING.iter().chain(&["connection"]).filter(|name| head.headers.contains_key(**name));
        assert_eq!(framing.count(), 0, "{target}: {head:?}");
    }
}

#[tokio::test]
async fn a_handler_is_cancelled_when_its_client_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| {
        settings.access = Some(Access { format: AccessFormat::Combined, to: AccessTo::File(path.clone()) });
    });
    let begun = |count| works.until("it has begun", move |works| works.begun.load(SeqCst) == count);
    // While it is waited for.
    let mut client = plain(&server).await;
    client.send("GET", "/waits", &[]).await;
    begun(1).await;
    drop(client);
    works.all_dropped(1).await;
    let mut client = tls(&server).await;
    client.send("GET", "/waits", &[]).await;
    begun(2).await;
    drop(client);
    works.all_dropped(2).await;
    let mut client = connect(&server).await;
    client.write_all(&frame(HEADERS, WHOLE, 1, &fields("/waits"))).await.unwrap();
    begun(3).await;
    client.write_all(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await.unwrap();
    works.all_dropped(3).await;
    client.write_all(&frame(HEADERS, WHOLE, 3, &fields("/waits"))).await.unwrap();
    begun(4).await;
    drop(client);
    works.all_dropped(4).await;
    // While it has nothing to say.
    for (count, secure) in [(5, false), (6, true)] {
        let tell = works.tells();
        tell.send(Ok("begun".into())).unwrap();
        if !secure {
            leaves_amid(plain(&server).await).await
        } else {
            leaves_amid(tls(&server).await).await
        }
        works.all_dropped(count).await;
    }
    let tell = works.tells();
    let mut client = connect(&server).await;
    client.write_all(&frame(HEADERS, WHOLE, 1, &fields("/told"))).await.unwrap();
    tell.send(Ok("begun".into())).unwrap();
    next_of(&mut client, DATA).await;
    client.write_all(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await.unwrap();
    works.all_dropped(7).await;
    // The connection goes on, and nothing is under way on it.
    client.write_all(&frame(HEADERS, WHOLE, 3, &fields("/now"))).await.unwrap();
    assert_eq!(next_of(&mut client, DATA).await.payload, b"now");
    works.until("nothing is under way", |_| server.running().counters().in_flight() == 0).await;
    assert_eq!(server.drain(0, 5_000).await.requests_cut, 0);
    let lines = std::fs::read_to_string(&path).unwrap();
    let left = lines.lines().filter(|line| line.contains("\"GET /waits HTTP/") && line.contains(" 499 0 ")).count();
    assert_eq!((left, lines.lines().count()), (4, 8), "{lines}");
}

/// Content or a request that was not read is before the end of what a client sends, and so is what it says in frames.
#[tokio::test]
async fn a_handler_is_cancelled_when_its_client_leaves_behind_unread_bytes() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let all = format!("POST /waits HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: 6000\r\n\r\n{}", "x".repeat(6_000));
    let next = format!("GET /waits HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\nGET /{} HTTP/1.1\r\n", "x".repeat(3_000));
    let mut count = 0;
    for sent in [&all[..], &all[..3_000], &next] {
        for secure in [false, true] {
            let begun = Instant::now();
            count += 1;
            if !secure {
                leaves_behind(&works, count, sent, plain(&server).await).await
            } else {
                leaves_behind(&works, count, sent, tls(&server).await).await
            }
            works.all_dropped(count).await;
            assert!(begun.elapsed() < Duration::from_secs(10), "not when it is cut for another reason");
        }
    }
    let mut client = connect(&server).await;
    let mut block = vec![0x83, 0x87, 0x04, 6];
    block.extend(b"/waits");
    block.extend(literal(":authority", DOMAIN));
    client.write_all(&[frame(HEADERS, END_HEADERS, 1, &block), frame(DATA, 0, 1, &[7; 6_000])].concat()).await.unwrap();
    works.until("it has begun", |works| works.begun.load(SeqCst) == count + 1).await;
    drop(client);
    works.all_dropped(count + 1).await;
    assert_eq!(server.running().counters().cut(), 0);
}

async fn leaves_behind<S: AsyncRead + AsyncWrite + Unpin>(
    works: &Works,
    count: usize,
    sent: &str,
    mut client: Client<S>,
) {
    client.write(sent.as_bytes()).await;
    works.until("it has begun", |works| works.begun.load(SeqCst) == count).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn leaves_amid<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>) {
    client.send("GET", "/told", &[]).await;
    client.until(b"begun\r\n").await;
}

/// The next request waits for the first one's answer, and is not lost by the look whether its client is there.
#[tokio::test]
async fn a_request_behind_one_that_waits_is_answered_after_it() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |_| {});
    let mut client = tls(&server).await;
    client.send("GET", "/waits", &[]).await;
    works.until("it has begun", |works| works.begun.load(SeqCst) == 1).await;
    let long = format!("X: {}", "x".repeat(3_000));
    for _ in 0..3 {
        client.send("GET", "/now", &[&long]).await;
    }
    client.send("GET", "/waits", &[]).await;
    assert!(client.silent_for(Duration::from_millis(100)).await);
    works.go_on.notify_one();
    assert_eq!(client.response().await.text(), "waited");
    for _ in 0..3 {
        assert_eq!(client.response().await.text(), "now");
    }
    works.go_on.notify_one();
    assert_eq!(client.response().await.text(), "waited");
}

#[tokio::test]
async fn a_drain_waits_for_what_comes_later_until_its_deadline() {
    for deadline in [20_000, 300] {
        let works = Works::new();
        let server = Server::handled_by(works.clone(), |_| {});
        let mut one = tls(&server).await;
        one.send("GET", "/waits", &[]).await;
        let mut two = connect(&server).await;
        two.write_all(&frame(HEADERS, WHOLE, 1, &fields("/waits"))).await.unwrap();
        let tell = works.tells();
        let mut three = plain(&server).await;
        three.send("GET", "/told", &[]).await;
        works.until("all have begun", |works| works.begun.load(SeqCst) == 3).await;
        let drained = tokio::spawn(server.drain(0, deadline));
        if deadline == 300 {
            assert_eq!(drained.await.unwrap().requests_cut, 3);
            works.all_dropped(3).await;
            continue;
        }
        // A client that knows of the drain asks nothing more on this connection.
        let ping = next_of_any(&mut two, PING).await;
        two.write_all(&frame(PING, 1, 0, &ping.payload)).await.unwrap();
        works.go_on.notify_one();
        works.go_on.notify_waiters();
        tell.send(Ok(Bytes::from_static(b"told"))).unwrap();
        drop(tell);
        works
            .until("both are told", |works| {
                works.go_on.notify_waiters();
                works.dropped.load(SeqCst) == 3
            })
            .await;
        let response = one.response().await;
        assert_eq!((&response.text()[..], response.field("connection")), ("waited", Some("close")));
        assert_eq!(next_of_any(&mut two, DATA).await.payload, b"waited");
        assert!(three.rest().await.ends_with(b"4\r\ntold\r\n0\r\n\r\n"));
        assert_eq!(drained.await.unwrap().requests_cut, 0);
    }
}

/// The next frame of that kind, whatever comes before it.
async fn next_of_any(stream: &mut TlsStream<TcpStream>, kind: u8) -> Frame {
    loop {
        let frame = try_next(stream).await.unwrap();
        if frame.kind == kind {
            return frame;
        }
    }
}

/// What the wire refuses, no handler sees.
#[tokio::test]
async fn what_is_refused_for_its_form_comes_to_no_handler() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.bounds.target = 100);
    let long = format!("/{}", "x".repeat(200));
    let mut client = tls(&server).await;
    client.send("GET", &long, &[]).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("connection")), (414, Some("close")));
    let mut client = connect(&server).await;
    let mut block = vec![0x82, 0x87];
    block.extend(literal(":path", &long));
    block.extend(literal(":authority", "www.example.org"));
    client.write_all(&frame(HEADERS, WHOLE, 1, &block)).await.unwrap();
    assert_eq!(status(&next_of(&mut client, HEADERS).await), 414);
    assert_eq!(works.begun.load(SeqCst), 0);
}

/// CVE-2023-44487: what is reset while a handler works for it costs as much as an answer.
#[tokio::test]
async fn whoever_keeps_cancelling_is_let_go_and_answers_make_up_for_it() {
    let works = Works::new();
    let server = Server::handled_by(works.clone(), |settings| settings.bounds.streams = 5);
    let mut client = connect(&server).await;
    let mut stream = 1;
    for cancelled in 1.. {
        if cancelled == 4 {
            client.write_all(&frame(HEADERS, WHOLE, stream, &fields("/now"))).await.unwrap();
            assert_eq!(next_of(&mut client, DATA).await.payload, b"now");
            stream += 2;
        }
        client.write_all(&frame(HEADERS, WHOLE, stream, &fields("/waits"))).await.unwrap();
        works.until("it has begun", |works| works.begun.load(SeqCst) == cancelled).await;
        client.write_all(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await.unwrap();
        works.all_dropped(cancelled).await;
        stream += 2;
        if cancelled == 7 {
            break;
        }
    }
    let goaway = next_of_any(&mut client, GOAWAY).await;
    assert_eq!(goaway.payload[4..8], [0, 0, 0, 11]);
}
