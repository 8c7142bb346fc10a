//! What a proxy does to which calls.

use std::time::Duration;

use super::{Call, Service};

/// What is done to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is not passed on, but answered with an error in the shape of its service.
    Refuse {
        /// HTTP status.
        status: u16,
        /// The service's error code; for ACME the last part of the error's type (RFC 8555 §6.7).
        code: String,
        /// What is said to people.
        message: String,
        /// Seconds of a `Retry-After`.
        retry_after: Option<u32>,
    },
    /// It takes so much longer.
    Delay(Duration),
    /// It is passed on when all rules are lifted, and not before.
    Hold,
    /// So many bytes of the answer's body arrive, then the connection ends.
    Cut(usize),
    /// One bit of the byte at this place of the answer's body is wrong.
    Flip(usize),
    /// The answer carries these headers, in the place of any of the same name.
    Tell(&'static str, String),
    /// In the answer's body the first text stands wherever the second did.
    Say(String, &'static str),
    /// The connection is reset before the call is passed on.
    Reset,
    /// No answer ever comes, and the call is not passed on.
    Hang,
    /// It is carried out, and the connection ends without an answer.
    LoseAnswer,
}

impl Fault {
    /// A refusal.
    pub fn refuse(status: u16, code: &str) -> Fault {
        let message = format!("refused by the test with {code}");
        Fault::Refuse { status, code: code.to_owned(), message, retry_after: None }
    }

    /// A refusal that says when to come back, in seconds.
    pub fn refuse_for(status: u16, code: &str, seconds: u32) -> Fault {
        let message = format!("refused by the test with {code}");
        Fault::Refuse { status, code: code.to_owned(), message, retry_after: Some(seconds) }
    }

    /// AWS's common refusal of a caller without the permission.
    pub fn denied() -> Fault {
        let message = "User: arn:aws:sts::123456789012:assumed-role/host/i-0 is not authorized to perform this action";
        Fault::Refuse { status: 403, code: "AccessDenied".to_owned(), message: message.to_owned(), retry_after: None }
    }
}

/// A fault, the calls that suffer it, and how many of them.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    service: Option<Service>,
    operation: Option<String>,
    about: Option<String>,
    left: Option<u32>,
}

impl Rule {
    /// Every call suffers it until the rule is lifted.
    pub fn new(fault: Fault) -> Rule {
        Rule { fault, service: None, operation: None, about: None, left: None }
    }

    /// Only calls of that service.
    #[must_use]
    pub fn of(self, service: Service) -> Rule {
        Rule { service: Some(service), ..self }
    }

    /// Only calls of that operation, such as `ChangeResourceRecordSets`.
    #[must_use]
    pub fn on(self, operation: &str) -> Rule {
        Rule { operation: Some(operation.to_owned()), ..self }
    }

    /// Only calls whose target (key, record set, …) contains that.
    #[must_use]
    pub fn about(self, part: &str) -> Rule {
        Rule { about: Some(part.to_owned()), ..self }
    }

    /// Only the next so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Rule {
        Rule { left: Some(times), ..self }
    }

    fn fits(&self, call: &Call) -> bool {
        self.left != Some(0)
            && self.service.is_none_or(|service| service == call.service)
            && self.operation.as_ref().is_none_or(|operation| *operation == call.operation)
            && self.about.as_ref().is_none_or(|part| call.target.contains(part))
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn lift(&mut self) {
        self.0.clear();
    }

    pub(super) fn are_spent(&self) -> bool {
        self.0.iter().all(|rule| rule.left == Some(0))
    }

    pub(super) fn are_lifted(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be done to this call; counts it.
    pub(super) fn next(&mut self, call: &Call) -> Option<Fault> {
        let rule = self.0.iter_mut().find(|rule| rule.fits(call))?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(rule.fault.clone())
    }
}
