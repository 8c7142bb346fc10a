//! Whether an instance runs, as far as EC2 tells.

/// The state of an instance, as EC2 tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// It is pending or running.
    Runs,
    /// It no longer runs: it is being shut down or stopped, or that has happened.
    Ended,
    /// Nothing. It is of another region, another account or no EC2 at all; or EC2 does not know it yet (it is eventually
    /// consistent), or any more (an hour after its end it is forgotten).
    Unknown,
}
