//! Site packages, good ones and broken ones.

use std::{collections::HashMap, io::Write};

use bytes::Bytes;
use flate2::{Compression, write::DeflateEncoder};

/// The files of a site.
#[derive(Clone, Debug, Default)]
pub struct Site {
    files: Vec<(String, Bytes)>,
}

/// One entry of a zip, as it is written there, be it true or not.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name as it stands in the zip.
    pub name: String,
    /// The bytes in the zip.
    pub data: Vec<u8>,
    /// Compression method: 0 stored, 8 deflated.
    pub method: u16,
    /// CRC-32 that is claimed.
    pub crc: u32,
    /// Size that is claimed, in bytes.
    pub size: u32,
    /// Unix mode that is claimed.
    pub mode: u32,
}

impl Site {
    /// A small site whose front page says `title`.
    pub fn titled(title: &str) -> Site {
        let page = format!("<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>\n");
        Site::default().with("index.html", page).with("style.css", "h1 { color: teal }\n".repeat(50))
    }

    /// A site of `number` pages in folders, with some that do not compress, and a front page that says `title`.
    pub fn of_files(title: &str, number: usize) -> Site {
        (0..number).fold(Site::titled(title), |site, index| {
            let folder = index % 25;
            let random = index % 10 == 0;
            let name = format!("part-{folder}/page-{index}.{}", if random { "bin" } else { "html" });
            if random {
                site.with(&name, noise(index as u64 + 1, 4096))
            } else {
                site.with(
                    &name,
                    format!("<!doctype html><title>{title}</title><p>Page {index} of {title}.\n").repeat(8),
                )
            }
        })
    }

    /// With one more file.
    #[must_use]
    pub fn with(mut self, name: &str, body: impl Into<Bytes>) -> Site {
        self.files.push((name.to_owned(), body.into()));
        self
    }

    /// The files and their contents.
    pub fn files(&self) -> &[(String, Bytes)] {
        &self.files
    }

    /// The files as pages of a [`crate::Load`], each with its one right body.
    pub fn pages(&self) -> HashMap<String, Vec<Bytes>> {
        self.files.iter().map(|(name, body)| (format!("/{name}"), vec![body.clone()])).collect()
    }

    /// The package: a zip whose entries are deflated where that helps.
    pub fn zip(&self) -> Vec<u8> {
        archive(&self.entries())
    }

    /// The package cut off in the middle of an entry.
    pub fn truncated(&self) -> Vec<u8> {
        let mut zip = self.zip();
        zip.truncate(zip.len() / 2);
        zip
    }

    /// The package with one wrong bit in the contents of an entry.
    pub fn flipped(&self) -> Vec<u8> {
        let mut entries = self.entries();
        let middle = entries[0].data.len() / 2;
        entries[0].data[middle] ^= 4;
        archive(&entries)
    }

    /// The package with one more entry.
    pub fn zip_with(&self, entry: Entry) -> Vec<u8> {
        let mut entries = self.entries();
        entries.push(entry);
        archive(&entries)
    }

    /// The package with an entry under a name that leads out of a folder, or anything else a name can be.
    pub fn zip_with_name(&self, name: &str) -> Vec<u8> {
        self.zip_with(Entry::of(name, b"not welcome"))
    }

    /// The package with a symbolic link in it.
    pub fn zip_with_link(&self, name: &str, to: &str) -> Vec<u8> {
        self.zip_with(Entry { mode: 0o120_777, ..Entry::stored(name, to.as_bytes()) })
    }

    /// The package with its first name twice.
    pub fn zip_with_duplicate(&self) -> Vec<u8> {
        self.zip_with_name(&self.files[0].0)
    }

    /// The package with 200 entries of 64 MiB each that take 64 KiB each in the zip.
    pub fn bomb(&self) -> Vec<u8> {
        let zeros = Entry::of("bomb-0", &vec![0; 64 << 20]);
        let mut entries = self.entries();
        entries.extend((0..200).map(|index| Entry { name: format!("bomb-{index}"), ..zeros.clone() }));
        archive(&entries)
    }

    fn entries(&self) -> Vec<Entry> {
        self.files.iter().map(|(name, body)| Entry::of(name, body)).collect()
    }
}

impl Entry {
    /// A true entry, deflated where that helps.
    pub fn of(name: &str, body: &[u8]) -> Entry {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(body).expect("memory takes everything");
        let deflated = encoder.finish().expect("memory takes everything");
        if deflated.len() < body.len() {
            Entry { data: deflated, method: 8, ..Entry::stored(name, body) }
        } else {
            Entry::stored(name, body)
        }
    }

    /// A true entry as it is.
    pub fn stored(name: &str, body: &[u8]) -> Entry {
        Entry {
            name: name.to_owned(),
            data: body.to_vec(),
            method: 0,
            crc: crc32fast::hash(body),
            size: body.len().try_into().expect("below 4 GiB"),
            mode: 0o100_644,
        }
    }

    /// The fields that the local header and the directory share (APPNOTE 4.4).
    fn common(&self) -> Vec<u8> {
        // Bit 11: the name is UTF-8. 1 January 2026, midnight.
        let flags = 0x0800_u16;
        let time = 0_u16;
        let date = 46 << 9 | 1 << 5 | 1_u16;
        let length = u32::try_from(self.data.len()).expect("below 4 GiB");
        let name = u16::try_from(self.name.len()).expect("a short name");
        let mut bytes = Vec::new();
        for field in [20, flags, self.method, time, date] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [self.crc, length, self.size] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(name.to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes
    }
}

/// A zip of these entries, written as they say, without any check.
///
/// # Panics
/// Above 4 GiB or 65,535 entries.
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut zip = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = u32::try_from(zip.len()).expect("below 4 GiB");
        let common = entry.common();
        zip.extend(b"PK\x03\x04");
        zip.extend(&common);
        zip.extend(entry.name.as_bytes());
        zip.extend(&entry.data);
        // Made by Unix (3), so that the mode counts.
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let count = u16::try_from(entries.len()).expect("at most 65,535 entries").to_le_bytes();
    let start = zip.len();
    let length = directory.len();
    zip.extend(directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend(count);
    zip.extend(count);
    for field in [length, start] {
        zip.extend(u32::try_from(field).expect("below 4 GiB").to_le_bytes());
    }
    zip.extend([0, 0]);
    zip
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}
