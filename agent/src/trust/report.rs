//! A line for a person about one store.

use std::fmt;

use super::change::{Obstacle, StoreChange};

/// Columns before what is said of a store, as in the lines around it.
const COLUMN: usize = 16;

/// The result for one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReport {
    /// The store, as people call it.
    pub store: &'static str,
    /// How it was changed, or why not.
    pub done: Result<StoreChange, Obstacle>,
}

impl StoreReport {
    pub(super) fn new(store: &'static str, done: Result<StoreChange, Obstacle>) -> StoreReport {
        StoreReport { store, done }
    }
}

impl fmt::Display for StoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = self.store;
        write!(f, "{store:COLUMN$}")?;
        let is_browser = store != "system store";
        match &self.done {
            Ok(StoreChange::PutIn) if is_browser => f.write_str("trusts the local CA from its next start on"),
            Ok(StoreChange::PutIn) => f.write_str("trusts the local CA now"),
            Ok(StoreChange::WasIn) => f.write_str("trusted the local CA already"),
            Ok(StoreChange::TakenOut) if is_browser => {
                f.write_str("no longer trusts the local CA from its next start on")
            }
            Ok(StoreChange::TakenOut) => f.write_str("no longer trusts the local CA"),
            Ok(StoreChange::WasOut) => f.write_str("did not trust the local CA"),
            Err(Obstacle { why, cure: Some(cure) }) => write!(f, "{why}: {cure}"),
            Err(Obstacle { why, cure: None }) => f.write_str(why),
        }
    }
}
