//! A unit as systemd runs it, where the agent may drain beside its successor.

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::{Sockets, sockets::Stored};

/// After a unit is gone its socket is read for that long at most.
const OUTLIVES: Duration = Duration::from_millis(500);

/// Its sockets, and what its main processes tell. It starts nothing by itself: its user does, once the main process has
/// ended, as systemd does whatever other process of the unit there still is (`KillMode=process`).
#[derive(Debug)]
pub struct Unit {
    pub(crate) sockets: Sockets,
    path: PathBuf,
    told: Arc<Mutex<Vec<String>>>,
}

impl Unit {
    /// One that listens to its main process at `notify`.
    ///
    /// # Panics
    /// When it cannot.
    pub(crate) fn new(sockets: Sockets, notify: &Path) -> Unit {
        let socket = UnixDatagram::bind(notify).expect("a socket on its disk");
        socket.set_read_timeout(Some(OUTLIVES)).expect("a time");
        let told = Arc::<Mutex<Vec<String>>>::default();
        let tells = Arc::downgrade(&told);
        let stored = sockets.stored().clone();
        // A process that writes is held up while none reads.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(told) = tells.upgrade() {
                let Some((text, descriptors)) = receive(&socket, &mut buffer) else { continue };
                told.lock().expect("no holder panics").extend(text.lines().map(str::to_owned));
                store(&stored, &text, descriptors);
            }
        });
        Unit { sockets, path: notify.to_owned(), told }
    }

    /// What its unit adds to the environment, and systemd.
    pub(crate) fn variables(&self) -> [(String, String); 2] {
        let notify = self.path.display().to_string();
        [("NOTIFY_SOCKET".to_owned(), notify), ("SPOTHOST_DRAIN".to_owned(), "beside".to_owned())]
    }

    /// Under which names it keeps descriptors for its next main process.
    ///
    /// # Panics
    /// When its thread has.
    pub fn stored(&self) -> Vec<String> {
        self.sockets.kept()
    }

    /// What it was told so far, message by message.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().expect("no holder panics").clone()
    }
}

/// The next message, and the descriptors that came with it.
fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> Option<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(passed) => passed.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    Some((String::from_utf8_lossy(&buffer[..received.bytes]).into_owned(), descriptors))
}

/// Keeps descriptors, or forgets them, as the message says (`sd_notify(3)`).
fn store(stored: &Stored, text: &str, descriptors: Vec<OwnedFd>) {
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
    let mut stored = stored.lock().expect("no holder panics");
    if text.lines().any(|line| line == "FDSTORE=1") {
        stored.extend(descriptors.into_iter().map(|descriptor| (name.to_owned(), descriptor)));
    }
    if text.lines().any(|line| line == "FDSTOREREMOVE=1") {
        stored.retain(|(of, _)| of != name);
    }
}
