//! What a package's program may be: what lies below `.app/`, and the file that is run.

use std::{
    collections::HashSet,
    io::{self, Read as _},
};

use spothost_server::{Content, ProgramFile, ProgramPlace, Site};

use super::native_target::{Architecture, HEAD, NativeTarget};

/// The most files of a program, and as many folders.
pub(crate) const MOST_FILES: usize = 50_000;
/// The most bytes of a program.
const MOST_BYTES: u64 = 1 << 30;
/// The longest name of a file or folder, in bytes: `NAME_MAX` of Linux.
const LONGEST_NAME: usize = 255;
/// The longest path below `.app/`, in bytes; `PATH_MAX` of Linux less room for the folder that it is unpacked into.
const LONGEST_PATH: usize = 1024;
/// In how many folders a file may lie.
pub(crate) const DEEPEST: usize = 32;
/// How many faults are told.
const MOST_TOLD: usize = 20;

/// What is wrong with the program of `site` on any host, one sentence each; nothing where it has none. Blocking: the head of the file
/// that is run is read.
pub(crate) fn faults(site: &Site) -> Vec<String> {
    let faults = faults_of_names(site);
    if !faults.is_empty() {
        return faults;
    }
    runs(site).and_then(|file| kind(file).err()).into_iter().collect()
}

/// What keeps this host from running the program of `site`, where another could.
pub(super) fn machine_that_differs(site: &Site) -> Option<String> {
    let file = runs(site)?;
    let path = file.path;
    let built_for = kind(file).ok().flatten()?;
    (!built_for.is_this()).then(|| {
        format!(
            ".app/{path} is built for {}, and this host is of {}: build it for that, or let hosts of the other kind serve it",
            built_for.name(),
            std::env::consts::ARCH
        )
    })
}

/// Faults of the tree itself.
fn faults_of_names(site: &Site) -> Vec<String> {
    let mut faults = Vec::new();
    let mut bytes = 0_u64;
    let mut files = HashSet::new();
    let mut folders = HashSet::new();
    for file in site.program() {
        let ProgramFile { path, length, .. } = file;
        bytes = bytes.saturating_add(length);
        let too_long = |name: &str| name.len() > LONGEST_NAME;
        let deep = path.matches('/').count();
        if path.split('/').any(too_long) {
            faults.push(format!(".app/{path} has a name longer than {LONGEST_NAME} bytes: shorten it"));
        } else if path.len() > LONGEST_PATH {
            faults.push(format!(".app/{path} is longer than {LONGEST_PATH} bytes: shorten it"));
        } else if deep > DEEPEST {
            faults.push(format!(".app/{path} lies {deep} folders deep, {DEEPEST} are allowed: move it up"));
        }
        files.insert(path);
        if folders.len() <= MOST_FILES && deep <= DEEPEST {
            folders.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
        }
    }
    if files.len() > MOST_FILES {
        faults.push(format!(".app/ has {} files, {MOST_FILES} are allowed: leave out what is not run", files.len()));
    }
    if folders.len() > MOST_FILES {
        faults.push(format!(".app/ has more than {MOST_FILES} folders: leave out what is not run"));
    }
    if bytes > MOST_BYTES {
        faults.push(format!(".app/ has {bytes} bytes, {MOST_BYTES} are allowed: leave out what is not run"));
    }
    let mut both: Vec<_> = folders.intersection(&files).collect();
    both.sort_unstable();
    faults.extend(both.iter().map(|path| format!(".app/{path} is a file and a folder at once: rename one of them")));
    faults.truncate(MOST_TOLD);
    faults
}

/// The file of the program that is run, if the package holds it.
pub(crate) fn runs(site: &Site) -> Option<ProgramFile<'_>> {
    let ProgramPlace::Package(path) = &site.process()?.program else { return None };
    site.program().find(|file| file.path == path)
}

/// The machine that an executable is for; none for a script, and for such as cannot be told.
///
/// # Errors
/// Why no host can run it.
fn kind(file: ProgramFile<'_>) -> Result<Option<Architecture>, String> {
    let path = file.path;
    let no = |said: String| Err(format!(".app/{path} {said}"));
    let head = match head(file.content) {
        Ok(head) => head,
        Err(error) => return no(format!("cannot be read: {error}")),
    };
    if head.is_empty() {
        return no("is empty, and is to be run: put the program there".to_owned());
    }
    if let Some(script) = head.strip_prefix(b"#!") {
        let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.ends_with(b"\r") && line.len() < script.len() {
            return no("has lines that end in CR LF, so that its interpreter is not found: save it with LF".to_owned());
        }
        return Ok(None);
    }
    match NativeTarget::of(&head) {
        Ok(Some(NativeTarget::Linux(machine))) => Ok(Some(machine)),
        // Neither can be said of what is no native code: exec tells.
        Ok(None) => Ok(None),
        Ok(Some(NativeTarget::Windows)) => no("is a program for Windows: build it for Linux".to_owned()),
        Ok(Some(NativeTarget::MacOs)) => no("is a program for macOS: build it for Linux".to_owned()),
        Ok(Some(NativeTarget::Bits32)) => no("is a 32-bit program: build it for 64 bits".to_owned()),
        Ok(Some(target @ NativeTarget::OtherMachine(_))) => {
            no(format!("is built for {target}: build it for x86_64 or aarch64"))
        }
        Err(error) => no(format!("is damaged: {error}")),
    }
}

/// The first [`HEAD`] bytes of a file, or all that it has.
pub(crate) fn head(content: Content) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    content.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use spothost_server::PackageLimits;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// A package that runs a file with that content.
    fn running(content: &[u8]) -> Site {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in [("site.toml", &b"[app]\nrun = './server'\n"[..]), (".app/server", content)] {
            zip.start_file(name, SimpleFileOptions::default()).expect("started");
            zip.write_all(content).expect("written");
        }
        let bytes = zip.finish().expect("a zip").into_inner();
        Site::from_bytes(bytes.into(), &PackageLimits::default()).expect("a package")
    }

    /// An ELF header (System V ABI, chapter 4) for that machine.
    fn elf(class: u8, machine: u16) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
        header.resize(64, 0);
        header[16] = 2;
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header[20] = 1;
        header
    }

    #[test]
    fn program_that_no_host_can_run_is_told_with_its_cure() {
        let own = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
        for (content, said) in [
            (&b"#!/bin/sh\nexec x\n"[..], None),
            (b"#!/bin/sh", None),
            (b"#!/usr/bin/env python3\r\nx\r\n", Some("has lines that end in CR LF")),
            (b"", Some("is empty, and is to be run")),
            (
                b"\xcf\xfa\xed\xfe\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00\x10\x00",
                Some("for macOS: build it for Linux"),
            ),
            (b"\xca\xfe\xba\xbe\x00\x00\x00\x02\x01\x00\x00\x07\x00\x00\x00\x03\x00\x00", Some("for macOS")),
            (b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00", Some("for Windows")),
            (&elf(2, 62), None),
            (&elf(2, 183), None),
            (&elf(1, 3), Some("is a 32-bit program")),
            (&elf(2, 243), Some("is built for another machine (ELF e_machine 243)")),
            (&elf(2, 62)[..40], Some("is damaged")),
            (b"something else entirely", None),
        ] {
            let faults = faults(&running(content));
            assert_eq!(faults.len(), usize::from(said.is_some()), "{content:?}: {faults:?}");
            assert!(
                said.is_none_or(|said| faults[0].starts_with(".app/server ") && faults[0].contains(said)),
                "{faults:?}"
            );
        }
        assert_eq!(machine_that_differs(&running(&elf(2, own))), None);
        let other = machine_that_differs(&running(&elf(2, 62 + 183 - own))).expect("another machine");
        assert!(other.starts_with(".app/server is built for ") && other.contains("and this host is of"), "{other}");
        assert_eq!(machine_that_differs(&running(b"#!/bin/sh\n")), None);
    }
}
