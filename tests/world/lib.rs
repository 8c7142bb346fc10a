//! The world that the built `spothost` is tested against, all of it on loopback.
//!
//! ```text
//!                      ┌── FaultProxy ── AWS (moto behind a strict overlay) ── DNS
//!   Agent (a process) ─┼── AcmeProxy ─── Pebble, which validates against that DNS
//!        ▲             └── Imds
//!        └── Visitor
//! ```
//!
//! [`World`] is shared by the tests of one binary: it owns AWS, DNS and the CA. An [`Account`] belongs to one test, so
//! that tests run beside each other. An [`Instance`] is a machine in that account: its metadata, its address, its disk,
//! and the proxies through which alone it reaches AWS and the CA, and which let through what its [`Policy`] allows. An [`Agent`] is the program running on it.
//! [`Visitor`] is who the site is for. An [`Application`] is a real server that somebody runs beside the agent.

mod account;
mod address;
mod agent;
mod application;
mod burden;
mod ca;
mod command;
mod connection;
mod crowd;
mod disk;
pub mod drill;
mod elastic_ip;
pub mod emulated;
mod fleet;
mod gateway;
pub mod hosted;
mod imds;
mod instance;
mod latencies;
mod load;
pub mod newcomer;
mod numbered;
mod operator;
mod patience;
mod proxy;
mod publisher;
mod record;
pub mod rendering;
mod rights;
mod runners;
mod shared;
pub mod siege;
mod sign_in;
mod site;
mod sockets;
mod strangers;
mod talk;
pub mod tools;
mod unit;
mod visitor;

pub use account::{Account, Object, REGIONS, Record, Secret, SecretVersion};
pub use address::own_address;
pub use agent::Agent;
pub use application::{Application, Command};
pub use burden::Burden;
pub use ca::Ca;
pub use command::{Ended, binary};
pub use crowd::{Crowd, Keeping};
pub use disk::{DiskFault, FaultyDisk};
pub use elastic_ip::ElasticIp;
pub use fleet::{Fleet, FleetKind, Member};
pub use gateway::Gateway;
pub use imds::{Imds, ImdsRequest};
pub use instance::Instance;
pub use latencies::{Latencies, Measured};
pub use load::{Load, Tally};
pub use numbered::{Counts, Lost, Numbered, Seen};
pub use operator::Operator;
pub use patience::{eventually, eventually_some};
pub use proxy::{AcmeProxy, Call, Fault, FaultProxy, Kind, Rule, Service};
pub use publisher::Publisher;
pub use record::Recorded;
pub use rights::{Judged, Need, Policy};
pub use runners::Runners;
pub use shared::World;
pub use sign_in::{SignIn, TOKEN};
pub use site::{Entry, Site, archive};
pub use sockets::Sockets;
pub use strangers::Strangers;
pub use talk::Talk;
pub use unit::Unit;
pub use visitor::{Answer, Visitor};
