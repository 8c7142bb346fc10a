//! What the time is, as AWS tells it: the `Date` of its answers (RFC 9110 §6.6.1).
//!
//! A signature that is not of now is refused. The SDK corrects its own by it, but only where it makes a call again by itself and
//! only with the client that was told; ours are made when they are needed, and it is for a keeper to try again. So the time
//! is learned from the first answer of any service, for all clients: to them it is the time. Whether a certificate is valid
//! is a question of the same time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use aws_smithy_async::time::TimeSource;

use aws_sdk_secretsmanager::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef},
    error::BoxError,
};
use time::OffsetDateTime;

use crate::clock;

/// The last `Date`, and the time of this host when it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Date(Arc<Mutex<Option<(OffsetDateTime, OffsetDateTime)>>>);

impl Date {
    /// What AWS said the time was, and what this host took it for then.
    pub(super) fn told(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that is off by less is taken as it is: a `Date` is a whole second, and an answer takes its time. AWS bears five minutes
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>).
const BORNE: time::Duration = time::Duration::minutes(1);

impl TimeSource for Date {
    fn now(&self) -> SystemTime {
        let off = self.told().map(|(theirs, ours)| theirs - ours).filter(|off| off.abs() > BORNE);
        (clock::now() + off.unwrap_or_default()).into()
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
            let told = (OffsetDateTime::from(date), clock::now());
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_is_off_is_corrected_and_one_that_is_not_is_taken_as_it_is() {
        let seconds = |time: SystemTime| OffsetDateTime::from(time) - OffsetDateTime::now_utc();
        let table = [0, 59, -59, 61, -3_600, 86_400, -20_000 * 86_400];
        for ahead in table {
            let date = Date::default();
            assert!(seconds(date.now()).abs() < time::Duration::SECOND, "nobody has told it anything");
            let ours = OffsetDateTime::now_utc();
            *date.0.lock().expect("free") = Some((ours - time::Duration::seconds(ahead), ours));
            let expected = if ahead.abs() < 60 { 0 } else { -ahead };
            let off = seconds(date.now()) - time::Duration::seconds(expected);
            assert!(off.abs() < time::Duration::SECOND, "{ahead}: {off}");
        }
    }
}
