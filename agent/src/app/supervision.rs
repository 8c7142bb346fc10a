//! When a process that is kept running gets requests, and when it is started again after it has ended by itself. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause before a process that has ended by itself is started again, and the longest; it doubles from one to the other.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that has run for so long begins with the first pause again.
const RAN_WELL: Duration = Duration::from_secs(60);
/// So much later it is enough that it answers: who waits for it to be well has given up by then.
const BEYOND_READY: Duration = Duration::from_secs(1);

/// A process that is kept running, over all its starts.
#[derive(Clone, Debug)]
pub(super) struct Supervision {
    /// How long it may take until it is well for the first time; none where it has only to answer.
    ready: Option<Duration>,
    /// Whether it has had requests before.
    ran: bool,
    /// Whether it was well before, with all that is asked of it. Of one that was adopted that is not known: it may be that of a package
    /// which is served only for want of a better one.
    was_well: bool,
    /// How many times in a row it has ended soon.
    times: u32,
    /// When it was started last.
    begun: Instant,
    /// Until when it has to be well to get requests.
    strict_until: Option<Instant>,
}

/// What a process answers to the question whether it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthAnswer {
    /// Nothing.
    None,
    /// That it is not.
    Unwell,
    /// That it is.
    Well,
}

/// What becomes of a process by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is asked again.
    Wait,
    /// It gets requests if it answers as `[gate]` says, too.
    IfGated,
    /// It gets requests.
    Serve {
        /// Whether it is known to be well: its package passes its trial by that.
        well: bool,
        /// Whether it is well if it answers as `[gate]` says, which it is asked while it gets requests.
        if_gated: bool,
    },
}

impl Supervision {
    /// Of a process that may take `ready` to be well, if it has to be that. One that is `adopted` has run before.
    pub(super) fn new(ready: Option<Duration>, adopted: bool, now: Instant) -> Supervision {
        Supervision { ready, ran: adopted, was_well: false, times: 0, begun: now, strict_until: None }
    }

    /// It is started now, or was found running.
    pub(super) fn begins(&mut self, now: Instant) {
        self.begun = now;
        // One that has run has only to answer.
        self.strict_until = self.ready.filter(|_| !self.ran).map(|ready| now + ready + BEYOND_READY);
    }

    /// What becomes of it by that answer. `gated` is whether `[gate]` says something of its answers: as long as it was not asked that,
    /// it is not known to be well.
    pub(super) fn answered(&self, answer: HealthAnswer, gated: bool, now: Instant) -> Admission {
        let is_strict = self.strict_until.is_some_and(|until| now < until);
        match answer {
            HealthAnswer::Well if is_strict && gated => Admission::IfGated,
            HealthAnswer::Well => {
                let well = is_strict || !gated || self.was_well;
                Admission::Serve { well, if_gated: !well }
            }
            HealthAnswer::Unwell if !is_strict => Admission::Serve { well: false, if_gated: false },
            HealthAnswer::Unwell | HealthAnswer::None => Admission::Wait,
        }
    }

    /// It gets requests from now on.
    pub(super) fn serves(&mut self, well: bool) {
        self.ran = true;
        self.was_well |= well;
    }

    /// It has ended by itself, or could not be started; the pause before it is started again.
    pub(super) fn ended(&mut self, started: bool, now: Instant) -> Duration {
        let ran_well = started && now.saturating_duration_since(self.begun) >= RAN_WELL;
        self.times = if ran_well { 1 } else { self.times + 1 };
        pause(self.times)
    }
}

/// The pause after a process has ended so many times in a row.
fn pause(times: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_to_a_minute() {
        let pauses: Vec<u64> = (1..10).map(|times| pause(times).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn process_that_the_gate_was_not_asked_of_is_not_known_to_be_well() {
        let begun = Instant::now();
        let ready = Duration::from_secs(10);
        let mut supervision = Supervision::new(Some(ready), false, begun);
        supervision.begins(begun);
        assert_eq!(supervision.answered(HealthAnswer::Well, true, begun), Admission::IfGated);
        let later = begun + ready + BEYOND_READY;
        let (asks, well) =
            (Admission::Serve { well: false, if_gated: true }, Admission::Serve { well: true, if_gated: false });
        assert_eq!(supervision.answered(HealthAnswer::Well, true, later), asks);
        assert_eq!(supervision.answered(HealthAnswer::Well, false, later), well);
        // Nor is one that is started again after it had requests in that way, or that was adopted.
        supervision.serves(false);
        supervision.ended(true, later);
        supervision.begins(later);
        assert_eq!(supervision.answered(HealthAnswer::Well, true, later), asks);
        let mut adopted = Supervision::new(Some(ready), true, begun);
        adopted.begins(begun);
        assert_eq!(adopted.answered(HealthAnswer::Well, true, begun), asks);
        supervision.serves(true);
        assert_eq!(supervision.answered(HealthAnswer::Well, true, later), well);
    }
}
