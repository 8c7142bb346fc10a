//! Content that is too much for memory: in files without a name, within bounds.

use std::{
    collections::HashMap,
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

use crate::quota;

/// How much is read from a file at once.
const PIECE: usize = 128 * 1024;

/// How much lies on disk, and how much may.
#[derive(Debug)]
pub(crate) struct Spills {
    folder: PathBuf,
    most: u64,
    most_of_client: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: u64,
    of_client: HashMap<IpAddr, u64>,
}

/// A file without a name, which is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Spill {
    file: Arc<File>,
    spills: Arc<Spills>,
    client: IpAddr,
    length: AtomicU64,
    /// How much room was taken for it: more than its length while something is written, be it for a task that was dropped.
    taken: AtomicU64,
}

impl Spills {
    /// Files in `folder`, of so many bytes in all and for one client.
    pub(crate) fn new(folder: PathBuf, most: u64, most_of_client: u64) -> Arc<Self> {
        Arc::new(Self { folder, most, most_of_client, used: Mutex::default() })
    }

    /// An empty file for content of this client.
    ///
    /// # Errors
    /// What the operating system says of the folder.
    pub(crate) async fn open(self: &Arc<Self>, client: IpAddr) -> io::Result<Spill> {
        let folder = self.folder.clone();
        let file = spawn_blocking(move || tempfile::tempfile_in(folder)).await.map_err(io::Error::other)??;
        Ok(Spill {
            file: Arc::new(file),
            spills: self.clone(),
            client: quota::client(client),
            length: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        })
    }

    fn take(&self, client: IpAddr, bytes: u64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = used.of_client.get(&client).copied().unwrap_or(0);
        if used.all + bytes > self.most || of_client + bytes > self.most_of_client {
            return false;
        }
        used.all += bytes;
        used.of_client.insert(client, of_client + bytes);
        true
    }

    fn give_back(&self, client: IpAddr, bytes: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.all = used.all.saturating_sub(bytes);
        if let Some(of_client) = used.of_client.get_mut(&client) {
            *of_client = of_client.saturating_sub(bytes);
            if *of_client == 0 {
                used.of_client.remove(&client);
            }
        }
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
        if !self.spills.take(self.client, length) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.taken.fetch_add(length, Relaxed);
        let (file, at) = (self.file.clone(), self.length());
        let written = spawn_blocking(move || file.write_all_at(&bytes, at)).await.map_err(io::Error::other).flatten();
        if written.is_ok() {
            self.length.store(at + length, Relaxed);
        }
        written
    }

    /// Reads what lies there from `at` on, as much as is read at once.
    pub(crate) fn read(&self, at: u64) -> JoinHandle<io::Result<Bytes>> {
        let (file, left) = (self.file.clone(), self.length().saturating_sub(at));
        spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes.into())
        })
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.spills.give_back(self.client, self.taken.load(Relaxed));
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
        let used = spills.used.lock().unwrap();
        assert!(used.all == 0 && used.of_client.is_empty(), "nothing is kept of what is gone");
    }

    #[tokio::test]
    async fn room_is_given_back_by_a_task_that_was_dropped_while_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let spills = Spills::new(folder.path().into(), 1_000_000, 400_000);
        let spill = spills.open(IpAddr::from([192, 0, 2, 1])).await.unwrap();
        let written = tokio::select! {
            biased;
            written = spill.append(Bytes::from(vec![0; 100_000])) => Some(written),
            () = std::future::ready(()) => None,
        };
        assert!(written.is_none());
        drop(spill);
        assert_eq!(spills.used.lock().unwrap().all, 0);
    }
}
