//! Where the names lead, as a host sees it that may claim them.

use std::fmt;

use super::Claim;

/// The names lead to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedHere {
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
pub enum Routing {
    /// Here.
    Here(RoutedHere),
    /// To the host that has the right to it.
    Elsewhere(Box<RoutedElsewhere>),
}

/// The names lead to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedElsewhere {
    /// Its claim.
    pub claim: Claim,
    /// Whether they led to this host before.
    pub held: bool,
    /// Whether it answered for the domain when it was last asked.
    pub answers: bool,
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Routing::Here(here) => write!(f, "all names lead to {} (epoch {})", here.to, here.epoch),
            Routing::Elsewhere(elsewhere) => {
                let Claim { instance, epoch, .. } = &elsewhere.claim;
                let answers = if elsewhere.answers { "answers" } else { "does not answer" };
                write!(f, "{instance} holds the names (epoch {epoch}) and {answers}")
            }
        }
    }
}
