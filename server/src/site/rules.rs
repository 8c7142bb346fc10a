//! The package's own settings, read at opening.

use super::{
    Fields, Inflate, Method, Note, Policy, Redirects, Site,
    objection::Objection,
    process::PROGRAM_FOLDER,
    procfile::{self, Procfile},
};

/// How long a file of settings may be.
const LONGEST_SETTING: u64 = 1 << 20;
/// How many faults in the settings are told; a file full of them is not told in full.
const MOST_NOTES: usize = 1_000;

/// What the package itself says about how it is to be served.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// `_redirects`.
    pub(crate) redirects: Redirects,
    /// `_headers`.
    pub(crate) fields: Fields,
    /// `site.toml`.
    pub(crate) policy: Policy,
}

/// Reads the package's own settings; what is wrong with them is noted, and never keeps the site from being served.
pub(super) fn read(site: &mut Site) {
    let mut notes = Vec::new();
    let mut read = |file| {
        site.setting(file).unwrap_or_else(|text| {
            notes.push(Note::fault(file, 0, text));
            String::new()
        })
    };
    let redirects = read("_redirects");
    let fields = read("_headers");
    let policy = read("site.toml");
    let procfile = read(procfile::FILE);
    // A gate that cannot be read lets nothing pass.
    let closed = |file| notes.iter().find(|note| note.file == file).map(|note| Objection::package(note.to_string()));
    let without_process = closed(procfile::FILE);
    let closed = closed("site.toml");
    let redirects = Redirects::parse(&redirects, &mut notes);
    let fields = Fields::parse(&fields, &mut notes);
    let (mut policy, process) = Policy::parse(&policy, &mut notes);
    policy.gate.faults.extend(closed);
    policy.refusals.extend(without_process);
    let procfile = Procfile::parse(&procfile, &mut notes);
    policy.run(process.plan(procfile.web.as_deref(), |name| site.file(name).is_some()), &mut notes);
    if policy.process.is_none() && policy.refusals.is_empty() && site.has_tree() {
        let said =
            "names no process for the program in .app/: add [app] run, or web: to .app/Procfile, or leave out .app/";
        notes.push(Note::fault("site.toml", 0, said));
    }
    site.rules = Rules { redirects, fields, policy };
    site.hide();
    if let Some(fallback) = &site.rules.policy.fallback
        && site.file(fallback).is_none()
    {
        notes.push(Note::fault("site.toml", 0, format!("fallback {fallback:?} is not in the package")));
    }
    notes.truncate(MOST_NOTES);
    site.notes = notes;
}

impl Site {
    /// Takes the files out of the index that visitors never see, into one of their own.
    fn hide(&mut self) {
        use std::hash::BuildHasher;
        let Self { index, hidden, hasher, entries, names, rules, .. } = self;
        let name = |index: &u32| &names[entries[*index as usize].name()];
        let hash = |index: &u32| hasher.hash_one(name(index));
        for taken in index.extract_if(|index| rules.policy.hidden.file(name(index)).is_some()) {
            hidden.insert_unique(hash(&taken), taken, hash);
        }
    }

    /// Whether it has a program.
    fn has_tree(&self) -> bool {
        self.entries.iter().any(|entry| self.name(entry).starts_with(PROGRAM_FOLDER))
    }

    /// The text of a file that is a setting, before any file is hidden; empty if there is none.
    fn setting(&self, file: &str) -> Result<String, String> {
        let Some(entry) = self.file(file) else {
            return Ok(String::new());
        };
        if entry.size > LONGEST_SETTING {
            return Err(format!("it is longer than {LONGEST_SETTING} bytes; the whole file is ignored"));
        }
        let packed = self.packed(entry).ok_or("it cannot be read; the whole file is ignored")?;
        let bytes = match entry.method {
            Method::Stored => packed.to_vec(),
            Method::Deflated => {
                let mut inflate = Inflate::new(packed, entry.size);
                let mut bytes = Vec::new();
                while let Some(piece) = inflate.piece() {
                    bytes.extend(piece.map_err(|_| "it does not inflate; the whole file is ignored")?);
                }
                bytes
            }
        };
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8; the whole file is ignored".into())
    }
}
