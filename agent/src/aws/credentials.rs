//! Credentials that are looked for ahead of their first use.
//!
//! The SDK looks for credentials when the first call is signed. At boot that is three calls to the metadata service
//! one after another, while the host facts are read by others: they can as well run beside each other.

use std::sync::Mutex;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use tokio::task::JoinHandle;

/// A provider whose first answer was asked for when it was made.
#[derive(Debug)]
pub(super) struct Warmed {
    inner: SharedCredentialsProvider,
    first: Mutex<Option<JoinHandle<provider::Result>>>,
}

impl Warmed {
    pub(super) fn start(chain: DefaultCredentialsChain) -> Warmed {
        let inner = SharedCredentialsProvider::new(chain);
        let asking = inner.clone();
        let first = tokio::spawn(async move { asking.provide_credentials().await });
        Warmed { inner, first: Mutex::new(Some(first)) }
    }
}

impl ProvideCredentials for Warmed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let first = self.first.lock().ok().and_then(|mut first| first.take());
        future::ProvideCredentials::new(async move {
            // A failed first answer says nothing of now: asked again.
            if let Some(first) = first
                && let Ok(Ok(credentials)) = first.await
            {
                return Ok(credentials);
            }
            self.inner.provide_credentials().await
        })
    }
}
