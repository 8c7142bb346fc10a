//! Content of HTTP/2 requests, which no page wants: it is read to its end within bounds, so that no client takes the reset that
//! follows an early response (RFC 9113 §8.1) for a failure, as curl 7.88 does.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{
    frames::{
        ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, RST_STREAM, WINDOW_UPDATE, connect, fields, frame,
        next,
    },
    package::Package,
    server::Server,
};

/// Pieces that the window of a connection has room for before any of it is taken.
const PIECES: usize = 3;
const PIECE: usize = 16384;
const PATIENCE: Duration = Duration::from_millis(300);

/// The next frame of the request's stream.
async fn next_of_it(stream: &mut TlsStream<TcpStream>) -> Frame {
    loop {
        let frame = next(stream).await;
        if frame.stream == 1 {
            return frame;
        }
    }
}

/// Sends a head that content is to follow, and reads the whole response that comes before it, but for its end.
async fn answered_early(server: &Server) -> TlsStream<TcpStream> {
    let mut stream = connect(server).await;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &fields("/"))).await.unwrap();
    let head = next_of_it(&mut stream).await;
    assert_eq!((head.kind, head.flags & END_STREAM), (HEADERS, 0));
    let content = next_of_it(&mut stream).await;
    assert_eq!((content.kind, content.flags & END_STREAM), (DATA, 0));
    stream
}

/// Reads what is left of the response.
async fn ends(stream: &mut TlsStream<TcpStream>) {
    loop {
        let frame = next_of_it(stream).await;
        assert_ne!(frame.kind, RST_STREAM);
        if frame.kind == DATA && frame.flags & END_STREAM != 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_request_is_read_to_its_end_after_its_response() {
    let server = Server::start();
    let mut stream = answered_early(&server).await;
    for piece in 1..=PIECES {
        let flags = if piece == PIECES { END_STREAM } else { 0 };
        stream.write_all(&frame(DATA, flags, 1, &[b'x'; PIECE])).await.unwrap();
    }
    ends(&mut stream).await;
    // A reset would stand before this.
    stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
    loop {
        let frame = next(&mut stream).await;
        assert_ne!(frame.kind, RST_STREAM);
        if frame.kind == PING && frame.flags & ACK != 0 {
            break;
        }
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_is_not_waited_for_any_longer_than_a_connection() {
    let server = Server::with(Package::example(), |settings| settings.patience.close = PATIENCE);
    let begun = std::time::Instant::now();
    let mut stream = answered_early(&server).await;
    ends(&mut stream).await;
    assert_eq!(next_of_it(&mut stream).await.kind, RST_STREAM);
    assert!(begun.elapsed() >= PATIENCE);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_reset_after_a_megabyte() {
    let server = Server::start();
    let mut stream = answered_early(&server).await;
    // The window of the connection, as the server has set it by now.
    let (mut sent, mut room) = (0, 1 << 20);
    loop {
        while room >= PIECE {
            stream.write_all(&frame(DATA, 0, 1, &[b'x'; PIECE])).await.unwrap();
            (sent, room) = (sent + PIECE, room - PIECE);
        }
        let frame = next(&mut stream).await;
        match (frame.kind, frame.stream) {
            (RST_STREAM, 1) => break,
            // Of the connection, whose window is the smaller one.
            (WINDOW_UPDATE, 0) => room += u32::from_be_bytes(frame.payload.try_into().unwrap()) as usize,
            _ => {}
        }
    }
    assert!((1 << 20..3 << 20).contains(&sent), "{sent} bytes were read");
}
