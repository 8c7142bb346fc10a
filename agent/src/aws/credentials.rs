//! Credentials that are looked for ahead of their first use.
//!
//! The SDK looks for credentials when the first call is signed. At boot that is three calls to the metadata service
//! one after another, while the host facts are read by others: they can as well run beside each other.

use std::sync::{Mutex, PoisonError, RwLock};

use aws_config::{
    default_provider::credentials::DefaultCredentialsChain, environment::EnvironmentVariableRegionProvider,
    imds::Client, meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
};
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use tokio::task::JoinHandle;

use super::metadata::Metadata;

/// A provider whose first answer was asked for when it was made, and that goes with the metadata client of the hour.
///
/// The SDK's own provider answers with the credentials it has when the metadata service refuses its token, so it is
/// not the one who could notice: the code that does replaces the client, and this provider with it.
#[derive(Debug)]
pub(super) struct Warmed {
    metadata: Metadata,
    inner: RwLock<(u64, SharedCredentialsProvider)>,
    first: Mutex<Option<JoinHandle<provider::Result>>>,
}

impl Warmed {
    /// Starts looking in the usual places, the last of which is the metadata service.
    pub(super) async fn start(metadata: &Metadata) -> Warmed {
        let (number, client) = metadata.client();
        let inner = usual_places(client).await;
        let asking = inner.clone();
        let first = tokio::spawn(async move { asking.provide_credentials().await });
        Warmed { metadata: metadata.clone(), inner: RwLock::new((number, inner)), first: Mutex::new(Some(first)) }
    }

    async fn ask(&self) -> provider::Result {
        let first = self.first.lock().ok().and_then(|mut first| first.take());
        if let Some(first) = first {
            if let Ok(Ok(credentials)) = first.await {
                return Ok(credentials);
            }
            // A failed first answer says nothing of now: asked again.
            self.renewed().await;
        }
        let answer = self.current().await.provide_credentials().await;
        if answer.is_err() {
            self.renewed().await;
        }
        answer
    }

    async fn current(&self) -> SharedCredentialsProvider {
        let (made_with, inner) = self.inner.read().unwrap_or_else(PoisonError::into_inner).clone();
        if self.metadata.client().0 == made_with { inner } else { self.renewed().await }
    }

    /// A provider that has asked no source yet. One that could not make sense of a profile says why once, and from then on that
    /// it has said so; and it never reads the profile again, which somebody may have mended.
    async fn renewed(&self) -> SharedCredentialsProvider {
        let (number, client) = self.metadata.client();
        let inner = usual_places(client).await;
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = (number, inner.clone());
        inner
    }
}

/// Environment, profile, container, instance profile.
async fn usual_places(client: Client) -> SharedCredentialsProvider {
    // A region is of use to profiles that take a role, and to web identities. Those name one; asking the metadata service for
    // it takes time.
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
    let region = region.or_else(ProfileFileRegionProvider::builder().build());
    let chain = DefaultCredentialsChain::builder().region(region);
    SharedCredentialsProvider::new(chain.imds_client(client).build().await)
}

impl ProvideCredentials for Warmed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.ask())
    }
}
