//! What AWS refuses, sorted by what would cure it.

use std::time::Duration;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::fault::Fault;

/// Codes that only a person can cure, with what cures them. The permission that was missing is said by the caller.
const FOR_A_PERSON: &[(&str, &str)] = &[
    ("NoSuchBucket", "correct `package` in the configuration, or make the bucket"),
    ("PermanentRedirect", "the bucket is in another region, and S3 does not say in which: use one of this region"),
    ("NoSuchHostedZone", "correct `zone` in the configuration: it is the id of the public hosted zone"),
    ("InvalidAccessKeyId", "give the host credentials that exist: an instance profile"),
    ("SignatureDoesNotMatch", "give the host credentials that are right, and check its clock"),
    ("InvalidClientTokenId", "give the host credentials that exist: an instance profile"),
    ("UnrecognizedClientException", "give the host credentials that exist: an instance profile"),
    ("DecryptionFailure", "allow kms:Decrypt on the key of the secret to the host's role"),
    ("EncryptionFailure", "allow kms:GenerateDataKey on the key of the secret to the host's role"),
];

/// Codes of services that are asked too often, or have not done what they were asked before.
const BUSY: &[&str] = &["Throttling", "ThrottlingException", "RequestLimitExceeded", "PriorRequestNotComplete"];

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
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let Some(code) = code(error) else {
        return without_code(doing, error);
    };
    let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or("no further word");
    let said = format!("{code}: {message}");
    if DENIED.contains(&code) {
        return Fault::operator(doing, said, format!("allow {permission} to the role of the host"));
    }
    if UNTIMELY.contains(&code) && (message.contains("expired") || message.contains("not yet") || code == SKEWED) {
        // What AWS takes the time for came with the refusal: the next signature is of that time.
        return Fault::retry(doing, said);
    }
    if BUSY.contains(&code) {
        return Fault::wait(doing, said, POLITE);
    }
    match FOR_A_PERSON.iter().find(|(known, _)| *known == code) {
        Some((_, remedy)) => Fault::operator(doing, said, *remedy),
        None => Fault::retry(doing, said),
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

/// An error with all that caused it, in one line.
pub(super) fn words<E: std::error::Error>(error: &E) -> String {
    let text = DisplayErrorContext(error).to_string();
    // The SDK appends the debug form of the whole error in brackets, which is for its authors.
    text.split(" (").next().unwrap_or(&text).trim().to_owned()
}

fn without_code<E, R>(doing: &str, error: &SdkError<E, R>) -> Fault
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let said = words(error);
    if said.contains("no providers in chain provided credentials") {
        return Fault::operator(
            doing,
            said,
            "give the host credentials: an instance profile with the role of the host",
        );
    }
    Fault::retry(doing, said)
}

/// How long a service's own client waits before it may be asked again after it said that it is asked too often.
pub(super) const POLITE: Duration = Duration::from_secs(5);
