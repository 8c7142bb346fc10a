//! Signed requests to services of which one call is needed: another SDK would be thousands of them.

use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_async::time::TimeSource as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    header::{CONTENT_TYPE, USER_AGENT},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::Aws;
use crate::fault::Fault;

/// How long a call may take.
const LONGEST_CALL: Duration = Duration::from_secs(15);
/// Bytes of an answer.
const LARGEST_ANSWER: usize = 1 << 20;

/// A service, and where it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// Its name in signatures.
    pub(super) name: &'static str,
    /// Its end point in a region.
    pub(super) host: fn(region: &str) -> String,
    /// The region that signatures name, for a caller of a region.
    pub(super) region: fn(region: &str) -> String,
}

/// The response of a service.
#[derive(Clone, Debug)]
pub(super) struct ServiceResponse {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Posts `body`, signed (Signature Version 4), and yields what came back, be it good or not.
pub(super) async fn post(
    aws: &Aws,
    service: Service,
    doing: &str,
    headers: &[(&'static str, &str)],
    content_type: &'static str,
    body: String,
) -> Result<ServiceResponse, Fault> {
    let failed = |said: &dyn std::fmt::Display| Fault::retry(doing, said);
    let region = aws.config.region().map(|region| region.as_ref().to_owned()).unwrap_or_default();
    let signed_for = (service.region)(&region);
    let url = match aws.config.endpoint_url() {
        Some(given) => format!("{}/", given.trim_end_matches('/')),
        None => format!("https://{}/", (service.host)(&region)),
    };
    // The application id, as the SDKs send it, where one is set.
    let app = aws.config.app_name().map_or_else(String::new, |name| format!(" app/{}", name.as_ref()));
    let agent = format!("spothost/{}{app}", env!("CARGO_PKG_VERSION"));
    let mut request = Request::post(&url).header(CONTENT_TYPE, content_type).header(USER_AGENT, agent);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Full::new(Bytes::from(body.clone()))).map_err(|error| failed(&error))?;
    let credentials = aws.config.credentials_provider().ok_or_else(|| failed(&"there are no credentials"))?;
    let credentials =
        credentials.provide_credentials().await.map_err(|error| super::refusal::uncredentialed(doing, &error))?;
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&signed_for)
        .name(service.name)
        .time(aws.date.now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let names = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    let signable = SignableRequest::new("POST", &url, names, SignableBody::Bytes(body.as_bytes()));
    let (instructions, _) =
        signable.and_then(|signable| sign(signable, &parameters)).map_err(|error| failed(&error))?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    let call = async {
        let connector = HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(|error| failed(&error))?;
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let (parts, body) = client.request(request).await.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|error| failed(&error))?.to_bytes();
        Ok(ServiceResponse { status: parts.status, body })
    };
    match tokio::time::timeout(LONGEST_CALL, call).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(&"no answer within 15 s")),
    }
}
