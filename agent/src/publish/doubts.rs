//! What a program below `.app/` is better without, or with: it is published all the same.

use std::{collections::HashSet, io::Read as _};

use spothost_server::{ProgramFile, ProgramPlace, Site};

use super::Problem;

/// How many bytes of a file are searched for a key.
const SEARCHED: u64 = 16 << 10;
/// How many files of a kind are named.
const MOST_NAMED: usize = 10;
/// From how many modules on it matters how Python finds their byte-code.
const MANY_MODULES: usize = 50;

/// What somebody should know of the program of `site`; nothing where it has none. Blocking: parts of it are read.
pub(super) fn of_program(site: &Site) -> Vec<Problem> {
    let named = site.program().filter_map(|file| {
        let path = file.path;
        let said = doubt(file)?;
        Some(Problem::doubtful(format!(".app/{path}"), said))
    });
    let mut problems: Vec<Problem> = named.take(MOST_NAMED).collect();
    problems.extend(not_executable(site));
    problems.extend(without_byte_code(site));
    problems
}

/// Why this file hardly belongs into a package.
fn doubt(file: ProgramFile<'_>) -> Option<&'static str> {
    let name = file.path.rsplit('/').next().unwrap_or(file.path);
    if name == ".env" || (name.starts_with(".env.") && !name.ends_with(".example")) {
        return Some("holds what is secret, mostly, and everybody who can read the bucket can read it: leave it out");
    }
    if name.ends_with(".sqlite3") || name == "db.sqlite" {
        return Some("is a database, and read-only on hosts; each host would have its own: keep data elsewhere");
    }
    let may_be_key = name.ends_with(".pem") || name.ends_with(".key") || name.starts_with("id_");
    (may_be_key && holds_key(file))
        .then_some("is a private key, and everybody who can read the bucket can read it: leave it out")
}

/// Whether it holds a private key (RFC 7468 §10, §11); lists of certificates are mostly called `.pem` as well.
fn holds_key(file: ProgramFile<'_>) -> bool {
    let mut text = Vec::new();
    file.content.take(SEARCHED).read_to_end(&mut text).is_ok()
        && text.windows(16).any(|part| part == b"PRIVATE KEY-----")
}

/// The program that is run and that nobody may execute.
fn not_executable(site: &Site) -> Option<Problem> {
    let ProgramPlace::Package(path) = &site.process()?.program else { return None };
    let file = site.program().find(|file| file.path == path)?;
    let said = "is not executable, and hosts run it all the same: chmod +x it, so that it runs anywhere else, too";
    (!file.is_executable).then(|| Problem::doubtful(format!(".app/{path}"), said))
}

/// Modules of Python that would be compiled at each start, as their byte-code is missing or not used: the tree is read-only, and no time
/// of a file in it is that of its source.
fn without_byte_code(site: &Site) -> Option<Problem> {
    let mut modules = Vec::new();
    let mut compiled = HashSet::new();
    for file in site.program() {
        if let Some(module) = file.path.strip_suffix(".py") {
            modules.push(module.to_owned());
        } else if let Some(source) = source_of(file.path)
            && is_unchecked(file)
        {
            compiled.insert(source);
        }
    }
    let without = modules.iter().filter(|module| !compiled.contains(*module)).count();
    let said = format!(
        "{without} of {} modules of Python are compiled anew at each start: python3 -m compileall -q --invalidation-mode unchecked-hash \
         .app, with the Python that runs them",
        modules.len()
    );
    (modules.len() >= MANY_MODULES && 2 * without > modules.len()).then(|| Problem::doubtful(".app/", said))
}

/// The module, without its extension, of byte-code at `a/__pycache__/b.cpython-311.pyc` (PEP 3147).
fn source_of(path: &str) -> Option<String> {
    let (folder, file) = path.rsplit_once('/')?;
    let module = file.strip_suffix(".pyc")?.split('.').next()?;
    let folder = folder.strip_suffix("__pycache__")?;
    Some(format!("{folder}{module}"))
}

/// Whether byte-code is used without a look at its source: bit 0 of its flags and not bit 1 (PEP 552).
fn is_unchecked(file: ProgramFile<'_>) -> bool {
    let mut head = [0; 8];
    let mut content = file.content;
    content.read_exact(&mut head).is_ok() && u32::from_le_bytes([head[4], head[5], head[6], head[7]]) == 0b01
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use spothost_server::PackageLimits;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn doubts(files: &[(&str, u32, &[u8])]) -> Vec<String> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, content) in files {
            zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).expect("started");
            zip.write_all(content).expect("written");
        }
        let bytes = zip.finish().expect("a zip").into_inner();
        let site = Site::from_bytes(bytes.into(), &PackageLimits::default()).expect("a package");
        of_program(&site).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn file_that_hardly_belongs_into_a_package_is_named() {
        let key = b"-----BEGIN PRIVATE KEY-----\nMC4C";
        for (name, content, said) in [
            (".app/.env", &b"A=b"[..], Some(".app/.env: holds what is secret")),
            (".app/a/.env.production", b"A=b", Some(".app/a/.env.production: holds")),
            (".app/.env.example", b"A=b", None),
            (".app/db.sqlite3", b"SQLite", Some(".app/db.sqlite3: is a database")),
            (".app/tls/own.pem", key, Some(".app/tls/own.pem: is a private key")),
            (".app/lib/certifi/cacert.pem", b"-----BEGIN CERTIFICATE-----\nMIIF", None),
            (
                ".app/id_ed25519",
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl",
                Some(".app/id_ed25519: is a private key"),
            ),
            ("site.key", key, None),
        ] {
            let told = doubts(&[("index.html", 0o644, b"home"), (name, 0o644, content)]);
            assert_eq!(told.len(), usize::from(said.is_some()), "{name}: {told:?}");
            assert!(said.is_none_or(|said| told[0].starts_with(said)), "{name}: {told:?}");
        }
    }

    #[test]
    fn program_that_nobody_may_execute_is_told() {
        let with = |mode| doubts(&[(".app/Procfile", 0o644, b"web: ./server"), (".app/server", mode, b"x")]);
        assert!(with(0o644)[0].starts_with(".app/server: is not executable"));
        assert_eq!(with(0o755), Vec::<String>::new());
    }

    #[test]
    fn modules_that_are_compiled_at_each_start_are_counted() {
        let modules: Vec<_> = (0..60).map(|number| format!(".app/lib/m{number}.py")).collect();
        let codes: Vec<_> = (0..60).map(|number| format!(".app/lib/__pycache__/m{number}.cpython-311.pyc")).collect();
        for (flags, said) in [
            (None, Some("60 of 60 modules of Python are compiled anew at each start")),
            (Some(0_u8), Some("60 of 60 modules")),
            (Some(0b11), Some("60 of 60 modules")),
            (Some(0b01), None),
        ] {
            let code = [0xa7, 0x0d, 0x0d, 0x0a, flags.unwrap_or_default(), 0, 0, 0];
            let mut files: Vec<(&str, u32, &[u8])> =
                modules.iter().map(|name| (&**name, 0o644, &b"x = 1"[..])).collect();
            files.push(("index.html", 0o644, b"home"));
            if flags.is_some() {
                files.extend(codes.iter().map(|name| (&**name, 0o644, &code[..])));
            }
            let told = doubts(&files);
            assert_eq!(told.len(), usize::from(said.is_some()), "{flags:?}: {told:?}");
            assert!(said.is_none_or(|said| told[0].contains(said)), "{flags:?}: {told:?}");
        }
    }
}
