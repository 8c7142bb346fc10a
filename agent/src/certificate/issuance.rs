//! From a vault without a good certificate to one with: whoever does it, wherever the one before was killed.
//!
//! The order of the steps is what keeps the promise that nothing is ordered twice: lease, vault read again, account
//! stored, order made and stored with its key, proven, issued, stored, lease given back. Each step is found done by
//! the next host.

use instant_acme::{CertificateIdentifier, Order};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Vault,
    acme::Acme,
    document::{Document, Underway},
    key::new_key,
    lease::Lease,
    order::Customer,
};
use crate::{
    aws::{lease::LeaseObject, secret::Swapped, zone::Zone},
    config::Name,
    fault::Fault,
};

/// What it takes to have a certificate issued.
pub(super) struct Issuance<'a> {
    pub(super) names: &'a [Name],
    pub(super) vault: &'a Vault,
    pub(super) authority: &'a Acme,
    pub(super) zone: Zone,
    pub(super) lease: Option<LeaseObject>,
    /// Who asks for the lease.
    pub(super) holder: String,
    /// Whether to wait for an S3 that does not answer, rather than to order without the lease.
    pub(super) insist: bool,
}

impl Issuance<'_> {
    /// Runs it, unless `is_good` already says so of what another host stored meanwhile; the document as it stands then,
    /// with its version.
    ///
    /// # Errors
    /// What the vault, the CA, S3 or Route 53 refuse; that another host is about it.
    pub(super) async fn run(&self, is_good: impl Fn(&Document) -> bool) -> Result<(Option<String>, Document), Fault> {
        let lease = Lease::take(self.lease.clone(), &self.holder, self.insist).await?;
        let run = self.under(&lease, is_good).await;
        lease.give_back().await;
        run
    }

    async fn under(
        &self,
        lease: &Lease,
        is_good: impl Fn(&Document) -> bool,
    ) -> Result<(Option<String>, Document), Fault> {
        let (mut version, mut document) = self.vault.read().await?;
        if is_good(&document) {
            tracing::info!("another host has stored a certificate meanwhile");
            return Ok((version, document));
        }
        let customer = self.authority.account(&mut document).await?;
        // The account is stored before it is used, which also shows that the certificate could be stored.
        self.store(&mut version, &mut document).await?;
        let (order, key) = match self.resumed(&customer, &document).await? {
            Some(resumed) => resumed,
            None => {
                lease.confirm().await?;
                self.placed(&customer, &mut version, &mut document).await?
            }
        };
        lease.confirm().await?;
        let issued = self.authority.complete(&customer, order, self.names, key, &self.zone).await?;
        document.certificate = Some(issued);
        document.order = None;
        document.change();
        self.store(&mut version, &mut document).await?;
        Ok((version, document))
    }

    /// The order that is under way, if it is what is wanted now and can still come to something.
    async fn resumed(
        &self,
        customer: &Customer,
        document: &Document,
    ) -> Result<Option<(Order, zeroize::Zeroizing<String>)>, Fault> {
        let wanted = |order: &&Underway| {
            order.directory == self.authority.directory
                && order.profile == self.authority.profile
                && order.names == self.names
        };
        let Some(underway) = document.order.as_ref().filter(wanted) else { return Ok(None) };
        let order = self.authority.resume(customer, &underway.url).await?;
        if order.is_some() {
            tracing::info!(url = underway.url, "going on with the order that was under way");
        }
        Ok(order.map(|order| (order, underway.key.clone())))
    }

    /// A new order, stored with its key before it is relied on.
    async fn placed(
        &self,
        customer: &Customer,
        version: &mut Option<String>,
        document: &mut Document,
    ) -> Result<(Order, zeroize::Zeroizing<String>), Fault> {
        let key = new_key()?;
        let placed = self.authority.place(customer, self.names, self.replaced(document)).await;
        let order = match placed {
            Ok(order) => order,
            Err(fault) => {
                if Customer::is_unknown(&fault) {
                    // The CA forgot the account: the next round makes a new one.
                    document.account = None;
                    document.change();
                    self.store(version, document).await?;
                }
                return Err(fault);
            }
        };
        document.order = Some(Underway {
            url: order.url().to_owned(),
            directory: self.authority.directory.clone(),
            profile: self.authority.profile.clone(),
            names: self.names.to_vec(),
            key: key.clone(),
        });
        document.change();
        self.store(version, document).await?;
        Ok((order, key))
    }

    /// The certificate that the new one is to replace, if it is from the same CA (RFC 9773 §5).
    fn replaced(&self, document: &Document) -> Option<CertificateIdentifier<'static>> {
        let issued = document.certificate.as_ref().filter(|issued| issued.directory == self.authority.directory)?;
        let leaf = CertificateDer::from_pem_slice(issued.chain.as_bytes()).ok()?;
        CertificateIdentifier::try_from(&leaf).ok()
    }

    async fn store(&self, version: &mut Option<String>, document: &mut Document) -> Result<(), Fault> {
        if !document.changed() {
            return Ok(());
        }
        match self.vault.swap(version.as_deref(), document).await? {
            Swapped::Done(now) => {
                *version = Some(now);
                Ok(())
            }
            Swapped::Lost => Err(Fault::retry("writing the vault", "another host was faster; reading again")),
        }
    }
}
