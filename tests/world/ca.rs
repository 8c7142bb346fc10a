//! One more CA, for tests that need it to be different from the shared one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use bytes::Bytes;
use serde::Deserialize;

use crate::{AcmeProxy, Instance, Visitor, World};

/// A CA of its own.
#[derive(Clone, Debug, Deserialize)]
pub struct Ca {
    acme: u16,
    acme_authority: PathBuf,
    acme_issuer: PathBuf,
    /// The MAC key of the external account `spothost`, in base64url.
    pub mac_key: String,
}

impl Ca {
    /// Starts one that refuses so many of a hundred nonces.
    pub async fn refusing(nonces: u32) -> Ca {
        Ca::start(&[("nonces", &nonces.to_string())]).await
    }

    /// Starts one that certifies only for external accounts.
    pub async fn for_external_accounts() -> Ca {
        Ca::start(&[("eab", "yes")]).await
    }

    async fn start(query: &[(&str, &str)]) -> Ca {
        serde_json::from_value(World::shared().control("new_ca", query, Bytes::new()).await).expect("a CA")
    }

    /// Lets it lose all it knew: accounts, orders, its own keys.
    pub async fn forget(&self) {
        World::shared().control("restart_ca", &[("port", &self.acme.to_string())], Bytes::new()).await;
    }

    /// A way to it.
    pub async fn proxy(&self) -> AcmeProxy {
        AcmeProxy::before(SocketAddr::from((Ipv4Addr::LOCALHOST, self.acme)), &self.acme_authority).await
    }

    /// Somebody who visits `instance` and trusts this CA, as it was when it was started.
    pub fn visitor(&self, instance: &Instance) -> Visitor {
        Visitor::new(&instance.account.domain(), instance.https(), &self.acme_issuer)
    }
}
