//! One host: what it is, what it remembers, and what its keepers are in the middle of.

use std::{net::Ipv4Addr, time::Duration};

use tokio::time::Instant;

use super::{
    super::steps::{Correcting, HandingOver, Looking, Memory, Rules},
    LAST_ACCEPT, SILENCE, Seconds,
};
use crate::{
    aws::{
        Host as Facts,
        host::tests::host,
        zone::{RecordChange as Batch, Records},
    },
    claim::{PeerMemory, Routing},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// SIGSTOP, or a machine that hangs.
    Stopped,
    Dead,
}

/// What the address keeper is in the middle of.
#[derive(Clone, Debug)]
pub(super) enum OfNames {
    Rest,
    /// It has read the zone, and decides next; whether the claimant answered.
    Read(Vec<Records>, bool),
    /// It is sending this batch, upon what it saw.
    Sent(Vec<Batch>),
}

/// What the succession keeper is in the middle of.
#[derive(Clone, Debug, Default)]
pub(super) enum OfPlace {
    #[default]
    Rest,
    /// It looks.
    Looks(Looking),
    /// It corrects.
    Corrects(Correcting),
}

/// What a departing host is in the middle of.
#[derive(Clone, Debug)]
pub(super) enum OfDeparture {
    Rest,
    /// It hands over; the batch that it sends to say so in the claim.
    HandsOver(HandingOver, Option<Vec<Batch>>),
    Done,
}

/// One host.
pub(super) struct Host {
    pub(super) facts: Facts,
    /// The region that it is in.
    pub(super) region: usize,
    pub(super) life: Life,
    pub(super) ready_at: Option<Seconds>,
    /// Its agent never starts.
    pub(super) mute: bool,
    /// Neither Route 53 nor EC2 nor the other hosts are reached.
    pub(super) cut_off: bool,
    /// So many seconds are added to each of its steps.
    pub(super) slow: Seconds,
    pub(super) slowest: Seconds,
    /// When it is taken, as EC2 has it, and as it has understood by its own clock.
    pub(super) taken: Option<Seconds>,
    pub(super) departs: Option<Seconds>,
    /// By how much its clock is off, and whether it knows.
    pub(super) ahead: i64,
    pub(super) knows: bool,
    pub(super) recommended: bool,

    pub(super) names: (OfNames, Seconds),
    pub(super) place: (OfPlace, Seconds),
    pub(super) departure: (OfDeparture, Seconds),

    /// What it remembers of claims.
    pub(super) claimant: PeerMemory,
    /// Where the names lead, as its address keeper last saw it.
    pub(super) leads: Option<Routing>,
    /// What it remembers of the succession.
    pub(super) memory: Memory,
    /// The lowest target that it has seen while no claim said how many hosts the fleet has at rest.
    pub(super) least: Option<u32>,

    /// When it was last unable to answer.
    pub(super) unwell: Seconds,
    /// Since when it has believed to own the names although another claims them, and could have known better.
    pub(super) wrong: Option<Seconds>,
    /// When it died.
    pub(super) died: Option<Seconds>,
    /// Batches of it that were carried out.
    pub(super) writes: u32,
}

impl Host {
    /// A host that is launched now.
    pub(super) fn new(number: u32, now: Seconds, clock: Instant, rules: Rules, ready_at: Option<Seconds>) -> Host {
        let minute = i64::try_from(now / 60).expect("hours");
        let last = u8::try_from(number % 250 + 1).expect("a byte");
        let net = u8::try_from(number / 250).expect("few");
        let facts = Facts { ipv4: Some(Ipv4Addr::new(192, 0, net, last)), ..host(&format!("i-{number:04}"), minute) };
        Host {
            facts,
            region: 0,
            life: Life::Running,
            ready_at,
            mute: false,
            cut_off: false,
            slow: 0,
            slowest: 0,
            taken: None,
            departs: None,
            ahead: 0,
            knows: true,
            recommended: false,
            names: (OfNames::Rest, now + 1),
            place: (OfPlace::Rest, now + 1),
            departure: (OfDeparture::Rest, now + 1),
            claimant: PeerMemory::since(Duration::from_secs(SILENCE), clock),
            leads: None,
            memory: Memory::new(rules, Duration::from_secs(now)),
            least: None,
            unwell: now,
            wrong: None,
            died: None,
            writes: 0,
        }
    }

    /// The same in that region.
    pub(super) fn of(self, region: usize) -> Host {
        let name = ["eu-central-1", "us-east-1"][region].to_owned();
        Host { facts: Facts { region: name, ..self.facts }, region, ..self }
    }

    pub(super) fn lives(&self) -> bool {
        self.life != Life::Dead
    }

    pub(super) fn is_ready(&self, now: Seconds) -> bool {
        self.ready_at.is_some_and(|ready| ready <= now)
    }

    /// Whether whoever asks it for the site is answered. One that is taken stops accepting before.
    pub(super) fn answers(&self, now: Seconds) -> bool {
        let accepts = self.departs.is_none_or(|until| now + LAST_ACCEPT < until);
        self.life == Life::Running && !self.mute && !self.cut_off && self.is_ready(now) && accepts
    }

    /// Whether it takes the names for its own.
    pub(super) fn believes(&self) -> bool {
        matches!(self.leads, Some(Routing::Here(_)))
    }

    /// The second in which one of its keepers takes its next step.
    pub(super) fn next(&self) -> Seconds {
        let keepers = if self.departs.is_some() { Seconds::MAX } else { self.names.1.min(self.place.1) };
        let departure = if self.taken.is_some() { self.departure.1 } else { Seconds::MAX };
        keepers.min(departure)
    }
}
