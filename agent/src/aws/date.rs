//! What the time is, as AWS tells it: the `Date` of its answers (RFC 9110 §6.6.1).
//!
//! The SDK corrects its signatures by it and keeps it to itself; whether a certificate is valid is a question of the
//! same time.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_secretsmanager::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef},
    error::BoxError,
};
use time::OffsetDateTime;

/// The last `Date`, and the time of this host when it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Date(Arc<Mutex<Option<(OffsetDateTime, OffsetDateTime)>>>);

impl Date {
    /// What AWS said the time was, and what this host took it for then.
    pub(super) fn told(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(date) = date {
            let told = (OffsetDateTime::from(date), OffsetDateTime::now_utc());
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
        Ok(())
    }
}
