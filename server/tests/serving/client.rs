//! Clients that write bytes and read bytes, so that nothing is repaired on the way.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

use crate::server::{DOMAIN, Server};

/// Longer than anything takes that is meant to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// An HTTP/1.1 response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) content: Vec<u8>,
}

impl Response {
    /// The value of a field that must be there at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice: {}", self.head);
        value
    }

    /// All fields but those that say something of the connection, sorted; names in lower case.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let fields = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut fields: Vec<_> = fields.filter(|(name, _)| name != "connection").collect();
        fields.sort();
        fields
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// An HTTP/1.1 connection.
pub(crate) struct Client<S> {
    stream: S,
    unread: Vec<u8>,
}

pub(crate) async fn plain(server: &Server) -> Client<TcpStream> {
    plain_at(server.http).await
}

pub(crate) async fn plain_at(address: SocketAddr) -> Client<TcpStream> {
    Client::of(TcpStream::connect(address).await.unwrap())
}

pub(crate) async fn tls(server: &Server) -> Client<TlsStream<TcpStream>> {
    let stream = handshake(server.https, &server.certificate, &[b"http/1.1"]).await.unwrap();
    Client { stream, unread: Vec::new() }
}

/// The same from another address than all others.
pub(crate) async fn tls_from_elsewhere(server: &Server) -> Client<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(server.https).await.unwrap();
    let stream = handshake_over(stream, &server.certificate, &[b"http/1.1"]).await.unwrap();
    Client { stream, unread: Vec::new() }
}

/// A TLS connection that offers these protocols and trusts this certificate alone.
pub(crate) async fn handshake(
    address: SocketAddr,
    certificate: &str,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // As clients do: a small frame would wait for the acknowledgement of the one before it.
    stream.set_nodelay(true)?;
    handshake_over(stream, certificate, protocols).await
}

async fn handshake_over(
    stream: TcpStream,
    certificate: &str,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = trusting(certificate, DEFAULT_VERSIONS);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config)).connect(DOMAIN.try_into().unwrap(), stream).await
}

/// A client that trusts this certificate alone and speaks these versions.
pub(crate) fn trusting(certificate: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// One GET over TLS, with these further field lines.
pub(crate) async fn get(server: &Server, target: &str, fields: &[&str]) -> Response {
    request(server, "GET", target, fields).await
}

pub(crate) async fn request(server: &Server, method: &str, target: &str, fields: &[&str]) -> Response {
    let mut client = tls(server).await;
    client.send(method, target, fields).await;
    client.response_to(method).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn of(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Waits for the first bytes of a response.
    pub(crate) async fn begins(&mut self) -> bool {
        timeout(DEADLINE, self.more()).await.expect("no response in time")
    }

    pub(crate) async fn send(&mut self, method: &str, target: &str, fields: &[&str]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
            head += &format!("Host: {DOMAIN}\r\n");
        }
        for field in fields {
            head += &format!("{field}\r\n");
        }
        self.write(format!("{head}\r\n").as_bytes()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn response(&mut self) -> Response {
        self.response_to("GET").await
    }

    /// Reads one response; what it must hold follows from `Content-Length` alone.
    pub(crate) async fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).await.expect("the connection ended instead of a response")
    }

    /// `None` if the connection ends before a whole head.
    pub(crate) async fn try_response(&mut self, method: &str) -> Option<Response> {
        timeout(DEADLINE, self.read_response(method)).await.expect("no response in time")
    }

    async fn read_response(&mut self, method: &str) -> Option<Response> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                assert!(self.unread.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response { status, head, content: Vec::new() };
        assert_eq!(response.field("transfer-encoding"), None, "the length is always known");
        let length = response.field("content-length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" && status != 304 {
            while self.unread.len() < length {
                assert!(self.more().await, "the content was cut");
            }
            response.content = self.unread.drain(..length).collect();
        }
        Some(response)
    }

    /// Reads up to these bytes, and returns all up to them.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let read = async {
            loop {
                if let Some(at) = self.unread.windows(end.len()).position(|bytes| bytes == end) {
                    return self.unread.drain(..at + end.len()).collect();
                }
                assert!(self.more().await, "the connection ended: {:?}", String::from_utf8_lossy(&self.unread));
            }
        };
        timeout(DEADLINE, read).await.expect("it did not come in time")
    }

    /// Reads until the server closes, and returns what it still said.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        timeout(DEADLINE, async { while self.more().await {} }).await.expect("the connection did not end in time");
        self.unread
    }

    /// Whether nothing more came within `span`, and the connection stayed open.
    pub(crate) async fn silent_for(&mut self, span: Duration) -> bool {
        timeout(span, self.more()).await.is_err()
    }

    async fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.unread.extend_from_slice(&piece[..length]);
                true
            }
        }
    }
}

/// An HTTP/2 connection.
pub(crate) async fn h2(server: &Server) -> http2::SendRequest<Empty<Bytes>> {
    let stream = handshake(server.https, &server.certificate, &[b"h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move {
        // How it ends is seen by who sends.
        let _ = connection.await;
    });
    sender
}

/// An HTTP/2 connection from that address, which makes room for so many bytes of each response.
pub(crate) async fn h2_with_room(server: &Server, from: &str, room: u32) -> http2::SendRequest<Empty<Bytes>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(server.https).await.unwrap();
    let stream = handshake_over(stream, &server.certificate, &[b"h2"]).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(room);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move {
        // How it ends is seen by who sends.
        let _ = connection.await;
    });
    sender
}

/// A request as HTTP/2 has it.
pub(crate) fn h2_request(method: &str, target: &str) -> http::Request<Empty<Bytes>> {
    let uri = format!("https://{DOMAIN}{target}");
    http::Request::builder().method(method).uri(uri).body(Empty::new()).unwrap()
}

/// Sends one request and reads its whole response.
pub(crate) async fn h2_get(
    sender: &mut http2::SendRequest<Empty<Bytes>>,
    request: http::Request<Empty<Bytes>>,
) -> Result<(http::response::Parts, Bytes), hyper::Error> {
    let exchange = async {
        let (head, content) = sender.send_request(request).await?.into_parts();
        Ok((head, content.collect().await?.to_bytes()))
    };
    timeout(DEADLINE, exchange).await.expect("no response in time")
}
