//! How a store was changed, or why it was not.

/// How a store differs from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreChange {
    /// It did not trust the local CA, and need not.
    WasOut,
    /// It trusted the local CA already.
    WasIn,
    /// The local CA was taken out of it.
    TakenOut,
    /// The local CA was put into it.
    PutIn,
}

/// Why a store is not as it was asked to be, and the command that cures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What stands in the way.
    pub why: String,
    /// What a person can run.
    pub cure: Option<String>,
}

impl Obstacle {
    pub(super) fn new(why: impl Into<String>) -> Obstacle {
        Obstacle { why: why.into(), cure: None }
    }

    pub(super) fn cured_by(self, cure: impl Into<String>) -> Obstacle {
        Obstacle { cure: Some(cure.into()), ..self }
    }
}
