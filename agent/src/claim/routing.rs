//! Where the names lead, as a host sees it that may claim them.

use std::fmt;

use super::Claim;

/// The names lead to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadsHere {
    /// What the names lead to.
    pub to: String,
    /// Epoch of the claim.
    pub epoch: u64,
    /// How many hosts the fleet has at rest, as the claim says.
    pub target: Option<u32>,
    /// The epoch of the last claim in which another host said that it goes, and has asked the fleet for a successor.
    pub asked_in: Option<u64>,
}

/// Where the names lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Here.
    Here(LeadsHere),
    /// To the host that has the right to it.
    Elsewhere(Box<Elsewhere>),
}

/// The names lead to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its claim.
    pub claim: Claim,
    /// Whether they led to this host before.
    pub held: bool,
    /// Whether it answered for the domain when it was last asked.
    pub answers: bool,
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leads::Here(here) => write!(f, "all names lead to {} (epoch {})", here.to, here.epoch),
            Leads::Elsewhere(elsewhere) => {
                let Claim { instance, epoch, .. } = &elsewhere.claim;
                let answers = if elsewhere.answers { "answers" } else { "does not answer" };
                write!(f, "{instance} holds the names (epoch {epoch}) and {answers}")
            }
        }
    }
}
