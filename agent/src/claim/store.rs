//! The claim of those who move an Elastic IP: an object beside the packages, so that Route 53 is not needed for it.
//!
//! Every write is a compare-and-swap by S3's conditional writes: `If-None-Match: *` makes it, `If-Match` of the very object
//! that was read replaces it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>).

use serde::{Deserialize, Serialize};

use crate::{
    aws::{
        Aws, Host,
        papers::{Papers, Written},
    },
    claim::{Claim, Ledger},
    config::Leading,
    fault::Fault,
    place::Bucket,
};

/// The claim as it was read, and the entity tag by which it can be replaced.
pub(crate) type Held = Option<(Claim, String)>;

/// Where the claim lies.
#[derive(Clone)]
pub(crate) struct Store {
    papers: Papers,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Paper {
    claim: String,
}

impl Store {
    pub(crate) fn new(aws: &Aws, place: &Bucket) -> Store {
        Store { papers: Papers::new(aws, place.bucket.clone()), key: format!("{}.spothost-claim.json", place.prefix) }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What S3 refuses; something else in its place.
    pub(crate) async fn read(&self) -> Result<Held, Fault> {
        let Some((body, etag)) = self.papers.read_tagged(&self.key).await? else { return Ok(None) };
        let paper: Result<Paper, _> = serde_json::from_slice(&body);
        let claim =
            paper.map_err(|error| error.to_string()).and_then(|paper| Claim::parse(&format!("\"{}\"", paper.claim)));
        match claim {
            Ok(claim) => Ok(Some((claim, etag))),
            Err(why) => {
                let remedy =
                    "delete that object if it is not needed; it stands where spothost writes who holds the names";
                Err(Fault::operator(format!("reading the claim {}", self.key), why, remedy))
            }
        }
    }

    /// Writes `next` in the place of what was read, and of nothing else.
    ///
    /// # Errors
    /// What S3 refuses; a claim that is another by now.
    pub(crate) async fn replace(&self, read: Option<&str>, next: &Claim) -> Result<(), Fault> {
        let body = serde_json::to_vec(&Paper { claim: next.to_string() }).unwrap_or_default();
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
