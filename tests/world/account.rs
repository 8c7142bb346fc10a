//! An AWS account of one test, with what a site needs in it.

use std::{collections::HashMap, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::World;

/// The regions of the world, the usual one first. Each has an EC2 and a Secrets Manager of its own.
pub const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// An account with an empty bucket, a hosted zone and the name of a secret that does not exist yet.
///
/// What is done through it is done by somebody else's hand: it passes no proxy.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// Access key id that leads to this account.
    pub access_key: String,
    /// Its secret access key.
    pub secret_key: String,
    /// Its session token.
    pub session_token: String,
    /// Name of the bucket; versioning is on.
    pub bucket: String,
    /// Id of the hosted zone.
    pub zone: String,
    /// Name of the hosted zone, without the last dot.
    pub apex: String,
}

/// A record set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// Name, lower case, with its last dot.
    pub name: String,
    /// `A`, `AAAA`, `TXT`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Time to live in seconds.
    pub ttl: u64,
    /// The values as Route 53 writes them: those of TXT in quotation marks.
    pub values: Vec<String>,
    /// What tells it from others of its name and type, if it is not the only one.
    #[serde(default)]
    pub identifier: Option<String>,
    /// Id of its health check.
    #[serde(default)]
    pub check: Option<String>,
    /// What it is an alias of.
    #[serde(default)]
    pub alias: Option<String>,
}

/// An object of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Object {
    /// Its key, with the prefix.
    pub key: String,
    /// Its ETag, quotes included.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its user metadata; names begin with `x-amz-meta-`.
    pub metadata: HashMap<String, String>,
}

/// A secret as it stands.
#[derive(Clone, Debug, Deserialize)]
pub struct Secret {
    /// The value of `AWSCURRENT`.
    pub current: Option<String>,
    /// All versions, oldest first.
    pub versions: Vec<SecretVersion>,
}

/// One version of a secret.
#[derive(Clone, Debug, Deserialize)]
pub struct SecretVersion {
    /// Its id.
    pub id: String,
    /// Its staging labels.
    pub stages: Vec<String>,
    /// Its value.
    pub value: Option<String>,
}

impl Account {
    /// A new account in the shared world.
    pub async fn new() -> Account {
        Account::of(World::shared()).await
    }

    /// A new account in that world.
    pub async fn of(world: &World) -> Account {
        serde_json::from_value(world.control("new_account", &[], Bytes::new()).await).expect("an account")
    }

    /// The canonical name of the site: `www` in the zone.
    pub fn domain(&self) -> String {
        format!("www.{}", self.apex)
    }

    /// The prefix of the bucket that packages lie under.
    pub fn prefix(&self) -> &'static str {
        "www/"
    }

    /// The name of the secret that keeps certificate and account.
    pub fn vault(&self) -> String {
        format!("{}/identity", self.domain())
    }

    /// Puts an object under the prefix; its ETag.
    pub async fn put(&self, name: &str, body: impl Into<Bytes>) -> String {
        let key = format!("{}{name}", self.prefix());
        let answer = self.ask("put_object", &[("bucket", &self.bucket), ("key", &key)], body.into()).await;
        answer["etag"].as_str().expect("an ETag").to_owned()
    }

    /// Puts an object with user metadata, and with the CRC-32 that S3 says of what is put through its own clients.
    pub async fn put_with(&self, name: &str, body: impl Into<Bytes>, metadata: &[(&str, &str)]) -> String {
        let key = format!("{}{name}", self.prefix());
        let body = body.into();
        let metadata: std::collections::HashMap<_, _> = metadata.iter().copied().collect();
        let metadata = serde_json::to_string(&metadata).expect("JSON");
        let crc32 = BASE64_STANDARD.encode(crc32fast::hash(&body).to_be_bytes());
        let query = [("bucket", &*self.bucket), ("key", &*key), ("metadata", &*metadata), ("crc32", &*crc32)];
        let answer = self.ask("put_object", &query, body).await;
        answer["etag"].as_str().expect("an ETag").to_owned()
    }

    /// Puts an object under any key of the bucket; its ETag.
    pub async fn put_at(&self, key: &str, body: impl Into<Bytes>) -> String {
        let answer = self.ask("put_object", &[("bucket", &self.bucket), ("key", key)], body.into()).await;
        answer["etag"].as_str().expect("an ETag").to_owned()
    }

    /// Gives everybody with keys of the account the right to list its buckets: who has it is told by 404 that a key is not
    /// there, and everybody else is refused with 403.
    pub async fn show_missing(&self) {
        self.ask("show_missing", &[], Bytes::new()).await;
    }

    /// Makes the bucket one of another region: calls that are signed for any other are refused with that status, 301 or 400.
    pub async fn move_bucket(&self, region: &str, refused_with: u16) {
        let status = refused_with.to_string();
        let query = [("bucket", &*self.bucket), ("region", region), ("refused_with", &status)];
        self.ask("move_bucket", &query, Bytes::new()).await;
    }

    /// An object under the prefix as JSON; none if it is not there.
    ///
    /// # Panics
    /// When it is something else.
    pub async fn paper(&self, name: &str) -> Option<Value> {
        let key = format!("{}{name}", self.prefix());
        let text = self.ask("object_text", &[("bucket", &self.bucket), ("key", &key)], Bytes::new()).await;
        text.as_str().map(|text| serde_json::from_str(text).expect("JSON"))
    }

    /// What hosts have said of the package with that entity tag, if anything.
    pub async fn verdict(&self, etag: &str) -> Option<Value> {
        self.paper(&format!(".spothost/verdicts/{}.json", etag.trim_matches('"'))).await
    }

    /// The names of the objects under the prefix that begin so.
    pub async fn names(&self, begin: &str) -> Vec<String> {
        let prefix = format!("{}{begin}", self.prefix());
        let keys = self.ask("keys", &[("bucket", &self.bucket), ("prefix", &prefix)], Bytes::new()).await;
        let keys: Vec<String> = serde_json::from_value(keys).expect("keys");
        keys.iter().filter_map(|key| key.strip_prefix(self.prefix())).map(str::to_owned).collect()
    }

    /// Copies an object under the prefix.
    pub async fn copy(&self, from: &str, to: &str) {
        let from = format!("{}{from}", self.prefix());
        let to = format!("{}{to}", self.prefix());
        self.ask("copy_object", &[("bucket", &self.bucket), ("key", &from), ("to", &to)], Bytes::new()).await;
    }

    /// Deletes an object under the prefix.
    pub async fn delete(&self, name: &str) {
        let key = format!("{}{name}", self.prefix());
        self.ask("delete_object", &[("bucket", &self.bucket), ("key", &key)], Bytes::new()).await;
    }

    /// Every object of the bucket.
    pub async fn objects(&self) -> Vec<Object> {
        let objects = self.ask("objects", &[("bucket", &self.bucket)], Bytes::new()).await;
        serde_json::from_value(objects).expect("objects")
    }

    /// Every record set as Route 53 holds it, but NS and SOA.
    pub async fn records(&self) -> Vec<Record> {
        serde_json::from_value(self.ask("records", &[], Bytes::new()).await).expect("record sets")
    }

    /// Every health check: `id`, `reference` and the names of `HealthCheckConfig`.
    pub async fn health_checks(&self) -> Vec<Value> {
        serde_json::from_value(self.ask("health_checks", &[], Bytes::new()).await).expect("health checks")
    }

    /// The same as name servers tell it: what is INSYNC.
    pub async fn visible(&self) -> Vec<Record> {
        serde_json::from_value(self.ask("visible", &[], Bytes::new()).await).expect("record sets")
    }

    /// The values that name servers tell of one name and type; empty without such a record set.
    pub async fn answers(&self, name: &str, kind: &str) -> Vec<String> {
        let name = format!("{}.", name.trim_end_matches('.'));
        let found = self.visible().await.into_iter().find(|record| record.name == name && record.kind == kind);
        found.map(|record| record.values).unwrap_or_default()
    }

    /// Makes a record set be so, by hand.
    pub async fn upsert(&self, name: &str, kind: &str, ttl: u32, values: &[&str]) {
        self.change(&json!([change("UPSERT", name, kind, ttl, values)])).await;
    }

    /// Makes an alias of something of AWS's, such as a distribution of CloudFront, by hand.
    pub async fn alias(&self, name: &str, kind: &str, target: &str) {
        // The zone of every distribution (AliasTarget of the API reference).
        let alias =
            json!({ "HostedZoneId": "Z2FDTNDATAQYW2", "DNSName": format!("{target}."), "EvaluateTargetHealth": false });
        let set = json!({ "Name": format!("{}.", name.trim_end_matches('.')), "Type": kind, "AliasTarget": alias });
        self.change(&json!([{ "Action": "UPSERT", "ResourceRecordSet": set }])).await;
    }

    /// Deletes a record set, by hand.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn delete_record(&self, name: &str, kind: &str) {
        let name = format!("{}.", name.trim_end_matches('.'));
        let records = self.records().await;
        let found = records.iter().find(|record| record.name == name && record.kind == kind).expect("the record set");
        let values: Vec<_> = found.values.iter().map(String::as_str).collect();
        let ttl = u32::try_from(found.ttl).expect("a time to live");
        self.change(&json!([change("DELETE", &name, kind, ttl, &values)])).await;
    }

    /// Sends a change batch by hand; the argument is what `Changes` of ChangeResourceRecordSets holds.
    pub async fn change(&self, changes: &Value) {
        self.ask("change", &[("zone", &self.zone)], changes.to_string().into()).await;
    }

    /// Every accepted change batch so far, in order: `submitted` and `insync` in seconds since 1970, and `changes`.
    pub async fn changes(&self) -> Vec<Value> {
        serde_json::from_value(self.ask("changes", &[], Bytes::new()).await).expect("changes")
    }

    /// Sets how many seconds a change is PENDING.
    pub async fn propagate_after(&self, seconds: f64) {
        self.ask("propagation", &[("delay", &seconds.to_string())], Bytes::new()).await;
    }

    /// Sets how many change batches a second are accepted before `Throttling`; none: no limit.
    pub async fn throttle_at(&self, rate: Option<f64>) {
        let rate = rate.map(|rate| rate.to_string()).unwrap_or_default();
        self.ask("propagation", &[("rate", &rate)], Bytes::new()).await;
    }

    /// The secret as it stands; none before it is made.
    pub async fn secret(&self) -> Option<Secret> {
        serde_json::from_value(self.ask("secret", &[("name", &self.vault())], Bytes::new()).await).expect("a secret")
    }

    /// Writes the secret by hand.
    pub async fn put_secret(&self, value: impl Into<Bytes>) {
        self.put_in_secret(&self.vault(), value).await;
    }

    /// Writes another secret by hand.
    pub async fn put_in_secret(&self, name: &str, value: impl Into<Bytes>) {
        self.ask("put_secret", &[("name", name)], value.into()).await;
    }

    /// Lets reads of secrets lag their writes by so many seconds.
    pub async fn lag_secrets(&self, seconds: f64) {
        self.ask("lag_secrets", &[("seconds", &seconds.to_string())], Bytes::new()).await;
    }

    /// Schedules the secret for deletion, by hand.
    pub async fn schedule_deletion(&self) {
        self.ask("schedule_deletion", &[("name", &self.vault())], Bytes::new()).await;
    }

    /// Schedules another secret for deletion, by hand.
    pub async fn schedule_deletion_of(&self, name: &str) {
        self.ask("schedule_deletion", &[("name", name)], Bytes::new()).await;
    }

    /// Brings that back, by hand.
    pub async fn restore(&self, name: &str) {
        self.ask("restore_secret", &[("name", name)], Bytes::new()).await;
    }

    /// Brings it back, by hand.
    pub async fn restore_secret(&self) {
        self.ask("restore_secret", &[("name", &self.vault())], Bytes::new()).await;
    }

    /// The ARN of a secret.
    pub async fn secret_arn(&self, name: &str) -> String {
        self.ask("secret_arn", &[("name", name)], Bytes::new()).await.as_str().expect("an ARN").to_owned()
    }

    /// The same account with the keys that the profile of that instance gives it.
    pub(crate) async fn as_instance(&self, instance: &str) -> Account {
        let keys = self.ask("session", &[("instance", instance)], Bytes::new()).await;
        let key = |name: &str| keys[name].as_str().expect("a key").to_owned();
        let access_key = key("access_key");
        let secret_key = key("secret_key");
        Account { access_key, secret_key, session_token: key("session_token"), ..self.clone() }
    }

    /// Makes a role of that name with that policy (JSON).
    pub async fn make_role(&self, name: &str, policy: &str) {
        self.ask("make_role", &[("name", name)], policy.to_owned().into()).await;
    }

    /// Sets how many virtual processors spot instances may have.
    pub async fn set_quota(&self, processors: u32) {
        self.ask("set_quota", &[("processors", &processors.to_string())], Bytes::new()).await;
    }

    /// Lets the parent of the zone refer to those servers (absolute names, with blanks between them); to none, if there
    /// are none.
    pub async fn delegate(&self, servers: &str) {
        let query = [("zone", &*self.apex), ("servers", servers)];
        World::shared().control("delegate", &query, Bytes::new()).await;
    }

    /// Sets up an instance with these metadata options (where they are not those of the launch template), and that domain
    /// in its tag; none: without the tag.
    pub async fn set_up(&self, instance: &str, options: &Value, domain: Option<&str>) {
        let query = [("instance", instance), ("options", &options.to_string()), ("domain", domain.unwrap_or(""))];
        self.ask("set_up", &query, Bytes::new()).await;
    }

    /// Takes the tag of the site from a fleet or an instance.
    pub async fn untag(&self, id: &str) {
        self.ask("untag", &[("id", id)], Bytes::new()).await;
    }

    /// Launches an instance of no fleet, as far as EC2 knows; its id.
    pub async fn launch(&self) -> String {
        self.launch_in(REGIONS[0]).await
    }

    /// The same in that region.
    pub async fn launch_in(&self, region: &str) -> String {
        self.ask("launch", &[("region", region)], Bytes::new()).await.as_str().expect("an id").to_owned()
    }

    /// Lets EC2 know nothing of an instance from now on, whatever it does, as of one that ended an hour ago, or was launched a
    /// moment ago.
    pub async fn forget(&self, instance: &str) {
        self.ask("forget", &[("instance", instance), ("forgotten", "yes")], Bytes::new()).await;
    }

    /// Lets EC2 know it again.
    pub async fn remember(&self, instance: &str) {
        self.ask("forget", &[("instance", instance), ("forgotten", "no")], Bytes::new()).await;
    }

    /// Says where EC2 sees an instance.
    pub(crate) async fn locate(&self, instance: &str, address: IpAddr) {
        self.ask("set_address", &[("instance", instance), ("address", &address.to_string())], Bytes::new()).await;
    }

    /// Ends an instance: EC2 knows it as terminated from now on, and its fleet starts another.
    pub async fn end(&self, instance: &str) {
        self.ask("end", &[("instance", instance)], Bytes::new()).await;
    }

    /// How often name servers were asked about a name.
    pub async fn asked(&self, name: &str) -> u64 {
        let name = format!("{}.", name.trim_end_matches('.'));
        World::shared().control("asked", &[("name", &name)], Bytes::new()).await.as_u64().expect("a count")
    }

    pub(crate) async fn ask(&self, verb: &str, query: &[(&str, &str)], body: Bytes) -> Value {
        let query: Vec<_> = query.iter().copied().chain([("account", self.id.as_str())]).collect();
        World::shared().control(verb, &query, body).await
    }
}

fn change(action: &str, name: &str, kind: &str, ttl: u32, values: &[&str]) -> Value {
    let values: Vec<_> = values.iter().map(|value| json!({ "Value": value })).collect();
    json!({
        "Action": action,
        "ResourceRecordSet": { "Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": values },
    })
}
