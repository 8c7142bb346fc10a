//! Who asks, as AWS knows it (`sts:GetCallerIdentity`, which needs no permission).

use aws_sdk_sts::Client;
use time::OffsetDateTime;

use super::{Aws, date::Date, refusal::fault};
use crate::fault::Fault;

/// The identity of the caller (`sts:GetCallerIdentity`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Number of the AWS account.
    pub account: String,
    /// ARN of the user or session.
    pub arn: String,
    /// What AWS said the time was, and what this machine took it for then.
    pub told: Option<(OffsetDateTime, OffsetDateTime)>,
}

impl Caller {
    /// Asks AWS who the caller is.
    ///
    /// # Errors
    /// When there are no credentials, or none that AWS knows.
    pub async fn ask(aws: &Aws) -> Result<Caller, Fault> {
        let date = Date::default();
        let config = aws_sdk_sts::config::Builder::from(&aws.config).interceptor(date.clone());
        let answer = Client::from_conf(config.build()).get_caller_identity().send().await;
        let answer = answer.map_err(|error| fault("asking AWS who the caller is", "sts:GetCallerIdentity", &error))?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(Caller { account: text(answer.account()), arn: text(answer.arn()), told: date.told() })
    }

    /// The role and the name of the session, where it is one: an instance's is the id of the instance
    /// (IAM User Guide, "Use an IAM role to grant permissions to applications running on Amazon EC2 instances").
    pub fn session(&self) -> Option<(&str, &str)> {
        self.arn.split_once(":assumed-role/")?.1.split_once('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_is_role_and_name() {
        let session = |arn: &str| {
            let caller = Caller { account: "1".into(), arn: arn.into(), told: None };
            caller.session().map(|(role, name)| (role.to_owned(), name.to_owned()))
        };
        let host = session("arn:aws:sts::123456789012:assumed-role/site-Role-1X/i-0123456789abcdef0");
        assert_eq!(host, Some(("site-Role-1X".to_owned(), "i-0123456789abcdef0".to_owned())));
        assert_eq!(session("arn:aws:iam::123456789012:user/ada"), None);
        assert_eq!(session(""), None);
    }
}
