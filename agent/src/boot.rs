//! Which keepers a host has, and what flows between them.
//!
//! The order is possession: each keeper is built from what the ones before it yield. What does not need each other
//! runs beside each other; only the address comes after everything. A keeper is put to work by a [`KeeperRunner`]: that of
//! `spothost run` runs it for good, that of `spothost check` lets it look once.

use std::{net::SocketAddr, time::Duration};

use tokio::sync::watch;

use crate::{
    app::{Adoption, Applications, Secrets},
    aws::{Aws, Host, aws_session, metadata::Metadata},
    certificate::{Certificates, Certifier, Vault},
    claim::{NameService, Routing},
    config::{Config, RoutingMode, Succession as Policy},
    departure::{Departing, Departure, Interruption, Notices, Signals},
    fleet::{AtRest, FleetClient},
    folders::Folders,
    host::Facts,
    keeper::{Keeper, Kept, Yield},
    listener::{Feeds, Listener, Placeholder},
    package::{Following, Packages, Source},
    place::PackagePlace,
    presence::{self, Presence},
    routing::{self, MovingElasticIp, MovingRecords, Multivalue, Router},
    status::Status,
    succession::{SuccessionKeeper, SuccessionSources, SuccessionState},
};

/// How long a host at most stays that an Elastic IP has left.
const SPARE: Duration = Duration::from_secs(60);

/// Puts keepers to work.
pub trait KeeperRunner {
    /// Lets `keeper` work; what it yields.
    fn keep<K: Keeper>(&mut self, keeper: K) -> impl Future<Output = Yield<K::Held>>;

    /// Runs a task beside the keepers.
    fn beside(&mut self, task: impl Future<Output = ()> + Send + 'static);

    /// Hands on what a task beside the keepers finds; a runner that only looks once waits for it.
    fn found<T: Clone + Send + Sync>(&mut self, found: Kept<T>) -> impl Future<Output = Kept<T>>;
}

/// The parts that exist before the keepers.
pub struct Wiring<'a> {
    /// What the host is to be.
    pub config: &'a Config,
    /// What it keeps on its disk.
    pub folders: &'a Folders,
    /// Where its servers listen.
    pub https: SocketAddr,
    /// The applications that a process before this one has started, and that go on.
    pub adoption: Adoption,
    /// What they are fed with; none where another process runs them.
    pub feeds: Option<Feeds>,
    /// The signals that end it; none where another process hears them.
    pub signals: Option<Signals>,
    /// Where it is said that it departs.
    pub departing: Departing,
    /// Whether it has drained.
    pub drained: watch::Receiver<bool>,
    /// How it is doing, to be told beside the packages.
    pub status: watch::Receiver<Status>,
}

/// The keepers' decisions that concern the host as a whole.
pub struct Decided {
    /// The AWS session.
    pub aws: Kept<Aws>,
    /// What the host is in the succession, and how it treats its visitors.
    pub standpoint: Kept<SuccessionState>,
    /// Whether what leads to a host that departs alone is away; none where nothing leads to it.
    pub away: Option<watch::Receiver<bool>>,
    /// Whether a host that departs has handed over what it has to; none where it never has to.
    pub handed_over: Option<watch::Receiver<bool>>,
    /// Whether the processes of a host that departs have ended; none where it runs none.
    pub processes: Option<watch::Receiver<bool>>,
}

/// Makes the keepers of a host, each from what the ones before it yield, and lets `runner` put them to work.
pub async fn wire(wiring: Wiring<'_>, runner: &mut impl KeeperRunner) -> Decided {
    let Wiring { config, folders, https, adoption, feeds, signals, departing, drained, status } = wiring;
    let (host, aws, interruption) = instance(config, signals, &departing, runner).await;
    let (packages, certificates) = stores(config, folders, &aws, host.clone());
    let mut packages = runner.keep(packages).await.held;
    let mut processes = None;
    let mut secrets = None;
    if runs_processes(config)
        && let Some(place) = config.secrets()
    {
        let keeper = Secrets::new(place.clone(), aws.clone(), config.look.package);
        secrets = Some((place.clone(), runner.keep(keeper).await.held));
    }
    if runs_processes(config) && feeds.is_some() {
        let mut keeper =
            Applications::new(config.domain.clone(), config.app.clone(), folders, packages, drained.clone())
                .adopting(adoption);
        if let Some((place, secrets)) = secrets {
            keeper = keeper.with_secrets(place, secrets);
        }
        let kept = runner.keep(keeper).await;
        processes = Some(kept.departed);
        packages = kept.held;
    }
    let certificates = runner.keep(certificates).await;
    if let Some(identity_cache) = folders.identity_cache(&config.vault) {
        runner.beside(identity_cache.follow(certificates.held.clone()));
    }
    let domain = config.domain.clone();
    let held = certificates.held.clone();
    let listener = Listener::new(domain.clone(), https, feeds, packages.clone(), held, host.clone());
    let answering = runner.keep(listener).await.held;

    let mut names = None;
    let mut succession = None;
    if let (Some(name_service), Some(host)) = (NameService::of(config), host.clone()) {
        let waiting = runner.keep(Placeholder::new(domain, https, host.clone(), certificates)).await.held;
        let fleets = FleetClient::new(config, name_service.clone(), aws.clone(), host.clone());
        let at_rest = AtRest::new(fleets.clone(), config.look.address);
        let many = config.leading == RoutingMode::Multivalue;
        let sources =
            routing::RoutingSources { aws: aws.clone(), host, answering: answering.clone(), waiting, at_rest };
        let leads = lead(config, name_service, sources, runner).await;
        let sources = SuccessionSources {
            leads: leads.held.clone(),
            answering: answering.clone(),
            interruption,
            departs: departing.watch(),
            drained,
        };
        let (policy, ttl) = pace(config);
        let keeper = SuccessionKeeper::new(policy, ttl, config.look.address, sources, departing, fleets);
        succession = Some(runner.keep(if many { keeper.of_many() } else { keeper }).await);
        names = Some(leads);
    }
    let away = names.as_ref().map(|names| names.departed.clone());
    if let (PackagePlace::Bucket(place), Some(host)) = (&config.package, host) {
        let applications = config.serve.applications;
        let sources = presence::PresenceSources { host, packages, answering, names, status, applications };
        runner.keep(Presence::new(sources, place.clone(), aws.clone())).await;
    }
    let handed_over = succession.as_ref().map(|succession| succession.departed.clone());
    let standpoint = succession.map_or_else(|| watch::channel(None).1, |succession| succession.held);
    Decided { aws, standpoint, away, handed_over, processes }
}

/// Who the host is, the AWS session, and whether EC2 or systemd wants the host gone; where nothing of AWS is used only signals do.
async fn instance(
    config: &Config,
    signals: Option<Signals>,
    departing: &Departing,
    runner: &mut impl KeeperRunner,
) -> (Option<Kept<Host>>, Kept<Aws>, Kept<Interruption>) {
    let look = config.look.departure;
    let departing = departing.clone();
    if !config.needs_aws() {
        let departure = Departure::new(None, look, signals, departing);
        return (None, watch::channel(None).1, runner.keep(departure).await.held);
    }
    let metadata = Metadata::new();
    let host = runner.keep(Facts::new(metadata.clone())).await.held;
    let aws = aws_session(&metadata, host.clone());
    let departure = Departure::new(Some(Notices::new(metadata, aws.clone())), look, signals, departing);
    let interruption = runner.keep(departure).await.held;
    (Some(host), runner.found(aws).await, interruption)
}

/// Whether a host runs the processes that packages bring. The application of somebody else takes their place.
fn runs_processes(config: &Config) -> bool {
    config.serve.applications && config.serve.application.is_none()
}

/// The keepers that need nothing but an AWS session.
fn stores(config: &Config, folders: &Folders, aws: &Kept<Aws>, host: Option<Kept<Host>>) -> (Packages, Certificates) {
    let source = Source::new(config.package.clone(), aws.clone());
    let package_cache = folders.package_cache(&config.package);
    let following = Following {
        look: config.look.package,
        skew: config.serve.skew,
        keys: config.package_keys.clone(),
        applications: config.serve.applications,
        processes: runs_processes(config),
    };
    let packages = Packages::new(source, package_cache, following, host.clone());
    let certifier = Certifier::new(config, folders.local_ca.clone(), aws.clone(), host);
    let vault = Vault::new(config.vault.clone(), aws.clone());
    (packages, Certificates::new(config.names(), vault, certifier, folders.identity_cache(&config.vault)))
}

/// The keeper that leads the names here, put to work.
async fn lead(
    config: &Config,
    name_service: NameService,
    sources: routing::RoutingSources,
    runner: &mut impl KeeperRunner,
) -> Yield<Routing> {
    match &config.leading {
        RoutingMode::ElasticIp(allocation, place) => {
            let route = MovingElasticIp::new(allocation.clone(), place.clone());
            runner.keep(Router::new(config, name_service, route, sources)).await
        }
        RoutingMode::Multivalue => {
            let route = Multivalue::new(config.succession.silence);
            runner.keep(Router::new(config, name_service, route, sources)).await
        }
        RoutingMode::Records => runner.keep(Router::new(config, name_service, MovingRecords, sources)).await,
    }
}

/// How hosts follow each other, and the time to live by which visitors move on.
fn pace(config: &Config) -> (Policy, Duration) {
    let mut policy = config.succession.clone();
    let mut ttl = Duration::from_secs(config.ttl.into());
    if let RoutingMode::ElasticIp(..) = config.leading {
        // No visitor reaches a host that the address has left: it is a spare for a while.
        ttl = Duration::ZERO;
        policy.linger = policy.linger.min(SPARE);
    }
    (policy, ttl)
}
