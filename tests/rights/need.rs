//! What a call needs to be allowed: actions on resources, with what conditions look at.
//!
//! As the Service Authorization Reference has it: "Actions, resources, and condition keys for Amazon S3", "… Route 53",
//! "… AWS Secrets Manager".

use std::collections::BTreeMap;

use world::{Recorded, Service};

/// One action on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    /// Such as `s3:GetObject`.
    pub(crate) action: String,
    /// ARN.
    pub(crate) resource: String,
    /// Values of condition keys; a key that is not there has none.
    pub(crate) keys: BTreeMap<&'static str, Vec<String>>,
}

/// All that the call needs.
pub(crate) fn needs(call: &Recorded) -> Vec<Need> {
    let need = |action: String, resource: String, keys: &[(&'static str, Vec<String>)]| Need {
        action,
        resource,
        keys: keys.iter().cloned().collect(),
    };
    let (path, rest) = call.target.split_once(' ').unwrap_or((&call.target, ""));
    match call.service {
        Service::S3 => s3(&call.operation, path),
        Service::Route53 => {
            let path = path.split('?').next().unwrap_or_default();
            let id = path.trim_matches('/').split('/').nth(2).unwrap_or_default();
            let kind = path.trim_matches('/').split('/').nth(1).unwrap_or_default();
            let names = between(rest, "<Name>", "</Name>");
            let names =
                names.iter().map(|name| name.trim_end_matches('.').to_lowercase().replace('*', "\\052")).collect();
            let keys = [
                ("route53:ChangeResourceRecordSetsNormalizedRecordNames", names),
                ("route53:ChangeResourceRecordSetsRecordTypes", between(rest, "<Type>", "</Type>")),
            ];
            let keys = if call.operation == "ChangeResourceRecordSets" { &keys[..] } else { &[] };
            let resource = if id.is_empty() { "*".to_owned() } else { format!("arn:aws:route53:::{kind}/{id}") };
            vec![need(format!("route53:{}", call.operation), resource, keys)]
        }
        Service::SecretsManager => {
            let body: serde_json::Value = serde_json::from_str(rest).expect("JSON");
            let name = body["Name"].as_str().or(body["SecretId"].as_str()).expect("a secret").to_owned();
            let arn = format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf");
            let keys = [("secretsmanager:Name", vec![name])];
            let keys = if call.operation == "CreateSecret" { &keys[..] } else { &[] };
            vec![need(format!("secretsmanager:{}", call.operation), arn, keys)]
        }
        Service::Ec2 => {
            let of =
                |kind: &str, field: &str| format!("arn:aws:ec2:us-east-1:123456789012:{kind}/{}", form(rest, field));
            // The launch template tags what it starts with the domain of the site.
            let of_a_host = || {
                let configuration: toml::Table = toml::from_str(&call.configuration).expect("TOML");
                vec![(
                    "aws:ResourceTag/spothost:domain",
                    vec![configuration["domain"].as_str().expect("a name").to_owned()],
                )]
            };
            // An address is led to the interface of an instance.
            if call.operation == "AssociateAddress" {
                let action = "ec2:AssociateAddress".to_owned();
                let interface = "arn:aws:ec2:us-east-1:123456789012:network-interface/eni-0".to_owned();
                return vec![
                    need(action.clone(), of("elastic-ip", "AllocationId"), &[]),
                    need(action.clone(), interface, &[]),
                    need(action, of("instance", "InstanceId"), &of_a_host()),
                ];
            }
            let (resource, keys) = match call.operation.as_str() {
                "ModifySpotFleetRequest" => (of("spot-fleet-request", "SpotFleetRequestId"), Vec::new()),
                "ModifyFleet" => (of("fleet", "FleetId"), Vec::new()),
                "TerminateInstances" => (of("instance", "InstanceId.1"), of_a_host()),
                _ => ("*".to_owned(), Vec::new()),
            };
            vec![need(format!("ec2:{}", call.operation), resource, &keys)]
        }
        Service::AutoScaling => {
            let arn = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:0a:autoScalingGroupName";
            // The group that is changed by what is done to one of its instances is not named in the call.
            let resource = match call.operation.as_str() {
                operation if operation.starts_with("Describe") => "*".to_owned(),
                _ => format!("{arn}/{}", form(rest, "AutoScalingGroupName")),
            };
            vec![need(format!("autoscaling:{}", call.operation), resource, &[])]
        }
        // "No permissions are required to perform this operation" (API reference of GetCallerIdentity).
        Service::Sts if call.operation == "GetCallerIdentity" => Vec::new(),
        Service::Sts => vec![need(format!("sts:{}", call.operation), "*".to_owned(), &[])],
        Service::Iam => {
            let role = form(rest, "PolicySourceArn");
            let arn = format!("arn:aws:iam::123456789012:role/{}", role.rsplit('/').next().unwrap_or_default());
            vec![need(format!("iam:{}", call.operation), arn, &[])]
        }
        Service::ServiceQuotas => {
            let body: serde_json::Value = serde_json::from_str(rest).expect("JSON");
            let text = |key: &str| body[key].as_str().expect(key).to_owned();
            let quota = format!("{}/{}", text("ServiceCode"), text("QuotaCode"));
            let arn = format!("arn:aws:servicequotas:us-east-1:123456789012:{quota}");
            vec![need(format!("servicequotas:{}", call.operation), arn, &[])]
        }
        Service::Acme | Service::Other => panic!("a call of no known service: {call:?}"),
    }
}

fn s3(operation: &str, target: &str) -> Vec<Need> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decoded(path.trim_start_matches('/'));
    let bucket = path.split('/').next().unwrap_or_default();
    let (object, bucket) = (format!("arn:aws:s3:::{path}"), format!("arn:aws:s3:::{bucket}"));
    let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let plain = |action: &str, resource: &str| Need {
        action: format!("s3:{action}"),
        resource: resource.to_owned(),
        keys: BTreeMap::new(),
    };
    match operation {
        "GetObject" | "HeadObject" if asked("versionId").is_some() => vec![plain("GetObjectVersion", &object)],
        "GetObject" | "HeadObject" => vec![plain("GetObject", &object)],
        "ListObjectsV2" | "ListObjects" | "ListMultipartUploads" => {
            let action = if operation == "ListMultipartUploads" { "ListBucketMultipartUploads" } else { "ListBucket" };
            let keys = asked("prefix").map(|prefix| ("s3:prefix", vec![decoded(prefix)]));
            vec![Need { keys: keys.into_iter().collect(), ..plain(action, &bucket) }]
        }
        "ListParts" => vec![plain("ListMultipartUploadParts", &object)],
        "ListObjectVersions" => {
            let keys = asked("prefix").map(|prefix| ("s3:prefix", vec![decoded(prefix)]));
            vec![Need { keys: keys.into_iter().collect(), ..plain("ListBucketVersions", &bucket) }]
        }
        "HeadBucket" => vec![plain("ListBucket", &bucket)],
        // What is copied from stands in a header, and is of the same prefix.
        "CopyObject" => vec![plain("PutObject", &object), plain("GetObject", &object)],
        "GetBucketLocation" | "GetBucketVersioning" => vec![plain(operation, &bucket)],
        // The parts of a multipart upload.
        "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => vec![plain("PutObject", &object)],
        other => vec![plain(other, &object)],
    }
}

fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).map(str::to_owned).collect()
}

/// A field of a call in the query protocol.
fn form(body: &str, field: &str) -> String {
    let value = body.split('&').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    value.map(decoded).unwrap_or_default()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
