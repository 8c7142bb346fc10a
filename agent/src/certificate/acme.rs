//! A CA that speaks ACME (RFC 8555): accounts, orders, and when it would like to renew.

use std::{path::PathBuf, time::Duration};

use instant_acme::{Account, CertificateIdentifier, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{
    document::{Document, Issued},
    due::Window,
    key::request,
    order::Customer,
    refusal::{fault, kind_of},
    transport::Transport,
};
use crate::{aws::zone::Zone, config::Name, fault::Fault};

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
        let wanted = || {
            let wanted = NewOrder::new(&identifiers);
            self.profile.iter().fold(wanted, |wanted, profile| wanted.profile(profile))
        };
        let replaced = replaces.is_some();
        let first = replaces.into_iter().fold(wanted(), |wanted, replaced| wanted.replaces(replaced));
        let ordered = match customer.account.new_order(&first).await {
            // A CA that does not take it as a replacement may take it as an order like any other.
            Err(error) if replaced && kind_of(&error) != "rateLimited" => {
                tracing::info!(%error, "not taken as a replacement");
                customer.account.new_order(&wanted()).await
            }
            ordered => ordered,
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
