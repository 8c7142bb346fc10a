//! The process that is AWS, DNS and CA for all tests of one binary.

use std::{
    env,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::connection;

/// A running world: where its parts listen, all on 127.0.0.1.
#[derive(Debug)]
pub struct World {
    // Its standard input is what keeps it alive: the process ends when that closes, however this one ends.
    _process: Child,
    ready: Value,
}

impl World {
    /// The strict world, started by the first test that asks.
    ///
    /// # Panics
    /// When its tools are missing, with the command that sets them up.
    pub fn shared() -> &'static World {
        static SHARED: OnceLock<World> = OnceLock::new();
        SHARED.get_or_init(|| {
            let pebble = tools().join("pebble/usr/bin/pebble");
            assert!(pebble.exists(), "{} is missing: tests/run sets it up", pebble.display());
            World::start(&["--pebble".to_owned(), pebble.display().to_string()])
        })
    }

    /// moto as it comes, without the overlay and without a CA: what the overlay's tests must fail on.
    ///
    /// # Panics
    /// As [`World::shared`] does.
    pub fn plain() -> &'static World {
        static PLAIN: OnceLock<World> = OnceLock::new();
        PLAIN.get_or_init(|| World::start(&["--plain".to_owned()]))
    }

    fn start(options: &[String]) -> World {
        let python = tools().join("python/bin/python");
        assert!(python.exists(), "{} is missing: tests/run sets it up", python.display());
        let mut process = Command::new(python)
            .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/world/overlay")])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the world starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the world says something");
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the world did not start; see above. It said: {line}"));
        World { _process: process, ready }
    }

    /// Where AWS listens.
    pub fn aws(&self) -> SocketAddr {
        self.port("aws")
    }

    /// Where the name servers listen, over UDP and TCP.
    pub fn dns(&self) -> SocketAddr {
        self.port("dns")
    }

    /// Where the CA listens, over TLS.
    pub fn acme(&self) -> SocketAddr {
        self.port("acme")
    }

    /// Where the CA is managed, over TLS.
    pub fn acme_management(&self) -> SocketAddr {
        self.port("acme_management")
    }

    /// PEM of the authority that certified the CA's own HTTPS.
    pub fn acme_authority(&self) -> PathBuf {
        self.file("acme_authority")
    }

    /// PEM of the root that the CA's certificates chain to.
    pub fn acme_issuer(&self) -> PathBuf {
        self.file("acme_issuer")
    }

    /// Whether this release of the CA has certificate profiles.
    pub fn acme_has_profiles(&self) -> bool {
        self.ready["acme_profiles"] == true
    }

    /// Asks the overlay something; see `world/overlay/control.py` for the verbs.
    ///
    /// # Panics
    /// When it is refused, with what the overlay said.
    pub async fn control(&self, verb: &str, query: &[(&str, &str)], body: Bytes) -> Value {
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let uri = format!("http://{}/overlay/{verb}?{}", self.aws(), query.join("&"));
        let request = Request::post(&uri).body(Full::new(body)).expect("a valid request");
        let answer = connection::plain_client().request(request).await.expect("the world answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("the whole answer").to_bytes();
        assert!(status.is_success(), "{uri}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Whether this release of the CA lets tests say when it would like to renew.
    ///
    /// # Panics
    /// When the CA cannot be asked.
    pub async fn tells_renewal_windows(&self) -> bool {
        self.renewal_info(Bytes::from_static(b"{}")).await.0 != http::StatusCode::NOT_FOUND
    }

    /// Lets the CA say of the certificate with that leaf (DER) when it would like to renew it: `answer` is sent as it is.
    ///
    /// # Panics
    /// When the CA refuses.
    pub async fn set_renewal_window(&self, leaf: &[u8], answer: &str) {
        let body = serde_json::json!({ "Certificate": pem(leaf), "ARIResponse": answer });
        let (status, said) = self.renewal_info(Bytes::from(body.to_string())).await;
        assert!(status.is_success(), "setting the renewal window: {status} {said}");
    }

    async fn renewal_info(&self, body: Bytes) -> (http::StatusCode, String) {
        let uri = format!("https://{}/set-renewal-info/", self.acme_management());
        let request =
            Request::post(&uri).header("user-agent", "spothost-tests").body(Full::new(body)).expect("a valid request");
        let client = connection::client(connection::roots(&self.acme_authority()));
        let answer = client.request(request).await.expect("the CA answers");
        let status = answer.status();
        let said = answer.into_body().collect().await.expect("the whole answer").to_bytes();
        (status, String::from_utf8_lossy(&said).into_owned())
    }

    /// The library by which a process sees another time of day (`LD_PRELOAD`).
    ///
    /// # Panics
    /// When it is missing, with the command that sets it up.
    pub(crate) fn libfaketime() -> PathBuf {
        let library = tools().join("libfaketime.so");
        assert!(library.exists(), "{} is missing: tests/run sets it up", library.display());
        library
    }

    /// A file below the folder that `tests/run` fills.
    ///
    /// # Panics
    /// When it is missing, with the command that sets it up.
    pub fn tool(path: &str) -> PathBuf {
        let tool = tools().join(path);
        assert!(tool.exists(), "{} is missing: tests/run sets it up", tool.display());
        tool
    }

    fn port(&self, name: &str) -> SocketAddr {
        let port = self.ready[name].as_u64().and_then(|port| u16::try_from(port).ok());
        (Ipv4Addr::LOCALHOST, port.unwrap_or_else(|| panic!("this world has no {name}"))).into()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.ready[name].as_str().unwrap_or_else(|| panic!("this world has no {name}")).into()
    }
}

/// The folder that `tests/run` sets up.
pub(crate) fn tools() -> PathBuf {
    let given = env::var_os("SPOTHOST_TEST_HOME").map(PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache");
    given.unwrap_or_else(|| cache.unwrap_or_else(home).join("spothost/test-tools"))
}

fn encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut all, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => all.push(byte.into()),
            other => write!(all, "%{other:02X}").expect("text grows"),
        }
        all
    })
}

/// A certificate in PEM (RFC 7468).
fn pem(certificate: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
