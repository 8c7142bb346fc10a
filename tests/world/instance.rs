//! An instance: its metadata, address and disk, and its ways to AWS and the CA.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use toml::{Table, Value};

use crate::{Account, AcmeProxy, Agent, Ended, FaultProxy, Gateway, Imds, Sockets, Unit, Visitor, World, address};

/// One instance of an account. Its disk is gone when it is.
#[derive(Debug)]
pub struct Instance {
    /// Whose it is.
    pub account: Account,
    /// What it is told about itself.
    pub imds: Imds,
    /// Its way to AWS.
    pub aws: FaultProxy,
    /// Its way to the CA.
    pub acme: AcmeProxy,
    /// What its agent is configured with; change it before [`Instance::start`].
    pub configuration: Table,
    /// Its public address.
    pub address: IpAddr,
    /// Further variables of the agent's environment.
    pub environment: Vec<(String, String)>,
    http: SocketAddr,
    https: SocketAddr,
    disk: TempDir,
}

impl Instance {
    /// Launches one in a new account.
    pub async fn new() -> Instance {
        Instance::launch(&Account::new().await).await
    }

    /// Launches one in that account. Nothing runs on it yet.
    pub async fn launch(account: &Account) -> Instance {
        Instance::before(account, account.launch().await, AcmeProxy::start().await, None).await
    }

    /// Launches the one that replaces this one: in the same account, with the same way to the CA, a minute younger.
    pub async fn successor(&self) -> Instance {
        let id = self.account.launch().await;
        let ports = Some(self.ports());
        let successor = Instance::before(&self.account, id, self.acme.clone(), ports).await;
        successor.imds.set_launched(self.imds.launched() + Duration::from_secs(60));
        successor
    }

    /// The same in another region, where there is nothing of the site but this: it has no vault there yet.
    pub async fn successor_in(&self, region: &str) -> Instance {
        let id = self.account.launch_in(region).await;
        let ports = Some(self.ports());
        let successor = Instance::before(&self.account, id, self.acme.clone(), ports).await;
        successor.imds.set_region(region);
        successor.imds.set_launched(self.imds.launched() + Duration::from_secs(60));
        successor
    }

    /// The instance of that id. All hosts of a domain answer at the same ports, each at its own address.
    pub(crate) async fn before(account: &Account, id: String, acme: AcmeProxy, ports: Option<(u16, u16)>) -> Instance {
        let address = address::own_address();
        let (http, https) = match ports {
            Some((http, https)) => ((address, http).into(), (address, https).into()),
            None => address::free_ports(address),
        };
        account.locate(&id, address).await;
        let keys = account.as_instance(&id).await;
        Instance {
            account: account.clone(),
            imds: Imds::of(&keys, id, Some(address)).await,
            aws: FaultProxy::start().await,
            configuration: configuration(account, &acme, http, https),
            acme,
            address,
            environment: Vec::new(),
            http,
            https,
            disk: TempDir::new().expect("a temporary folder"),
        }
    }

    /// Starts the agent on it. It can be started again on the same disk when it has ended.
    pub fn start(&self) -> Agent {
        self.start_on(None)
    }

    /// The same with sockets that are held for it, if any are.
    pub fn start_on(&self, sockets: Option<&Sockets>) -> Agent {
        self.write_configuration();
        let path = self.config_path();
        let arguments = ["run", "--config", path.to_str().expect("UTF-8")];
        Agent::start_on(sockets, &arguments, &self.variables(), self.disk.path())
    }

    /// The same as the next main process of that unit.
    pub fn start_in(&self, unit: &Unit) -> Agent {
        self.write_configuration();
        let path = self.config_path();
        let arguments = ["run", "--config", path.to_str().expect("UTF-8")];
        let variables: Vec<_> = self.variables().into_iter().chain(unit.variables()).collect();
        Agent::start_on(Some(&unit.sockets), &arguments, &variables, self.disk.path())
    }

    /// Holds its ports and listens to its agents, as systemd does.
    pub fn unit(&self) -> Unit {
        Unit::new(self.sockets(), &self.disk.path().join("notify"))
    }

    /// Holds its ports for its agents.
    pub fn sockets(&self) -> Sockets {
        Sockets::listen(&[self.http, self.https])
    }

    /// Runs one command with the same configuration and environment to its end; `--config` is added to `check`, `budget`,
    /// `vault` and `doctor`, and to this the name server of the world.
    pub async fn command(&self, arguments: &[&str]) -> Ended {
        self.write_configuration();
        let path = self.config_path();
        let mut all = arguments.to_vec();
        if matches!(arguments.first(), Some(&"check" | &"budget" | &"vault" | &"doctor")) {
            all.extend(["--config", path.to_str().expect("UTF-8")]);
        }
        let resolver = World::shared().dns().to_string();
        let mut variables = self.variables();
        if arguments.first() == Some(&"doctor") {
            all.extend(["--resolver", &resolver]);
            // Visitors of the world trust its CA.
            variables.push(("SSL_CERT_FILE".to_owned(), World::shared().acme_issuer().display().to_string()));
        }
        let said = variables.iter().any(|(name, _)| name == "AWS_SDK_UA_APP_ID");
        if let Some(who) = arguments.first().and_then(|command| who(command)).filter(|_| !said) {
            variables.push(("AWS_SDK_UA_APP_ID".to_owned(), who.to_owned()));
        }
        Ended::of(&all, &variables).await
    }

    /// Starts a command with the same configuration and environment, which may be ended before its time.
    pub fn start_command(&self, arguments: &[&str]) -> Agent {
        self.write_configuration();
        let folder = self.disk.path().join("commands");
        fs::create_dir_all(&folder).expect("a folder on its disk");
        Agent::start(arguments, &self.variables(), &folder)
    }

    /// Lets it go to the CA by that way.
    pub fn goes_to(&mut self, acme: &AcmeProxy) {
        let table = self.configuration.get_mut("acme").and_then(Value::as_table_mut).expect("[acme]");
        table.insert("directory".to_owned(), Value::String(acme.directory()));
        table.insert("roots".to_owned(), Value::String(acme.roots().display().to_string()));
        self.acme = acme.clone();
    }

    /// Puts a gateway before it: from now on its public address is another one than it listens at.
    pub async fn behind_gateway(&mut self) -> Gateway {
        self.address = address::own_address();
        self.imds.set_public_ipv4(Some(self.address));
        self.account.locate(self.imds.instance_id(), self.address).await;
        Gateway::open((self.address, self.https.port()).into(), self.https).await
    }

    /// Lets its clock be wrong by so many seconds, from its next start on.
    pub fn skew_clock(&mut self, seconds: i64) {
        // Timers run by the monotonic clock, which cannot be set.
        let library = World::libfaketime().display().to_string();
        for (name, value) in [
            ("LD_PRELOAD", library),
            ("FAKETIME", format!("{seconds:+}")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_RESET", "1".to_owned()),
        ] {
            self.environment.push((name.to_owned(), value));
        }
    }

    /// Waits until its agent has said beside the package that it is good, and that it serves it: the last that an agent
    /// writes before it rests.
    pub async fn wait_until_told(&self, agent: &mut Agent, limit: Duration) {
        let host = format!(".spothost/hosts/{}.json", self.imds.instance_id());
        let told = async |_: &Agent| {
            let paper = self.account.paper(&host).await.unwrap_or_default();
            match paper["etag"].as_str() {
                Some(etag) => self.account.verdict(etag).await.is_some() && !self.aws.is_writing(),
                None => false,
            }
        };
        agent.wait_for("it is told what it serves", limit, told).await;
    }

    /// Where its configuration lies.
    pub fn config_path(&self) -> PathBuf {
        self.disk.path().join("spothost.toml")
    }

    /// All that is on it: configuration, the folders for state and runtime, and what its agents said.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// Where its agent listens for HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The ports for HTTP and HTTPS.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.http.port(), self.https.port())
    }

    /// Where its agent listens for HTTPS.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Somebody who visits the site here and trusts the world's CA.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.account.domain(), self.https, &World::shared().acme_issuer())
    }

    /// Whether the domain leads here, as name servers tell it.
    pub async fn is_led_to(&self) -> bool {
        self.account.answers(&self.account.domain(), "A").await == [self.address.to_string()]
    }

    fn write_configuration(&self) {
        fs::create_dir_all(self.disk.path().join("state")).expect("a folder on its disk");
        fs::create_dir_all(self.disk.path().join("run")).expect("a folder on its disk");
        let text = toml::to_string(&self.configuration).expect("TOML");
        fs::write(self.config_path(), &text).expect("a file on its disk");
        self.aws.record_for(&text);
    }

    fn variables(&self) -> Vec<(String, String)> {
        let folder = |name: &str| self.disk.path().join(name).display().to_string();
        let own = [
            ("HOME", folder("home")),
            ("STATE_DIRECTORY", folder("state")),
            ("RUNTIME_DIRECTORY", folder("run")),
            ("AWS_ENDPOINT_URL", self.aws.endpoint()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.endpoint()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.environment.iter().cloned()).collect()
    }
}

/// Whose rights a command is carried out with, when it is not those of a host.
fn who(command: &str) -> Option<&'static str> {
    match command {
        "diff" | "prune" | "publish" | "releases" | "rollback" => Some("publisher"),
        // A doctor on a host has the rights of a host.
        "doctor" => Some("host"),
        "budget" | "hosts" | "init" | "rollout" | "vault" => Some("operator"),
        _ => None,
    }
}

/// Everything as a launch template would write it, but looking often.
fn configuration(account: &Account, acme: &AcmeProxy, http: SocketAddr, https: SocketAddr) -> Table {
    let table = |pairs: &[(&str, String)]| {
        Value::Table(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::String(value.clone()))).collect())
    };
    let mut all = Table::new();
    let package = format!("s3://{}/{}", account.bucket, account.prefix());
    for (key, value) in [("domain", account.domain()), ("package", package), ("vault", account.vault())] {
        all.insert(key.to_owned(), Value::String(value));
    }
    all.insert("zone".to_owned(), Value::String(account.zone.clone()));
    let roots = acme.roots().display().to_string();
    let mut authority = vec![("directory", acme.directory()), ("roots", roots)];
    // Without a word Pebble picks one of its profiles at random, and one of them lasts a minute.
    if World::shared().acme_has_profiles() {
        authority.push(("profile", "tlsserver".to_owned()));
    }
    all.insert("acme".to_owned(), table(&authority));
    all.insert("listen".to_owned(), table(&[("http", http.to_string()), ("https", https.to_string())]));
    let second = || "1s".to_owned();
    all.insert("look".to_owned(), table(&[("package", second()), ("address", second()), ("departure", second())]));
    all
}
