//! A fleet, which starts hosts and ends them: each instance that EC2 says is running is a machine with an agent.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use toml::Table;

use crate::{Account, AcmeProxy, Agent, Instance, eventually};

/// How often EC2 is asked which instances run.
const LOOK: Duration = Duration::from_millis(400);
/// How long an instance that is ended waits for its agent.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// Which kind of fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetKind {
    /// Spot Fleet.
    Spot,
    /// EC2 Fleet.
    Ec2,
    /// Auto Scaling group.
    Group,
}

/// A fleet of an account; its machines are gone when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// Its id or name.
    pub id: String,
    /// Whose it is.
    pub account: Account,
    members: Arc<Mutex<BTreeMap<String, Arc<Member>>>>,
    settings: Arc<Mutex<Table>>,
    prepared: Arc<Mutex<Option<Prepare>>>,
    started: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

/// What is done to a machine before its agent starts.
struct Prepare(Box<dyn Fn(&mut Instance) + Send>);

impl std::fmt::Debug for Prepare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepare")
    }
}

/// One host of a fleet.
#[derive(Debug)]
pub struct Member {
    /// The machine.
    pub instance: Instance,
    agent: Mutex<Option<Agent>>,
}

impl FleetKind {
    fn word(self) -> &'static str {
        match self {
            FleetKind::Spot => "spot",
            FleetKind::Ec2 => "ec2",
            FleetKind::Group => "group",
        }
    }

    fn tag(self) -> &'static str {
        match self {
            FleetKind::Spot => "aws:ec2spot:fleet-request-id",
            FleetKind::Ec2 => "aws:ec2:fleet-id",
            FleetKind::Group => "aws:autoscaling:groupName",
        }
    }
}

impl Fleet {
    /// Makes a fleet of one host, whose agents are configured as a test wants: tables of `settings` are laid over what a
    /// launch template would write.
    pub async fn start(account: &Account, kind: FleetKind, settings: Table) -> Fleet {
        Fleet::weighted(account, kind, settings, 1).await
    }

    /// The same, where one host counts `weight` units of the target.
    pub async fn weighted(account: &Account, kind: FleetKind, settings: Table, weight: u32) -> Fleet {
        let weight = weight.to_string();
        let asked = [("kind", kind.word()), ("target", "1"), ("weight", &weight)];
        let made = account.ask("make_fleet", &asked, Bytes::new()).await;
        let id = made.as_str().expect("an id").to_owned();
        let members: Arc<Mutex<BTreeMap<String, Arc<Member>>>> = Arc::default();
        let settings = Arc::new(Mutex::new(settings));
        let prepared: Arc<Mutex<Option<Prepare>>> = Arc::default();
        let started: Arc<AtomicUsize> = Arc::default();
        let machines = Machines {
            account: account.clone(),
            id: id.clone(),
            kind,
            acme: AcmeProxy::start().await,
            ports: None,
            youngest: None,
            members: members.clone(),
            settings: settings.clone(),
            prepared: prepared.clone(),
            started: started.clone(),
        };
        Fleet {
            id,
            account: account.clone(),
            members,
            settings,
            prepared,
            started,
            running: tokio::spawn(machines.run()),
        }
    }

    /// Sets how many hosts it is to have, by somebody's hand; nothing is ended for it.
    pub async fn set_target(&self, target: u32) {
        self.account.ask("set_target", &[("fleet", &self.id), ("target", &target.to_string())], Bytes::new()).await;
    }

    /// Lowers the target as people do who say nothing of how: the fleet ends what is too many by its own strategy, and here
    /// that is the youngest host. A Spot Fleet only.
    pub async fn scale_in(&self, target: u32) {
        let target = target.to_string();
        let asked = [("fleet", self.id.as_str()), ("target", &target), ("ends_youngest", "yes")];
        self.account.ask("set_target", &asked, Bytes::new()).await;
    }

    /// How many hosts it is to have.
    pub async fn target(&self) -> u64 {
        self.described().await["target"].as_u64().expect("a number")
    }

    /// How many hosts EC2 counts.
    pub async fn size(&self) -> usize {
        self.described().await["instances"].as_array().map_or(0, Vec::len)
    }

    async fn described(&self) -> Value {
        self.account.ask("fleet", &[("fleet", &self.id)], Bytes::new()).await
    }

    /// The hosts whose machine runs, in the order of their ids.
    pub fn members(&self) -> Vec<Arc<Member>> {
        lock(&self.members).values().cloned().collect()
    }

    /// How many machines it has started so far.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    /// What hosts that are started from now on are configured with beside the usual.
    pub fn configure(&self, settings: Table) {
        *lock(&self.settings) = settings;
    }

    /// What is done to every machine that is launched from now on, before its agent starts.
    pub fn prepare(&self, prepare: impl Fn(&mut Instance) + Send + 'static) {
        *lock(&self.prepared) = Some(Prepare(Box::new(prepare)));
    }

    /// The host that the name leads to.
    pub async fn owner(&self) -> Option<Arc<Member>> {
        let led = self.account.answers(&self.account.domain(), "A").await;
        self.members().into_iter().find(|member| led == [member.instance.address.to_string()])
    }

    /// Waits until the name leads to a host that says that it is the owner, and which is not that one.
    ///
    /// # Panics
    /// When that is not so within `limit`.
    pub async fn owner_other_than(&self, old: Option<&Member>, limit: Duration) -> Arc<Member> {
        let old = old.map(Member::id);
        eventually("a new owner", limit, async || {
            let owner = self.owner().await;
            owner.is_some_and(|owner| owner.role() == "owner" && old.as_deref() != Some(&owner.id()))
        })
        .await;
        self.owner().await.expect("it was there just now")
    }

    /// Waits until the fleet has one host and wants one.
    ///
    /// # Panics
    /// When that is not so within `limit`; with the log of every host.
    pub async fn at_rest(&self, limit: Duration) {
        let begun = std::time::Instant::now();
        while !(self.target().await == 1 && self.size().await == 1 && self.members().len() == 1) {
            if begun.elapsed() > limit {
                let logs: Vec<_> = self.members().iter().map(|member| member.log()).collect();
                let described = self.described().await;
                panic!("the fleet is not at rest within {limit:?}: {described}\n{}", logs.join("\n---\n"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Member {
    /// Instance id.
    pub fn id(&self) -> String {
        self.instance.imds.instance_id().to_owned()
    }

    /// What its agent says that it is in the succession; empty without one.
    pub fn role(&self) -> String {
        self.status()["role"].as_str().unwrap_or_default().to_owned()
    }

    /// The status of its agent.
    pub fn status(&self) -> Value {
        lock(&self.agent).as_ref().map(Agent::status).unwrap_or_default()
    }

    /// The last lines of its agent's log.
    pub fn log(&self) -> String {
        lock(&self.agent).as_ref().map(Agent::last_lines).unwrap_or_default()
    }

    /// Whether its agent has logged a line with that text.
    pub fn has_said(&self, text: &str) -> bool {
        lock(&self.agent).as_ref().is_some_and(|agent| agent.log().contains(text))
    }

    /// Sends its agent a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(agent) = lock(&self.agent).as_ref() {
            agent.signal(signal);
        }
    }

    fn has_ended(&self) -> bool {
        lock(&self.agent).as_mut().is_none_or(Agent::has_ended)
    }
}

/// What starts and ends the machines.
struct Machines {
    account: Account,
    id: String,
    kind: FleetKind,
    acme: AcmeProxy,
    ports: Option<(u16, u16)>,
    youngest: Option<OffsetDateTime>,
    members: Arc<Mutex<BTreeMap<String, Arc<Member>>>>,
    settings: Arc<Mutex<Table>>,
    prepared: Arc<Mutex<Option<Prepare>>>,
    started: Arc<AtomicUsize>,
}

impl Machines {
    async fn run(mut self) {
        loop {
            let described = self.account.ask("fleet", &[("fleet", &self.id)], Bytes::new()).await;
            let listed = described["instances"].as_array().cloned().unwrap_or_default();
            let listed: Vec<String> = listed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            for id in &listed {
                if !lock(&self.members).contains_key(id) {
                    self.boot(id).await;
                }
            }
            let gone: Vec<_> = {
                let mut members = lock(&self.members);
                let ids: Vec<_> = members.keys().filter(|id| !listed.contains(id)).cloned().collect();
                ids.iter().filter_map(|id| members.remove(id)).collect()
            };
            for member in gone {
                tokio::spawn(shut_down(member));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn boot(&mut self, id: &str) {
        let mut instance = Instance::before(&self.account, id.to_owned(), self.acme.clone(), self.ports).await;
        self.ports = Some(instance.ports());
        // EC2 tells launch times to the second; hosts that a test wants to follow each other are a second apart at least.
        let launched = self.youngest.map_or(OffsetDateTime::now_utc(), |youngest| {
            OffsetDateTime::now_utc().max(youngest + Duration::from_secs(1))
        });
        self.youngest = Some(launched);
        instance.imds.set_launched(launched);
        instance.imds.set_tags(&[(self.kind.tag(), &self.id)]);
        for (key, value) in lock(&self.settings).clone() {
            match (instance.configuration.get_mut(&key), value) {
                (Some(toml::Value::Table(there)), toml::Value::Table(more)) => there.extend(more),
                (_, value) => drop(instance.configuration.insert(key, value)),
            }
        }
        if let Some(Prepare(prepare)) = &*lock(&self.prepared) {
            prepare(&mut instance);
        }
        let agent = Mutex::new(Some(instance.start()));
        self.started.fetch_add(1, Ordering::Relaxed);
        lock(&self.members).insert(id.to_owned(), Arc::new(Member { instance, agent }));
    }
}

/// The operating system asks the agent to end, and does not wait for ever.
async fn shut_down(member: Arc<Member>) {
    if !member.has_ended() {
        member.signal(Signal::SIGTERM);
    }
    let begun = std::time::Instant::now();
    while !member.has_ended() && begun.elapsed() < SHUTDOWN {
        tokio::time::sleep(LOOK).await;
    }
    let agent = lock(&member.agent).take();
    drop(agent);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
