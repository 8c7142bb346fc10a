//! The way to the CA: HTTPS with a limit on time and size, which remembers what the CA last refused with.
//!
//! instant-acme gives the problem document of a refusal, but not its `Retry-After`, and a refusal that is no problem
//! document (a proxy's 503) as broken JSON; both matter to how long to wait.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    future::Future,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    header::{HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use serde::{Deserialize, de::IgnoredAny};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{clock, fault::Fault};

/// One request to a CA takes seconds at the most.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// The header that a nonce comes in (RFC 8555 §6.5.1).
const NONCE: &str = "replay-nonce";
/// A chain is a few kilobytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// The last refusal of the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CaRefusal {
    /// The status it came with.
    pub(super) status: StatusCode,
    /// How long it asked to wait.
    pub(super) retry_after: Option<Duration>,
}

/// A client for one run of the protocol. What it has read of the directory holds as long.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    refusal: Arc<Mutex<Option<CaRefusal>>>,
    /// The answers that instant-acme asks for although the CA has given them.
    known: Arc<Mutex<Known>>,
}

/// What the CA has said without being asked again.
#[derive(Default)]
struct Known {
    /// The directory, under its URL.
    directory: Option<(Uri, Bytes)>,
    /// The nonce of the answer to the last POST, which none has spent since (RFC 8555 §6.5).
    nonce: Option<HeaderValue>,
}

impl Known {
    /// The answer to that request, if the CA has given it; a POST may spend the nonce.
    fn answer(&mut self, method: &Method, url: &Uri) -> Option<Response<Full<Bytes>>> {
        let nonce = self.nonce.take_if(|_| [Method::POST, Method::HEAD].contains(method));
        if *method == Method::HEAD {
            // instant-acme asks for nothing but nonces that way (RFC 8555 §7.2).
            let mut answer = Response::new(Full::default());
            answer.headers_mut().insert(NONCE, nonce?);
            return Some(answer);
        }
        let (_, directory) = self.directory.as_ref().filter(|(known, _)| *method == Method::GET && known == url)?;
        Some(Response::new(Full::new(directory.clone())))
    }
}

impl Transport {
    /// A client that trusts the roots in the PEM file, or those of the system.
    pub(super) fn new(roots: Option<&Path>) -> Result<Transport, Fault> {
        let connector = match roots {
            Some(path) => HttpsConnectorBuilder::new().with_tls_config(trusting(path)?),
            None => HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(|error| {
                let remedy = "install the CA certificates of the system (package ca-certificates)";
                Fault::operator("loading the roots that the system trusts", error, remedy)
            })?,
        };
        let connector = connector.https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Transport { client, refusal: Arc::default(), known: Arc::default() })
    }

    /// The profiles that the CA with that directory offers, by name.
    ///
    /// # Errors
    /// As [`Transport::about`].
    pub(super) async fn profiles(&self, directory: &str) -> Result<Vec<String>, Fault> {
        Ok(self.about(directory).await?.profiles)
    }

    /// What the CA with that directory says of itself.
    ///
    /// # Errors
    /// When the CA cannot be reached, or its answer is not a directory.
    pub(super) async fn about(&self, directory: &str) -> Result<DirectoryMetadata, Fault> {
        let doing = format!("reading {directory}");
        let request = Request::get(directory).header(USER_AGENT, "spothost").body(BodyWrapper::default());
        let request = request.map_err(|error| Fault::operator(&doing, error, "correct [acme] directory"))?;
        let url = request.uri().clone();
        let mut answer = self.request(request).await.map_err(|error| Fault::retry(&doing, error))?;
        let body = answer.body.into_bytes().await.map_err(|error| Fault::retry(&doing, error))?;
        if let Some(refusal) = self.refusal() {
            let said = refusal.status;
            return Err(match refusal.retry_after {
                Some(time) => Fault::wait(&doing, said, time),
                None => Fault::retry(&doing, said),
            });
        }
        let read = serde_json::from_slice::<Directory>(&body);
        let read =
            read.map_err(|_| Fault::operator(&doing, "it is no directory of ACME", "correct [acme] directory"))?;
        self.known().directory = Some((url, body));
        Ok(DirectoryMetadata {
            profiles: read.meta.profiles.into_keys().collect(),
            caa_identities: read.meta.caa_identities,
            external_account_required: read.meta.external_account_required,
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last refusal since this was last asked.
    pub(super) fn refusal(&self) -> Option<CaRefusal> {
        self.refusal.lock().ok().and_then(|mut refusal| refusal.take())
    }
}

/// The fields of a directory that are used here (RFC 8555 §7.1.1).
#[derive(Deserialize)]
struct Directory {
    #[serde(rename = "newOrder")]
    _new_order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default)]
    profiles: BTreeMap<String, IgnoredAny>,
    #[serde(default, rename = "caaIdentities")]
    caa_identities: Vec<String>,
    #[serde(default, rename = "externalAccountRequired")]
    external_account_required: bool,
}

/// The `meta` object of a CA's directory (RFC 8555 §7.1.1, and the draft on profiles).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryMetadata {
    /// Names of the profiles that it offers.
    pub profiles: Vec<String>,
    /// The names by which CAA records allow it.
    pub caa_identities: Vec<String>,
    /// Whether it wants accounts to be bound to accounts of its own.
    pub external_account_required: bool,
}

/// Reads the `meta` object of that CA's directory.
///
/// # Errors
/// When it cannot be reached, or its answer is not a directory.
pub async fn about(ca: &crate::config::Ca) -> Result<DirectoryMetadata, Fault> {
    Transport::new(ca.roots.as_deref())?.about(&ca.directory).await
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        if let Some(answer) = self.known().answer(request.method(), request.uri()) {
            return Box::pin(async { Ok(BytesResponse::from(answer)) });
        }
        let posts = *request.method() == Method::POST;
        let known = self.known.clone();
        let answer = self.client.request(request);
        let refusal = self.refusal.clone();
        Box::pin(async move {
            let answer = match tokio::time::timeout(LONGEST_CALL, answer).await {
                Ok(answer) => answer.map_err(|error| Error::Other(Box::new(Spelled::of(&error))))?,
                Err(_) => return Err(Error::Str("an answer within 20 s")),
            };
            if posts {
                let nonce = answer.headers().get(NONCE).cloned();
                known.lock().unwrap_or_else(PoisonError::into_inner).nonce = nonce;
            }
            let status = answer.status();
            if status.is_client_error() || status.is_server_error() {
                let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let retry_after = retry_after.and_then(|value| wait(value, clock::now().into()));
                if let Ok(mut refusal) = refusal.lock() {
                    *refusal = Some(CaRefusal { status, retry_after });
                }
            }
            Ok(BytesResponse::from(answer.map(|body| Limited::new(body, LARGEST_ANSWER))))
        })
    }
}

/// An error with its causes spelled out, which the client's own words leave away.
#[derive(Debug)]
struct Spelled(String);

impl Spelled {
    fn of(error: &(dyn StdError + 'static)) -> Spelled {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        Spelled(words)
    }
}

impl std::fmt::Display for Spelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Spelled {}

/// `Retry-After` is seconds or a date (RFC 9110 §10.2.3).
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok().map(|at| at.duration_since(now).unwrap_or_default()),
    }
}

fn trusting(path: &Path) -> Result<ClientConfig, Fault> {
    let doing = || format!("reading [acme] roots {}", path.display());
    let unreadable = |said: String| Fault::operator(doing(), said, "name a PEM file with at least one certificate");
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
        let root = root.map_err(|error| unreadable(error.to_string()))?;
        roots.add(root).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        Err(unreadable("no certificate in it".to_owned()))
    } else {
        Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ca_is_asked_for_nothing_that_it_has_said() {
        let directory: Uri = "https://ca.example/directory".parse().expect("a URL");
        let nonces: Uri = "https://ca.example/nonce".parse().expect("a URL");
        let mut known = Known::default();
        assert!(known.answer(&Method::GET, &directory).is_none() && known.answer(&Method::HEAD, &nonces).is_none());
        known.directory = Some((directory.clone(), Bytes::from_static(b"{}")));
        known.nonce = Some(HeaderValue::from_static("n1"));
        assert!(known.answer(&Method::GET, &directory).is_some() && known.answer(&Method::GET, &nonces).is_none());
        let answer = known.answer(&Method::HEAD, &nonces).expect("a nonce");
        assert_eq!(answer.headers().get(NONCE), Some(&HeaderValue::from_static("n1")));
        assert!(known.answer(&Method::HEAD, &nonces).is_none(), "a nonce is good for one request");
        known.nonce = Some(HeaderValue::from_static("n2"));
        assert!(known.answer(&Method::POST, &directory).is_none());
        assert!(known.answer(&Method::HEAD, &nonces).is_none(), "the POST may have spent it");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").expect("a date");
        let table = [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("Sat, 21 Nov 2026 12:01:00 GMT", Some(60)),
            ("Sat, 21 Nov 2026 11:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in table {
            assert_eq!(wait(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
