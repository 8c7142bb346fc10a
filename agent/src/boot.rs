//! What is kept, and in which order.
//!
//! The order is possession: each keeper is built from what the ones before it yield. What does not need each other
//! runs beside each other; only the address comes after everything.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spothost_server::{Bound, Bounds, Counters, Drained, Identity, Listen, Running, Settings, Site, metrics};
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    address::{self, Address, Multivalue, withdraw_when_departing},
    aws::{self, Aws, Host, Login, metadata::Metadata},
    certificate::{AtHand, Certificate, Certificates, Certifier, Vault, self_made},
    claim::Ledger,
    config::{Authority, Config, Leading, Succession as Policy},
    departure::{
        self, Notices, Signals,
        supervisor::{self, Released},
    },
    documents::layout,
    host::Facts,
    keeper::{Keeper, Kept, keep},
    listener::{Feeds, Listener, watch_waiting},
    package::{Following, Packages, Shelf, Source},
    place::{PackagePlace, VaultPlace},
    presence,
    status::{self, Board, Going, Served, systemd},
    succession::{Effects, Fleets, Manner, Sources, Succession, hand_over},
};

/// How often what was served is counted for the status.
const COUNTED: Duration = Duration::from_secs(5);
/// How long a disk may take to say what was served before, and a CA on this host to make the first certificate.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Of the time that a process has to drain beside its successor, what is left for the last who came if no successor ever
/// accepts.
const LAST: Duration = Duration::from_secs(2);
/// How long a process may drain once its successor accepts, when nobody waits for it any more.
const BESIDE: Duration = Duration::from_secs(300);
/// Descriptors for everything but visitors: listeners, the disk, AWS, the CA, other hosts, and this host asking itself.
const OTHER_DESCRIPTORS: usize = 256;
/// Signals within this time after the first are the same one: systemd may send it to a process and to its supervisor.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// How long the end waits for records that a host takes with it.
const TAKE_AWAY: Duration = Duration::from_secs(10);

/// How long a host at most stays that an Elastic IP has left.
const SPARE: Duration = Duration::from_secs(60);
/// How long a host that has drained may take to give its place in the fleet back.
const GIVE_BACK: Duration = Duration::from_secs(4);

/// No wait is longer: a host that comes back waits anew.
const LONGEST_SOFT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where this host keeps what survives its process, and what does not.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Survives: the last good package, the local CA.
    pub state: PathBuf,
    /// Does not: the state file.
    pub runtime: PathBuf,
    /// Where the local CA lies, if there is one.
    pub local_ca: PathBuf,
}

impl Folders {
    /// Where the account of how the host is doing lies.
    pub fn status_file(&self) -> PathBuf {
        self.runtime.join(layout::STATUS)
    }

    /// Where the certificate in use is kept for the next process, unless the vault is as near.
    fn at_hand(&self, vault: &VaultPlace) -> Option<AtHand> {
        matches!(vault, VaultPlace::Secret(_)).then(|| AtHand::new(self.runtime.join("identity.json")))
    }

    fn shelf(&self, place: &PackagePlace) -> Shelf {
        Shelf::new(self.state.join(layout::PACKAGE_FOLDER), place.to_string())
    }
}

/// Why a host cannot be one at all; the only kind of failure that ends the process.
#[derive(Debug)]
pub struct Fatal(String);

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fatal {}

/// The keepers that need nothing but a way to AWS, before they run.
pub fn stores(
    config: &Config,
    folders: &Folders,
    aws: &Kept<Aws>,
    host: Option<Kept<Host>>,
) -> (Packages, Certificates) {
    let source = Source::new(config.package.clone(), aws.clone());
    let shelf = folders.shelf(&config.package);
    let following = Following { look: config.look.package, skew: config.serve.skew, keys: config.package_keys.clone() };
    let packages = Packages::new(source, shelf, following, host.clone());
    let certifier = Certifier::new(config, folders.local_ca.clone(), aws.clone(), host);
    let vault = Vault::new(config.vault.clone(), aws.clone());
    (packages, Certificates::new(config.names(), vault, certifier, folders.at_hand(&config.vault)))
}

/// Runs the host until it departs. It answers to `also` too, and uses listeners that are `lent` to it; `listening` is called
/// once it has its ports. Where it may drain `beside` a successor it returns without having drained.
///
/// # Errors
/// Only what keeps it from ever being one: ports that are taken, folders that cannot be made.
pub async fn run(
    config: &Config,
    folders: &Folders,
    also: Vec<String>,
    lent: Vec<TcpListener>,
    board: Board,
    beside: bool,
    listening: impl FnOnce(),
) -> Result<Departed, Fatal> {
    let signals = Signals::catch().map_err(|error| Fatal(format!("catching signals: {error}")))?;
    let bound = bind(config, lent)?;
    let listen = Listen { http: bound.http(), https: bound.https() };
    let remembered = Remembered::of(config, folders).await;
    let (feeds, fed) = feeds(config, remembered)?;

    let (departing, departs) = watch::channel(None);
    let hands = Hands { board: board.clone(), departs: departs.clone() };
    let (manner, manners) = watch::channel(Manner::Serve);
    let (withdrawn, mut away) = watch::channel(false);
    let ((drained_by_now, drains), (owing, owes)) = (watch::channel(false), watch::channel(false));
    let shown = feeds.identity.clone();
    let ways = Ways { bound: listen, feeds, signals, departing, manner, withdrawn, drains, owing };
    keep_all(config, folders, &hands, ways);

    show_something(config, &shown).await?;
    let running = serve(config, also, bound, fed)?;
    tracing::info!(http = %listen.http, https = %listen.https, "listening");
    supervisor::accepts(&folders.runtime);
    listening();
    let file = folders.status_file();
    let writer = tokio::spawn({
        let (file, changes) = (file.clone(), board.watch());
        async move { status::write_changes(&file, changes).await }
    });
    systemd::ready();
    tokio::spawn(systemd::follow(board.clone()));
    tokio::spawn(count(running.counters(), board.clone()));
    if let Some(address) = config.serve.metrics {
        tokio::spawn(tell_metrics(address, running.counters()));
    }

    let (going, hurried) = serve_until_gone(&running, manners, departs, beside).await;
    let (_, hard) = going.deadlines(OffsetDateTime::now_utc());
    let until = Instant::now() + hard.min(LONGEST_SOFT);
    let mut running = Some(running);
    let mut drained = None;
    if !(beside && going.is_followed_here())
        && let Some(running) = running.take()
    {
        drained = Some(drain(running, &going, hurried).await);
    }
    drained_by_now.send_replace(true);
    // Where there are none to be taken away, nobody says so.
    let _ = timeout(TAKE_AWAY, away.wait_for(|away| *away)).await;
    give_back(&going, owes).await;
    board.gone();
    writer.abort();
    let last = board.watch().borrow().clone();
    if let Err(error) = status::write(&file, &last) {
        tracing::debug!(%error, "the last status was not written");
    }
    Ok(match (running, drained) {
        (Some(running), _) => Departed::Undrained(Undrained { running, until }),
        (None, drained) => {
            let drained = drained.unwrap_or(Drained { requests_cut: 0 });
            Departed::Gone(End { drained, taken: going.is_the_end() })
        }
    })
}

/// What a host has become.
pub enum Departed {
    /// It has drained.
    Gone(End),
    /// It serves, and does nothing else of a host any more.
    Undrained(Undrained),
}

/// What is left of a host that a successor follows in another process: it accepts and answers, as it last did.
pub struct Undrained {
    running: Running,
    until: Instant,
}

impl Undrained {
    /// How much time it takes at most, however it drains.
    pub fn most(&self) -> Duration {
        self.time() + BESIDE
    }

    fn time(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Accepts until the successor does, and drains; if it was not `released` no successor comes before it has ended, so it
    /// drains at once.
    pub async fn drain(self, released: Option<Released>) -> Drained {
        let hurried = async {
            sleep(SAME_SIGNAL).await;
            match Signals::catch() {
                Ok(mut signals) => drop(signals.next().await),
                Err(_) => std::future::pending().await,
            }
        };
        let counters = self.running.counters();
        let time = self.time();
        let drained = async {
            let succeeded = async {
                match &released {
                    Some(released) => tokio::select! {
                        heard = timeout(time.saturating_sub(LAST), released.succeeded()) => heard.is_ok(),
                        () = released.unfollowed() => false,
                    },
                    None => false,
                }
            };
            let left = if succeeded.await { BESIDE } else { self.time() };
            self.running.drain(Duration::ZERO, left).await
        };
        tokio::select! {
            drained = drained => drained,
            () = hurried => Drained { requests_cut: counters.in_flight() },
        }
    }
}

/// How a host ended.
#[derive(Clone, Debug)]
pub struct End {
    /// What the drain came to.
    pub drained: Drained,
    /// Whether the instance is about to be taken, so that nobody should start the agent again.
    pub taken: bool,
}

/// What every keeper is started with.
struct Hands {
    board: Board,
    departs: watch::Receiver<Option<Going>>,
}

impl Hands {
    /// Runs `keeper` in a task of its own and hands on what it yields.
    fn start<K: Keeper>(&self, keeper: K) -> Kept<K::Held> {
        self.start_until(keeper, self.departs.clone())
    }

    /// The same, but it goes on while the host departs.
    fn start_always<K: Keeper>(&self, keeper: K) -> Kept<K::Held> {
        self.start_until(keeper, watch::channel(None).1)
    }

    fn start_until<K: Keeper>(&self, keeper: K, departs: watch::Receiver<Option<Going>>) -> Kept<K::Held> {
        let (yields, kept) = watch::channel(None);
        let place = self.board.place(K::PART, K::NEEDS);
        tokio::spawn(keep(keeper, place, yields, departs));
        kept
    }
}

/// What the process before this one served, so that those who wait since it ended are served too, and not sent away
/// with 503.
struct Remembered {
    site: Option<Arc<Site>>,
    identity: Option<Arc<Identity>>,
}

impl Remembered {
    async fn of(config: &Config, folders: &Folders) -> Remembered {
        let package = async { folders.shelf(&config.package).last_good().await };
        let certificate = async { timeout(REMEMBERED, certificate_at_hand(config, folders)).await.unwrap_or_default() };
        let (package, certificate) = tokio::join!(timeout(REMEMBERED, package), certificate);
        let package = package.unwrap_or_default();
        Remembered {
            site: package.map(|package| package.site),
            identity: certificate.map(|certificate| certificate.identity),
        }
    }
}

/// The certificate that is as near as a file: in the vault, if that is one, else as the process before this one kept it.
async fn certificate_at_hand(config: &Config, folders: &Folders) -> Option<Certificate> {
    let (names, now) = (config.names(), OffsetDateTime::now_utc());
    let (at_hand, vault) = (folders.at_hand(&config.vault), config.vault.clone());
    let read = move || match (at_hand, vault) {
        (Some(at_hand), _) => at_hand.read(&names, now),
        (None, VaultPlace::Disk(path)) => AtHand::in_vault(&path, &names, now),
        (None, VaultPlace::Secret(_)) => None,
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

/// The ends of what the keepers are connected by.
struct Ways {
    bound: Listen,
    feeds: Feeds,
    signals: Signals,
    departing: watch::Sender<Option<Going>>,
    manner: watch::Sender<Manner>,
    /// Whether records that a host takes with it are away.
    withdrawn: watch::Sender<bool>,
    drains: watch::Receiver<bool>,
    owing: watch::Sender<bool>,
}

fn keep_all(config: &Config, folders: &Folders, hands: &Hands, ways: Ways) {
    let Ways { bound, feeds, signals, departing, manner, withdrawn, drains, owing } = ways;
    let (leaving, leaves) = watch::channel(None);
    let (host, aws, notices) = if config.needs_aws() {
        let metadata = Metadata::new();
        let host = hands.start(Facts::new(metadata.clone()));
        let aws = way_to_aws(&metadata, host.clone());
        let notices = hands.start_always(Notices::new(metadata, aws.clone(), config.look.departure));
        (Some(host), aws, notices)
    } else {
        (None, watch::channel(None).1, watch::channel(None).1)
    };
    tokio::spawn(departure::decide(signals, notices.clone(), leaves, hands.board.clone(), departing));

    let (packages, certificates) = stores(config, folders, &aws, host.clone());
    let (packages, certificates) = (hands.start(packages), hands.start(certificates));
    if let Some(at_hand) = folders.at_hand(&config.vault) {
        tokio::spawn(at_hand.follow(certificates.clone()));
    }
    let (domain, https) = (config.domain.clone(), bound.https);
    let listener = Listener::new(domain.clone(), https, feeds, packages.clone(), certificates.clone(), host.clone());
    let answering = hands.start(listener);
    if let (PackagePlace::Bucket(place), Some(host)) = (&config.package, &host) {
        let names = Ledger::of(config).is_some();
        let sources = presence::Sources { host: host.clone(), packages, answering: answering.clone(), names };
        let (place, aws, departs) = (place.clone(), aws.clone(), hands.departs.clone());
        tokio::spawn(presence::tell(sources, place, aws, hands.board.watch(), departs));
    }
    if let (Some(ledger), Some(host)) = (Ledger::of(config), host) {
        let (waits, waiting) = watch::channel(None);
        let board = hands.board.watch();
        tokio::spawn(watch_waiting((domain, https), host.clone(), certificates, board, waits));
        let (target, targets) = watch::channel(None);
        let fleets = Fleets::new(config, ledger.clone(), aws.clone(), host.clone());
        let leads = match &config.leading {
            #[cfg(feature = "fleet")]
            Leading::ElasticIp(allocation, place) => {
                let (target, answering) = (targets, answering.clone());
                let sources = address::Sources { aws, host, answering, waiting, target };
                let which = (allocation.clone(), place.clone());
                hands.start(address::Elastic::new(config, ledger, which, sources))
            }
            // The configuration refuses it.
            #[cfg(not(feature = "fleet"))]
            Leading::ElasticIp(..) => return,
            Leading::Multivalue => {
                tokio::spawn(withdraw_when_departing(
                    ledger.clone(),
                    (aws.clone(), host.clone()),
                    hands.departs.clone(),
                    withdrawn,
                ));
                let (target, answering) = (targets, answering.clone());
                let sources = address::Sources { aws, host, answering, waiting, target };
                hands.start(Multivalue::new(config, ledger, sources))
            }
            Leading::Records => {
                hands.start(Address::new(config, ledger, aws, host, answering.clone(), targets).or_waiting(waiting))
            }
        };
        // Where every host is led to, nobody has to follow one that goes: its fleet replaces it.
        if config.leading != Leading::Multivalue {
            tokio::spawn(hand_over(leads.clone(), fleets.clone(), hands.departs.clone(), drains, owing));
        }
        let sources = Sources { leads, answering, outlook: notices };
        let effects = Effects { manner, target, leaving };
        let succession = Succession::new(pace(config), sources, effects, fleets, hands.board.clone());
        hands.start(if config.leading == Leading::Multivalue { succession.of_many() } else { succession });
    }
}

/// How hosts follow each other, the time to live by which visitors move on, and how often is looked.
fn pace(config: &Config) -> (Policy, Duration, Duration) {
    let (mut policy, mut ttl) = (config.succession.clone(), Duration::from_secs(config.ttl.into()));
    if let Leading::ElasticIp(..) = config.leading {
        // Nobody comes any more to a host that the address has left: it is but a spare for a while.
        ttl = Duration::ZERO;
        policy.linger = policy.linger.min(SPARE);
    }
    (policy, ttl, config.look.address)
}

/// Serves as the succession says until the host has to stop accepting. A notice leaves time until then, in which it can
/// be withdrawn. Also whether somebody was in a hurry.
async fn serve_until_gone(
    running: &Running,
    mut manners: watch::Receiver<Manner>,
    mut departs: watch::Receiver<Option<Going>>,
    beside: bool,
) -> (Going, bool) {
    loop {
        match *manners.borrow_and_update() {
            Manner::Serve => running.resume(),
            Manner::Linger => running.linger(),
        }
        let gone = tokio::select! {
            going = gone(&mut departs) => going,
            Ok(()) = manners.changed() => continue,
        };
        running.linger();
        if beside && gone.is_followed_here() {
            return (gone, false);
        }
        let (soft, _) = gone.deadlines(OffsetDateTime::now_utc());
        tokio::select! {
            () = tokio::time::sleep(soft.min(LONGEST_SOFT)) => return (gone, false),
            () = hurried(&gone) => return (gone, true),
            Ok(_) = departs.wait_for(Option::is_none) => {}
        }
    }
}

/// Brings what was served to the board, now and then.
async fn count(counters: Arc<Counters>, board: Board) {
    let mut now = tokio::time::interval(COUNTED);
    loop {
        now.tick().await;
        board.served(Served {
            requests: counters.requests(),
            failed: counters.responses(5),
            bytes: counters.sent(),
            open: counters.open(),
            turned_away: counters.turned_away(),
            cut: counters.cut(),
        });
    }
}

/// The site does not depend on being measured: an address that is not to be had is said, and left.
async fn tell_metrics(address: SocketAddr, counters: Arc<Counters>) {
    match metrics::serve(address, counters).await {
        Ok(never) => match never {},
        Err(error) => tracing::error!(%address, %error, "[serve] metrics are not told"),
    }
}

/// Takes the ports: who connects waits from now on.
fn bind(config: &Config, mut lent: Vec<TcpListener>) -> Result<Bound, Fatal> {
    let listen = Listen { http: config.listen.http, https: config.listen.https };
    let bound = Bound::bind_or_use(&listen, &mut lent).map_err(|error| Fatal(error.to_string()))?;
    for unused in lent.iter().filter_map(|listener| listener.local_addr().ok()) {
        tracing::warn!(address = %unused, "is held for the agent, but not in [listen]: who connects there waits for ever");
    }
    Ok(bound)
}

/// What the servers are fed with.
struct Fed {
    sites: watch::Receiver<Option<Arc<Site>>>,
    identities: watch::Receiver<Option<Arc<Identity>>>,
}

/// Feeds the servers with what is remembered. Without a certificate they begin with one that this host makes itself, unless the
/// CA is here, too, and makes a better one as fast.
fn feeds(config: &Config, remembered: Remembered) -> Result<(Feeds, Fed), Fatal> {
    // What waits for its certificate says so, whatever site it has.
    let certified = remembered.identity.is_some();
    let shown = match remembered.identity {
        Some(identity) => Some(identity),
        None if config.authority == Authority::Internal => None,
        None => Some(placeholder(config)?),
    };
    let (site, sites) = watch::channel(remembered.site.filter(|_| certified));
    let (identity, identities) = watch::channel(shown);
    Ok((Feeds { site, identity }, Fed { sites, identities }))
}

fn placeholder(config: &Config) -> Result<Arc<Identity>, Fatal> {
    self_made(&config.names()).map_err(|fault| Fatal(fault.to_string()))
}

/// How many descriptors this process may have: as many as it is allowed to, which is often more than it begins with. None where
/// there is no limit.
fn descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // A sandbox may forbid it, and then gives enough.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_ok() { limit.maximum } else { limit.current }
}

/// No more connections than leave descriptors for everything else: strangers who use up all of them would keep the host from its
/// disk, from AWS and from asking itself.
fn within_descriptors(bounds: Bounds, descriptors: Option<u64>) -> Bounds {
    let most = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let left = most.saturating_sub(OTHER_DESCRIPTORS).max(1);
    if left < bounds.connections {
        tracing::warn!(
            connections = left,
            "[limits] connections is {}; for that raise LimitNOFILE",
            bounds.connections
        );
    }
    Bounds { connections: bounds.connections.min(left), ..bounds }
}

/// Waits for the certificate that the CA on this host makes; who connects meanwhile waits, too. Only where none is to be had they
/// are shown a placeholder.
async fn show_something(config: &Config, shown: &watch::Sender<Option<Arc<Identity>>>) -> Result<(), Fatal> {
    let mut identities = shown.subscribe();
    if timeout(REMEMBERED, identities.wait_for(Option::is_some)).await.is_ok() {
        return Ok(());
    }
    let placeholder = placeholder(config)?;
    shown.send_if_modified(|shown| {
        let none = shown.is_none();
        if none {
            *shown = Some(placeholder);
        }
        none
    });
    Ok(())
}

/// Answers at once, with 503 until there is a site.
fn serve(config: &Config, also: Vec<String>, bound: Bound, fed: Fed) -> Result<Running, Fatal> {
    let settings = Settings {
        aliases: config.aliases.iter().map(ToString::to_string).collect(),
        also,
        hsts: config.serve.hsts,
        access: config.serve.access(),
        patience: config.limits.patience(),
        bounds: within_descriptors(config.limits.bounds(), descriptors()),
        ..Settings::new(config.domain.as_str())
    };
    bound.serve(settings, fed.sites, fed.identities).map_err(|error| Fatal(error.to_string()))
}

/// The way to AWS: at once where the environment names a region, else once the host has said where it is.
/// Credentials are looked for meanwhile.
pub fn way_to_aws(metadata: &Metadata, mut host: Kept<Host>) -> Kept<Aws> {
    let (yields, kept) = watch::channel(None);
    let metadata = metadata.clone();
    tokio::spawn(async move {
        let login = Login::start(&metadata).await;
        let region = match aws::configured_region().await {
            Some(region) => region,
            None => match host.wait_for(Option::is_some).await {
                Ok(host) => host.as_ref().map(|host| host.region.clone()).unwrap_or_default(),
                Err(_) => return,
            },
        };
        tracing::info!(region, "way to AWS");
        yields.send_replace(Some(login.in_region(region).await));
        yields.closed().await;
    });
    kept
}

/// Drains, having told visitors for as long as there was to come back on another connection.
async fn drain(running: Running, going: &Going, in_a_hurry: bool) -> Drained {
    let (_, hard) = going.deadlines(OffsetDateTime::now_utc());
    let counters = running.counters();
    let hurried = async {
        if !in_a_hurry {
            hurried(going).await;
        }
    };
    tokio::select! {
        drained = running.drain(Duration::ZERO, hard) => drained,
        () = hurried => Drained { requests_cut: counters.in_flight() },
    }
}

/// Waits until a host that is taken has given its place back, if it has to, and not for longer than there is.
async fn give_back(going: &Going, mut owes: watch::Receiver<bool>) {
    let left = going.until.and_then(|until| Duration::try_from(until - OffsetDateTime::now_utc()).ok());
    if let Some(left) = left {
        let _ = timeout(left.min(GIVE_BACK), owes.wait_for(|owes| !owes)).await;
    }
}

/// Somebody who signals again meanwhile is in a hurry.
async fn hurried(going: &Going) {
    match Signals::catch() {
        Ok(mut signals) => going.hurried(&mut signals).await,
        Err(_) => std::future::pending().await,
    }
}

async fn gone(departs: &mut watch::Receiver<Option<Going>>) -> Going {
    match departs.wait_for(Option::is_some).await {
        Ok(going) => going.clone().unwrap_or_else(|| Going::by_signal("the end")),
        Err(_) => Going::by_signal("the end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_never_have_the_last_descriptors() {
        let table = [(None, 16_384), (Some(524_288), 16_384), (Some(1024), 768), (Some(100), 1)];
        for (descriptors, expected) in table {
            let bounds = within_descriptors(Bounds::default(), descriptors);
            assert_eq!(bounds.connections, expected, "{descriptors:?}");
        }
    }
}
