//! Serves a package with no agent: the library's shortest use, and what benchmarks and outside test suites drive.

use std::{
    net::SocketAddr,
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use spothost_server::{
    Access, AccessFormat, AccessTo, ApplicationAddress, Bound, Identity, Listen, LiveSite, PackageLimits, Settings,
    Site, TrustedProxy, metrics,
};
use tokio::sync::watch;

/// Serves a package until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// The zip to serve.
    #[arg(long)]
    package: PathBuf,
    /// Address of the plain HTTP listener.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Address of the HTTPS listener.
    #[arg(long, default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// PEM file of the certificate chain.
    #[arg(long)]
    cert: PathBuf,
    /// PEM file of the private key.
    #[arg(long)]
    key: PathBuf,
    /// The name that is served; localhost and the loopback addresses are served as well.
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// How many threads serve; one per core if it is not said.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Serve the site over plain HTTP too, instead of redirecting.
    #[arg(long)]
    plain: bool,
    /// Append access lines to this file, in the combined format.
    #[arg(long)]
    access: Option<PathBuf>,
    /// Pass what no file answers to an application: http://127.0.0.1:8000 or unix:/run/app.sock.
    #[arg(long)]
    app: Option<ApplicationAddress>,
    /// Take the word of load balancers in this network for whom they ask, such as 10.0.0.0/16.
    #[arg(long, value_name = "NETWORK")]
    trust_proxy: Vec<TrustedProxy>,
    /// How many seconds requests wait for an application that takes no connections.
    #[arg(long, default_value_t = 10)]
    hold: u64,
    /// Serve the counters for Prometheus at this loopback address.
    #[arg(long)]
    metrics: Option<SocketAddr>,
    /// Open connections per address.
    #[arg(long, default_value_t = 1_024)]
    connections_per_address: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let site = Site::open(&arguments.package, &PackageLimits::default())?;
    let opened = begun.elapsed();
    site.verify()?;
    println!("opened {} files in {opened:?}, verified them in {:?}", site.files(), begun.elapsed() - opened);
    for note in site.notes() {
        eprintln!("{note}");
    }
    let (chain, key) = (std::fs::read_to_string(&arguments.cert)?, std::fs::read_to_string(&arguments.key)?);
    let identity = Identity::from_pem(&chain, &key)?;
    let bound = Bound::bind(&Listen { http: arguments.http, https: arguments.https })?;
    println!("serving at http://{} and https://{}", bound.http(), bound.https());

    let (_site, sites) = watch::channel(Some(Arc::new(LiveSite::new(Arc::new(site)))));
    let (_identity, identities) = watch::channel(Some(Arc::new(identity)));
    let metrics = arguments.metrics;
    let running = bound.serve(settings(arguments), sites, identities)?;
    if let Some(address) = metrics {
        let counters = running.counters();
        tokio::spawn(async move {
            let Err(error) = metrics::serve(address, counters).await;
            eprintln!("counters are not served: {error}");
        });
    }
    tokio::signal::ctrl_c().await?;
    let drained = running.drain(Duration::ZERO, Duration::from_secs(10)).await;
    println!("{} requests were cut", drained.requests_cut);
    Ok(())
}

fn settings(arguments: Arguments) -> Settings {
    let mut settings = Settings::new(arguments.domain);
    settings.also = ["localhost", "127.0.0.1", "[::1]"].map(String::from).into();
    settings.plain = arguments.plain;
    settings.threads = arguments.threads;
    settings.access = arguments.access.map(|path| Access { format: AccessFormat::Combined, to: AccessTo::File(path) });
    settings.application = arguments.app;
    settings.application_bounds.hold = Duration::from_secs(arguments.hold);
    settings.trusted_proxies = arguments.trust_proxy;
    settings.bounds.connections_per_address = arguments.connections_per_address;
    settings
}
