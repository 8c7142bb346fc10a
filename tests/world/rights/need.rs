//! What a call needs to be allowed: actions on resources, with what conditions look at.
//!
//! Written from AWS's references and from no policy: which action a call is judged as, on which resources, and which condition
//! keys AWS has values for (Service Authorization Reference, "Actions, resources, and condition keys for …", and the permissions
//! that the API references name beside it). What somebody has to be asked for — which tags a resource has, whether a secret is
//! there — is asked of the world.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Call, Service, World};

/// The account that policies and needs name. Which of the world's accounts it is, the keys of a call say.
const ACCOUNT: &str = "123456789012";

/// One action on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Need {
    /// Such as `s3:GetObject`.
    pub action: String,
    /// ARN, or `*` for actions that take no resource.
    pub resource: String,
    /// Values of condition keys; a key that is not there has none.
    pub keys: BTreeMap<String, Vec<String>>,
}

impl Need {
    fn new(action: impl Into<String>, resource: impl Into<String>) -> Need {
        Need { action: action.into(), resource: resource.into(), keys: BTreeMap::new() }
    }

    fn with(mut self, key: &str, values: Vec<String>) -> Need {
        self.keys.insert(key.to_owned(), values);
        self
    }

    fn tagged(self, tags: &BTreeMap<String, String>) -> Need {
        tags.iter().fold(self, |need, (key, value)| need.with(&format!("aws:ResourceTag/{key}"), vec![value.clone()]))
    }

    /// What it takes to be told by S3 that a key of that bucket is not there: the right to list it. A read names no prefix, and
    /// no source says whether S3 then takes the key for one: here it does not, which is the worse case.
    pub(super) fn to_list(call: &Call) -> Option<Need> {
        let bucket = path_of(call).trim_start_matches('/').split(['/', '?']).next().unwrap_or_default().to_owned();
        let reads = matches!(call.operation.as_str(), "GetObject" | "HeadObject" | "CopyObject");
        (call.service == Service::S3 && reads).then(|| Need::new("s3:ListBucket", format!("arn:aws:s3:::{bucket}")))
    }
}

/// All that the call needs.
pub(super) async fn needs(call: &Call) -> Vec<Need> {
    let path = path_of(call);
    let body = call.target.split_once(' ').map_or("", |(_, body)| body);
    match call.service {
        Service::S3 => s3(call, path),
        Service::Route53 => route53(call, path, body),
        Service::SecretsManager => secret(call, body).await,
        Service::Ec2 => ec2(call, body).await,
        Service::AutoScaling => group(call, body).await,
        // "No permissions are required to perform this operation" (API reference of GetCallerIdentity).
        Service::Sts if call.operation == "GetCallerIdentity" => Vec::new(),
        Service::Sts => vec![Need::new(format!("sts:{}", call.operation), "*")],
        Service::Iam => {
            let role = form(body, "PolicySourceArn");
            let name = role.rsplit('/').next().unwrap_or_default();
            vec![Need::new(format!("iam:{}", call.operation), format!("arn:aws:iam::{ACCOUNT}:role/{name}"))]
        }
        Service::ServiceQuotas => {
            let text = |key: &str| json(body)[key].as_str().unwrap_or_default().to_owned();
            let quota = format!("{}/{}", text("ServiceCode"), text("QuotaCode"));
            vec![Need::new(format!("servicequotas:{}", call.operation), arn(call, "servicequotas", &quota))]
        }
        // A CA is no service of AWS.
        Service::Acme => Vec::new(),
        Service::Other => vec![Need::new(format!("unknown:{}", call.operation), "*")],
    }
}

fn s3(call: &Call, target: &str) -> Vec<Need> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decoded(path.trim_start_matches('/'));
    let name = path.split('/').next().unwrap_or_default();
    let object = format!("arn:aws:s3:::{path}");
    let bucket = format!("arn:aws:s3:::{name}");
    let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded);
    let on_object = |action: &str| Need::new(format!("s3:{action}"), &object);
    let listing = |action: &str| {
        let need = Need::new(format!("s3:{action}"), &bucket);
        asked("prefix").into_iter().fold(need, |need, prefix| need.with("s3:prefix", vec![prefix]))
    };
    // "Conditional writes" and "conditional deletes" of the user guide: who gives an ETag has to be allowed to read.
    let conditional = call.conditional.then(|| on_object("GetObject"));
    match call.operation.as_str() {
        "GetObject" | "HeadObject" if asked("versionId").is_some() => vec![on_object("GetObjectVersion")],
        "GetObject" | "HeadObject" => vec![on_object("GetObject")],
        "ListObjectsV2" | "ListObjects" | "HeadBucket" => vec![listing("ListBucket")],
        "ListObjectVersions" => vec![listing("ListBucketVersions")],
        // It has a prefix, too, for which IAM has no key.
        "ListMultipartUploads" => vec![Need::new("s3:ListBucketMultipartUploads", &bucket)],
        "ListParts" => vec![on_object("ListMultipartUploadParts")],
        "GetBucketLocation" | "GetBucketVersioning" => vec![Need::new(format!("s3:{}", call.operation), &bucket)],
        "CopyObject" => {
            let source = decoded(call.source.as_deref().unwrap_or_default().trim_start_matches('/'));
            let (from, version) = source.split_once("?versionId=").map_or((&*source, false), |(from, _)| (from, true));
            let read = if version { "s3:GetObjectVersion" } else { "s3:GetObject" };
            let needs = [Need::new(read, format!("arn:aws:s3:::{from}")), on_object("PutObject")];
            needs.into_iter().chain(conditional).collect()
        }
        // All parts of a multipart upload are one write ("Multipart upload API and permissions" of the user guide).
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            [on_object("PutObject")].into_iter().chain(conditional).collect()
        }
        "DeleteObject" => [on_object("DeleteObject")].into_iter().chain(conditional).collect(),
        other => vec![on_object(other)],
    }
}

fn route53(call: &Call, path: &str, body: &str) -> Vec<Need> {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.trim_matches('/').split('/').skip(1);
    let kind = parts.next().unwrap_or_default();
    let resource = parts.next().map_or("*".to_owned(), |id| format!("arn:aws:route53:::{kind}/{id}"));
    let need = Need::new(format!("route53:{}", call.operation), resource);
    if call.operation != "ChangeResourceRecordSets" {
        return vec![need];
    }
    // In lower case, without the last dot, and but for a-z, 0-9, -, _ and . in octal ("Using IAM policy conditions for
    // fine-grained access control" of the developer guide).
    let normal = |name: &String| name.trim_end_matches('.').to_lowercase().replace('*', "\\052");
    let names = between(body, "<Name>", "</Name>").iter().map(normal).collect();
    let changes = between(body, "<Action>", "</Action>");
    vec![
        need.with("route53:ChangeResourceRecordSetsNormalizedRecordNames", names)
            .with("route53:ChangeResourceRecordSetsRecordTypes", between(body, "<Type>", "</Type>"))
            .with("route53:ChangeResourceRecordSetsActions", changes),
    ]
}

/// A secret that is there is judged by its ARN. By what one is judged that is not there no source says: the bare name, or a name
/// with any end; both are asked for.
async fn secret(call: &Call, body: &str) -> Vec<Need> {
    let body = json(body);
    let named = body["Name"].as_str().or(body["SecretId"].as_str()).unwrap_or_default().to_owned();
    let action = format!("secretsmanager:{}", call.operation);
    if named.starts_with("arn:") {
        // Whatever account of the world it is of.
        let resource = named.split_once(":secret:").map_or("", |(_, resource)| resource);
        return vec![Need::new(action, arn(call, "secretsmanager", &format!("secret:{resource}")))];
    }
    let there = described(call, "secret", &named).await["arn"].as_str().map(str::to_owned);
    let ends: Vec<String> = match there.as_deref().and_then(|arn| arn.rsplit_once(":secret:")) {
        Some((_, name)) => vec![name.to_owned()],
        None => vec![format!("{named}-AbCdEf"), named.clone()],
    };
    let need = |end: &String| Need::new(&action, arn(call, "secretsmanager", &format!("secret:{end}")));
    let of_a_name = |need: Need| match call.operation.as_str() {
        "CreateSecret" => need.with("secretsmanager:Name", vec![named.clone()]),
        _ => need,
    };
    ends.iter().map(need).map(of_a_name).collect()
}

async fn ec2(call: &Call, body: &str) -> Vec<Need> {
    let action = format!("ec2:{}", call.operation);
    let on = async |kind: &str, id: &str| {
        let tags = tags(&described(call, kind, id).await);
        Need::new(&action, arn(call, "ec2", &format!("{kind}/{id}"))).tagged(&tags)
    };
    match call.operation.as_str() {
        "ModifySpotFleetRequest" => vec![on("spot-fleet-request", &form(body, "SpotFleetRequestId")).await],
        "ModifyFleet" => vec![on("fleet", &form(body, "FleetId")).await],
        "TerminateInstances" => {
            let mut needs = Vec::new();
            for number in 1.. {
                let id = form(body, &format!("InstanceId.{number}"));
                if id.is_empty() {
                    break;
                }
                needs.push(on("instance", &id).await);
            }
            needs
        }
        "GetConsoleOutput" => vec![on("instance", &form(body, "InstanceId")).await],
        // An address is led to the interface of an instance: each of the three is asked for.
        "AssociateAddress" => {
            let instance = form(body, "InstanceId");
            let interface = described(call, "instance", &instance).await["interface"].as_str().map(str::to_owned);
            let mut needs = vec![on("elastic-ip", &form(body, "AllocationId")).await, on("instance", &instance).await];
            if let Some(interface) = interface {
                needs.push(on("network-interface", &interface).await);
            }
            needs
        }
        _ => vec![Need::new(action, "*")],
    }
}

async fn group(call: &Call, body: &str) -> Vec<Need> {
    let action = format!("autoscaling:{}", call.operation);
    if call.operation.starts_with("Describe") {
        return vec![Need::new(action, "*")];
    }
    // The group that is changed by what is done to one of its instances is not named in the call.
    let (kind, id) = match form(body, "AutoScalingGroupName") {
        name if name.is_empty() => ("group-of", form(body, "InstanceId")),
        name => ("group", name),
    };
    let group = described(call, kind, &id).await;
    let name = group["name"].as_str().unwrap_or_default();
    let resource = format!("autoScalingGroup:00000000-0000-0000-0000-000000000000:autoScalingGroupName/{name}");
    vec![Need::new(action, arn(call, "autoscaling", &resource)).tagged(&tags(&group))]
}

/// A resource as the world has it; `null` for one that is not there.
async fn described(call: &Call, kind: &str, id: &str) -> Value {
    let query = [("key", &*call.key), ("region", &*call.region), ("kind", kind), ("id", id)];
    World::shared().control("described", &query, Bytes::new()).await
}

fn tags(described: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(described["tags"].clone()).unwrap_or_default()
}

fn arn(call: &Call, service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{}:{ACCOUNT}:{resource}", call.region)
}

fn path_of(call: &Call) -> &str {
    call.target.split(' ').next().unwrap_or_default()
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_default()
}

fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).map(str::to_owned).collect()
}

/// A field of a call in the query protocol; empty, if it is not there.
fn form(body: &str, field: &str) -> String {
    let value = body.split('&').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    value.map(decoded).unwrap_or_default()
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
