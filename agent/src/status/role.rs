//! What a host is in the succession.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The role of a host in the succession.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It does not answer for the domain yet.
    #[default]
    Booting,
    /// The names lead to it.
    Owner,
    /// The names led to it, and lead to another now: it serves those who still come.
    Superseded,
    /// It is ready, and follows when the owner goes.
    Standby,
    /// It goes.
    Departing,
    /// It has not come to answer for the domain, or to learn where the names lead, in all the time it was given.
    Failed,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Booting => "booting",
            Role::Owner => "owner",
            Role::Superseded => "superseded",
            Role::Standby => "standby",
            Role::Departing => "departing",
            Role::Failed => "failed",
        })
    }
}
