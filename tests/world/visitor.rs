//! Somebody who visits the site over HTTPS.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use crate::{Talk, connection};

/// How long an answer may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// A client that trusts one authority, asks for one name, and goes to one address for it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Visitor {
    domain: String,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// What a visitor got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The server's certificate, DER; empty over plain HTTP.
    pub certificate: Vec<u8>,
}

impl Answer {
    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection over which requests go one after the other, or beside each other with HTTP/2.
pub(crate) enum Line {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A TLS session with the server.
pub(crate) struct Opened {
    pub(crate) stream: TlsStream<TcpStream>,
    /// Whom it is with, as a URI has it.
    pub(crate) authority: String,
}

impl Visitor {
    /// Somebody who asks for `domain` at `address` and trusts the roots in the file `roots`.
    pub fn new(domain: &str, address: SocketAddr, roots: &Path) -> Visitor {
        let tls = ClientConfig::builder().with_root_certificates(connection::roots(roots)).with_no_client_auth();
        Visitor { domain: domain.to_owned(), address, tls: Arc::new(tls) }
    }

    /// The same visitor asking for another name.
    #[must_use]
    pub fn asking_for(&self, domain: &str) -> Visitor {
        Visitor { domain: domain.to_owned(), ..self.clone() }
    }

    /// The same visitor going to another address.
    #[must_use]
    pub fn going_to(&self, address: SocketAddr) -> Visitor {
        Visitor { address, ..self.clone() }
    }

    /// Whom it asks for, as `Host` has it.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.domain, self.address.port())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gets `path` over HTTP/1.1 on a connection of its own.
    ///
    /// # Errors
    /// What went wrong, when there was no whole answer.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask(Method::GET, path, &[], false).await
    }

    /// Gets each path in turn over one connection, over HTTP/2 if `h2`.
    ///
    /// # Errors
    /// As [`Visitor::get`], with the path.
    pub async fn get_each(&self, paths: &[String], h2: bool) -> Result<Vec<Answer>, String> {
        let (mut line, _) = self.connect(h2).await?;
        let mut answers = Vec::new();
        for path in paths {
            if !line.ready().await {
                return Err(format!("{path}: the connection was ended"));
            }
            let asked = line.send(self.request(Method::GET, path, &[], h2));
            let answer = tokio::time::timeout(LONGEST_ANSWER, asked).await;
            answers.push(
                answer.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(|e| format!("{path}: {e}"))?,
            );
        }
        Ok(answers)
    }

    /// Gets `path` over HTTP/2 on a connection of its own.
    ///
    /// # Errors
    /// As [`Visitor::get`].
    pub async fn get_h2(&self, path: &str) -> Result<Answer, String> {
        self.ask(Method::GET, path, &[], true).await
    }

    /// Asks anything, over HTTP/2 if `h2`.
    ///
    /// # Errors
    /// As [`Visitor::get`].
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], h2: bool) -> Result<Answer, String> {
        let asked = async {
            let (mut line, certificate) = self.connect(h2).await?;
            let answer = line.send(self.request(method, path, headers, h2)).await?;
            Ok(Answer { certificate, ..answer })
        };
        tokio::time::timeout(LONGEST_ANSWER, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    /// Sends one request on a connection of its own, over HTTP/2 if `h2`; see [`Talk::send`].
    ///
    /// # Errors
    /// As [`Visitor::get`].
    pub async fn send(&self, request: Request<Bytes>, h2: bool) -> Result<Answer, String> {
        self.talk(h2).send(request).await
    }

    /// Requests over one connection, of HTTP/2 if `h2`.
    pub fn talk(&self, h2: bool) -> Talk {
        Talk::of(self.clone(), h2)
    }

    /// Sends these bytes over a connection of their own, HTTP/1.1 or not, and returns all that comes until the server closes.
    ///
    /// # Errors
    /// When no connection is had, or the server does not close it in time.
    pub async fn exchange(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let exchanged = async {
            let mut stream = self.open(false).await?.stream;
            // A server that refuses the first bytes may close before the last are written: its answer counts.
            let _ = stream.write_all(bytes).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            Ok(answer)
        };
        tokio::time::timeout(LONGEST_ANSWER, exchanged).await.unwrap_or_else(|_| Err("not closed in time".to_owned()))
    }

    /// The certificate that the server shows, be it one to trust or not, DER.
    ///
    /// # Errors
    /// What went wrong, when none was shown.
    pub async fn shown(&self) -> Result<Vec<u8>, String> {
        let curious = Curious(ClientConfig::builder().crypto_provider().clone());
        let tls = ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(curious));
        let visitor = Visitor { tls: Arc::new(tls.with_no_client_auth()), ..self.clone() };
        let shown = async { visitor.connect(false).await.map(|(_, certificate)| certificate) };
        tokio::time::timeout(LONGEST_ANSWER, shown).await.unwrap_or_else(|_| Err("no certificate in time".to_owned()))
    }

    /// Gets `path` over plain HTTP from `address`.
    ///
    /// # Errors
    /// As [`Visitor::get`].
    pub async fn get_plain(&self, address: SocketAddr, path: &str) -> Result<Answer, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
        let (send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let mut line = Line::One(send);
        let answer = line.send(self.request(Method::GET, path, &[], false));
        tokio::time::timeout(LONGEST_ANSWER, answer).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        h2: bool,
    ) -> Request<Full<Bytes>> {
        let authority = format!("{}:{}", self.domain, self.address.port());
        let uri = if h2 { format!("https://{authority}{path}") } else { path.to_owned() };
        let mut request = Request::builder().method(method).uri(uri).header("user-agent", "visitor");
        if !h2 {
            request = request.header("host", authority);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::default()).expect("a valid request")
    }

    /// Opens a connection; the certificate it was greeted with.
    pub(crate) async fn connect(&self, h2: bool) -> Result<(Line, Vec<u8>), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connecting: {error}"))?;
        self.greet(stream, h2).await
    }

    /// Opens a TLS session on a connection of its own.
    pub(crate) async fn open(&self, h2: bool) -> Result<Opened, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connecting: {error}"))?;
        let authority = format!("{}:{}", self.domain, self.address.port());
        Ok(Opened { stream: self.shake_hands(stream, h2).await?, authority })
    }

    pub(crate) async fn shake_hands(&self, stream: TcpStream, h2: bool) -> Result<TlsStream<TcpStream>, String> {
        let protocol: &[u8] = if h2 { b"h2" } else { b"http/1.1" };
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![protocol.to_vec()];
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(self.domain.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        if stream.get_ref().1.alpn_protocol() == Some(protocol) {
            Ok(stream)
        } else {
            Err(format!("{} was not agreed on", String::from_utf8_lossy(protocol)))
        }
    }

    /// Opens a line over a connection that is there already.
    pub(crate) async fn greet(&self, stream: TcpStream, h2: bool) -> Result<(Line, Vec<u8>), String> {
        let stream = self.shake_hands(stream, h2).await?;
        let certificate = certificate(&stream);
        let line = if h2 {
            let (send, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
            tokio::spawn(connection);
            Line::Two(send)
        } else {
            let (send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
            tokio::spawn(connection);
            Line::One(send)
        };
        Ok((line, certificate))
    }
}

/// Takes whatever certificate it is shown, to look at it.
#[derive(Debug)]
struct Curious(Arc<CryptoProvider>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Line {
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let sent = self.try_send(request).await;
        sent.unwrap_or_else(|| Err("the connection was ended before the request".to_owned()))
    }

    /// Sends a request; none when it never left, or left when the server had said that it takes no more: a request
    /// that may be made again (RFC 9112 §9.3.1, RFC 9113 §8.7).
    pub(crate) async fn try_send(&mut self, request: Request<Full<Bytes>>) -> Option<Result<Answer, String>> {
        let answer = match self {
            Line::One(send) => send.try_send_request(request).await,
            Line::Two(send) => send.try_send_request(request).await,
        };
        match answer {
            Ok(answer) => Some(Line::receive(answer).await),
            Err(mut error) => {
                if error.take_message().is_some() || is_left_out(error.error()) {
                    None
                } else {
                    Some(Err(format!("no answer: {}", text(error.into_error()))))
                }
            }
        }
    }

    async fn receive(answer: Response<Incoming>) -> Result<Answer, String> {
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("a broken body: {}", text(error)))?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body, certificate: Vec::new() })
    }

    /// Waits until another request can be sent; false when the server has ended the connection.
    pub(crate) async fn ready(&mut self) -> bool {
        match self {
            Line::One(send) => send.ready().await.is_ok(),
            Line::Two(send) => send.ready().await.is_ok(),
        }
    }
}

fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain.first().map(|certificate| certificate.to_vec()).unwrap_or_default()
}

/// Whether the server ended the connection in good order before it took this request: it is above the last stream that
/// the server's GOAWAY names (RFC 9113 §6.8).
fn is_left_out(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}

/// An error with its causes.
fn text(error: hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
