//! A unit as systemd runs it, where the agent may drain beside its successor.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::Sockets;

/// After a unit is gone its socket is read for that long at most.
const OUTLIVES: Duration = Duration::from_millis(500);

/// Its sockets, and what its main processes tell. It starts nothing by itself: whoever uses it does, once the main process has
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
        // Whoever tells is held up while nobody listens.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(told) = tells.upgrade() {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                told.lock().expect("nobody panics").extend(text.lines().map(str::to_owned));
            }
        });
        Unit { sockets, path: notify.to_owned(), told }
    }

    /// What its unit adds to the environment, and systemd.
    pub(crate) fn variables(&self) -> [(String, String); 2] {
        let notify = self.path.display().to_string();
        [("NOTIFY_SOCKET".to_owned(), notify), ("SPOTHOST_DRAIN".to_owned(), "beside".to_owned())]
    }

    /// What it was told so far, message by message.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().expect("nobody panics").clone()
    }
}
