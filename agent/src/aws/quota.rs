//! How many spot instances the account may have: Service Quotas counts their virtual processors.

use serde::Deserialize;
use serde_json::json;

use super::{
    Aws,
    partition::Partition,
    refusal::{self, DENIED},
    signed::{Service, post},
};
use crate::fault::Fault;

/// "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests" of Amazon EC2, in virtual processors
/// (Amazon EC2 User Guide, "Spot Instance quotas").
const STANDARD_SPOT: &str = "L-34B43A08";

const QUOTAS: Service = Service {
    name: "servicequotas",
    host: |region| format!("servicequotas.{region}.{}", Partition::of(region).suffix),
    region: str::to_owned,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QuotaResponse {
    quota: Quota,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Quota {
    value: f64,
}

#[derive(Deserialize)]
struct QuotaError {
    #[serde(rename = "__type", default)]
    code: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// How many virtual processors the spot instances of the common types may have, all together.
///
/// # Errors
/// What Service Quotas refuses.
pub async fn of_spot_instances(aws: &Aws) -> Result<u32, Fault> {
    const DOING: &str = "asking for the quota of spot instances";
    let headers = [("x-amz-target", "ServiceQuotasV20190624.GetServiceQuota")];
    let body = json!({ "ServiceCode": "ec2", "QuotaCode": STANDARD_SPOT }).to_string();
    let answer = post(aws, QUOTAS, DOING, &headers, "application/x-amz-json-1.1", body).await?;
    if !answer.status.is_success() {
        return Err(refused(DOING, &answer.body));
    }
    let found: QuotaResponse = serde_json::from_slice(&answer.body).map_err(|error| Fault::retry(DOING, error))?;
    // Values are small whole numbers that JSON writes as 5.0.
    Ok(found.quota.value.clamp(0.0, f64::from(u32::MAX)).floor() as u32)
}

fn refused(doing: &str, body: &[u8]) -> Fault {
    let Ok(QuotaError { code, message }) = serde_json::from_slice(body) else {
        return Fault::retry(doing, String::from_utf8_lossy(body));
    };
    let code = code.rsplit('#').next().unwrap_or_default();
    let fault = refusal::refused(doing, "servicequotas:GetServiceQuota", code, &message);
    let remedy = "allow servicequotas:GetServiceQuota: spothost policy --for operator";
    if DENIED.contains(&code) { Fault { remedy: Some(remedy.to_owned()), ..fault } } else { fault }
}
