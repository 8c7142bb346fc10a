//! An immutable set of files: the content of one package, served as it lies.

mod application;
mod attributes;
mod before;
pub(crate) mod caching;
mod content_type;
mod content_types;
mod directory;
mod entity_tag;
mod entry;
mod fields;
mod fingerprint;
mod gate;
mod hidden;
mod inflate;
mod limits;
mod map;
mod name;
mod note;
mod objection;
mod open;
mod pattern;
mod place;
mod policy;
mod process;
mod procfile;
mod redirects;
mod refused;
mod rules;
mod verify;

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use http::HeaderValue;

pub(crate) use self::{
    application::ApplicationRules,
    entity_tag::EntityTag,
    entry::{Coding, Entry, Method},
    fields::Fields,
    gate::Gate,
    inflate::{Damaged, Inflate, PIECE},
    name::normalise,
    place::Place,
    policy::{Policy, Slash},
    redirects::{Among, Redirects, Target},
    rules::Rules,
};
pub use self::{
    gate::Check,
    hidden::Hidden,
    limits::PackageLimits,
    note::Note,
    objection::{Objection, ObjectionCause},
    process::{ListenMode, PROGRAM_FOLDER, ProcessPlan, ProgramPlace, SwapMode, is_reserved_name, secret_name},
    refused::{Reason, Refused},
};

/// The files of one package, looked up by name and read where they lie in the mapped zip.
///
/// A site never changes: a new package is a new `Site`. Beside the mapping it costs about 64 bytes an entry and the names.
#[derive(Debug)]
pub struct Site {
    /// The whole package, mapped.
    zip: Bytes,
    /// The package's file, if it is mapped from one.
    file: Option<File>,
    /// Offset of the first central directory header: entries lie before it.
    directory: usize,
    entries: Vec<Entry>,
    /// The normalised names of all entries, one after the other.
    names: String,
    /// Indices of the entries that visitors may see, by their name.
    index: HashTable<u32>,
    /// The same of those that they never see.
    hidden: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The content types in use; entries refer to them.
    types: Vec<HeaderValue>,
    rules: Rules,
    notes: Vec<Note>,
    /// When the package was published, in seconds since 1970; 0 if unknown.
    published: u32,
    before: before::Before,
}

impl Site {
    /// Opens the package at `path`: reads its central directory, and checks and normalises every name once.
    ///
    /// No content is read: call [`verify`](Self::verify) before the site goes live. The file is mapped, so it must be
    /// replaced by renaming another over it and never be written in place, or the process may be killed by `SIGBUS`.
    ///
    /// # Errors
    /// [`Refused`] for everything that is not a good zip within `limits`, or that different readers could read
    /// differently: names that lead outside, links, duplicates, overlaps, encryption, unknown compression, lying sizes.
    pub fn open(path: &Path, limits: &PackageLimits) -> Result<Self, Refused> {
        let unreadable = |error: std::io::Error| Reason::Unreadable(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        Self::map(file, limits, unreadable)
    }

    /// Opens the package that `file` is; otherwise like [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_file(file: File, limits: &PackageLimits) -> Result<Self, Refused> {
        Self::map(file, limits, |error| Reason::Unreadable(error.to_string()))
    }

    fn map(
        file: File,
        limits: &PackageLimits,
        unreadable: impl FnOnce(std::io::Error) -> Reason,
    ) -> Result<Self, Refused> {
        let zip = map::map(&file).map_err(unreadable)?;
        let mut site = Self::from_bytes(zip, limits)?;
        site.file = Some(file);
        Ok(site)
    }

    /// Opens a package that lies in memory; otherwise like [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(zip: Bytes, limits: &PackageLimits) -> Result<Self, Refused> {
        open::open(zip, limits)
    }

    /// This site, published at that time, in seconds since 1970. It is what visitors are told of a file (`Last-Modified`) whose
    /// time the package does not say: where the same files are to be the same bytes whenever they are packed, none has one.
    #[must_use]
    pub fn published(self, at: u32) -> Self {
        Self { published: at, ..self }
    }

    /// Reads every entry once, as a stream with bounded memory: its records must agree, its bytes must inflate to the
    /// declared size, and their CRC-32 must hold. Blocking: call it where that is allowed.
    ///
    /// # Errors
    /// [`Refused`] names the first entry that does not hold.
    pub fn verify(&self) -> Result<(), Refused> {
        verify::verify(self)
    }

    /// The package, as a file. Blocking where the package lies in memory, as it is written to a file without a name then.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn package_file(&self) -> io::Result<File> {
        if let Some(file) = &self.file {
            return file.try_clone();
        }
        let mut file = tempfile::tempfile()?;
        file.write_all(&self.zip)?;
        Ok(file)
    }

    /// How many files visitors can reach.
    pub fn files(&self) -> usize {
        self.index.len()
    }

    /// How many bytes the package has.
    pub fn length(&self) -> u64 {
        self.zip.len() as u64
    }

    /// Faults in the package's own settings, line by line, that did not keep it from being served.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether an application answers some paths, as `[app]` of its `site.toml` or its `.app/Procfile` says.
    pub fn is_for_an_application(&self) -> bool {
        self.rules.policy.has_app
    }

    /// The process that the package brings to answer these paths, and how it is to be run; none where it brings none. What is at
    /// fault with it is told by [`gate`](Self::gate), and there is none then.
    pub fn process(&self) -> Option<&ProcessPlan> {
        self.rules.policy.process.as_ref()
    }

    /// Whether `[app]` lets WebSockets pass to an application.
    pub(crate) fn takes_websockets(&self) -> bool {
        self.rules.policy.app.websocket
    }

    /// All entries, those that visitors may not see too.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the package says about how it is to be served.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The file with exactly this name, if visitors may see it.
    pub(crate) fn file(&self, name: &str) -> Option<&Entry> {
        self.found(&self.index, name)
    }

    /// The file with exactly this name, be it one that visitors never see; none of the package's program.
    pub(crate) fn any_file(&self, name: &str) -> Option<&Entry> {
        let of_the_program = |entry: &&Entry| hidden::is_of_the_program(self.name(entry));
        self.file(name).or_else(|| self.found(&self.hidden, name)).filter(|entry| !of_the_program(entry))
    }

    fn found(&self, index: &HashTable<u32>, name: &str) -> Option<&Entry> {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(name);
        let found = index.find(hash, |&index| self.name(&self.entries[index as usize]) == name)?;
        Some(&self.entries[*found as usize])
    }

    /// The names of all files that visitors may see, in no order.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &str> {
        self.index.iter().map(|index| self.name(&self.entries[*index as usize]))
    }

    /// The entry that holds `entry` in this content coding.
    pub(crate) fn coded(&self, entry: &Entry, coding: Coding) -> Option<&Entry> {
        self.entries.get(entry.sibling(coding)?)
    }

    /// The normalised name of an entry.
    pub(crate) fn name(&self, entry: &Entry) -> &str {
        &self.names[entry.name()]
    }

    /// When an entry was last changed, in seconds since 1970, where the package says so, or else when that was published.
    pub(crate) fn modified(&self, entry: &Entry) -> Option<u64> {
        let at = if entry.modified > 0 { entry.modified } else { self.published };
        (at > 0).then_some(at.into())
    }

    /// The content type of an entry.
    pub(crate) fn content_type(&self, entry: &Entry) -> &HeaderValue {
        &self.types[usize::from(entry.content_type)]
    }

    /// Where in the package's file these bytes lie, if they are a part of the mapping.
    pub(crate) fn position(&self, part: &[u8]) -> Option<(&File, u64)> {
        let map = self.zip.as_ptr_range();
        let part = part.as_ptr_range();
        let inside = map.start <= part.start && part.end <= map.end;
        let offset = (part.start as usize).checked_sub(map.start as usize).filter(|_| inside)?;
        Some((self.file.as_ref()?, offset as u64))
    }

    /// The bytes of an entry as they lie in the package. `None` if its local header does not hold, which
    /// [`verify`](Self::verify) would have said.
    pub(crate) fn packed(&self, entry: &Entry) -> Option<Bytes> {
        let local = directory::local(&self.zip, entry.offset as usize)?;
        let end = local.data.checked_add(entry.packed as usize)?;
        (end <= self.directory).then(|| self.zip.slice(local.data..end))
    }
}

/// A zip of these files, for tests.
#[cfg(test)]
pub(crate) fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
