//! Asking a host for its site as a visitor would: over TLS, with the real name.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{ACCEPT_ENCODING, HOST, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::{
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_name,
        },
        crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::ParsedCertificate,
    },
};

use crate::{
    fault::{Cause, Fault},
    place::Name,
};

/// The answer of an address that is asked for a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: no program listens, or nothing gets through.
    Nothing,
    /// Something that is no answer of a host of the domain: another certificate, or none, or a fault.
    Somebody,
    /// That it has as many connections as it may have: it lives, and serves others.
    Full,
    /// A host of the domain, which says that it has no site or certificate yet (503 with `Retry-After`).
    Waiting,
    /// The site.
    Site,
}

impl Heard {
    /// Whether the site is answered there. One that turns a probe away has all the connections it may have: that is visitors'
    /// doing, or strangers', and no reason to move the names.
    pub fn answers(self) -> bool {
        matches!(self, Heard::Site | Heard::Full)
    }
}

/// What is heard from `address` within `limit`, asked for `domain`. A host that shows a certificate of another name, as the next
/// user of an address does, is none of its hosts.
pub async fn heard(address: SocketAddr, domain: &Name, limit: Duration) -> Heard {
    match within(limit, address, hear(address, domain)).await {
        Ok(heard) => heard,
        Err(fault) => match fault.cause {
            Cause::Silence => Heard::Nothing,
            Cause::Full => Heard::Full,
            _ => Heard::Somebody,
        },
    }
}

/// What the host at `address` answers when it is asked over TLS for the front page of `domain`, whatever certificate it
/// shows; nothing, where that is no HTTPS.
pub async fn status(address: SocketAddr, domain: &Name, limit: Duration) -> Option<StatusCode> {
    let answer = timeout(limit, asked(address, domain, Expected::Any)).await.ok()?.ok()?;
    Some(answer.status())
}

/// Asks this host at `address` for `/` of `domain` and expects the certificate `leaf`.
///
/// # Errors
/// When nothing is heard ([`Cause::Silence`]); when another certificate is shown; when the answer is not one of a site.
pub(crate) async fn probe(address: SocketAddr, domain: &Name, leaf: &[u8]) -> Result<(), Fault> {
    let status = asked(address, domain, Expected::Leaf(leaf.to_vec())).await?.status();
    if is_of_a_site(status) { Ok(()) } else { Err(Fault::retry(doing(address, domain), status)) }
}

/// Asks the host at `address` for `/` of `domain`, whatever certificate it shows: whether it says when to come back
/// (503 with `Retry-After`, RFC 9110 §15.6.4).
pub(crate) async fn waits(address: SocketAddr, domain: &Name) -> Result<(), Fault> {
    let answer = asked(address, domain, Expected::Any).await?;
    if says_when_to_come_back(&answer) { Ok(()) } else { Err(Fault::retry(doing(address, domain), answer.status())) }
}

/// Asks the host at `address` for `/` of `domain` and expects any certificate of that name: what is heard from it. Hosts of a
/// domain in two regions have a certificate each, and one that waits has made its own.
///
/// # Errors
/// When nothing is heard ([`Cause::Silence`]); when another certificate is shown, or none.
async fn hear(address: SocketAddr, domain: &Name) -> Result<Heard, Fault> {
    let answer = asked(address, domain, Expected::OfTheName).await?;
    Ok(match answer.status() {
        status if is_of_a_site(status) => Heard::Site,
        _ if says_when_to_come_back(&answer) => Heard::Waiting,
        _ => Heard::Somebody,
    })
}

/// What `probe` of that address comes to within `limit`; silence after that.
///
/// # Errors
/// The fault of the probe, or [`Cause::Silence`].
pub(crate) async fn within<T>(
    limit: Duration,
    at: SocketAddr,
    probe: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    timeout(limit, probe).await.unwrap_or_else(|_| Err(silence(at, "no answer in time")))
}

fn says_when_to_come_back(answer: &Response<Incoming>) -> bool {
    answer.status() == StatusCode::SERVICE_UNAVAILABLE && answer.headers().contains_key(RETRY_AFTER)
}

fn doing(address: SocketAddr, domain: &Name) -> String {
    format!("asking {address} for https://{domain}/")
}

async fn asked(address: SocketAddr, domain: &Name, expected: Expected) -> Result<Response<Incoming>, Fault> {
    let failed = |said: String| Fault::retry(doing(address, domain), said);
    let stream = match expected {
        Expected::Leaf(_) => connect_to_itself(address).await,
        Expected::OfTheName | Expected::Any => TcpStream::connect(address).await,
    };
    let stream = stream.map_err(|error| silence(address, &error.to_string()))?;
    let name = ServerName::try_from(domain.to_string()).map_err(|error| failed(error.to_string()))?;
    let tls = TlsConnector::from(expecting(expected)?).connect(name, stream).await;
    let tls =
        tls.map_err(|error| if is_closed(&error) { full(address, domain) } else { failed(format!("TLS: {error}")) })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(tls)).await.map_err(|error| failed(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/").header(HOST, domain.as_str()).header("user-agent", "spothost-probe");
    // As it lies in the package: what has to be inflated is what strangers can use up.
    let request = request.header(ACCEPT_ENCODING, "gzip, br, zstd");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(error.to_string()));
    connection.abort();
    answer
}

/// Connects from the address that is asked, where that is one of this machine: by that the server knows that no stranger asks,
/// and answers however many of them there are.
async fn connect_to_itself(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    match socket.bind(SocketAddr::new(address.ip(), 0)) {
        Ok(()) => socket.connect(address).await,
        Err(_) => TcpStream::connect(address).await,
    }
}

/// The fault of an address that nothing is heard from.
fn silence(address: SocketAddr, said: &str) -> Fault {
    Fault::retry(format!("asking {address}"), format!("it does not answer: {said}")).because(Cause::Silence)
}

/// The fault of a host that turns a probe away: accepted, and closed before a word was said, as a server does that has as many
/// connections as it may have. Such a host lives.
fn full(address: SocketAddr, domain: &Name) -> Fault {
    Fault::retry(doing(address, domain), "it takes no more connections").because(Cause::Full)
}

/// Whether the other side has closed the connection, rather than said that it wants none.
fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// A page, a redirect, or that there is no such page: the site decides. 421 and 5xx do not come from a site.
fn is_of_a_site(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::MISDIRECTED_REQUEST
}

fn expecting(expected: Expected) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(ShownCertificate { expected, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::retry("making a TLS client", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Which certificate is accepted. No chain of trust is asked for: it works with a private CA as well.
#[derive(Debug)]
enum Expected {
    /// This one, in DER, and no other.
    Leaf(Vec<u8>),
    /// Any of the name that is asked for.
    OfTheName,
    /// Any, where the only question is whether a program answers.
    Any,
}

/// Judges the certificate that is shown, whose key the handshake proves.
#[derive(Debug)]
struct ShownCertificate {
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ShownCertificate {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.expected {
            Expected::Leaf(expected) if leaf.as_ref() != expected => {
                return Err(Error::General("another certificate than the one that is held".to_owned()));
            }
            Expected::OfTheName => verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?,
            Expected::Leaf(_) | Expected::Any => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};

    use super::*;

    #[test]
    fn answer_of_a_site_is_anything_a_site_may_say() {
        let table = [(200, true), (308, true), (404, true), (401, true), (421, false), (500, false), (503, false)];
        for (status, expected) in table {
            assert_eq!(is_of_a_site(StatusCode::from_u16(status).expect("a status")), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn address_without_listener_is_silent() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("an address");
        let fault = probe(closed, &"a.example".parse().expect("a name"), b"").await.expect_err("closed");
        assert_eq!(fault.cause, Cause::Silence, "{fault}");
    }

    /// What is heard from a server that says `answer` to whatever it hears, or nothing and closes, or nothing at all.
    async fn heard_from(answer: Option<&'static [u8]>) -> Heard {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            match answer {
                Some(&[]) => {}
                Some(answer) => {
                    stream.write_all(answer).await.expect("written");
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
                None => std::future::pending().await,
            }
        });
        heard(address, &"a.example".parse().expect("a name"), Duration::from_millis(300)).await
    }

    #[tokio::test]
    async fn whoever_turns_away_lives_and_whoever_says_nothing_may_not() {
        let alert = b"\x15\x03\x03\x00\x02\x02\x50";
        let table = [(None, Heard::Nothing), (Some(&b""[..]), Heard::Full), (Some(&alert[..]), Heard::Somebody)];
        for (answer, expected) in table {
            assert_eq!(heard_from(answer).await, expected, "{answer:?}");
        }
    }

    /// A host that shows a certificate of `name`, and answers every request so.
    async fn host(name: &str, answer: &'static str) -> SocketAddr {
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = rcgen::CertificateParams::new(vec![name.to_owned()]).and_then(|params| params.self_signed(&key));
        let leaf = made.expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key in DER");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("versions of TLS").with_no_client_auth();
        let config = config.with_single_cert(vec![leaf], key).expect("a certificate and its key");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut tls) = acceptor.accept(stream).await else { continue };
                let mut request = [0; 1024];
                let _ = tls.read(&mut request).await;
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.shutdown().await;
            }
        });
        address
    }

    #[tokio::test]
    async fn only_who_shows_a_certificate_of_the_name_is_heard_as_one_of_its_hosts() {
        const SITE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        const WAITS: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n";
        const FAILS: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
        let table = [
            ("www.example.org", SITE, Some(Heard::Site)),
            ("*.example.org", SITE, Some(Heard::Site)),
            ("www.example.org", WAITS, Some(Heard::Waiting)),
            ("www.example.org", FAILS, Some(Heard::Somebody)),
            // The next user of an address that a host had.
            ("shop.example.net", SITE, None),
        ];
        let domain = "www.example.org".parse().expect("a name");
        for (name, answer, expected) in table {
            let heard = hear(host(name, answer).await, &domain).await;
            assert!(heard.as_ref().err().is_none_or(|fault| fault.cause != Cause::Silence), "{heard:?}");
            assert_eq!(heard.ok(), expected, "{name}, {answer}");
        }
    }
}
