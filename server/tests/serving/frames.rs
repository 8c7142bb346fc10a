//! HTTP/2 frame by frame, so that a client can say what no library would.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    client::handshake,
    server::{DOMAIN, Server},
};

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// A frame that was read (RFC 9113 §4.1).
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame to be sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A GET as HPACK has it: three fields of the static table and the authority.
pub(crate) fn fields(target: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, target.len() as u8];
    block.extend(target.as_bytes());
    block.extend([0x41, DOMAIN.len() as u8]);
    block.extend(DOMAIN.as_bytes());
    block
}

/// A field as a literal without indexing (RFC 7541 §6.2.2).
pub(crate) fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        // A length of seven bits, and what is beyond them (§5.1).
        match u8::try_from(text.len()) {
            Ok(length @ ..=126) => field.push(length),
            _ => {
                field.push(0x7f);
                let mut rest = text.len() - 0x7f;
                while rest >= 0x80 {
                    field.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                field.push(rest as u8);
            }
        }
        field.extend(text);
    }
    field
}

/// The status at the beginning of a response (RFC 7541 appendix A).
pub(crate) fn status(head: &Frame) -> u16 {
    match head.payload[..] {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        // The value for the name with number 8.
        [8, 3, hundreds, tens, ones, ..] => {
            [hundreds, tens, ones].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
        }
        _ => panic!("a response without a status: {head:?}"),
    }
}

/// A connection that has sent the preface and empty settings.
pub(crate) async fn connect(server: &Server) -> TlsStream<TcpStream> {
    let mut stream = dial(server).await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// A connection on which nothing was sent.
pub(crate) async fn dial(server: &Server) -> TlsStream<TcpStream> {
    handshake(server.https, &server.certificate, &[b"h2"]).await.unwrap()
}

/// The next frame, which must come in time.
pub(crate) async fn next(stream: &mut TlsStream<TcpStream>) -> Frame {
    try_next(stream).await.expect("a frame")
}

/// The next frame; an error if the connection ends.
pub(crate) async fn try_next(stream: &mut TlsStream<TcpStream>) -> io::Result<Frame> {
    let read = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(Frame { kind: head[3], flags: head[4], stream: id, payload })
    };
    timeout(Duration::from_secs(10), read).await.expect("a frame in time")
}
