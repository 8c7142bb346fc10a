//! The remaining limits of the CAs, and the next planned order: the data of `spothost budget`.

use serde::Serialize;
use time::OffsetDateTime;

use super::{
    Certifier, Vault,
    document::Issued,
    ledger::RemainingLimit,
    limit::VERSIONS,
    plan::{CertificatePlan, Holding, UnreachableCas, plan},
};
use crate::{
    clock::{self, moment},
    fault::Fault,
    place::Name,
};

/// The remaining limits of all CAs, and the next planned order.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    /// The names that are certified together.
    pub names: Vec<Name>,
    /// The next action and its time, in a sentence.
    pub plan: String,
    /// When it is done, if it is not at once.
    #[serde(with = "time::serde::rfc3339::option")]
    pub when: Option<OffsetDateTime>,
    /// The CAs, in the order in which they are turned to.
    pub authorities: Vec<AtAuthority>,
    /// How often the secret may still be written.
    pub versions: LimitLeft,
}

/// The remaining limits of one CA.
#[derive(Clone, Debug, Serialize)]
pub struct AtAuthority {
    /// URL of its directory.
    pub directory: String,
    /// Attempts that failed since the last that did not.
    pub failed: u32,
    /// Since when they fail.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// What was said last.
    pub said: Option<String>,
    /// The rest of each limit.
    pub limits: Vec<LimitLeft>,
}

/// The rest of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitLeft {
    /// What it limits.
    pub what: &'static str,
    /// How often it may be done now.
    pub left: u32,
    /// How often it could be, had nothing been done.
    pub of: u32,
    /// When it may be done once more than now.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next: Option<OffsetDateTime>,
}

impl Budget {
    /// Reads the remaining limits for `names` from `vault`. Nothing is changed, and no CA is asked.
    ///
    /// # Errors
    /// When the vault cannot be read.
    pub async fn read(names: Vec<Name>, vault: &Vault, certifier: &Certifier) -> Result<Budget, Fault> {
        let wanted = certifier.wanted(names);
        let reading = vault.read().await?;
        let document = reading.document;
        let now = clock::now() + reading.off;
        let holding = document.certificate.as_ref().map_or(Holding::Nothing, Issued::holding);
        let (plan, when) = match plan(&wanted, &document, &holding, &UnreachableCas::default(), now) {
            CertificatePlan::Keep(until) => (format!("keep the certificate until {}", moment(until)), Some(until)),
            CertificatePlan::Order(order) => {
                let how = if order.resumes { "resume the pending order at" } else { "order at" };
                (format!("{how} {}: {}", wanted.authorities[order.authority].directory, order.why), None)
            }
            CertificatePlan::Wait { why, not } => {
                (format!("order ({why}), but not before {}: {}", moment(not.until), not.why), Some(not.until))
            }
        };
        let at = |directory: &String| {
            let book = document.ledger.book(directory);
            let left = document.ledger.left(directory, &wanted.names, now);
            AtAuthority {
                directory: directory.clone(),
                failed: book.failed,
                failing_since: book.since,
                said: book.said.clone(),
                limits: left
                    .into_iter()
                    .map(|RemainingLimit { what, left, of, next }| LimitLeft { what, left, of, next })
                    .collect(),
            }
        };
        let authorities = match certifier {
            // The local CA has no limits.
            Certifier::Internal(_) => Vec::new(),
            Certifier::Acme(_) => wanted.authorities.iter().map(|authority| at(&authority.directory)).collect(),
        };
        let (left, next) = document.versions(now);
        let versions = LimitLeft { what: "versions of the secret", left, of: VERSIONS.tokens, next };
        Ok(Budget { names: wanted.names, plan, when, authorities, versions })
    }
}
