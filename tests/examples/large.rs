//! A package of several gigabytes: how long until it is served, what memory that takes, and what visitors notice.
//!
//! ```sh
//! SPOTHOST_BIN=… cargo run --release -p spothost-tests --example large -- --gb 5
//! ```
//!
//! The store is a stand-in for S3 that has one object and knows just the calls that a host makes of it, because moto keeps
//! objects in memory. A second agent is killed halfway: what it has fetched is not fetched again.

use std::{
    convert::Infallible,
    env, fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use world::{Agent, Load, Site, Visitor, own_address};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const LONG: Duration = Duration::from_secs(1_800);
/// Length of one of its files.
const FILE: usize = 256 << 20;

/// An S3 with one object: a small package at first, then a large one.
struct Store {
    small: Vec<u8>,
    large: fs::File,
    length: u64,
    crc: u32,
    is_large: AtomicBool,
    sent: AtomicU64,
}

#[tokio::main]
async fn main() {
    let gigabytes: f64 = argument("--gb").and_then(|number| number.parse().ok()).unwrap_or(5.0);
    let folder = argument("--folder").map_or_else(env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a temporary folder");
    let store = Arc::new(Store::new(&folder.path().join("large.zip"), (gigabytes * 1e9) as u64).expect("a large file"));
    let endpoint = serve(store.clone()).await;
    println!("a package of {:.2} GB, store on loopback", store.length as f64 / 1e9);
    whole(&store, endpoint, folder.path()).await;
    killed_halfway(&store, endpoint, folder.path()).await;
}

/// From a small site to the large one, under load.
async fn whole(store: &Store, endpoint: SocketAddr, folder: &Path) {
    let (mut agent, visitor) = start(endpoint, &folder.join("whole"), own_address().to_string()).await;
    shown(&mut agent, &visitor, "small").await;
    let (before, _, _) = memory(&agent);
    let pages = Site::titled("small").pages().into_iter().map(|(path, mut bodies)| {
        bodies.extend(Site::titled("large").pages().remove(&path).unwrap_or_default());
        (path, bodies)
    });
    let load = Load::start(&visitor, 4, pages.collect());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let quiet = load.latencies();
    store.is_large.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let mut fetched = None;
    let mut most = (0, 0, 0);
    let mut said = String::new();
    while !visitor.get("/").await.is_ok_and(|answer| answer.text().contains("large")) {
        let now = memory(&agent);
        most = (most.0.max(now.0), most.1.max(now.1), most.2.max(now.2));
        if let Some(doing) = agent.part("package")["doing"].as_str().filter(|doing| doing.contains('%')) {
            said = doing.to_owned();
        }
        if store.sent.load(Ordering::Relaxed) >= store.length {
            fetched.get_or_insert_with(|| begun.elapsed());
        }
        assert!(begun.elapsed() < LONG, "not served in time\n{}", agent.last_lines());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let served = begun.elapsed();
    let during = load.latencies().since(&quiet);
    let tally = load.stop().await;
    let mb = |kib: u64| kib as f64 / 1024.0;
    println!("fetched in {:.1?}, checked, judged and served after {served:.1?}", fetched.unwrap_or(served));
    println!(
        "memory: {:.1} MB before; at most {:.1} MB of its own and {:.0} MB of pages of the package, which the kernel may take back",
        mb(before),
        mb(most.1),
        mb(most.2)
    );
    println!("the board said last: {said}");
    for (what, measured) in [("quiet", &quiet), ("meanwhile", &during)] {
        let at = |share| measured.percentile(share);
        println!(
            "visitors, {what}: {} answers, p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}",
            measured.count(),
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    println!("{} failed, {} connections closed", tally.failed + tally.refused, tally.reopened);
    agent.stop().await;
}

/// The agent is killed when half of it has come, and starts again.
async fn killed_halfway(store: &Store, endpoint: SocketAddr, folder: &Path) {
    let folder = folder.join("killed");
    let address = own_address().to_string();
    store.is_large.store(false, Ordering::Relaxed);
    let (mut agent, visitor) = start(endpoint, &folder, address.clone()).await;
    shown(&mut agent, &visitor, "small").await;
    store.sent.store(0, Ordering::Relaxed);
    store.is_large.store(true, Ordering::Relaxed);
    agent.wait_for("half of it", LONG, async |_| store.sent.load(Ordering::Relaxed) > store.length / 2).await;
    agent.kill().await;
    let begun = Instant::now();
    let (mut agent, visitor) = start(endpoint, &folder, address).await;
    shown(&mut agent, &visitor, "small").await;
    let again = begun.elapsed();
    shown(&mut agent, &visitor, "large").await;
    let sent = store.sent.load(Ordering::Relaxed) as f64 / store.length as f64;
    println!(
        "killed halfway: the site before it after {again:.1?}; {:.0} % of the package was sent in all",
        sent * 100.0
    );
    agent.stop().await;
}

impl Store {
    fn new(path: &Path, length: u64) -> io::Result<Store> {
        let mut noise = vec![0; FILE];
        fastrand::Rng::with_seed(5).fill(&mut noise);
        let mut zip = ZipWriter::new(io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, body) in Site::titled("large").files() {
            zip.start_file(name.as_str(), stored)?;
            zip.write_all(body)?;
        }
        for number in 0..length.div_ceil(FILE as u64) {
            zip.start_file(format!("video-{number}.mp4"), stored)?;
            zip.write_all(&noise)?;
        }
        zip.finish()?.flush()?;
        let large = fs::File::open(path)?;
        let length = large.metadata()?.len();
        let mut crc = crc32fast::Hasher::new();
        let mut at = 0;
        while at < length {
            let read = large.read_at(&mut noise, at)?;
            crc.update(&noise[..read]);
            at += read as u64;
        }
        let small = Site::titled("small").zip();
        Ok(Store { small, large, length, crc: crc.finalize(), is_large: false.into(), sent: 0.into() })
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let large = self.is_large.load(Ordering::Relaxed);
        let (etag, length) = if large { ("\"large\"", self.length) } else { ("\"small\"", self.small.len() as u64) };
        let crc = if large { self.crc } else { crc32fast::hash(&self.small) };
        let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let object = request.uri().path().contains("-latest.zip");
        let answer = Response::builder().header("etag", etag).header("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT");
        let (status, body) = match (request.method(), object) {
            (&Method::HEAD, true) if field("if-none-match") == Some(etag) => (304, Bytes::new()),
            (&Method::HEAD, true) => {
                let crc = BASE64_STANDARD.encode(crc.to_be_bytes());
                let answer = answer.header("x-amz-checksum-crc32", crc).header("x-amz-checksum-type", "FULL_OBJECT");
                return answer.header("content-length", length).body(Full::default()).expect("an answer");
            }
            (&Method::GET, true) => {
                let range = field("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
                let (from, to) = range.map_or((0, length - 1), |(from, to)| (number(from), number(to)));
                let body = self.part(large, from, to + 1 - from);
                self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
                let answer = answer.status(if range.is_some() { 206 } else { 200 });
                let answer = answer.header("content-range", format!("bytes {from}-{to}/{length}"));
                return answer.body(Full::new(body)).expect("an answer");
            }
            (&Method::GET, false) if request.uri().query().is_some_and(|query| query.contains("list-type")) => {
                (200, listing(etag, length).into())
            }
            (&Method::PUT, _) => (200, Bytes::new()),
            _ => (404, Bytes::new()),
        };
        answer.status(status).body(Full::new(body)).expect("an answer")
    }

    fn part(&self, large: bool, from: u64, length: u64) -> Bytes {
        if !large {
            return Bytes::from(self.small.clone()).slice(from as usize..(from + length) as usize);
        }
        let mut part = vec![0; length as usize];
        self.large.read_exact_at(&mut part, from).expect("the file is whole");
        part.into()
    }
}

fn listing(etag: &str, length: u64) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents>\
         <Key>www/site-latest.zip</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified><ETag>{etag}</ETag>\
         <Size>{length}</Size></Contents></ListBucketResult>"
    )
}

async fn serve(store: Arc<Store>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let store = store.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                let store = store.clone();
                async move {
                    let _ = request.body_mut().collect().await;
                    Ok::<_, Infallible>(store.answer(&request))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Starts an agent on that folder; and somebody who trusts its CA.
async fn start(endpoint: SocketAddr, folder: &Path, address: String) -> (Agent, Visitor) {
    fs::create_dir_all(folder).expect("a folder");
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "domain = \"localhost\"\npackage = \"s3://bucket/www/\"\nvault = \"file://{}\"\n[acme]\ndirectory = \"internal\"\n\
         [listen]\nhttp = \"{address}:8080\"\nhttps = \"{address}:8443\"\n[look]\npackage = \"1s\"\n",
        at("identity.json")
    );
    fs::write(folder.join("spothost.toml"), config).expect("a file");
    let environment = [
        ("STATE_DIRECTORY", at("state")),
        ("RUNTIME_DIRECTORY", at("run")),
        ("AWS_ENDPOINT_URL", format!("http://{endpoint}")),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{endpoint}")),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "example".to_owned()),
    ];
    let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let agent = Agent::start(&["run", "--config", &at("spothost.toml")], &environment, folder);
    let roots = world::eventually_some("the local CA", Duration::from_secs(30), async || {
        let entries = fs::read_dir(folder.join("state/local-ca")).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| fs::read_to_string(path).is_ok_and(|text| text.starts_with("-----BEGIN CERTIFICATE")))
    });
    let visitor = Visitor::new("localhost", format!("{address}:8443").parse().expect("an address"), &roots.await);
    (agent, visitor)
}

async fn shown(agent: &mut Agent, visitor: &Visitor, title: &str) {
    agent
        .wait_for(title, LONG, async |_| visitor.get("/").await.is_ok_and(|answer| answer.text().contains(title)))
        .await;
}

/// Resident memory in KiB: all of it, the process's own, and pages of files.
fn memory(agent: &Agent) -> (u64, u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    (field("VmRSS:"), field("RssAnon:"), field("RssFile:"))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

fn argument(name: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != name).nth(1)
}
