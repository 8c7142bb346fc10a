//! What AWS refuses, sorted by what would cure it.

use std::{error::Error, fmt, time::Duration};

use aws_config::{imds::client::error::ImdsError, meta::ProviderChainError};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use crate::fault::{Cause, Cure, Fault};

mod codes;

use codes::{Sort, sorted};

/// What cures credentials that AWS does not take, or that are not there.
const LOGIN: &str = "log in to AWS (aws login, aws sso login), name a profile (AWS_PROFILE), or give the instance a profile \
                     with its role";

/// Codes by which AWS says, among other things, that a signature is not of now.
const UNTIMELY: &[&str] = &[SKEWED, "SignatureDoesNotMatch", "InvalidSignatureException"];
/// That of S3, which says nothing else.
const SKEWED: &str = "RequestTimeTooSkewed";

/// Codes by which AWS says that the caller may not.
pub(super) const DENIED: &[&str] =
    &["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AllAccessDisabled", "Forbidden"];

/// The fault that `error` is, met while `doing` something for which the role needs `permission`.
pub(super) fn fault<E, R>(doing: &str, permission: &str, error: &SdkError<E, R>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug + 'static,
{
    let Some(code) = code(error) else {
        return without_code(doing, error);
    };
    let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or("no further word");
    refused(doing, permission, code, message)
}

/// The fault that an answer with that code and message is.
pub(super) fn refused(doing: &str, permission: &str, code: &str, message: &str) -> Fault {
    let said = format!("{code}: {message}");
    if UNTIMELY.contains(&code) && (message.contains("expired") || message.contains("not yet") || code == SKEWED) {
        // What AWS takes the time for came with the refusal: the next signature is of that time.
        return Fault::retry(doing, said);
    }
    let service = permission.split(':').next().unwrap_or_default();
    match sorted(service, code) {
        Sort::Retry => Fault::retry(doing, said),
        Sort::Wait => Fault::wait(doing, said, POLITE),
        Sort::Operator(remedy) => Fault::operator(doing, said, remedy),
        Sort::Allow => {
            let remedy = format!("allow {permission} to the role of the host");
            Fault::operator(doing, said, remedy).because(Cause::Denied)
        }
        Sort::Login => Fault::operator(doing, said, LOGIN).because(Cause::Credentials),
    }
}

/// Whether AWS says that the caller may not.
pub(super) fn is_denied<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    code(error).is_some_and(|code| DENIED.contains(&code))
}

/// The error code that the service gave.
pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// An error with all that caused it, each said once, in one line.
pub(super) fn words<E: Error + 'static>(error: &E) -> String {
    causes(error)
}

fn without_code<E, R>(doing: &str, error: &SdkError<E, R>) -> Fault
where
    E: Error + 'static,
    R: fmt::Debug + 'static,
{
    match caused_by::<CredentialsError>(error) {
        Some(credentials) => uncredentialed(doing, credentials),
        None => Fault::retry(doing, words(error)),
    }
}

/// The fault that it is not to have credentials. What the network or the metadata service is the cause of passes; all else
/// is for the person who has set them up: a profile that cannot be, a session that is over, a role that may not be taken.
pub(super) fn uncredentialed(doing: &str, error: &CredentialsError) -> Fault {
    let said = causes(error);
    let passes = caused_by::<ConnectorError>(error).is_some() || caused_by::<ImdsError>(error).is_some();
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            let fault = Fault::operator(doing, "there are no AWS credentials", LOGIN).because(Cause::Credentials);
            // On an instance it may answer in a moment; elsewhere it never does, and the person is told so.
            if metadata_is_silent(error) { Fault { cure: Cure::Retry, ..fault } } else { fault }
        }
        CredentialsError::ProviderTimedOut(_) => Fault::retry(doing, said),
        _ if passes => Fault::retry(doing, said),
        CredentialsError::InvalidConfiguration(_) => {
            let remedy = "correct the profile in ~/.aws/config, or name another (AWS_PROFILE)";
            Fault::operator(doing, said, remedy).because(Cause::Credentials)
        }
        _ => Fault::operator(doing, said, LOGIN).because(Cause::Credentials),
    }
}

/// What the SDK calls the last place that it looks for credentials in.
const METADATA: &str = "Ec2InstanceMetadata";

/// Whether the last place of the chain was asked, and did not answer: what it refuses has no cause beneath it.
fn metadata_is_silent(error: &CredentialsError) -> bool {
    caused_by::<ProviderChainError<CredentialsError>>(error)
        .and_then(|chain| chain.attempts().iter().find(|attempt| attempt.name() == METADATA))
        .is_some_and(|attempt| attempt.error().source().is_some_and(|cause| cause.source().is_some()))
}

/// The first of the causes of `error`, itself included, that is a `C`.
pub(super) fn caused_by<'a, C: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a C> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error, what caused it, what caused that, and so on.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What caused `error`, each said once, in one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for error in chain(error) {
        let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ").chars().take(MOST_SAID).collect()
}

/// Characters of what is said of credentials that are not there: a program that was to yield them may say anything.
const MOST_SAID: usize = 500;

/// How long a service's own client waits before it may be asked again after it said that it is asked too often.
pub(super) const POLITE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use aws_config::{
        SdkConfig,
        default_provider::credentials::DefaultCredentialsChain,
        imds::{Client, credentials::ImdsCredentialsProvider},
        meta::credentials::CredentialsProviderChain,
        provider_config::ProviderConfig,
    };

    use super::*;

    #[test]
    fn refusals_are_sorted_by_their_cure() {
        let table = [
            ("secretsmanager:GetSecretValue", "AccessDeniedException", Cure::Operator, "allow secretsmanager:Get"),
            ("secretsmanager:GetSecretValue", "InvalidRequestException", Cure::Operator, "restore-secret"),
            ("secretsmanager:PutSecretValue", "InternalServiceError", Cure::Retry, ""),
            ("s3:GetObject", "InvalidObjectState", Cure::Operator, "publish"),
            ("s3:PutObject and s3:GetObject", "SlowDown", Cure::Retry, ""),
            ("route53:ChangeResourceRecordSets", "PriorRequestNotComplete", Cure::Wait(POLITE), ""),
            ("route53:ListResourceRecordSets", "NoSuchHostedZone", Cure::Operator, "`zone`"),
            ("iam:SimulatePrincipalPolicy", "InvalidInput", Cure::Operator, "a role"),
            ("ec2:DescribeInstances", "ExpiredToken", Cure::Operator, "log in"),
            ("ec2:DescribeInstances", "NobodyKnowsThis", Cure::Retry, ""),
        ];
        for (permission, code, cure, remedy) in table {
            let fault = refused("doing", permission, code, "why");
            assert_eq!(fault.cure, cure, "{code}");
            assert!(fault.remedy.unwrap_or_default().contains(remedy), "{code} does not say {remedy}");
        }
        // A clock that is wrong is put right by the answer itself.
        assert_eq!(refused("d", "sts:X", "SignatureDoesNotMatch", "Signature expired: 2026").cure, Cure::Retry);
    }

    #[test]
    fn what_is_sorted_is_found_by_service_and_code() {
        let table = [
            ("sts", "Throttling", Sort::Wait),
            ("route53", "PriorRequestNotComplete", Sort::Wait),
            ("s3", "AccessDenied", Sort::Allow),
            ("s3", "ExpiredToken", Sort::Login),
            ("iam", "InvalidInput", Sort::Operator("name a role of the account")),
            ("s3", "NobodyKnowsThis", Sort::Retry),
        ];
        for (service, code, expected) in table {
            assert_eq!(sorted(service, code), expected, "{service} {code}");
        }
    }

    #[test]
    fn every_code_is_sorted_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (service, code, _) in codes::CODES {
            assert!(seen.insert((service, code)), "{service} {code} stands twice");
        }
        for code in DENIED {
            assert_eq!(sorted("s3", code), Sort::Allow, "{code}");
        }
    }

    /// What the SDK makes of credentials that are not there, in the words of this program.
    async fn asked_with(credentials: impl aws_credential_types::provider::ProvideCredentials + 'static) -> Fault {
        let config = SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:9")
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .build();
        let asked = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        fault("asking", "sts:GetCallerIdentity", &asked.expect_err("there are none"))
    }

    #[derive(Debug)]
    struct Fails(fn() -> CredentialsError);

    impl aws_credential_types::provider::ProvideCredentials for Fails {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            aws_credential_types::provider::future::ProvideCredentials::ready(Err((self.0)()))
        }
    }

    #[tokio::test]
    async fn credentials_that_are_not_there_are_told_by_the_type_of_the_sdks_error() {
        // The metadata service is asked last: here it says that the instance has no role, and there it does not answer.
        let begin =
            || CredentialsProviderChain::first_try("Environment", Fails(CredentialsError::not_loaded_no_source));
        let client = Client::builder().endpoint("http://127.0.0.1:9").expect("a URL").max_attempts(1).build();
        let silent = ImdsCredentialsProvider::builder().imds_client(client).build();
        let chains = [
            (
                begin().or_else(METADATA, Fails(|| CredentialsError::not_loaded("received 404 from IMDS"))),
                Cure::Operator,
            ),
            (begin().or_else(METADATA, silent), Cure::Retry),
        ];
        for (chain, cure) in chains {
            let none = asked_with(chain).await;
            assert_eq!(none.to_string(), format!("asking: there are no AWS credentials — {LOGIN}"));
            assert_eq!((none.cure, none.cause), (cure, Cause::Credentials));
        }
        let chain = DefaultCredentialsChain::builder().configure(ProviderConfig::empty()).build().await;
        assert!(format!("{chain:?}").contains(METADATA), "the SDK has another name for it: {chain:?}");
        type Fail = fn() -> CredentialsError;
        let table: [(Fail, Cure, &str); 5] = [
            (CredentialsError::not_loaded_no_source, Cure::Operator, "there are no AWS credentials"),
            (|| CredentialsError::invalid_configuration("no\nrole"), Cure::Operator, "no role"),
            (|| CredentialsError::provider_error("the session is over"), Cure::Operator, "the session is over"),
            (|| CredentialsError::provider_timed_out(Duration::from_secs(5)), Cure::Retry, "timed out"),
            (
                || CredentialsError::provider_error(ConnectorError::timeout("no route".into())),
                Cure::Retry,
                "an error occurred while loading credentials",
            ),
        ];
        for (fails, cure, said) in table {
            let fault = asked_with(Fails(fails)).await;
            assert_eq!(fault.cure, cure, "{fault}");
            assert!(fault.said.contains(said) && !fault.to_string().contains('\n'), "{fault}");
            assert_eq!(fault.cause == Cause::Credentials, cure == Cure::Operator, "{fault}");
        }
    }
}
