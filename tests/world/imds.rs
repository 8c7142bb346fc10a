//! The instance metadata service, version 2, of one instance.
//!
//! As the EC2 user guide has it ("Use the Instance Metadata Service to access instance metadata", "Instance metadata
//! categories"), with what AWS's own mock answers where the guide is silent.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use crate::{Account, account::REGIONS, connection};

mod server;

/// The metadata service of one instance; cheap to clone.
#[derive(Clone, Debug)]
pub struct Imds {
    address: SocketAddr,
    server: Arc<Server>,
}

/// A request it received.
#[derive(Clone, Debug)]
pub struct ImdsRequest {
    /// When.
    pub at: Instant,
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path without its final slash.
    pub path: String,
    /// What it was answered; 0 where it was not.
    pub status: u16,
}

#[derive(Debug)]
struct Server {
    account: Account,
    instance_id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    region: String,
    launched: OffsetDateTime,
    tokens: HashMap<String, Instant>,
    issued: u64,
    longest_ttl: Option<Duration>,
    credentials_life: Duration,
    public_ipv4: Option<IpAddr>,
    private_ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
    notice: Option<(String, OffsetDateTime)>,
    rebalance: Option<OffsetDateTime>,
    tags: Option<HashMap<String, String>>,
    user_data: Option<String>,
    statuses: Vec<(String, u32, u16)>,
    delay: Duration,
    silence: Option<Silence>,
    enabled: bool,
    log: Vec<ImdsRequest>,
}

#[derive(Clone, Copy, Debug)]
enum Silence {
    Hang,
    Reset,
}

impl State {
    fn new() -> State {
        State {
            region: REGIONS[0].to_owned(),
            launched: OffsetDateTime::now_utc(),
            tokens: HashMap::new(),
            issued: 0,
            longest_ttl: None,
            credentials_life: Duration::from_secs(6 * 3600),
            public_ipv4: None,
            private_ipv4: None,
            ipv6: None,
            notice: None,
            rebalance: None,
            tags: None,
            user_data: None,
            statuses: Vec::new(),
            delay: Duration::ZERO,
            silence: None,
            enabled: true,
            log: Vec::new(),
        }
    }
}

impl Imds {
    /// Starts one for an instance of `account`, launched now, with that public address.
    pub async fn start(account: &Account, public_ipv4: Option<IpAddr>) -> Imds {
        Imds::of(account, account.launch().await, public_ipv4).await
    }

    /// Starts one for the instance of that id, likewise.
    pub(crate) async fn of(account: &Account, instance_id: String, public_ipv4: Option<IpAddr>) -> Imds {
        let state = State { public_ipv4, ..State::new() };
        let server = Arc::new(Server { account: account.clone(), instance_id, state: Mutex::new(state) });
        let address = connection::serve(server.clone(), None).await;
        Imds { address, server }
    }

    /// What `AWS_EC2_METADATA_SERVICE_ENDPOINT` is to say.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Id of the instance.
    pub fn instance_id(&self) -> &str {
        &self.server.instance_id
    }

    /// Says that the instance was launched then (`pendingTime`); now, if nothing is said.
    pub fn set_launched(&self, at: OffsetDateTime) {
        self.state().launched = at;
    }

    /// When the instance was launched.
    pub fn launched(&self) -> OffsetDateTime {
        self.state().launched
    }

    /// Says that the instance is in that region; in the usual one, if nothing is said.
    pub fn set_region(&self, region: &str) {
        region.clone_into(&mut self.state().region);
    }

    /// Gives the instance a public IPv4 address, or takes it away.
    pub fn set_public_ipv4(&self, address: Option<IpAddr>) {
        self.state().public_ipv4 = address;
    }

    /// Gives the instance a private IPv4 address other than the usual one.
    pub fn set_private_ipv4(&self, address: IpAddr) {
        self.state().private_ipv4 = Some(address);
    }

    /// Gives the instance an IPv6 address, or takes it away.
    pub fn set_ipv6(&self, address: Option<IpAddr>) {
        self.state().ipv6 = address;
    }

    /// Announces an interruption (`terminate`, `stop` or `hibernate`) so far from now.
    pub fn announce(&self, action: &str, after: Duration) {
        self.state().notice = Some((action.to_owned(), OffsetDateTime::now_utc() + after));
    }

    /// Takes the announcement back.
    pub fn clear_notice(&self) {
        self.state().notice = None;
    }

    /// Recommends a rebalance, now.
    pub fn recommend_rebalance(&self) {
        self.state().rebalance = Some(OffsetDateTime::now_utc());
    }

    /// Allows tags in metadata and sets them; without this call they are not allowed, which is the default of EC2.
    pub fn set_tags(&self, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.state().tags = Some(tags);
    }

    /// What the instance was launched with, for its first boot.
    pub fn set_user_data(&self, text: &str) {
        self.state().user_data = Some(text.to_owned());
    }

    /// Turns the service off (403), or on.
    pub fn enable(&self, enabled: bool) {
        self.state().enabled = enabled;
    }

    /// Ends every token given out so far; the next use of one is answered 401.
    pub fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Lets tokens end after at most `life`, whatever was asked for.
    pub fn limit_tokens_to(&self, life: Duration) {
        self.state().longest_ttl = Some(life);
    }

    /// Hands out credentials that end so soon; below ten seconds the SDK asks for them anew before every call.
    pub fn limit_credentials_to(&self, life: Duration) {
        self.state().credentials_life = life;
    }

    /// Answers the next `times` requests whose path contains `path` with `status`.
    pub fn answer_next(&self, times: u32, path: &str, status: u16) {
        self.state().statuses.push((path.to_owned(), times, status));
    }

    /// Lets every answer wait so long.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Accepts connections and never answers, until [`Imds::speak`].
    pub fn hang(&self) {
        self.state().silence = Some(Silence::Hang);
    }

    /// Resets every connection, until [`Imds::speak`].
    pub fn reset(&self) {
        self.state().silence = Some(Silence::Reset);
    }

    /// Answers again.
    pub fn speak(&self) {
        self.state().silence = None;
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<ImdsRequest> {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.server.state()
    }
}
