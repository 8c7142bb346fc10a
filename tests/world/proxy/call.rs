//! A call of a host to a service, recognised from its HTTP request.

use std::time::Instant;

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use serde::{Deserialize, Serialize};

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Amazon S3 (REST, XML).
    S3,
    /// Amazon Route 53 (REST, XML).
    Route53,
    /// AWS Secrets Manager (JSON 1.1).
    SecretsManager,
    /// AWS STS (query, XML).
    Sts,
    /// Amazon EC2 (query, XML).
    Ec2,
    /// Amazon EC2 Auto Scaling (query, XML).
    AutoScaling,
    /// AWS IAM (query, XML).
    Iam,
    /// AWS Service Quotas (JSON 1.1).
    ServiceQuotas,
    /// The ACME CA.
    Acme,
    /// None of these.
    Other,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It looks.
    Read,
    /// It is to change something.
    Write,
}

/// One call and how it went.
#[derive(Clone, Debug)]
pub struct Call {
    /// Of which service.
    pub service: Service,
    /// Its name in the service's reference, such as `GetObject`; for ACME the resource (RFC 8555 §7.1).
    pub operation: String,
    /// What it is about: the path, with its query where that says what is asked; for JSON and batches the body.
    pub target: String,
    /// Whether it looks or changes.
    pub kind: Kind,
    /// The `AWS_SDK_UA_APP_ID` of who asks, if it has one.
    pub app: Option<String>,
    /// The access key id that it is signed with.
    pub key: String,
    /// The region that its signature names.
    pub region: String,
    /// What is copied from (`x-amz-copy-source`).
    pub source: Option<String>,
    /// Whether it is a write that names an ETag (`If-Match`).
    pub conditional: bool,
    /// Status of the answer; none when there was no answer.
    pub status: Option<u16>,
    /// The same, also where the answer was lost on its way back.
    pub carried: Option<u16>,
    /// When the request had arrived.
    pub started: Instant,
    /// When the answer was there.
    pub ended: Instant,
}

impl Call {
    pub(super) fn recognise(parts: &Parts, body: &Bytes, started: Instant) -> Call {
        // The only call of AWS without a signature: the token shows who asks.
        let by_token = || field(body, "Action").is_some_and(|action| action == "AssumeRoleWithWebIdentity");
        let service = match Service::recognise(parts) {
            Service::Acme if by_token() => Service::Sts,
            service => service,
        };
        let operation = match service {
            Service::S3 => s3(parts),
            Service::Route53 => route53(parts),
            Service::SecretsManager | Service::ServiceQuotas => {
                let target = header(parts, "x-amz-target").unwrap_or_default();
                target.rsplit('.').next().unwrap_or_default().to_owned()
            }
            Service::Sts | Service::Ec2 | Service::AutoScaling | Service::Iam => {
                field(body, "Action").unwrap_or_default()
            }
            Service::Acme => acme(parts),
            Service::Other => parts.method.to_string(),
        };
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let target = match service {
            Service::Route53
            | Service::SecretsManager
            | Service::Ec2
            | Service::AutoScaling
            | Service::Iam
            | Service::ServiceQuotas => {
                format!("{path} {}", String::from_utf8_lossy(body))
            }
            _ => path,
        };
        let kind = kind(service, &operation);
        let agent =
            ["x-amz-user-agent", "user-agent"].iter().find_map(|name| header(parts, name)?.split("app/").nth(1));
        let app = agent.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        let (key, region) =
            scope(parts).map_or_else(Default::default, |(key, region, _)| (key.to_owned(), region.to_owned()));
        let source = header(parts, "x-amz-copy-source").map(str::to_owned);
        let conditional = kind == Kind::Write && parts.headers.contains_key("if-match");
        Call {
            service,
            operation,
            target,
            kind,
            app,
            key,
            region,
            source,
            conditional,
            status: None,
            carried: None,
            started,
            ended: started,
        }
    }
}

impl Service {
    fn recognise(parts: &Parts) -> Service {
        match scope(parts).map(|(_, _, service)| service) {
            Some("s3") => Service::S3,
            Some("route53") => Service::Route53,
            Some("secretsmanager") => Service::SecretsManager,
            Some("sts") => Service::Sts,
            Some("ec2") => Service::Ec2,
            Some("autoscaling") => Service::AutoScaling,
            Some("iam") => Service::Iam,
            Some("servicequotas") => Service::ServiceQuotas,
            Some(_) => Service::Other,
            None => Service::Acme,
        }
    }

    /// An error of this service as it writes errors.
    pub(super) fn refusal(self, status: u16, code: &str, message: &str, head: bool) -> Response<Bytes> {
        let request = "4442587FB7D0A2F9";
        let (kind, text) = match self {
            Service::S3 => (
                "application/xml",
                format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request}</RequestId></Error>"),
            ),
            Service::Route53 => (
                "text/xml",
                format!("<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>"),
            ),
            Service::Sts | Service::AutoScaling | Service::Iam | Service::Other => (
                "text/xml",
                format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>"),
            ),
            Service::Ec2 => (
                "text/xml",
                format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>{request}</RequestID></Response>"),
            ),
            Service::SecretsManager | Service::ServiceQuotas => (
                "application/x-amz-json-1.1",
                serde_json::json!({ "__type": code, "message": message }).to_string(),
            ),
            Service::Acme => (
                "application/problem+json",
                serde_json::json!({ "type": format!("urn:ietf:params:acme:error:{code}"), "detail": message, "status": status }).to_string(),
            ),
        };
        let body = if head { Bytes::new() } else { Bytes::from(text) };
        let answer =
            Response::builder().status(status).header("content-type", kind).header("x-amzn-requestid", request);
        answer.body(body).expect("a valid response")
    }
}

fn kind(service: Service, operation: &str) -> Kind {
    let reads: &[&str] = match service {
        Service::Acme => &["directory", "newNonce", "renewalInfo", "authorization", "order", "certificate"],
        _ => &["Get", "List", "Head", "Describe", "Test", "Simulate"],
    };
    if reads.iter().any(|read| operation.starts_with(read)) { Kind::Read } else { Kind::Write }
}

fn s3(parts: &Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let object = parts.uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let name = match (&parts.method, object) {
        (&Method::GET, true) if has("uploadId") => "ListParts",
        (&Method::GET, false) if has("uploads") => "ListMultipartUploads",
        (&Method::GET, true) if has("tagging") => "GetObjectTagging",
        (&Method::GET, true) if has("attributes") => "GetObjectAttributes",
        (&Method::GET, true) => "GetObject",
        (&Method::HEAD, true) => "HeadObject",
        (&Method::HEAD, false) => "HeadBucket",
        (&Method::GET, false) if has("versions") => "ListObjectVersions",
        (&Method::GET, false) if has("versioning") => "GetBucketVersioning",
        (&Method::GET, false) if has("location") => "GetBucketLocation",
        (&Method::GET, false) if has("list-type") => "ListObjectsV2",
        (&Method::GET, false) => "ListObjects",
        (&Method::POST, true) if has("uploads") => "CreateMultipartUpload",
        (&Method::POST, true) if has("uploadId") => "CompleteMultipartUpload",
        (&Method::PUT, true) if has("partNumber") => "UploadPart",
        (&Method::DELETE, true) if has("uploadId") => "AbortMultipartUpload",
        (&Method::PUT, true) if parts.headers.contains_key("x-amz-copy-source") => "CopyObject",
        (&Method::PUT, true) => "PutObject",
        (&Method::DELETE, true) => "DeleteObject",
        (method, _) => return format!("{method} {}", parts.uri.path()),
    };
    name.to_owned()
}

fn route53(parts: &Parts) -> String {
    let path: Vec<_> = parts.uri.path().trim_matches('/').split('/').skip(1).collect();
    let name = match (&parts.method, path.as_slice()) {
        (&Method::POST, ["hostedzone", _, "rrset"]) => "ChangeResourceRecordSets",
        (&Method::GET, ["hostedzone", _, "rrset"]) => "ListResourceRecordSets",
        (&Method::POST, ["healthcheck"]) => "CreateHealthCheck",
        (&Method::GET, ["healthcheck"]) => "ListHealthChecks",
        (&Method::DELETE, ["healthcheck", _]) => "DeleteHealthCheck",
        (&Method::GET, ["hostedzone", _]) => "GetHostedZone",
        (&Method::GET, ["hostedzone"]) => "ListHostedZones",
        (&Method::GET, ["hostedzonesbyname"]) => "ListHostedZonesByName",
        (&Method::GET, ["change", _]) => "GetChange",
        (&Method::GET, ["testdnsanswer"]) => "TestDNSAnswer",
        (method, _) => return format!("{method} {}", parts.uri.path()),
    };
    name.to_owned()
}

/// Pebble's paths; they are its own affair, RFC 8555 names only the directory's keys.
fn acme(parts: &Parts) -> String {
    let path = parts.uri.path().trim_matches('/');
    let name = match path.split('/').next().unwrap_or_default() {
        "dir" => "directory",
        "nonce-plz" => "newNonce",
        "sign-me-up" => "newAccount",
        "order-plz" => "newOrder",
        "my-order" => "order",
        "my-account" => "account",
        "authZ" => "authorization",
        "chalZ" => "challenge",
        "finalize-order" => "finalize",
        "certZ" => "certificate",
        "revoke-cert" => "revokeCert",
        "rollover-account-key" => "keyChange",
        _ if path.contains("renewalInfo") => "renewalInfo",
        other => other,
    };
    name.to_owned()
}

/// Access key id, region and service of a signature: `Credential=AKID/20260101/us-east-1/s3/aws4_request` (Signature Version 4).
fn scope(parts: &Parts) -> Option<(&str, &str, &str)> {
    let mut scope = header(parts, "authorization")?.split("Credential=").nth(1)?.split('/');
    let key = scope.next()?;
    let region = scope.nth(1)?;
    Some((key, region, scope.next()?))
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

fn field(body: &Bytes, name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}
