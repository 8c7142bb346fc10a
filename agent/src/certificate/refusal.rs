//! What a CA refuses, sorted by what would cure it (RFC 8555 §6.7).

use std::time::Duration;

use instant_acme::{Error, Problem};

use super::{
    steps::{FailureKind, StepFailure},
    transport::Transport,
};
use crate::fault::Fault;

/// Waited after a limit was hit, when the CA does not say how long.
const AFTER_A_LIMIT: Duration = Duration::from_secs(3600);

/// The last part of the type of the CA's problem, such as `rateLimited`; empty when it is none.
pub(super) fn kind_of(error: &Error) -> &str {
    let kind = match error {
        Error::Api(problem) => problem.r#type.as_deref().unwrap_or_default(),
        _ => "",
    };
    kind.trim_start_matches("urn:ietf:params:acme:error:")
}

/// What a refusal of the CA means for the order, and its cure.
pub(super) fn refused(doing: &str, error: &Error, transport: &Transport) -> StepFailure {
    let kind = match kind_of(error) {
        "accountDoesNotExist" => FailureKind::AccountGone,
        "alreadyReplaced" => FailureKind::NotAsReplacement,
        "unauthorized" | "dns" | "connection" | "incorrectResponse" | "caa" => FailureKind::AuthorizationFailed,
        _ => FailureKind::Passing,
    };
    StepFailure { fault: fault(doing, error, transport), kind }
}

/// Sorts what the CA says by its cure (RFC 8555 §6.7).
pub(super) fn fault(doing: &str, error: &Error, transport: &Transport) -> Fault {
    let refusal = transport.refusal();
    let asked = refusal.and_then(|refusal| refusal.retry_after);
    let said = match (error, refusal) {
        (Error::Api(problem), _) => words(problem),
        (_, Some(refusal)) => format!("{}: {error}", refusal.status),
        _ => error.to_string(),
    };
    let remedy = match kind_of(error) {
        "rateLimited" => return Fault::wait(doing, said, asked.unwrap_or(AFTER_A_LIMIT)),
        "rejectedIdentifier" => "the CA does not certify this name: correct `domain` and `aliases`, or use another CA",
        "invalidProfile" => "correct [acme] profile",
        "invalidContact" | "unsupportedContact" => "correct `contact`",
        "externalAccountRequired" => "give the account that the CA gave you in [acme.eab]",
        "caa" => "allow the CA in the CAA records of the domain",
        "badCSR" | "unsupportedIdentifier" => "the CA does not issue such a certificate: use another CA",
        "userActionRequired" => "agree to the terms that the CA names",
        "unauthorized" | "dns" | "connection" | "incorrectResponse" => {
            let remedy =
                "see that the zone is the one that the domain is delegated to, and that CAA records allow the CA";
            let fault = asked.map_or_else(|| Fault::retry(doing, &said), |time| Fault::wait(doing, &said, time));
            return Fault { remedy: Some(remedy.to_owned()), ..fault };
        }
        _ => {
            return asked.map_or_else(|| Fault::retry(doing, &said), |time| Fault::wait(doing, &said, time));
        }
    };
    Fault::operator(doing, said, remedy)
}

/// What the CA says in a problem document, in one line.
pub(super) fn words(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("about:blank");
    let kind = kind.trim_start_matches("urn:ietf:params:acme:error:");
    let parts = problem.subproblems.iter().map(|part| format!("; {}", part.detail.as_deref().unwrap_or("no detail")));
    let parts: String = parts.collect();
    format!("{kind}: {}{parts}", problem.detail.as_deref().unwrap_or("no detail"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Cure;

    fn problem(kind: &str) -> Error {
        let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because"}}"#);
        Error::Api(serde_json::from_str(&text).expect("a problem"))
    }

    #[test]
    fn refusals_say_what_becomes_of_the_order() {
        let transport = Transport::new(None).expect("a transport");
        let table = [
            ("accountDoesNotExist", FailureKind::AccountGone),
            ("alreadyReplaced", FailureKind::NotAsReplacement),
            ("dns", FailureKind::AuthorizationFailed),
            ("rateLimited", FailureKind::Passing),
            ("serverInternal", FailureKind::Passing),
        ];
        for (kind, expected) in table {
            assert_eq!(refused("ordering", &problem(kind), &transport).kind, expected, "{kind}");
        }
    }

    #[test]
    fn refusals_of_the_ca_are_sorted_by_their_cure() {
        let transport = Transport::new(None).expect("a transport");
        let table = [
            ("rateLimited", Cure::Wait(AFTER_A_LIMIT)),
            ("unauthorized", Cure::Retry),
            ("dns", Cure::Retry),
            ("externalAccountRequired", Cure::Operator),
            ("rejectedIdentifier", Cure::Operator),
            ("caa", Cure::Operator),
            ("serverInternal", Cure::Retry),
            ("badNonce", Cure::Retry),
        ];
        for (kind, cure) in table {
            let fault = fault("ordering", &problem(kind), &transport);
            assert_eq!(fault.cure, cure, "{kind}");
            assert_eq!(fault.said, format!("{kind}: because"));
        }
    }
}
