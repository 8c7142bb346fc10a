//! Durations and seconds, as they are written: the error of any other value shows how.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A duration in quotes.
#[derive(Clone, Copy)]
pub(super) struct WrittenDuration(pub(super) Duration);

/// Seconds, a number without quotes.
#[derive(Clone, Copy)]
pub(super) struct WrittenSeconds(pub(super) u32);

struct DurationVisitor;
struct SecondsVisitor;

impl<'de> Deserialize<'de> for WrittenDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<WrittenDuration, D::Error> {
        from.deserialize_str(DurationVisitor).map(WrittenDuration)
    }
}

impl<'de> Deserialize<'de> for WrittenSeconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<WrittenSeconds, D::Error> {
        from.deserialize_u32(SecondsVisitor).map(WrittenSeconds)
    }
}

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"15m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text).map_err(|error| E::custom(format!("`{text}`: {error}")))
    }
}

impl Visitor<'_> for SecondsVisitor {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds without quotes, such as 60")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_| E::custom(format!("{number} is no number of seconds")))
    }
}
