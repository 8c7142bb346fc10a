//! The claim of those who move an Elastic IP: an object beside the packages, so that Route 53 is not needed for it.
//!
//! Every write is a compare-and-swap by S3's conditional writes: `If-None-Match: *` makes it, `If-Match` of the very object
//! that was read replaces it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>).

use crate::{
    aws::{
        Aws, Host,
        papers::{Papers, Written},
    },
    claim::{Claim, Ledger},
    config::Leading,
    documents::{AddressClaim, Document as _, Layout},
    fault::Fault,
    place::Bucket,
};

/// The claim as it was read, and the entity tag by which it can be replaced.
pub(crate) type Held = Option<(Claim, String)>;

/// What cures an object in its place that is none.
const NOT_OURS: &str = "delete that object if it is not needed; it stands where spothost writes who holds the names";

/// Where the claim lies.
#[derive(Clone)]
pub(crate) struct Store {
    papers: Papers,
    key: String,
}

impl Store {
    pub(crate) fn new(aws: &Aws, place: &Bucket) -> Store {
        Store { papers: Papers::new(aws, place.bucket.clone()), key: Layout::new(&place.prefix).address_claim() }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What S3 refuses; something else in its place.
    pub(crate) async fn read(&self) -> Result<Held, Fault> {
        let Some((body, etag)) = self.papers.read_tagged(&self.key).await? else { return Ok(None) };
        let doing = || format!("reading the claim {}", self.key);
        let document = AddressClaim::read(&body).map_err(|why| why.fault(doing(), NOT_OURS))?;
        let claim = Claim::parse(&format!("\"{}\"", document.claim));
        claim.map(|claim| Some((claim, etag))).map_err(|why| Fault::operator(doing(), why, NOT_OURS))
    }

    /// Writes `next` in the place of what was read, and of nothing else.
    ///
    /// # Errors
    /// What S3 refuses; a claim that is another by now.
    pub(crate) async fn replace(&self, read: Option<&str>, next: &Claim) -> Result<(), Fault> {
        let body = AddressClaim::new(next.to_string()).text();
        let written = match read {
            Some(etag) => self.papers.replace(&self.key, etag, body).await?,
            None => self.papers.write_new(&self.key, body).await?,
        };
        match written {
            Written::Ours => Ok(()),
            Written::AnOthers => {
                Err(Fault::retry("claiming the Elastic IP", "somebody else has changed the claim meanwhile"))
            }
        }
    }
}

impl Ledger {
    fn store(&self, aws: &Aws) -> Option<Store> {
        match &self.leading {
            Leading::ElasticIp(_, place) => Some(Store::new(aws, place)),
            Leading::Records | Leading::Multivalue => None,
        }
    }

    pub(super) async fn claim_of_the_address(&self, aws: &Aws) -> Result<Option<Claim>, Fault> {
        match self.store(aws) {
            Some(store) => Ok(store.read().await?.map(|(claim, _)| claim)),
            None => Ok(None),
        }
    }

    pub(super) async fn give_up_the_address(
        &self,
        aws: &Aws,
        host: &Host,
        asked: bool,
        target: Option<u32>,
    ) -> Result<bool, Fault> {
        let Some(store) = self.store(aws) else { return Ok(false) };
        match store.read().await? {
            Some((claim, etag)) if claim.instance == host.instance && !claim.departing => {
                let next =
                    Claim { epoch: claim.epoch + 1, departing: true, asked, target: claim.target.or(target), ..claim };
                store.replace(Some(&etag), &next).await.map(|()| true)
            }
            _ => Ok(false),
        }
    }
}
