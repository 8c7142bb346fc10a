//! Requests that wait for an application which takes no connections, and are answered as soon as it does.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{connection::AppConnection, failure::Failure};
use crate::{
    application::{Application, ApplicationAddress},
    quota::Quota,
};

/// How often it is looked whether the application is back.
const LOOK: Duration = Duration::from_millis(50);

/// The requests that wait for one application.
#[derive(Debug)]
pub(super) struct Hold {
    address: ApplicationAddress,
    longest: Duration,
    places: Arc<Quota>,
    /// How often the application was found to be back.
    back: watch::Sender<u64>,
    /// Whether a task looks for it.
    looking: AtomicBool,
}

impl Hold {
    pub(super) fn new(application: &Application) -> Arc<Self> {
        Arc::new(Self {
            address: application.address.clone(),
            longest: application.hold,
            places: Quota::new(application.queue, application.queue_per_address),
            back: watch::Sender::new(0),
            looking: AtomicBool::new(false),
        })
    }

    /// Until when a request that begins to wait now does.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.longest
    }

    /// Waits until the application is back, which refuses connections now. The place is given up when this is dropped.
    ///
    /// # Errors
    /// [`Failure::Full`] if too many wait, [`Failure::Held`] once `until` has passed, [`Failure::Refused`] if none may wait.
    pub(super) async fn wait(self: &Arc<Self>, client: IpAddr, until: Instant) -> Result<(), Failure> {
        if self.longest.is_zero() {
            return Err(Failure::Refused);
        }
        let _place = self.places.take(client, 0).ok_or(Failure::Full)?;
        let mut back = self.back.subscribe();
        self.look();
        match timeout_at(until, back.changed()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Failure::Held),
        }
    }

    /// Has the application looked for, as long as anything waits for it.
    fn look(self: &Arc<Self>) {
        if self.looking.swap(true, Relaxed) {
            return;
        }
        let hold = self.clone();
        tokio::spawn(async move {
            let _looks = Looks(&hold);
            while hold.back.receiver_count() > 0 {
                if AppConnection::open(&hold.address).await.is_ok() {
                    hold.back.send_modify(|times| *times += 1);
                    return;
                }
                sleep(LOOK).await;
            }
        });
    }
}

/// Nothing looks any more, be it that the thread's tasks were dropped.
struct Looks<'a>(&'a Hold);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.looking.store(false, Relaxed);
    }
}
