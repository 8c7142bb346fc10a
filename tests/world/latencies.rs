//! How long answers took, counted in steps of 20 µs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Width of a step, in microseconds.
const STEP: u64 = 20;
/// Steps up to one second; what takes longer is in the last.
const STEPS: usize = 50_000;

/// A histogram that many visitors write to at once.
#[derive(Debug)]
pub struct Latencies(Vec<AtomicU64>);

/// The histogram at one moment.
#[derive(Clone, Debug)]
pub struct Measured(Vec<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(std::iter::repeat_with(AtomicU64::default).take(STEPS).collect())
    }
}

impl Latencies {
    /// One answer took so long.
    pub fn add(&self, time: Duration) {
        let step = usize::try_from(time.as_micros() / u128::from(STEP)).unwrap_or(STEPS).min(STEPS - 1);
        self.0[step].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them until now.
    pub fn measured(&self) -> Measured {
        Measured(self.0.iter().map(|step| step.load(Ordering::Relaxed)).collect())
    }
}

impl Measured {
    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Measured) -> Measured {
        Measured(self.0.iter().zip(&earlier.0).map(|(now, then)| now - then).collect())
    }

    /// With what was measured another time.
    #[must_use]
    pub fn and(&self, other: &Measured) -> Measured {
        Measured(self.0.iter().zip(&other.0).map(|(one, two)| one + two).collect())
    }

    /// How many answers these are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that this share of them took at most, such as 0.99; rounded up to the step.
    pub fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let step = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_micros((step.unwrap_or(STEPS) as u64 + 1) * STEP)
    }
}
