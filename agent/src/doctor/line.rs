//! One line of what the doctor found.

use std::fmt;

use serde::Serialize;

use crate::fault::Fault;

/// The subject of a line, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The configuration.
    Configuration,
    /// Who asks, and where.
    Credentials,
    /// The clock of this machine.
    Clock,
    /// What the role of the hosts may do.
    Rights,
    /// The hosted zone and what its parent says of it.
    Delegation,
    /// Who may issue certificates for the names.
    Caa,
    /// The CA.
    Authority,
    /// What the CA's limits leave.
    Limits,
    /// Certificate and account.
    Vault,
    /// What is published.
    Package,
    /// The application that packages bring.
    Application,
    /// The records of the names, and the claim to them.
    Records,
    /// Instance metadata and tags.
    Instance,
    /// The ports of the host.
    Ports,
    /// How many instances the account may have.
    Quota,
    /// The names as a visitor meets them.
    Outside,
}

/// How what was found compares with what should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineState {
    /// As it should be.
    Ok,
    /// The site works, or will; but not for ever, or not as well as it could.
    Warning,
    /// It does not work, or will not.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about.
    pub subject: Subject,
    /// How it is.
    pub is: LineState,
    /// The finding, in one sentence.
    pub said: String,
    /// What mends it: a command, or what a person has to do where no command can.
    pub mend: Option<String>,
}

impl Line {
    /// As it should be.
    pub(super) fn ok(subject: Subject, said: impl fmt::Display) -> Line {
        Line { subject, is: LineState::Ok, said: said.to_string(), mend: None }
    }

    /// Works, but should be looked after.
    pub(super) fn warning(subject: Subject, said: impl fmt::Display, mend: impl Into<String>) -> Line {
        Line { subject, is: LineState::Warning, said: said.to_string(), mend: Some(mend.into()) }
    }

    /// Does not work.
    pub(super) fn wrong(subject: Subject, said: impl fmt::Display, mend: impl Into<String>) -> Line {
        Line { subject, is: LineState::Wrong, said: said.to_string(), mend: Some(mend.into()) }
    }

    /// What could not be looked at because of `fault`.
    pub(super) fn fault(subject: Subject, fault: &Fault) -> Line {
        let mend = fault.remedy.clone().unwrap_or_else(|| "run it again: spothost doctor".to_owned());
        Line::wrong(subject, format!("{}: {}", fault.doing, fault.said), mend)
    }

    /// The same for what the site can do without.
    pub(super) fn unseen(subject: Subject, fault: &Fault) -> Line {
        Line { is: LineState::Warning, ..Line::fault(subject, fault) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{self:?}").to_lowercase();
        f.pad(&name)
    }
}

impl fmt::Display for LineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LineState::Ok => "ok",
            LineState::Warning => "warning",
            LineState::Wrong => "wrong",
        })
    }
}
