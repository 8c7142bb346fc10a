//! Health checks of Route 53: whether a host answers, as AWS's checkers around the world see it.
//!
//! A check is made under a reference of the caller's. The same reference with the same settings is the same check, also
//! when it is asked for twice; with other settings, or once it was deleted, it is refused for ever
//! (<https://docs.aws.amazon.com/Route53/latest/APIReference/API_CreateHealthCheck.html>).

use std::net::IpAddr;

use aws_sdk_route53::{
    Client,
    config::retry::RetryConfig,
    types::{HealthCheckConfig, HealthCheckType},
};

use super::{
    Aws,
    refusal::{POLITE, code, fault},
};
use crate::fault::Fault;

/// How many references are tried before it is given up.
const MOST_REFERENCES: u32 = 100;
/// Pages of a list; an account has 200 checks unless it has asked for more.
const MOST_PAGES: usize = 50;
/// How often an endpoint is asked by each checker, in seconds: the slower and cheaper of the two ways.
const INTERVAL: i32 = 30;
/// Answers missed in a row until it is taken for unhealthy.
const THRESHOLD: i32 = 3;

/// The endpoint that a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedEndpoint {
    /// Instance id of the host.
    pub instance: String,
    /// Its address.
    pub ip: IpAddr,
    /// The port at which it answers with HTTPS.
    pub port: u16,
    /// The name that it is asked for, in TLS and in the request.
    pub domain: String,
}

/// A check, as Route 53 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its id.
    pub id: String,
    /// The instance that it is of.
    pub instance: String,
}

/// The health checks of the account.
#[derive(Clone, Debug)]
pub struct HealthChecks {
    client: Client,
}

impl CheckedEndpoint {
    /// References of checks of this endpoint, in the order in which they are used.
    fn reference(&self, number: u32) -> String {
        let family = if self.ip.is_ipv4() { 4 } else { 6 };
        format!("{PREFIX}{}/{family}/{number}", self.instance)
    }
}

const PREFIX: &str = "spothost/";

/// The instance that a reference is of, if it is one of ours.
fn instance_of(reference: &str) -> Option<String> {
    reference.strip_prefix(PREFIX)?.split_once('/').map(|(instance, _)| instance.to_owned())
}

impl HealthChecks {
    /// Those that `aws` leads to.
    pub fn new(aws: &Aws) -> HealthChecks {
        let config = aws_sdk_route53::config::Builder::from(&aws.config).retry_config(RetryConfig::disabled()).build();
        HealthChecks { client: Client::from_conf(config) }
    }

    /// Makes the check of that endpoint, or finds the one that was made before; its id.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn make(&self, endpoint: &CheckedEndpoint) -> Result<String, Fault> {
        let doing = format!("making a health check of {}", endpoint.ip);
        for number in 1..=MOST_REFERENCES {
            let config = config(endpoint).map_err(|error| Fault::retry(&doing, error))?;
            let request = self.client.create_health_check().caller_reference(endpoint.reference(number));
            match request.health_check_config(config).send().await {
                Ok(answer) => {
                    let id = answer.health_check().map(|check| check.id().to_owned());
                    return id.ok_or_else(|| Fault::retry(doing, "Route 53 answered without an id"));
                }
                // It is of other settings, as of an address that the host had before, or was deleted.
                Err(error) if code(&error) == Some("HealthCheckAlreadyExists") => {}
                Err(error) => return Err(refused(code(&error), fault(&doing, "route53:CreateHealthCheck", &error))),
            }
        }
        Err(Fault::retry(doing, format!("{MOST_REFERENCES} references are used up")))
    }

    /// Every check that hosts of `domain` have made.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn of(&self, domain: &str) -> Result<Vec<HealthCheck>, Fault> {
        let doing = "listing health checks";
        let mut checks = Vec::new();
        let mut marker = None;
        for _ in 0..MOST_PAGES {
            let answer = self.client.list_health_checks().set_marker(marker).max_items(100).send().await;
            let answer =
                answer.map_err(|error| refused(code(&error), fault(doing, "route53:ListHealthChecks", &error)))?;
            checks.extend(answer.health_checks().iter().filter_map(|check| {
                let name = check.health_check_config().and_then(|config| config.fully_qualified_domain_name());
                let instance = instance_of(check.caller_reference())?;
                (name == Some(domain)).then(|| HealthCheck { id: check.id().to_owned(), instance })
            }));
            marker = answer.next_marker().map(str::to_owned);
            if !answer.is_truncated() || marker.is_none() {
                break;
            }
        }
        Ok(checks)
    }

    /// Deletes a check, if it is still there.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn delete(&self, id: &str) -> Result<(), Fault> {
        match self.client.delete_health_check().health_check_id(id).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("NoSuchHealthCheck") => Ok(()),
            Err(error) => {
                let doing = format!("deleting the health check {id}");
                Err(refused(code(&error), fault(&doing, "route53:DeleteHealthCheck", &error)))
            }
        }
    }
}

fn config(endpoint: &CheckedEndpoint) -> Result<HealthCheckConfig, aws_sdk_route53::error::BuildError> {
    let config = HealthCheckConfig::builder().r#type(HealthCheckType::Https).enable_sni(true);
    let config = config.ip_address(endpoint.ip.to_string()).port(endpoint.port.into()).resource_path("/");
    let config = config.fully_qualified_domain_name(&endpoint.domain);
    config.request_interval(INTERVAL).failure_threshold(THRESHOLD).build()
}

fn refused(code: Option<&str>, fault: Fault) -> Fault {
    match code {
        // 5 requests a second are shared by the whole account.
        Some("Throttling" | "ThrottlingException") => Fault::wait(fault.doing, fault.said, POLITE),
        Some("TooManyHealthChecks") => {
            Fault::operator(fault.doing, fault.said, "delete some, or ask AWS for more (Service Quotas, Route 53)")
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_says_whose_the_check_is_and_fits() {
        let endpoint = CheckedEndpoint {
            instance: "i-0123456789abcdef0".into(),
            ip: "2001:db8::1".parse().expect("an address"),
            port: 443,
            domain: "www.example.org".into(),
        };
        let reference = endpoint.reference(MOST_REFERENCES);
        assert_eq!(reference, "spothost/i-0123456789abcdef0/6/100");
        assert!(reference.len() <= 64, "API_CreateHealthCheck: at most 64 characters");
        assert_eq!(instance_of(&reference).as_deref(), Some("i-0123456789abcdef0"));
        assert_eq!(instance_of("somebody's"), None);
    }
}
