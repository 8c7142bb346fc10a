//! A bucket in memory at the far end of the wire, for tests: what the real client asks is answered as S3 answers it, at once,
//! so that days pass and objects are replaced in a thousand places within seconds.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
    shared::IntoShared as _,
};
use bytes::Bytes;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;

use super::{Aws, in_region_with};

/// The one bucket that there is.
pub(crate) const BUCKET: &str = "sites";

/// A bucket in memory; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Stored>,
    /// Every call, as `GET www/site-latest.zip`, and when it came.
    calls: Vec<(Instant, String)>,
    down: bool,
    read_only: bool,
    unreadable: bool,
    shuffles: bool,
    meanwhile: Option<Meanwhile>,
}

/// What somebody else does before the next call is answered.
type Meanwhile = Box<dyn FnMut(&Memory, &str) + Send>;

#[derive(Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    modified: OffsetDateTime,
}

impl Memory {
    /// The way to it.
    pub(crate) async fn aws(&self) -> Aws {
        let client: SharedHttpClient = self.clone().into_shared();
        let region = Region::new("us-east-1");
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(client).region(region);
        in_region_with(loader.endpoint_url("http://127.0.0.1:1"), SharedCredentialsProvider::new(Anybody)).await
    }

    /// Puts an object there, written at that second.
    pub(crate) fn put(&self, key: &str, body: impl Into<Bytes>, second: i64) {
        let body = body.into();
        let etag = format!("\"{:08x}{:08x}-1\"", crc32fast::hash(&body), body.len());
        let modified = OffsetDateTime::from_unix_timestamp(second).expect("a time");
        self.inner().objects.insert(key.to_owned(), Stored { body, etag, modified });
    }

    /// Takes an object away.
    pub(crate) fn delete(&self, key: &str) {
        self.inner().objects.remove(key);
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.inner().objects.keys().cloned().collect()
    }

    /// Whether every call is answered with 503.
    pub(crate) fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// Whether nothing may be written.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.inner().read_only = read_only;
    }

    /// Whether no object may be read.
    pub(crate) fn set_unreadable(&self, unreadable: bool) {
        self.inner().unreadable = unreadable;
    }

    /// The content of an object, if it is there.
    pub(crate) fn body(&self, key: &str) -> Option<Bytes> {
        self.inner().objects.get(key).map(|object| object.body.clone())
    }

    /// Listings come in any order from now on.
    pub(crate) fn shuffle(&self) {
        self.inner().shuffles = true;
    }

    /// What somebody else does before each call is answered, which is told as `GET KEY`.
    pub(crate) fn meanwhile(&self, act: impl FnMut(&Memory, &str) + Send + 'static) {
        self.inner().meanwhile = Some(Box::new(act));
    }

    /// When each call came that begins so, such as `GET www/`.
    pub(crate) fn calls(&self, begin: &str) -> Vec<Instant> {
        let inner = self.inner();
        inner.calls.iter().filter(|(_, call)| call.starts_with(begin)).map(|(at, _)| *at).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics while it holds this")
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let rest =
            request.uri().split_once("//").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, rest)| rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let key = path.strip_prefix(BUCKET).unwrap_or_default().trim_start_matches('/').to_owned();
        let call = format!("{} {}", request.method(), if key.is_empty() { query } else { &*key });
        let act = self.inner().meanwhile.take();
        if let Some(mut act) = act {
            act(self, &call);
            self.inner().meanwhile.get_or_insert(act);
        }
        let mut inner = self.inner();
        inner.calls.push((Instant::now(), call));
        if inner.down {
            return refused(503, "SlowDown");
        }
        let header = |name: &str| request.headers().get(name);
        match (request.method(), key.is_empty()) {
            ("GET", true) if query.contains("versions") => xml(200, "<ListVersionsResult></ListVersionsResult>"),
            ("GET", true) => xml(200, &inner.listing()),
            ("PUT", _) if inner.read_only => refused(403, "AccessDenied"),
            ("PUT", _) => {
                let there = inner.objects.get(&key).map(|object| object.etag.clone());
                if header("if-none-match").is_some_and(|_| there.is_some())
                    || header("if-match").is_some_and(|etag| there.as_deref() != Some(etag))
                {
                    return refused(412, "PreconditionFailed");
                }
                drop(inner);
                let body = request.body().bytes().expect("small bodies lie in memory").to_vec();
                self.put(&key, body, OffsetDateTime::now_utc().unix_timestamp());
                HttpResponse::new(200.try_into().expect("a status"), SdkBody::empty())
            }
            (method, _) => {
                let refuses = |status, code| match method {
                    // The answer to a HEAD has no body.
                    "HEAD" => HttpResponse::new(u16::try_into(status).expect("a status"), SdkBody::empty()),
                    _ => refused(status, code),
                };
                let object = match inner.objects.get(&key) {
                    Some(_) if inner.unreadable => return refuses(403, "AccessDenied"),
                    Some(object) => object,
                    // As to a caller who may not list it.
                    None => return refuses(403, "AccessDenied"),
                };
                if header("if-match").is_some_and(|etag| etag != object.etag) {
                    return refused(412, "PreconditionFailed");
                }
                if header("if-none-match").is_some_and(|etag| etag == object.etag) {
                    return refused(304, "NotModified");
                }
                object.answer(header("range"), method == "HEAD")
            }
        }
    }
}

impl Inner {
    fn listing(&self) -> String {
        let mut objects: Vec<_> = self.objects.iter().collect();
        if self.shuffles {
            fastrand::shuffle(&mut objects);
        }
        let mut text = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        for (key, object) in objects {
            let etag = object.etag.replace('"', "&quot;");
            let size = object.body.len();
            let at = object.modified.format(&Rfc3339).expect("a time");
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>{at}</LastModified><ETag>{etag}</ETag><Size>{size}</Size></Contents>"
            );
        }
        text + "</ListBucketResult>"
    }
}

impl Stored {
    fn answer(&self, range: Option<&str>, head: bool) -> HttpResponse {
        let length = self.body.len();
        let span = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let span = span.and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<usize>().ok()?.min(length - 1))));
        let (status, body): (u16, _) = match span {
            _ if head => (200, Bytes::new()),
            Some((from, to)) => (206, self.body.slice(from..=to)),
            None => (200, self.body.clone()),
        };
        let size = if head { length } else { body.len() };
        let mut answer = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body));
        let headers = answer.headers_mut();
        headers.insert("etag", self.etag.clone());
        headers.insert("content-length", size.to_string());
        if let Some((from, to)) = span {
            headers.insert("content-range", format!("bytes {from}-{to}/{length}"));
        }
        answer
    }
}

fn refused(status: u16, code: &str) -> HttpResponse {
    xml(status, &format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"))
}

fn xml(status: u16, body: &str) -> HttpResponse {
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body.to_owned()))
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bucket in memory")
    }
}

impl HttpConnector for Memory {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.answer(&request)))
    }
}

impl HttpClient for Memory {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Credentials that the test client accepts unchecked.
#[derive(Debug)]
struct Anybody;

impl ProvideCredentials for Anybody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Ok(Credentials::new("id", "secret", None, None, "test")))
    }
}
