//! The board and the status: the one account of how the host is doing.
//!
//! Keepers report to the [`Board`]; everything that tells people (the log, `spothost status`, systemd's status
//! line) reads the [`Status`] that the board keeps. What a part is doing now is kept apart from how its last
//! round ended, so that a slow call never hides an old fault.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Cure;

mod board;
mod file;
mod role;
mod shutdown;
mod snapshot;
pub mod systemd;

pub use board::{Board, Reporter};
pub use file::{read, write, write_changes};
pub use role::Role;
pub(crate) use shutdown::SIGNAL_HARD;
pub use shutdown::Shutdown;
pub use snapshot::Trouble;

/// The parts of a host, in boot order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Facts about this instance.
    Host,
    /// The site that the bucket holds.
    Package,
    /// What the process of a package needs and the package does not have.
    Secrets,
    /// The process of the package.
    Application,
    /// The certificate and its vault.
    Certificate,
    /// What is said to visitors before there is a certificate.
    Placeholder,
    /// The servers on the ports.
    Listener,
    /// The records that lead here.
    Address,
    /// The place among the hosts that follow each other.
    Succession,
    /// What publishers are told of this host.
    Presence,
    /// Notices and signals.
    Departure,
}

impl Part {
    /// Whether a host cannot serve at its names before this part holds something.
    fn serves(self) -> bool {
        !matches!(self, Part::Secrets | Part::Placeholder | Part::Succession | Part::Presence | Part::Departure)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Host => "host",
            Part::Package => "package",
            Part::Secrets => "secrets",
            Part::Application => "application",
            Part::Certificate => "certificate",
            Part::Placeholder => "placeholder",
            Part::Listener => "listener",
            Part::Address => "address",
            Part::Succession => "succession",
            Part::Presence => "presence",
            Part::Departure => "departure",
        })
    }
}

/// How a part stands after its last round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartPhase {
    /// No round has ended yet.
    Starting,
    /// Something it needs from another part is not there yet.
    Waiting,
    /// As it should be.
    Kept,
    /// It holds something, but its last round failed: it goes on with what it has.
    Degraded,
    /// It holds nothing and its last round failed.
    Failing,
    /// Another host has the right to it; this one stands aside.
    StandingAside,
}

impl fmt::Display for PartPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PartPhase::Starting => "starting",
            PartPhase::Waiting => "waiting",
            PartPhase::Kept => "kept",
            PartPhase::Degraded => "degraded",
            PartPhase::Failing => "failing",
            PartPhase::StandingAside => "standing aside",
        })
    }
}

/// The last fault of a part, as people are told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFault {
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What was being done.
    pub doing: String,
    /// What came back.
    pub said: String,
    /// What a person can do about it.
    pub remedy: Option<String>,
    /// What would cure it.
    pub cure: Cure,
    /// How many rounds in a row have failed; 0 once a later round went well.
    pub tries: u32,
}

/// How one part is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Which part.
    pub part: Part,
    /// How its last round ended.
    pub phase: PartPhase,
    /// What it is doing at this moment, if anything.
    pub doing: Option<String>,
    /// What it needs from other parts before it can start.
    pub needs: Vec<Part>,
    /// What it waits for, in words, while it waits.
    pub waits_for: Option<String>,
    /// What it holds.
    pub holds: Option<String>,
    /// Since when it has held exactly that.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// The last fault; `tries` 0 says that it is over.
    pub fault: Option<LastFault>,
    /// When it looks next.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_look: Option<OffsetDateTime>,
    /// Notes of what it holds that a person should know: lines of `_redirects` that were not understood and the like.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The use of a stretch of the boot by a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spent {
    /// Waiting for another part.
    Waiting,
    /// Looking at how things are.
    Looking,
    /// Correcting them.
    Correcting,
    /// Waiting to try again after a fault.
    Pausing,
}

/// A stretch of the boot of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Whose.
    pub part: Part,
    /// Spent on what.
    pub spent: Spent,
    /// The same in words.
    pub what: String,
    /// Beginning, in milliseconds after the start of the process.
    pub from: u64,
    /// End, likewise; none while it lasts.
    pub to: Option<u64>,
}

/// The whole account of a host, as it stands in the state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id of the agent.
    pub pid: u32,
    /// The canonical name of the site.
    pub domain: String,
    /// When the process started.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When this account was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated: OffsetDateTime,
    /// Where the host stands as a whole.
    pub phase: HostPhase,
    /// What it is in the succession.
    #[serde(default)]
    pub role: Role,
    /// Since when; none before it was anything.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub role_since: Option<OffsetDateTime>,
    /// Whether the last look at the records went well. If not, the role is what it was when they were last read, and another
    /// host may own the names by now.
    #[serde(default)]
    pub role_confirmed: bool,
    /// Why and until when the host goes, once it does.
    pub going: Option<Shutdown>,
    /// The parts in boot order.
    pub parts: Vec<PartStatus>,
    /// What was served so far, as of a few seconds ago.
    #[serde(default)]
    pub served: Served,
    /// The boot: what each part spent its time on until it first held something.
    pub boot: Vec<Span>,
}

/// The traffic so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Responses.
    pub requests: u64,
    /// Responses of class 5xx.
    pub failed: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections that were closed at once, because a limit was reached.
    pub turned_away: u64,
    /// Connections that were cut, because their client was too slow.
    pub cut: u64,
}

/// Where a host stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostPhase {
    /// Some part that it takes to serve has never held anything yet, or one has not been looked at.
    Booting,
    /// Every part is as it should be.
    Serving,
    /// It serves, but some part goes on with what it had, or has nothing and is not needed to serve.
    Degraded,
    /// It serves, and another host owns the name.
    StandingAside,
    /// It goes.
    Departing,
    /// It has gone: the process ended after a drain.
    Gone,
}

impl HostPhase {
    /// Whether nothing is wrong with the host: it serves, or leaves the names to their owner.
    pub fn is_well(self) -> bool {
        matches!(self, HostPhase::Serving | HostPhase::StandingAside)
    }
}

impl fmt::Display for HostPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostPhase::Booting => "booting",
            HostPhase::Serving => "serving",
            HostPhase::Degraded => "degraded",
            HostPhase::StandingAside => "standing aside",
            HostPhase::Departing => "departing",
            HostPhase::Gone => "gone",
        })
    }
}

impl Status {
    /// One line for a person, as systemd shows it: what is served, or what is waited for.
    pub fn line(&self) -> String {
        let troubled = self.parts.iter().find(|p| !matches!(p.phase, PartPhase::Kept | PartPhase::StandingAside));
        match (self.phase, troubled) {
            (HostPhase::Departing, _) => match &self.going {
                Some(going) => format!("departing: {going}"),
                None => "departing".to_owned(),
            },
            (phase, None) => format!("{phase} {}", self.domain),
            (phase, Some(part)) => {
                format!("{phase} {}: {} {}", self.domain, part.part, part.story())
            }
        }
    }

    /// Whether the role is that of the last look, which went well.
    fn confirmed(&self) -> bool {
        let address = self.parts.iter().find(|part| part.part == Part::Address);
        address.is_none_or(|part| matches!(part.phase, PartPhase::Kept | PartPhase::StandingAside))
    }

    fn judged(&self) -> HostPhase {
        let any = |phase| self.parts.iter().any(|p| p.phase == phase);
        let cannot_serve = self.parts.iter().any(|p| p.phase == PartPhase::Failing && p.part.serves());
        match self.phase {
            HostPhase::Gone => HostPhase::Gone,
            _ if self.going.is_some() => HostPhase::Departing,
            _ if any(PartPhase::Starting) || any(PartPhase::Waiting) || cannot_serve => HostPhase::Booting,
            _ if any(PartPhase::Degraded) || any(PartPhase::Failing) => HostPhase::Degraded,
            _ if any(PartPhase::StandingAside) => HostPhase::StandingAside,
            _ => HostPhase::Serving,
        }
    }
}

impl PartStatus {
    fn new(part: Part, needs: &[Part]) -> PartStatus {
        PartStatus {
            part,
            phase: PartPhase::Starting,
            doing: None,
            needs: needs.to_vec(),
            waits_for: None,
            holds: None,
            since: None,
            fault: None,
            next_look: None,
            notes: Vec::new(),
        }
    }

    /// How it stands, in one phrase.
    pub fn story(&self) -> String {
        match (self.phase, &self.fault, &self.waits_for, &self.doing) {
            (PartPhase::Degraded | PartPhase::Failing, Some(fault), _, _) => {
                format!("{}: {}", fault.doing, fault.said)
            }
            (PartPhase::Waiting, _, Some(need), _) => format!("waits for {need}"),
            (PartPhase::Starting, _, _, Some(doing)) => format!("is {doing}"),
            (phase, ..) => phase.to_string(),
        }
    }
}
