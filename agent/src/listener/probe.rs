//! Asking a host for its site as a visitor would: over TLS, with the real name.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
};

use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{ACCEPT_ENCODING, HOST, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use crate::{config::Name, fault::Fault};

const SILENCE: &str = "nothing is heard";
const FULL: &str = "it takes no more connections";

/// Asks this host at `address` for `/` of `domain` and expects the certificate `leaf`.
///
/// # Errors
/// When nothing is heard ([`is_silence`]); when another certificate is shown; when the answer is not one of a site.
pub(super) async fn probe(address: SocketAddr, domain: &Name, leaf: &[u8]) -> Result<(), Fault> {
    ask(address, domain, Some(leaf)).await
}

/// Asks the host at `address` for `/` of `domain`, whatever certificate it shows: whether it answers with a site.
pub(super) async fn answers(address: SocketAddr, domain: &Name) -> Result<(), Fault> {
    ask(address, domain, None).await
}

/// Asks the host at `address` for `/` of `domain`, whatever certificate it shows: whether it says when to come back
/// (503 with `Retry-After`, RFC 9110 §15.6.4).
pub(super) async fn waits(address: SocketAddr, domain: &Name) -> Result<(), Fault> {
    let answer = asked(address, domain, None).await?;
    match answer.status() == StatusCode::SERVICE_UNAVAILABLE && answer.headers().contains_key(RETRY_AFTER) {
        true => Ok(()),
        false => Err(Fault::retry(doing(address, domain), answer.status())),
    }
}

async fn ask(address: SocketAddr, domain: &Name, leaf: Option<&[u8]>) -> Result<(), Fault> {
    let status = asked(address, domain, leaf).await?.status();
    match is_of_a_site(status) {
        true => Ok(()),
        false => Err(Fault::retry(doing(address, domain), status)),
    }
}

/// What the host at `address` answers when it is asked for `/` of `domain`, whatever certificate it shows.
pub(super) async fn status(address: SocketAddr, domain: &Name) -> Result<StatusCode, Fault> {
    asked(address, domain, None).await.map(|answer| answer.status())
}

fn doing(address: SocketAddr, domain: &Name) -> String {
    format!("asking {address} for https://{domain}/")
}

async fn asked(address: SocketAddr, domain: &Name, leaf: Option<&[u8]>) -> Result<Response<Incoming>, Fault> {
    let failed = |said: String| Fault::retry(doing(address, domain), said);
    let stream = match leaf {
        Some(_) => connect_to_itself(address).await,
        None => TcpStream::connect(address).await,
    };
    let stream = stream.map_err(|error| silence(address, &error.to_string()))?;
    let name = ServerName::try_from(domain.to_string()).map_err(|error| failed(error.to_string()))?;
    let tls = TlsConnector::from(expecting(leaf)?).connect(name, stream).await;
    let tls = tls.map_err(|error| match is_closed(&error) {
        true => failed(FULL.to_owned()),
        false => failed(format!("TLS: {error}")),
    })?;
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
pub(super) fn silence(address: SocketAddr, said: &str) -> Fault {
    Fault::retry(format!("asking {address}"), format!("{SILENCE}: {said}"))
}

/// Whether a probe failed because nothing was heard, rather than because of what was.
pub(super) fn is_silence(fault: &Fault) -> bool {
    fault.said.starts_with(SILENCE)
}

/// Whether a probe was turned away: accepted, and closed before a word was said, as a server does that has as many connections
/// as it may have. Whoever does that lives.
pub(super) fn is_full(fault: &Fault) -> bool {
    fault.said.starts_with(FULL)
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

fn expecting(leaf: Option<&[u8]>) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(ExactlyThis { leaf: leaf.map(<[u8]>::to_vec), provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::retry("making a TLS client", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts one certificate and no other: stricter than a chain of trust, and it works with a private CA as well. Or any,
/// where all that is asked is whether somebody answers.
#[derive(Debug)]
struct ExactlyThis {
    leaf: Option<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ExactlyThis {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.leaf.as_ref().is_none_or(|expected| leaf.as_ref() == *expected) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::General("another certificate than the one that is held".to_owned())),
        }
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
        assert!(is_silence(&fault), "{fault}");
    }
}
