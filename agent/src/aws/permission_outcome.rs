//! What comes of trying a permission.

use std::fmt;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::refusal::{DENIED, code, fault};
use crate::fault::Fault;

/// The outcome of trying one permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionOutcome {
    /// It is allowed.
    Allowed,
    /// It is not, in AWS's words.
    Denied(String),
    /// Nothing about it is harmless here, and why.
    Untried(&'static str),
}

/// The outcome of a try, or why it is unknown.
pub(super) type Tried = Result<PermissionOutcome, Fault>;

/// No request of it is harmless: each would change something.
pub(super) const HARMFUL: PermissionOutcome = PermissionOutcome::Untried("no harmless request would show it");

/// Allowed if AWS did it, or would have but for one of the `refused`.
pub(super) fn outcome<T, E, R>(action: &str, answer: Result<T, SdkError<E, R>>, refused: &[&str]) -> Tried
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    let Err(error) = answer else { return Ok(PermissionOutcome::Allowed) };
    match code(&error) {
        Some(code) if refused.contains(&code) => Ok(PermissionOutcome::Allowed),
        Some(code) if DENIED.contains(&code) => {
            let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
            Ok(PermissionOutcome::Denied(format!("{code}: {message}")))
        }
        _ => Err(fault(&format!("trying {action}"), action, &error)),
    }
}
