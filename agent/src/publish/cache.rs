//! A cache of compressed files, by their content.
//!
//! Each file of the cache is a zip with one entry, which is copied into a package as it lies: the zip keeps the checksum
//! that tells a damaged one. An empty file says that compressing that content was not worth it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::{NamedTempFile, TempDir};
use zip::ZipArchive;

use crate::clock;

/// Changes with everything that changes what is made from the same content: encoders, their settings, the format.
const GENERATION: u32 = 2;
/// How many bytes the cache may keep.
const MOST: u64 = 1 << 30;
/// What was used so lately may be in use, by this process or by another.
const IN_USE: Duration = Duration::from_secs(600);

/// A folder of compressed contents.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// Where there is no lasting place, one for this process.
    _temporary: Option<TempDir>,
}

/// The cached form of one content in one coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CachedCoding {
    /// The path of a zip whose only entry it is, and how many bytes that entry takes.
    Zip(PathBuf, u64),
    /// It is known not to be worth it.
    NotWorthIt,
}

impl Cache {
    /// The cache in `folder`, which is made; without one, in the user's cache folder. Where neither can be written,
    /// there is one for the time of this process.
    pub(super) fn open(folder: Option<PathBuf>) -> io::Result<Cache> {
        let usual = || dirs::cache_dir().map(|cache| cache.join("spothost/publish"));
        let wanted = folder.or_else(usual);
        match wanted.map(|folder| (folder.join(GENERATION.to_string()), folder)) {
            Some((own, folder)) if is_writable(&own) => {
                remove_old(&folder);
                Ok(Cache { folder: own, _temporary: None })
            }
            _ => {
                let temporary = TempDir::new()?;
                Ok(Cache { folder: temporary.path().to_owned(), _temporary: Some(temporary) })
            }
        }
    }

    /// The entry under that key. A damaged one counts as missing.
    pub(super) fn find(&self, key: &str) -> Option<CachedCoding> {
        let path = self.path(key);
        let file = fs::File::open(&path).ok()?;
        // So that what is used stays; where that is not allowed, it is made again some day.
        let _ = file.set_modified(clock::now().into());
        if file.metadata().ok()?.len() == 0 {
            return Some(CachedCoding::NotWorthIt);
        }
        match whole(file) {
            Some(length) => Some(CachedCoding::Zip(path, length)),
            None => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Keeps what `write` writes, which is a zip with one entry, or nothing where it was not worth it.
    pub(super) fn keep(
        &self,
        key: &str,
        write: impl FnOnce(&fs::File) -> io::Result<Option<u64>>,
    ) -> io::Result<CachedCoding> {
        let path = self.path(key);
        let beside = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(beside)?;
        let new = NamedTempFile::new_in(beside)?;
        let length = write(new.as_file())?;
        if length.is_none() {
            new.as_file().set_len(0)?;
        }
        new.persist(&path).map_err(|error| error.error)?;
        Ok(length.map_or(CachedCoding::NotWorthIt, |length| CachedCoding::Zip(path, length)))
    }

    /// Removes the least recently used entries, until the cache is within its bounds.
    pub(super) fn sweep(&self) {
        self.sweep_to(MOST, IN_USE);
    }

    fn sweep_to(&self, most: u64, in_use: Duration) {
        let now = SystemTime::from(clock::now());
        let files = walkdir::WalkDir::new(&self.folder).into_iter().flatten();
        let mut kept: Vec<_> = files.filter_map(|file| used(&file)).collect();
        kept.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut total = 0;
        for (at, length, path) in kept {
            total += length;
            let old = now.duration_since(at).is_ok_and(|age| age >= in_use);
            if total > most && old {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key.get(..2).unwrap_or("__")).join(key)
    }
}

fn is_writable(folder: &Path) -> bool {
    fs::create_dir_all(folder).and_then(|()| NamedTempFile::new_in(folder)).is_ok()
}

/// Removes what earlier generations have kept. A file that cannot be removed costs no more than its space.
fn remove_old(folder: &Path) {
    for generation in 1..GENERATION {
        let _ = fs::remove_dir_all(folder.join(generation.to_string()));
    }
}

/// How many bytes the one entry of that zip takes, if its checksum holds.
fn whole(file: fs::File) -> Option<u64> {
    let mut zip = ZipArchive::new(io::BufReader::new(file)).ok()?;
    let mut entry = zip.by_index(0).ok()?;
    let length = entry.compressed_size();
    io::copy(&mut entry, &mut io::sink()).ok()?;
    Some(length)
}

fn used(entry: &walkdir::DirEntry) -> Option<(SystemTime, u64, PathBuf)> {
    let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    // What says that something is not worth it takes a block of the disk too.
    Some((about.modified().ok()?, about.len().max(512), entry.path().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::single_entry;

    fn zipped(bytes: &[u8]) -> impl FnOnce(&fs::File) -> io::Result<Option<u64>> {
        move |file| single_entry::write(file, |entry| entry.write_all(bytes), None).map(Some)
    }

    #[test]
    fn what_is_kept_is_found_again_also_that_it_was_not_worth_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(Some(folder.path().into())).expect("a cache");
        assert_eq!(cache.find("abc.br"), None);
        let kept = cache.keep("abc.br", zipped(b"content")).expect("kept");
        assert_eq!(cache.find("abc.br"), Some(kept));
        cache.keep("def.br", |_| Ok(None)).expect("kept");
        assert_eq!(cache.find("def.br"), Some(CachedCoding::NotWorthIt));
    }

    #[test]
    fn what_an_earlier_generation_kept_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["1/ab/abc.br", "mine/notes.txt", "10/x"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, name).expect("written");
        }
        Cache::open(Some(folder.path().into())).expect("a cache");
        let left: Vec<_> = ["1", "mine/notes.txt", "10/x"].map(|name| folder.path().join(name).exists()).into();
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(Some(folder.path().into())).expect("a cache");
        let CachedCoding::Zip(path, _) = cache.keep("abc.br", zipped(b"content")).expect("kept") else {
            panic!("a zip")
        };
        let mut bytes = fs::read(&path).expect("readable");
        let at = bytes.windows(7).position(|part| part == b"content").expect("the content");
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("written");
        assert_eq!(cache.find("abc.br"), None);
        assert!(!path.exists());
    }

    #[test]
    fn least_lately_used_goes_first_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(Some(folder.path().into())).expect("a cache");
        for (age, key) in [(300, "aa"), (200, "bb"), (100, "cc")] {
            let CachedCoding::Zip(path, _) = cache.keep(key, zipped(&[7; 1000])).expect("kept") else {
                panic!("a zip")
            };
            let file = fs::File::open(path).expect("readable");
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("changed");
        }
        cache.sweep_to(2500, Duration::from_secs(250));
        assert!(cache.path("bb").exists() && cache.path("cc").exists() && !cache.path("aa").exists());
        cache.sweep_to(0, Duration::from_secs(150));
        assert!(cache.path("cc").exists() && !cache.path("bb").exists());
    }
}
