//! Chance: spreads hosts that would all do the same at once, and makes unique names.

/// A number from 0 up to, but not including, 1.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws")]
pub fn fraction() -> f64 {
    fastrand::f64()
}

/// Any number.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws")]
pub fn number() -> u64 {
    fastrand::u64(..)
}
