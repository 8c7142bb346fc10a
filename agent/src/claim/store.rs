//! Where the claim lies: in a record, or, for those who move an Elastic IP, in an object beside the packages, so that Route 53
//! is not needed for it.
//!
//! Every write of the object is a compare-and-swap by S3's conditional writes: `If-None-Match: *` makes it, `If-Match` of the very object
//! that was read replaces it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>).

use crate::{
    aws::{
        Aws, Host,
        document_store::{ConditionalWrite, DocumentStore},
        zone::{Changed, Zone},
    },
    claim::{Claim, claim_name, records},
    documents::{AddressClaim, Document as _, Layout},
    fault::Fault,
    place::{Name, S3Prefix},
};

/// The claim as it was read, and the entity tag by which it can be replaced.
pub(crate) type Held = Option<(Claim, String)>;

/// What cures an object in its place that is none.
const NOT_OURS: &str = "delete that object if it is not needed; it stands where spothost writes who holds the names";

/// The object that holds the claim.
#[derive(Clone)]
pub(crate) struct ClaimObject {
    document_store: DocumentStore,
    key: String,
}

impl ClaimObject {
    pub(crate) fn new(aws: &Aws, place: &S3Prefix) -> ClaimObject {
        ClaimObject {
            document_store: DocumentStore::new(aws, place.bucket.clone()),
            key: Layout::new(&place.prefix).address_claim(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What S3 refuses; something else in its place.
    pub(crate) async fn read(&self) -> Result<Held, Fault> {
        let Some((body, etag)) = self.document_store.read_tagged(&self.key).await? else { return Ok(None) };
        let doing = || format!("reading the claim {}", self.key);
        let document = AddressClaim::read(&body).map_err(|why| why.fault(doing(), NOT_OURS))?;
        let claim = Claim::parse(&format!("\"{}\"", document.claim));
        claim.map(|claim| Some((claim, etag))).map_err(|why| Fault::operator(doing(), why, NOT_OURS))
    }

    /// Replaces exactly the object that was read by `next`.
    ///
    /// # Errors
    /// What S3 refuses; a claim that is another by now.
    pub(crate) async fn replace(&self, read: Option<&str>, next: &Claim) -> Result<(), Fault> {
        let body = AddressClaim::new(next.to_string()).text();
        let written = match read {
            Some(etag) => self.document_store.replace(&self.key, etag, body).await?,
            None => self.document_store.write_new(&self.key, body).await?,
        };
        match written {
            ConditionalWrite::Ours => Ok(()),
            ConditionalWrite::AnOthers => {
                Err(Fault::retry("claiming the Elastic IP", "another host has changed the claim meanwhile"))
            }
        }
    }
}

/// Where the claim of a site lies, by which one host is led to alone.
pub(super) enum ClaimStore {
    /// In a record beside those of the names.
    Record(Zone, Name),
    /// In an object beside the packages.
    Object(ClaimObject),
}

impl ClaimStore {
    /// The claim as it stands.
    ///
    /// # Errors
    /// What the service refuses; something else in the claim's place.
    pub(super) async fn read(&self) -> Result<Option<Claim>, Fault> {
        match self {
            ClaimStore::Record(zone, domain) => {
                let records = zone.records(&claim_name(domain)).await?;
                Ok(records::claim(domain, &records)?.map(|(claim, _)| claim))
            }
            ClaimStore::Object(store) => Ok(store.read().await?.map(|(claim, _)| claim)),
        }
    }

    /// Says that `host` goes, if it holds what is claimed; whether it had to be said. `asked`: the fleet was asked for a
    /// successor, and had `target` hosts to have before.
    ///
    /// # Errors
    /// What the service refuses; a claim that was changed meanwhile.
    pub(super) async fn depart(&self, host: &Host, asked: bool, target: Option<u32>) -> Result<bool, Fault> {
        match self {
            ClaimStore::Record(zone, domain) => {
                let records = zone.records(&claim_name(domain)).await?;
                let Some(change) = records::departing(host, domain, &records, asked, target)? else {
                    return Ok(false);
                };
                match zone.change(&format!("spothost: {}", change.why), &change.steps).await? {
                    Changed::Accepted(_) => Ok(true),
                    Changed::Differed(said) => Err(Fault::retry(change.why, said)),
                }
            }
            ClaimStore::Object(store) => {
                let Some((claim, etag)) = store.read().await? else { return Ok(false) };
                let Some(next) = claim.given_up(host, asked, target) else { return Ok(false) };
                store.replace(Some(&etag), &next).await.map(|()| true)
            }
        }
    }
}
