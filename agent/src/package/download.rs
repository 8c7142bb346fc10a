//! Fetching one release into a file: large ones in parts, several at once, each resumed where it was cut, also by the
//! next process.
//!
//! A partial file of an earlier try is not trusted: the whole file is held against the store's checksum and its
//! own afterwards.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter},
    sync::watch,
};

use crate::{
    atomic_file::AtomicFile,
    aws::bucket::{BucketClient, PartBody, Unfetched},
    documents::Release,
    fault::{Cure, Fault},
};

/// A package up to this length is fetched in one piece.
// In tests a thousandth of it: what they prove of parts holds for any length, and they fetch thousands.
const PART: u64 = if cfg!(test) { 16 << 10 } else { 16 << 20 };
/// How many parts are fetched at once.
const AT_ONCE: usize = 4;
/// How often a part is asked for again without a byte of progress.
const TRIES: u32 = 3;
/// How often a part may be cut at all.
const MOST_CUTS: u32 = 100;

/// The progress of a download, for people.
pub(super) struct DownloadProgress {
    told: watch::Sender<Option<String>>,
    got: AtomicU64,
    said: AtomicU64,
}

impl DownloadProgress {
    pub(super) fn new() -> DownloadProgress {
        DownloadProgress { told: watch::Sender::new(None), got: AtomicU64::new(0), said: AtomicU64::new(0) }
    }

    /// What there is to tell, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.told.subscribe()
    }

    fn begin(&self, got: u64) {
        self.got.store(got, Ordering::Relaxed);
        self.said.store(0, Ordering::Relaxed);
    }

    /// Tells every hundredth of a large package, and nothing of a small one.
    fn add(&self, bytes: u64, release: &Release) {
        let got = self.got.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let percent = got.saturating_mul(100) / release.length.max(1);
        if release.length > PART && self.said.swap(percent, Ordering::Relaxed) < percent {
            let key = &release.key;
            let mb = |bytes: u64| bytes / 1_000_000;
            let told = format!("fetching {key}: {} of {} MB, {percent} %", mb(got), mb(release.length));
            self.told.send_replace(Some(told));
        }
    }
}

/// A note on the part of a release that is on disk already.
#[derive(Serialize, Deserialize)]
struct Note {
    release: Release,
    part: u64,
    done: BTreeSet<u64>,
}

/// Where the note of what lies in `incoming` is kept.
pub(super) fn note_of(incoming: &Path) -> PathBuf {
    incoming.with_extension("json")
}

/// Fetches `release` into `incoming`; true if a part of it had been there before.
pub(super) async fn download(
    bucket: &BucketClient,
    release: &Release,
    incoming: &Path,
    progress: &DownloadProgress,
) -> Result<bool, Unfetched> {
    let on_disk = |error: io::Error| Unfetched::Failed(Fault::retry(format!("writing {}", incoming.display()), error));
    let mut note = Note::found(release, incoming);
    let resumed = !note.done.is_empty();
    prepare(incoming, release.length, resumed).map_err(on_disk)?;
    progress.begin(note.done.iter().map(|part| span(release, *part)).map(|span| span.end - span.start).sum());
    let count = release.length.div_ceil(PART).max(1);
    let missing: Vec<_> = (0..count).filter(|part| !note.done.contains(part)).collect();
    let parts = missing.into_iter().map(|part| async move {
        fetch_part(bucket, release, span(release, part), incoming, progress).await.map(|()| part)
    });
    let mut parts = stream::iter(parts).buffer_unordered(AT_ONCE);
    while let Some(part) = parts.next().await {
        note.done.insert(part?);
        if count > 1 {
            note.write(incoming).map_err(on_disk)?;
        }
    }
    let file = File::open(incoming).await.map_err(on_disk)?;
    file.sync_all().await.map_err(on_disk)?;
    Ok(resumed)
}

fn span(release: &Release, part: u64) -> Range<u64> {
    part * PART..release.length.min((part + 1) * PART)
}

/// Makes the file as long as it will be, so that a disk that is too full says so now.
fn prepare(incoming: &Path, length: u64, resumed: bool) -> io::Result<()> {
    let file = fs::OpenOptions::new().create(true).write(true).truncate(!resumed).open(incoming)?;
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(length),
        done => done.map_err(io::Error::from),
    }
}

async fn fetch_part(
    bucket: &BucketClient,
    release: &Release,
    part: Range<u64>,
    incoming: &Path,
    progress: &DownloadProgress,
) -> Result<(), Unfetched> {
    let mut at = part.start;
    let mut fruitless = 0;
    for _ in 0..MOST_CUTS {
        let before = at;
        let content = match bucket.part(release, at..part.end).await {
            Ok(content) => Ok(content),
            Err(Unfetched::Failed(fault)) if fault.cure == Cure::Retry => Err(fault),
            // Asking again for the same would not cure it.
            Err(other) => return Err(other),
        };
        let fault = match content {
            Ok(content) => match take(content, release, &mut at, part.end, incoming, progress).await {
                Ok(()) => return Ok(()),
                Err(Cut::Answer(fault)) => fault,
                Err(Cut::Disk(fault)) => return Err(Unfetched::Failed(fault)),
            },
            Err(fault) => fault,
        };
        fruitless = if at > before { 0 } else { fruitless + 1 };
        if fruitless >= TRIES {
            return Err(Unfetched::Failed(fault));
        }
        tokio::time::sleep(Duration::from_millis(200) * fruitless).await;
    }
    let said = format!("it was cut {MOST_CUTS} times");
    Err(Unfetched::Failed(Fault::retry(format!("fetching {}", release.key), said)))
}

/// Why a part ended before its end.
enum Cut {
    /// The answer did, or holds more than it should: it is asked for again.
    Answer(Fault),
    /// It cannot be written.
    Disk(Fault),
}

/// Writes what comes to where it belongs; `at` is how far that went.
async fn take(
    mut content: PartBody,
    release: &Release,
    at: &mut u64,
    end: u64,
    incoming: &Path,
    progress: &DownloadProgress,
) -> Result<(), Cut> {
    let on_disk = |error: io::Error| Cut::Disk(Fault::retry(format!("writing {}", incoming.display()), error));
    let cut = |said: String| Cut::Answer(Fault::retry(format!("fetching {}", release.key), said));
    let mut file = OpenOptions::new().write(true).open(incoming).await.map_err(on_disk)?;
    file.seek(io::SeekFrom::Start(*at)).await.map_err(on_disk)?;
    let mut file = BufWriter::with_capacity(1 << 17, file);
    let mut written = *at;
    let ended = loop {
        match content.next().await {
            None => break None,
            Some(Err(said)) => break Some(said),
            Some(Ok(piece)) => {
                written += piece.len() as u64;
                if written > end {
                    return Err(cut(format!("more than the {} bytes that were announced", release.length)));
                }
                file.write_all(&piece).await.map_err(on_disk)?;
                progress.add(piece.len() as u64, release);
            }
        }
    };
    file.flush().await.map_err(on_disk)?;
    *at = written;
    // A body whose checksum does not hold ends with an error behind its last byte; the whole file is checked later.
    match (written == end, ended) {
        (true, _) => Ok(()),
        (false, said) => Err(cut(format!("{written} of {end} bytes: {}", said.as_deref().unwrap_or("the body ended")))),
    }
}

impl Note {
    /// What lies in `incoming` of exactly `release`.
    fn found(release: &Release, incoming: &Path) -> Note {
        let nothing = || Note { release: release.clone(), part: PART, done: BTreeSet::new() };
        let Ok(text) = fs::read(note_of(incoming)) else { return nothing() };
        let length = fs::metadata(incoming).map(|about| about.len()).unwrap_or(0);
        match serde_json::from_slice::<Note>(&text) {
            Ok(note)
                if note.release.is(release)
                    && note.release.length == release.length
                    && length == release.length
                    && note.part == PART
                    && note.done.iter().all(|part| *part < release.length.div_ceil(PART)) =>
            {
                note
            }
            _ => nothing(),
        }
    }

    fn write(&self, incoming: &Path) -> io::Result<()> {
        AtomicFile::at(&note_of(incoming)).unsynced().write(&serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn what_lies_on_disk_counts_only_for_the_very_same_release() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let incoming = folder.path().join("incoming.zip");
        let release = |etag: &str, parts: u64| Release::plain("k", etag, parts * PART, OffsetDateTime::UNIX_EPOCH);
        let one = release("1", 3);
        prepare(&incoming, one.length, false).expect("prepared");
        let mut note = Note::found(&one, &incoming);
        assert!(note.done.is_empty());
        note.done.extend([0, 2]);
        note.write(&incoming).expect("written");
        assert_eq!(Note::found(&one, &incoming).done, BTreeSet::from([0, 2]));
        assert!(Note::found(&release("2", 3), &incoming).done.is_empty(), "another object");
        assert!(Note::found(&release("1", 2), &incoming).done.is_empty(), "another length");
        fs::write(&incoming, "short").expect("written");
        assert!(Note::found(&one, &incoming).done.is_empty(), "another file");
        fs::write(note_of(&incoming), "{").expect("written");
        assert!(Note::found(&one, &incoming).done.is_empty(), "no note");
    }

    #[test]
    fn parts_cover_the_release_without_a_gap() {
        for length in [0, 1, PART - 1, PART, PART + 1, 5 * PART - 7] {
            let release = Release::plain("k", "1", length, OffsetDateTime::UNIX_EPOCH);
            let mut at = 0;
            for part in 0..length.div_ceil(PART).max(1) {
                let span = span(&release, part);
                assert_eq!(span.start, at, "{length}");
                at = span.end;
            }
            assert_eq!(at, length);
        }
    }
}
