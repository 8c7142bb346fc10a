//! The instance metadata service, version 2 only
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>).

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_config::imds::{
    Client,
    client::{
        ImdsResponseRetryClassifier,
        error::{ImdsError, TokenError},
    },
};
use aws_smithy_runtime_api::client::{
    orchestrator::HttpResponse, result::SdkError, retries::classifiers::SharedRetryClassifier,
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::refusal::{caused_by, words};
use crate::{aws::Host, fault::Fault};

/// EC2 allows 50 tags on an instance; AWS's own come beside them.
const MOST_TAGS: usize = 100;

/// The way to the metadata service; cheap to clone.
///
/// The SDK's client keeps its token until its time is up. Where the service has forgotten the token before that, the
/// client would send it again and again, so it is replaced by a new one.
#[derive(Clone, Debug)]
pub struct Metadata {
    client: Arc<RwLock<(u64, Client)>>,
}

/// A spot notice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Notice {
    /// `terminate`, `stop` or `hibernate`.
    pub action: String,
    /// When it is carried out.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityDocument {
    instance_id: String,
    region: String,
    #[serde(default)]
    account_id: Option<String>,
    availability_zone: String,
    #[serde(with = "time::serde::rfc3339")]
    pending_time: OffsetDateTime,
}

impl Default for Metadata {
    fn default() -> Metadata {
        Metadata::new()
    }
}

impl Metadata {
    /// A client whose every call is bounded; connect time-outs are retried, which the SDK leaves to its users.
    pub fn new() -> Metadata {
        Metadata { client: Arc::new(RwLock::new((0, Metadata::fresh()))) }
    }

    fn fresh() -> Client {
        let second = Duration::from_secs(1);
        let retries = ImdsResponseRetryClassifier::default().with_retry_connect_timeouts(true);
        Client::builder()
            .connect_timeout(second)
            .read_timeout(second)
            .operation_attempt_timeout(2 * second)
            .operation_timeout(4 * second)
            .max_attempts(3)
            .retry_classifier(SharedRetryClassifier::new(retries))
            .build()
    }

    /// The client of the hour and its number, which is another one whenever the client is.
    pub(super) fn client(&self) -> (u64, Client) {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client that knows no token yet in the place of that number, unless another caller has replaced it already.
    fn renewed(&self, number: u64) -> Client {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if client.0 == number {
            tracing::info!("instance metadata no longer knows the token; asking for a new one");
            *client = (number + 1, Metadata::fresh());
        }
        client.1.clone()
    }

    /// The facts about this instance; what can be asked for at the same time is.
    ///
    /// # Errors
    /// When the service does not answer, or not as documented.
    pub async fn host(&self) -> Result<Host, Fault> {
        let (document, ipv4, private, ipv6, life_cycle, tags) = tokio::try_join!(
            self.wanted("/latest/dynamic/instance-identity/document"),
            self.optional("/latest/meta-data/public-ipv4"),
            self.optional("/latest/meta-data/local-ipv4"),
            self.optional("/latest/meta-data/ipv6"),
            self.optional("/latest/meta-data/instance-life-cycle"),
            self.tags(),
        )?;
        let document: IdentityDocument = parsed("the identity document", &document)?;
        Ok(Host {
            instance: document.instance_id,
            region: document.region,
            account: document.account_id,
            availability_zone: document.availability_zone,
            launched: document.pending_time,
            life_cycle: life_cycle.unwrap_or_else(|| "on-demand".to_owned()),
            ipv4: address("public-ipv4", ipv4)?,
            private: address("local-ipv4", private)?,
            ipv6: address("ipv6", ipv6)?,
            tags,
        })
    }

    /// The spot notice, if this instance is marked.
    ///
    /// # Errors
    /// When the service does not answer, or not as documented. A 404 is no error: it says that there is no notice.
    pub async fn notice(&self) -> Result<Option<Notice>, Fault> {
        let text = self.optional("/latest/meta-data/spot/instance-action").await?;
        text.map(|text| parsed("the spot notice", &text)).transpose()
    }

    /// Whether EC2 recommends to move to another instance.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn rebalance(&self) -> Result<bool, Fault> {
        Ok(self.optional("/latest/meta-data/events/recommendations/rebalance").await?.is_some())
    }

    async fn tags(&self) -> Result<BTreeMap<String, String>, Fault> {
        const TAGS: &str = "/latest/meta-data/tags/instance";
        let mut tags = BTreeMap::new();
        let Some(names) = self.optional(TAGS).await? else {
            return Ok(tags);
        };
        for name in names.lines().take(MOST_TAGS) {
            if let Some(value) = self.optional(&format!("{TAGS}/{name}")).await? {
                tags.insert(name.to_owned(), value);
            }
        }
        Ok(tags)
    }

    async fn wanted(&self, path: &str) -> Result<String, Fault> {
        let text = self.optional(path).await?;
        text.ok_or_else(|| Fault::retry(asking(path), "404, which an EC2 instance never answers here"))
    }

    async fn optional(&self, path: &str) -> Result<Option<String>, Fault> {
        let (number, client) = self.client();
        let answer = match client.get(path).await {
            Err(ImdsError::ErrorResponse(response)) if response.response().status().as_u16() == 401 => {
                self.renewed(number).get(path).await
            }
            answer => answer,
        };
        match answer {
            Ok(text) => Ok(Some(text.as_ref().trim().to_owned())),
            Err(ImdsError::ErrorResponse(response)) if response.response().status().as_u16() == 404 => Ok(None),
            Err(ImdsError::ErrorResponse(response)) if response.response().status().as_u16() == 403 => {
                Err(disabled(path))
            }
            Err(error) if gives_no_token(&error) => Err(disabled(path)),
            Err(error) => Err(Fault::retry(asking(path), words(&error))),
        }
    }
}

/// Whether the environment says that there is no metadata service, as the AWS SDKs read it.
pub fn is_disabled_here() -> bool {
    std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|said| said.eq_ignore_ascii_case("true"))
}

/// Whether a token was refused with 403, as by a service that is disabled.
fn gives_no_token(error: &ImdsError) -> bool {
    let refused = caused_by::<SdkError<TokenError, HttpResponse>>(error).and_then(SdkError::raw_response);
    refused.is_some_and(|answer| answer.status().as_u16() == 403)
}

fn asking(path: &str) -> String {
    format!("asking instance metadata for {}", path.trim_start_matches("/latest/"))
}

fn disabled(path: &str) -> Fault {
    let remedy = "enable it: aws ec2 modify-instance-metadata-options --http-endpoint enabled";
    Fault::operator(asking(path), "403, instance metadata is disabled", remedy)
}

fn parsed<T: for<'a> Deserialize<'a>>(what: &str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::retry(format!("reading {what}"), error))
}

/// An address that is no address is a fault: nothing else may ever reach a record.
fn address<A: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: Option<String>) -> Result<Option<A>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let parsed = text.parse().map_err(|error| Fault::retry(format!("reading {name}"), error))?;
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use time::macros::datetime;

    use super::*;

    #[test]
    fn notice_is_read_whatever_its_white_space() {
        let expected = Notice { action: "terminate".into(), time: datetime!(2026-11-21 18:52:40 UTC) };
        for text in [
            r#"{"action":"terminate","time":"2026-11-21T18:52:40Z"}"#,
            "{\n\t\"action\": \"terminate\",\n\t\"time\": \"2026-11-21T18:52:40Z\"\n}\n",
        ] {
            assert_eq!(parsed::<Notice>("the spot notice", text).expect(text), expected);
        }
    }

    #[test]
    fn answer_that_is_not_as_documented_is_a_fault_and_no_panic() {
        for text in ["", "<html>", "{}", r#"{"action":"terminate","time":"soon"}"#, "null", "[[[["] {
            assert!(parsed::<Notice>("the spot notice", text).is_err(), "{text}");
            assert!(parsed::<IdentityDocument>("the document", text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_address_is_an_address() {
        let table: [(Option<&str>, Option<Option<Ipv4Addr>>); 5] = [
            (None, Some(None)),
            (Some(""), Some(None)),
            (Some("192.0.2.54"), Some(Some(Ipv4Addr::new(192, 0, 2, 54)))),
            (Some("<html>"), None),
            (Some("192.0.2.540"), None),
        ];
        for (text, expected) in table {
            assert_eq!(address("public-ipv4", text.map(str::to_owned)).ok(), expected, "{text:?}");
        }
    }
}
