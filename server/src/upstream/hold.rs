//! Requests that wait for an application which takes no connections, and are answered as soon as it does.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{connection::AppConnection, failure::Failure};
use crate::{
    application::{ApplicationAddress, OwnApplication, UnderWay},
    quota::Quota,
};

/// How often it is looked whether the application is back.
const LOOK: Duration = Duration::from_millis(50);

/// The requests that wait for one application.
#[derive(Debug)]
pub(super) struct Hold {
    address: ApplicationAddress,
    /// The application of a package, of which it is known whether it runs. Of any other its address is tried.
    own: Option<OwnApplication>,
    longest: Duration,
    places: Arc<Quota>,
    /// How often the application was found to be back.
    back: watch::Sender<u64>,
    /// Whether a task looks for it.
    looking: AtomicBool,
}

impl Hold {
    /// Requests wait for the application at `address` for `longest`, each for one of `places`.
    pub(super) fn new(
        address: ApplicationAddress,
        own: Option<OwnApplication>,
        longest: Duration,
        places: Arc<Quota>,
    ) -> Arc<Self> {
        Arc::new(Self { address, own, longest, places, back: watch::Sender::new(0), looking: AtomicBool::new(false) })
    }

    /// Changes when the WebSockets and event streams that were asked for before are to be ended; none where somebody else runs the application.
    pub(super) fn parting(&self) -> Option<watch::Receiver<()>> {
        self.own.as_ref().map(OwnApplication::parting)
    }

    /// A request begins, unless the application is known to be down.
    pub(super) fn begin(&self) -> Option<UnderWay> {
        match &self.own {
            Some(own) => own.begin(),
            None => Some(UnderWay::default()),
        }
    }

    /// A request begins on a connection of its own, unless the application is known to be down; where it connects to. Where another
    /// application has taken the place of one that is down, it begins there.
    pub(super) fn begin_anew(&self) -> Option<(UnderWay, ApplicationAddress)> {
        match &self.own {
            Some(own) => {
                let current = own.current();
                current.begin().map(|begun| (begun, current.address.clone()))
            }
            None => Some((UnderWay::default(), self.address.clone())),
        }
    }

    /// Until when a request that begins to wait now does.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.longest
    }

    /// Waits until the application is back, which refuses connections now. The place is given up when this is dropped.
    ///
    /// # Errors
    /// [`Failure::Full`] if too many wait, [`Failure::Held`] once `until` has passed or at once where the application is absent,
    /// [`Failure::Refused`] if none may wait.
    pub(super) async fn wait(self: &Arc<Self>, client: IpAddr, until: Instant) -> Result<(), Failure> {
        if self.longest.is_zero() {
            return Err(Failure::Refused);
        }
        if self.own.as_ref().is_some_and(OwnApplication::is_absent) {
            return Err(Failure::Held);
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
        if self.looking.swap(true, AcqRel) {
            return;
        }
        let hold = self.clone();
        tokio::spawn(async move {
            let looks = Looks(&hold);
            while hold.back.receiver_count() > 0 {
                if hold.is_back().await {
                    break;
                }
            }
            // First: a request that waits from now on has to look itself, and each that waits already is told.
            drop(looks);
            hold.back.send_modify(|times| *times += 1);
        });
    }

    /// Whether the application takes connections again, looked at for a moment.
    async fn is_back(&self) -> bool {
        if let Some(own) = &self.own
            && timeout(LOOK, own.comes_up()).await.is_err()
        {
            return false;
        }
        // One that runs may have closed its listener all the same.
        let current = self.own.as_ref().map(OwnApplication::current);
        let opened = AppConnection::open(current.as_ref().map_or(&self.address, |current| &current.address)).await;
        if opened.is_err() {
            sleep(LOOK).await;
        }
        opened.is_ok()
    }
}

/// Nothing looks any more, even if only the thread's tasks were dropped.
struct Looks<'a>(&'a Hold);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.looking.swap(false, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::Ordering::SeqCst,
        task::{Context, Wake, Waker},
    };

    use super::*;

    /// Notes whether anything looked for the application when a request was told that it is back.
    struct Told {
        hold: Arc<Hold>,
        looked: AtomicBool,
    }

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.looked.store(self.hold.looking.load(SeqCst), SeqCst);
        }
    }

    #[tokio::test]
    async fn a_request_that_comes_too_late_to_be_told_looks_itself() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ApplicationAddress::Tcp(vec![listener.local_addr().unwrap()]);
        let hold = Hold::new(address, None, Duration::from_secs(10), Quota::new(1, 1));
        let told = Arc::new(Told { hold: hold.clone(), looked: AtomicBool::new(true) });
        let waker = Waker::from(told.clone());
        let mut waits = pin!(hold.wait(IpAddr::from([192, 0, 2, 1]), hold.until()));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut back = hold.back.subscribe();
        back.changed().await.unwrap();
        assert!(!told.looked.load(SeqCst));
        waits.await.unwrap();
    }
}
