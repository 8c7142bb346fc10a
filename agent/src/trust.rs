//! The stores from which the programs of this machine take the CAs they trust: the local CA of `up` is put in, and taken out again.
//!
//! No other certificate is touched: those of the local CA are known by their octets or by their name. Nothing is done as root
//! behind a person's back: where a store needs it, the command is said.

use crate::certificate::Anchor;

mod browser;
mod change;
mod distribution;
mod machine;
mod nss;
mod report;
mod system;
#[cfg(test)]
mod tests;

pub use change::{Obstacle, StoreChange};
pub use machine::Machine;
pub use report::StoreReport;

use browser::browsers;
use nss::Certutil;
use system::SystemStore;

/// Makes each store of `machine` trust the current certificate of `anchor`, and none that it has replaced.
pub fn trust(machine: &Machine, anchor: &Anchor) -> Vec<StoreReport> {
    let certutil = Certutil::on(machine);
    let mut reports =
        vec![StoreReport::new("system store", SystemStore::on(machine).and_then(|store| store.trust(anchor)))];
    for browser in browsers(machine) {
        let changes = browser.databases.iter().map(|database| certutil.trust(database, anchor));
        reports.push(StoreReport::new(browser.name, greatest(changes)));
    }
    reports
}

/// Takes every certificate of `anchors` out of each store of `machine`.
pub fn distrust(machine: &Machine, anchors: &[Anchor]) -> Vec<StoreReport> {
    let certutil = Certutil::on(machine);
    let mut reports = Vec::new();
    if let Ok(store) = SystemStore::on(machine) {
        reports.push(StoreReport::new("system store", store.distrust(anchors)));
    }
    for browser in browsers(machine) {
        let changes = browser.databases.iter().map(|database| certutil.distrust(database, anchors));
        reports.push(StoreReport::new(browser.name, greatest(changes)));
    }
    reports
}

/// The change of a browser with several databases: each is changed, and the first obstacle is said.
fn greatest(changes: impl Iterator<Item = Result<StoreChange, Obstacle>>) -> Result<StoreChange, Obstacle> {
    let all: Vec<_> = changes.collect();
    let all: Result<Vec<StoreChange>, Obstacle> = all.into_iter().collect();
    all.map(|changes| changes.into_iter().max().unwrap_or(StoreChange::WasOut))
}
