//! Content that is too much for memory: in files without a name, within bounds.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::quota::{Held, Quota};

/// How much of all responses lies in memory while their clients take them, and of those of one client.
const MEMORY: usize = 64 << 20;
const MEMORY_OF_CLIENT: usize = 8 << 20;
/// How much is read from a file at once.
const PIECE: usize = 128 * 1024;

/// Where content lies that its receiver has not taken, within what there may be of it.
#[derive(Debug)]
pub(crate) struct Spills {
    folder: PathBuf,
    /// Bytes in files.
    disk: Arc<Quota>,
    /// Bytes of responses in memory.
    memory: Arc<Quota>,
}

/// A file without a name, which is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Spill {
    file: Arc<File>,
    disk: Arc<Quota>,
    client: IpAddr,
    length: AtomicU64,
    /// The room that was taken for it: more than its length while something is written, be it for a task that was dropped.
    room: Mutex<Option<Held>>,
}

impl Spills {
    /// Files in `folder`, of so many bytes in all and for one client.
    pub(crate) fn new(folder: PathBuf, most: u64, most_of_client: u64) -> Arc<Self> {
        let bytes = |most| usize::try_from(most).unwrap_or(usize::MAX);
        let disk = Quota::new(bytes(most), bytes(most_of_client));
        Arc::new(Self { folder, disk, memory: Quota::new(MEMORY, MEMORY_OF_CLIENT) })
    }

    /// An empty file for content of this client.
    ///
    /// # Errors
    /// What the operating system says of the folder.
    pub(crate) async fn open(&self, client: IpAddr) -> io::Result<Spill> {
        let folder = self.folder.clone();
        let file = spawn_blocking(move || tempfile::tempfile_in(folder)).await.map_err(io::Error::other)??;
        Ok(Spill {
            file: Arc::new(file),
            disk: self.disk.clone(),
            client,
            length: AtomicU64::new(0),
            room: Mutex::default(),
        })
    }

    /// Room in memory for so many bytes of a response; none at a bound of all clients together or of this one.
    pub(crate) fn hold(&self, client: IpAddr, bytes: usize) -> Option<Held> {
        self.memory.take_many(client, bytes)
    }
}

impl Spill {
    /// How many bytes lie in it.
    pub(crate) fn length(&self) -> u64 {
        self.length.load(Relaxed)
    }

    /// Writes these bytes behind all others. One task writes, others may read what is written.
    ///
    /// # Errors
    /// `QuotaExceeded` beyond a bound, or what the operating system says.
    pub(crate) async fn append(&self, bytes: Bytes) -> io::Result<()> {
        let length = bytes.len() as u64;
        let more = self.disk.take_many(self.client, bytes.len()).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.take(more);
        let file = self.file.clone();
        let at = self.length();
        let written = spawn_blocking(move || file.write_all_at(&bytes, at)).await.map_err(io::Error::other).flatten();
        if written.is_ok() {
            self.length.store(at + length, Relaxed);
        }
        written
    }

    fn take(&self, more: Held) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *room {
            Some(held) => held.join(more),
            none => *none = Some(more),
        }
    }

    /// Reads what lies there from `at` on, as much as is read at once.
    pub(crate) fn read(&self, at: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.clone();
        let left = self.length().saturating_sub(at);
        spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_hold_what_is_written_and_no_more_than_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let spills = Spills::new(folder.path().into(), 1_000_000, 400_000);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let spill = spills.open(address(1)).await.unwrap();
        for byte in 0..4 {
            spill.append(Bytes::from(vec![byte; 100_000])).await.unwrap();
        }
        let error = spill.append(Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files have no name");
        let mut read = Vec::new();
        while (read.len() as u64) < spill.length() {
            read.extend_from_slice(&spill.read(read.len() as u64).await.unwrap().unwrap());
        }
        assert!(read.chunks(100_000).zip(0..).all(|(part, byte)| part.iter().all(|found| *found == byte)));
        let mut others = Vec::new();
        for last in 2..4 {
            let other = spills.open(address(last)).await.unwrap();
            let room = other.append(Bytes::from(vec![0; 400_000])).await;
            assert_eq!(room.is_ok(), last == 2, "all together are at their bound");
            others.push(other);
        }
        drop((spill, others));
        assert!(spills.disk.is_unused(), "nothing is kept of what is gone");
    }

    #[test]
    fn room_is_given_back_by_a_task_that_was_dropped_while_it_wrote() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.max_blocking_threads(1).build().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let spills = Spills::new(folder.path().into(), 1_000_000, 400_000);
            let spill = spills.open(IpAddr::from([192, 0, 2, 1])).await.unwrap();
            // The one thread that could write has something else to do.
            let (free, freed) = std::sync::mpsc::channel::<()>();
            let busy = spawn_blocking(move || freed.recv());
            let written = tokio::select! {
                biased;
                written = spill.append(Bytes::from(vec![0; 100_000])) => Some(written),
                () = std::future::ready(()) => None,
            };
            assert!(written.is_none());
            drop(spill);
            assert!(spills.disk.is_unused());
            free.send(()).unwrap();
            busy.await.unwrap().unwrap();
        });
    }

    #[test]
    fn memory_for_responses_is_bounded_in_all_and_for_each_client() {
        let spills = Spills::new("/nowhere".into(), 0, 0);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut held = Vec::new();
        for last in 1..=8 {
            held.extend((0..9).filter_map(|_| spills.hold(address(last), 1 << 20)));
        }
        assert_eq!(held.len(), 64, "eight of each");
        assert!(spills.hold(address(9), 1).is_none(), "all together are at their bound");
        drop(held);
        assert!(spills.memory.is_unused());
    }
}
