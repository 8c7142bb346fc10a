//! What stands for the real thing where only its being there counts.

use super::{Account, Credentials, Issued, Zeroizing};
#[cfg(test)]
use super::{Name, PendingOrder};

impl Account {
    /// One at the CA of that directory.
    #[cfg(test)]
    pub(in crate::certificate) fn sketched(directory: &str) -> Account {
        Account::sketched_at(directory, format!("{directory}account/1"))
    }

    /// The one with that URL.
    pub(in crate::certificate) fn sketched_at(directory: &str, id: String) -> Account {
        let credentials =
            Credentials { id, key_pkcs8: Zeroizing::default(), directory: Some(directory.to_owned()), urls: None };
        Account { directory: directory.to_owned(), credentials }
    }
}

impl Issued {
    /// One of that CA.
    pub(in crate::certificate) fn sketched(directory: &str) -> Issued {
        let directory = directory.to_owned();
        let chain = String::new();
        Issued { directory, profile: None, chain, key: Zeroizing::default(), renewal: None }
    }
}

#[cfg(test)]
impl PendingOrder {
    /// One at that CA for those names.
    pub(in crate::certificate) fn sketched(directory: &str, names: &[Name]) -> PendingOrder {
        let url = format!("{directory}order/1");
        let directory = directory.to_owned();
        let key = Zeroizing::default();
        PendingOrder { url, directory, profile: None, names: names.to_vec(), key, exempt: false }
    }
}
