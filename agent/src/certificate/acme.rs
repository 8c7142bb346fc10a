//! A CA that speaks ACME (RFC 8555): its directory, accounts, orders, and when it would like to renew.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::{CertificateIdentifier, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder, Order};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{
    desired_certificate::AcmeCa,
    document::{Account, Issued, VaultDocument},
    due::Window,
    order::{AccountSession, NONCES, OfTheNonce as _, insist},
    refusal::{fault, kind_of, refused},
    steps::{FailureKind, StepFailure},
    transport::Transport,
};
use crate::{
    aws::{Aws, secret::Secret},
    config::{Ca, Eab},
    fault::Fault,
    place::{Name, VaultPlace},
};

/// A CA that speaks ACME.
#[derive(Clone, Debug)]
pub(super) struct Acme {
    /// What of it the plan depends on.
    pub authority: AcmeCa,
    ca: Ca,
    contact: Option<String>,
}

impl Acme {
    /// The CA that `ca` names; its account is for `contact`.
    pub(super) fn new(ca: Ca, contact: Option<String>) -> Acme {
        let directory = ca.directory.clone();
        let profile = ca.profile.clone();
        let staging = ca.staging.clone();
        Acme { authority: AcmeCa { directory, profile, staging }, ca, contact }
    }

    /// Its staging environment, with that directory.
    pub(super) fn staging(&self, directory: &str) -> Acme {
        let ca = Ca { directory: directory.to_owned(), profile: None, staging: None, eab: None, ..self.ca.clone() };
        Acme::new(ca, self.contact.clone())
    }

    /// A client for the CA, which has no connection yet.
    pub(super) fn transport(&self) -> Result<Transport, Fault> {
        Transport::new(self.ca.roots.as_deref())
    }

    /// Reads the directory, and sees that the CA offers the profile: the client that has read it.
    ///
    /// # Errors
    /// When the CA cannot be reached; a profile that it does not offer.
    pub(super) async fn reach(&self) -> Result<Transport, Fault> {
        let transport = self.transport()?;
        let offered = transport.profiles(&self.ca.directory).await?;
        let Some(wanted) = self.ca.profile.as_ref().filter(|wanted| !offered.contains(wanted)) else {
            return Ok(transport);
        };
        let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
        let said = format!("the CA offers {offered}");
        Err(Fault::operator(format!("choosing profile {wanted:?}"), said, "correct [acme] profile"))
    }

    /// Opens the account that is kept, or makes a new one, which is handed out to be kept; over `transport`.
    ///
    /// # Errors
    /// What the CA refuses.
    pub(super) async fn open(
        &self,
        transport: Transport,
        kept: Option<&Account>,
        aws: &Aws,
    ) -> Result<(AccountSession, Option<Account>), StepFailure> {
        let builder = || instant_acme::Account::builder_with_http(Box::new(transport.clone()));
        let directory = &self.ca.directory;
        if let Some(credentials) = kept.and_then(Account::credentials) {
            let doing = format!("opening the account at {directory}");
            let account = builder().from_credentials(credentials).await;
            let account = account.map_err(|error| refused(&doing, &error, &transport))?;
            return Ok((AccountSession { account, transport }, None));
        }
        let doing = format!("making an account at {directory}");
        let contact = self.contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let bound = match &self.ca.eab {
            Some(eab) => Some(external_key(eab, aws).await?),
            None => None,
        };
        let made = insist!(builder().create(&new, directory.clone(), bound.as_ref()).await);
        let (account, credentials) = made.map_err(|error| refused(&doing, &error, &transport))?;
        let kept = Account::new(directory, &credentials)?;
        Ok((AccountSession { account, transport }, Some(kept)))
    }

    /// When the CA would like the certificate in `document` to be renewed, and when to ask again (RFC 9773 §4); none
    /// when it is not from this CA, or the CA does not say such things.
    ///
    /// # Errors
    /// When the CA cannot be asked, or answers what cannot be.
    pub(super) async fn window(&self, document: &VaultDocument) -> Result<Option<(Window, Duration)>, Fault> {
        const DOING: &str = "asking the CA for its renewal window";
        let certificate = document.certificate.as_ref().filter(|issued| issued.directory == self.ca.directory);
        let credentials = document.account(&self.ca.directory).and_then(Account::credentials);
        let (Some(issued), Some(credentials)) = (certificate, credentials) else { return Ok(None) };
        let leaf =
            CertificateDer::from_pem_slice(issued.chain.as_bytes()).map_err(|error| Fault::retry(DOING, error))?;
        let id = CertificateIdentifier::try_from(&leaf).map_err(|error| Fault::retry(DOING, error))?;
        let transport = self.transport()?;
        let builder = instant_acme::Account::builder_with_http(Box::new(transport.clone()));
        let account = builder.from_credentials(credentials).await;
        let account = account.map_err(|error| fault(DOING, &error, &transport))?;
        match account.renewal_info(&id).await {
            Ok((said, again)) => {
                let start = said.suggested_window.start;
                let end = said.suggested_window.end;
                if end <= start {
                    return Err(Fault::retry(DOING, format!("a window that ends before it starts: {start} to {end}")));
                }
                Ok(Some((Window { start, end, explanation: said.explanation_url }, again)))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(fault(DOING, &error, &transport)),
        }
    }

    /// Makes an order for `names`, as the replacement of the certificate `replaces` (RFC 9773 §5). Nothing is issued yet.
    ///
    /// # Errors
    /// What the CA refuses.
    pub(super) async fn place(
        &self,
        account_session: &AccountSession,
        names: &[Name],
        replaces: Option<&Issued>,
    ) -> Result<Order, StepFailure> {
        let identifiers: Vec<_> = names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let wanted = self.ca.profile.iter().fold(NewOrder::new(&identifiers), |wanted, name| wanted.profile(name));
        let replaced = replaces.and_then(identifier);
        let as_replacement = replaced.is_some();
        let wanted = replaced.into_iter().fold(wanted, |wanted, replaced| wanted.replaces(replaced));
        let ordered = insist!(account_session.account.new_order(&wanted).await);
        let order = ordered.map_err(|error| {
            let refused = account_session.refused("making an order", &error);
            // A CA that does not take it as a replacement, for whatever reason, may take it as an order like any other.
            let other = refused.kind == FailureKind::Passing
                && !matches!(kind_of(&error), "rateLimited" | "serverInternal" | "");
            let unsupported = matches!(error, Error::Unsupported(_));
            if as_replacement && (other || unsupported) {
                StepFailure { kind: FailureKind::NotAsReplacement, ..refused }
            } else {
                refused
            }
        })?;
        tracing::info!(url = order.url(), as_replacement, "order made");
        Ok(order)
    }
}

/// The certificate as the CA knows it (RFC 9773 §4.1).
fn identifier(issued: &Issued) -> Option<CertificateIdentifier<'static>> {
    let leaf = CertificateDer::from_pem_slice(issued.chain.as_bytes()).ok()?;
    CertificateIdentifier::try_from(&leaf).ok()
}

/// The key of an external account, from where the configuration says that it is.
async fn external_key(eab: &Eab, aws: &Aws) -> Result<ExternalAccountKey, Fault> {
    let (doing, text) = match &eab.key {
        VaultPlace::Disk(path) => (format!("reading [acme.eab] key_file {}", path.display()), private_file(path)?),
        VaultPlace::Secret(id) => {
            let stored = Secret::new(aws, id.clone()).read().await?;
            let stored = stored.ok_or_else(|| {
                let doing = format!("reading secret {id}");
                Fault::operator(doing, "it has no value", "put the key of [acme.eab] into it")
            })?;
            (format!("reading [acme.eab] key_secret {id}"), stored.text)
        }
    };
    let key = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| {
        Fault::operator(doing, "it is not base64url", "put the MAC key there as the CA shows it (RFC 8555 §7.3.4)")
    })?);
    Ok(ExternalAccountKey::new(eab.kid.clone(), &key))
}

fn private_file(path: &Path) -> Result<Zeroizing<String>, Fault> {
    let doing = || format!("reading [acme.eab] key_file {}", path.display());
    let unreadable = |error: std::io::Error| Fault::operator(doing(), error, "make it readable for spothost alone");
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let said = format!("others can read it (mode {:o})", mode & 0o777);
        return Err(Fault::operator(doing(), said, format!("chmod 0600 {}", path.display())));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("eab");
        fs::write(&path, "c2VjcmV0").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        let fault = private_file(&path).expect_err("others can read it");
        assert!(fault.to_string().contains("mode 644") && fault.to_string().contains("chmod 0600"), "{fault}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
        assert_eq!(*private_file(&path).expect("readable"), "c2VjcmV0");
    }
}
