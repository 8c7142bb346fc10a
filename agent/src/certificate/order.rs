//! One order at the CA (RFC 8555 §7.1), each step reachable only through the one before.

use std::{path::PathBuf, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{
    challenge::{Challenges, Proof},
    document::{Document, Issued, is_whole},
    due::Window,
    transport::Transport,
};
use crate::{aws::zone::Zone, config::Name, fault::Fault};

/// An authorization that failed costs one of five an hour, which come back one every twelve minutes
/// (<https://letsencrypt.org/docs/rate-limits/>): so much is waited after one.
const AFTER_A_FAILED_PROOF: Duration = Duration::from_secs(15 * 60);
/// Waited after a limit was hit, when the CA does not say how long.
const AFTER_A_LIMIT: Duration = Duration::from_secs(3600);
/// How a pending order is looked at again; a `Retry-After` of the CA goes before.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(120));

/// A CA that speaks ACME.
#[derive(Clone, Debug)]
pub(super) struct Acme {
    /// URL of the directory.
    pub directory: String,
    /// PEM file with the roots of its HTTPS.
    pub roots: Option<PathBuf>,
    /// Profile to order with.
    pub profile: Option<String>,
    /// Mail address for the account.
    pub contact: Option<String>,
}

/// An account that is ready to order.
pub(super) struct Customer {
    account: Account,
    transport: Transport,
}

impl Acme {
    /// The account that `document` holds for this CA, or a new one, which is then put into `document`.
    ///
    /// # Errors
    /// What the CA refuses; a profile that it does not offer.
    pub(super) async fn account(&self, document: &mut Document) -> Result<Customer, Fault> {
        let transport = Transport::new(self.roots.as_deref())?;
        let builder = Account::builder_with_http(Box::new(transport.clone()));
        let account = match document.credentials(&self.directory) {
            Some(credentials) => {
                let doing = format!("opening the account at {}", self.directory);
                builder.from_credentials(credentials).await.map_err(|error| fault(&doing, &error, &transport))?
            }
            None => {
                let doing = format!("making an account at {}", self.directory);
                let contact = self.contact.as_ref().map(|address| format!("mailto:{address}"));
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let made = builder.create(&new, self.directory.clone(), None).await;
                let (account, credentials) = made.map_err(|error| fault(&doing, &error, &transport))?;
                document.set_account(&self.directory, &credentials)?;
                account
            }
        };
        self.offered(&account)?;
        Ok(Customer { account, transport })
    }

    /// When the CA would like the certificate in `document` to be renewed, and when to ask again (RFC 9773 §4); none
    /// when it is not from this CA, or the CA does not say such things.
    ///
    /// # Errors
    /// When the CA cannot be asked, or answers what cannot be.
    pub(super) async fn window(&self, document: &Document) -> Result<Option<(Window, Duration)>, Fault> {
        const DOING: &str = "asking the CA when it would like to renew";
        let certificate = document.certificate.as_ref().filter(|issued| issued.directory == self.directory);
        let (Some(issued), Some(credentials)) = (certificate, document.credentials(&self.directory)) else {
            return Ok(None);
        };
        let leaf =
            CertificateDer::from_pem_slice(issued.chain.as_bytes()).map_err(|error| Fault::retry(DOING, error))?;
        let id = CertificateIdentifier::try_from(&leaf).map_err(|error| Fault::retry(DOING, error))?;
        let transport = Transport::new(self.roots.as_deref())?;
        let account = Account::builder_with_http(Box::new(transport.clone())).from_credentials(credentials).await;
        let account = account.map_err(|error| fault(DOING, &error, &transport))?;
        match account.renewal_info(&id).await {
            Ok((said, again)) => {
                let (start, end) = (said.suggested_window.start, said.suggested_window.end);
                if end <= start {
                    return Err(Fault::retry(DOING, format!("a window that ends before it starts: {start} to {end}")));
                }
                Ok(Some((Window { start, end, explanation: said.explanation_url }, again)))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(fault(DOING, &error, &transport)),
        }
    }

    fn offered(&self, account: &Account) -> Result<(), Fault> {
        let Some(wanted) = &self.profile else {
            return Ok(());
        };
        let offered: Vec<_> = account.profiles().map(|profile| profile.name.to_owned()).collect();
        if offered.contains(wanted) {
            return Ok(());
        }
        let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
        let said = format!("the CA offers {offered}");
        Err(Fault::operator(format!("choosing profile {wanted:?}"), said, "correct [acme] profile"))
    }

    /// Makes an order for `names`, as the replacement of the certificate `replaces` where the CA takes that
    /// (RFC 9773 §5), and says where it is. Nothing is issued yet.
    ///
    /// # Errors
    /// What the CA refuses.
    pub(super) async fn place(
        &self,
        customer: &Customer,
        names: &[Name],
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<Order, Fault> {
        let identifiers: Vec<_> = names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let mut wanted = NewOrder::new(&identifiers);
        if let Some(profile) = &self.profile {
            wanted = wanted.profile(profile);
        }
        let replacement = match replaces {
            None => None,
            Some(replaced) => {
                let mut wanted = NewOrder::new(&identifiers);
                if let Some(profile) = &self.profile {
                    wanted = wanted.profile(profile);
                }
                Some(customer.account.new_order(&wanted.replaces(replaced)).await)
            }
        };
        let ordered = match replacement {
            Some(Ok(order)) => Ok(order),
            Some(Err(error)) if kind_of(&error) == "rateLimited" => Err(error),
            // A CA that does not take it as a replacement may take it as an order like any other.
            Some(Err(error)) => {
                tracing::info!(%error, "not taken as a replacement");
                customer.account.new_order(&wanted).await
            }
            None => customer.account.new_order(&wanted).await,
        };
        let order = ordered.map_err(|error| customer.fault("making an order", &error))?;
        tracing::info!(url = order.url(), "order made");
        Ok(order)
    }

    /// The order at `url`, if the CA still has it and it can still come to something.
    ///
    /// # Errors
    /// When the CA cannot be asked.
    pub(super) async fn resume(&self, customer: &Customer, url: &str) -> Result<Option<Order>, Fault> {
        match customer.account.order(url.to_owned()).await {
            Ok(mut order) => {
                let invalid = order.state().status == OrderStatus::Invalid;
                Ok((!invalid).then_some(order))
            }
            Err(Error::Api(problem)) if problem.status.is_none_or(|status| (400..500).contains(&status)) => {
                tracing::info!(url, %problem, "the order that was under way is gone");
                Ok(None)
            }
            Err(error) => Err(customer.fault("reading the order that was under way", &error)),
        }
    }

    /// Brings `order` to its end from wherever it is: proves `names` in `zone`, asks for a certificate for `key`, and
    /// fetches it.
    ///
    /// # Errors
    /// What the CA or Route 53 refuse.
    pub(super) async fn complete(
        &self,
        customer: &Customer,
        mut order: Order,
        names: &[Name],
        key: Zeroizing<String>,
        zone: &Zone,
    ) -> Result<Issued, Fault> {
        if order.state().status == OrderStatus::Pending {
            customer.prove(&mut order, zone).await?;
        }
        if order.state().status == OrderStatus::Ready {
            customer.finalize(&mut order, &request(names, &key)?).await?;
        }
        let chain = customer.certificate(&mut order).await?;
        let (directory, profile) = (self.directory.clone(), self.profile.clone());
        let issued = Issued { directory, profile, chain, key, renewal: None };
        match issued.read() {
            Ok(_) => Ok(issued),
            Err(why) => Err(Fault::retry("reading the certificate that the CA issued", why)),
        }
    }
}

impl Customer {
    /// Whether `fault` says that the CA does not know the account any more.
    pub(super) fn is_unknown(fault: &Fault) -> bool {
        fault.said.contains("accountDoesNotExist")
    }

    async fn prove(&self, order: &mut Order, zone: &Zone) -> Result<(), Fault> {
        let proofs = self.proofs(order).await?;
        if proofs.is_empty() {
            return Ok(());
        }
        let challenges = Challenges::new(zone, proofs);
        challenges.publish().await?;
        let proven = self.validate(order).await;
        // Whatever came of it, what we published is of no use any more.
        if let Err(fault) = challenges.remove().await {
            tracing::warn!(%fault, "challenge records stay behind");
        }
        proven
    }

    /// What has to stand in DNS, for every name that is not proven yet.
    async fn proofs(&self, order: &mut Order) -> Result<Vec<Proof>, Fault> {
        const DOING: &str = "reading the authorizations of the order";
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault(DOING, &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = match authorization.identifier().identifier {
                Identifier::Dns(name) => name.clone(),
                other => {
                    return Err(Fault::retry(DOING, format!("{other:?} is no name that was ordered")));
                }
            };
            let challenge = authorization.challenge(ChallengeType::Dns01);
            let challenge = challenge.ok_or_else(|| Fault::retry(DOING, format!("no dns-01 offered for {name}")))?;
            proofs.push(Proof::new(&name, &challenge.key_authorization().dns_value()));
        }
        Ok(proofs)
    }

    async fn validate(&self, order: &mut Order) -> Result<(), Fault> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault("reading an authorization", &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01) {
                let ready = challenge.set_ready().await;
                ready.map_err(|error| self.fault("telling the CA that the challenge is ready", &error))?;
            }
        }
        let status = order.poll_ready(&POLLING).await;
        match status.map_err(|error| self.fault("waiting for the CA to look at the challenge", &error))? {
            OrderStatus::Invalid => Err(self.disproven(order).await),
            _ => Ok(()),
        }
    }

    /// Why the CA does not believe that the names are ours.
    async fn disproven(&self, order: &mut Order) -> Fault {
        let mut reasons = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if let Ok(state) = authorization.refresh().await {
                let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
                reasons.extend(problems.map(words));
            }
        }
        let said = if reasons.is_empty() { "the order is invalid".to_owned() } else { reasons.join("; ") };
        let remedy = "see that the zone is the one that the domain is delegated to, and that CAA records allow the CA";
        let mut fault = Fault::wait("proving the names to the CA", said, AFTER_A_FAILED_PROOF);
        fault.remedy = Some(remedy.to_owned());
        fault
    }

    /// Sends the request for the certificate. An answer that was lost is settled by reading the order again, so that
    /// never two are issued for one order.
    async fn finalize(&self, order: &mut Order, csr: &[u8]) -> Result<(), Fault> {
        const DOING: &str = "finalizing the order";
        let Err(error) = order.finalize_csr(csr).await else {
            return Ok(());
        };
        let first = self.fault(DOING, &error);
        if matches!(error, Error::Api(_)) && first.cure != crate::fault::Cure::Retry {
            return Err(first);
        }
        tracing::info!(fault = %first, "reading the order again");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let state = order.refresh().await.map_err(|error| self.fault("reading the order again", &error))?;
        match state.status {
            OrderStatus::Processing | OrderStatus::Valid => Ok(()),
            OrderStatus::Ready => order.finalize_csr(csr).await.map_err(|error| self.fault(DOING, &error)),
            _ => Err(first),
        }
    }

    /// The chain; fetching it is repeated, because what is issued and lost would have to be ordered again.
    async fn certificate(&self, order: &mut Order) -> Result<String, Fault> {
        let mut last = None;
        for attempt in 0..4_u32 {
            tokio::time::sleep(Duration::from_millis(500) * attempt).await;
            match order.poll_certificate(&POLLING).await {
                Ok(chain) if is_whole(&chain) => return Ok(chain),
                Ok(_) => last = Some(Fault::retry("fetching the certificate", "a chain that is cut off")),
                Err(error) => last = Some(self.fault("fetching the certificate", &error)),
            }
        }
        Err(last.unwrap_or_else(|| Fault::retry("fetching the certificate", "no answer")))
    }

    fn fault(&self, doing: &str, error: &Error) -> Fault {
        fault(doing, error, &self.transport)
    }
}

/// A new key for a certificate: ECDSA P-256, PKCS #8 in PEM.
///
/// # Errors
/// When the machine has no randomness.
pub(super) fn new_key() -> Result<Zeroizing<String>, Fault> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    let key = key.map_err(|error| Fault::retry("making a key", error))?;
    Ok(Zeroizing::new(key.serialize_pem()))
}

/// A request for a certificate for `key` (RFC 2986), in DER. The subject stays empty: names are in the extension.
fn request(names: &[Name], key: &str) -> Result<Vec<u8>, Fault> {
    let failed = |error: rcgen::Error| Fault::retry("making the certificate request", error);
    let key = KeyPair::from_pem(key).map_err(failed)?;
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut request = CertificateParams::new(names).map_err(failed)?;
    request.distinguished_name = DistinguishedName::new();
    Ok(request.serialize_request(&key).map_err(failed)?.der().to_vec())
}

fn kind_of(error: &Error) -> &str {
    let kind = match error {
        Error::Api(problem) => problem.r#type.as_deref().unwrap_or_default(),
        _ => "",
    };
    kind.trim_start_matches("urn:ietf:params:acme:error:")
}

/// Sorts what the CA says by its cure (RFC 8555 §6.7).
fn fault(doing: &str, error: &Error, transport: &Transport) -> Fault {
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
        "externalAccountRequired" => "this CA wants an account of its own kind, which is not supported: use another",
        "caa" => "allow the CA in the CAA records of the domain",
        "badCSR" | "unsupportedIdentifier" => "the CA does not issue what is asked for: use another",
        "userActionRequired" => "agree to the terms that the CA names",
        "unauthorized" | "dns" | "connection" | "incorrectResponse" => {
            return Fault::wait(doing, said, asked.unwrap_or(AFTER_A_FAILED_PROOF));
        }
        _ => {
            return asked.map_or_else(|| Fault::retry(doing, &said), |time| Fault::wait(doing, &said, time));
        }
    };
    Fault::operator(doing, said, remedy)
}

fn words(problem: &Problem) -> String {
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
    fn refusals_of_the_ca_are_sorted_by_their_cure() {
        let transport = Transport::new(None).expect("a transport");
        let table = [
            ("rateLimited", Cure::Wait(AFTER_A_LIMIT)),
            ("unauthorized", Cure::Wait(AFTER_A_FAILED_PROOF)),
            ("dns", Cure::Wait(AFTER_A_FAILED_PROOF)),
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

    #[test]
    fn request_carries_the_names_and_a_key_of_its_own() {
        let names = ["a.example".parse().expect("a name"), "b.example".parse().expect("a name")];
        let (one, two) = (new_key().expect("made"), new_key().expect("made"));
        let (first, second) = (request(&names, &one).expect("made"), request(&names, &two).expect("made"));
        assert!(*one != *two && first != second);
        for name in ["a.example", "b.example"] {
            assert!(first.windows(name.len()).any(|window| window == name.as_bytes()));
        }
    }
}
