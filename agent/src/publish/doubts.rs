//! What a program below `.app/` is better without, or with: it is published all the same.

use std::{fs, io::Read as _};

use spothost_server::{PROGRAM_FOLDER, ProgramFile, ProgramPlace, Site};

use super::{Problem, folder::SiteFile};
use crate::package::{
    native_target::{Architecture, NativeTarget},
    program,
};

mod native_code;
mod python;
mod shared_objects;

use native_code::NativeCode;
use python::Interpreter;
use shared_objects::{ExtensionModule, Loader, SharedObject, is_shared_object};

/// How many bytes of a file are searched for a key.
const SEARCHED: u64 = 16 << 10;
/// How many files of a kind are named.
const MOST_NAMED: usize = 10;

/// What is doubtful of the program of `site`, which is made of `files`, and what the program could not load; nothing where it has none.
/// Blocking: parts of it are read.
pub(super) fn of_program(site: &Site, files: &[SiteFile]) -> Vec<Problem> {
    let named = site.program().filter_map(|file| {
        let path = file.path;
        let said = doubt(file)?;
        Some(Problem::doubtful(format!(".app/{path}"), said))
    });
    let mut problems: Vec<Problem> = named.take(MOST_NAMED).collect();
    problems.extend(not_executable(site));
    let interpreter = Interpreter::of(site);
    problems.extend(python::doubts(site, interpreter.as_ref()));
    let objects = shared_objects(site, files);
    let loader = Loader { interpreter: interpreter.as_ref(), machine: machine(site, &objects) };
    problems.extend(loader.judge(&objects));
    problems
}

/// Why this file hardly belongs into a package.
fn doubt(file: ProgramFile<'_>) -> Option<&'static str> {
    let name = file.path.rsplit('/').next().unwrap_or(file.path);
    if name == ".env" || (name.starts_with(".env.") && !name.ends_with(".example")) {
        return Some("probably holds secrets, and everybody who can read the bucket can read them: leave it out");
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

/// The program that is run, where its file may not be executed.
fn not_executable(site: &Site) -> Option<Problem> {
    let ProgramPlace::Package(path) = &site.process()?.program else { return None };
    let file = site.program().find(|file| file.path == path)?;
    let said = "is not executable, and hosts run it all the same: chmod +x it, so that it runs anywhere else, too";
    (!file.is_executable).then(|| Problem::doubtful(format!(".app/{path}"), said))
}

/// The shared objects below `.app/`, and the file that is run.
fn shared_objects<'a>(site: &Site, files: &'a [SiteFile]) -> Vec<SharedObject<'a>> {
    let run = program::runs(site).map(|file| file.path);
    let objects = files.iter().filter_map(|file| {
        let path = file.name.strip_prefix(PROGRAM_FOLDER)?;
        if !is_shared_object(path) && run != Some(path) {
            return None;
        }
        let code = NativeCode::read(fs::File::open(&file.path).ok()?)?;
        Some(SharedObject { path, code, module: ExtensionModule::of(path) })
    });
    objects.take(program::MOST_FILES).collect()
}

/// The machine that the file is built for that is run, if the package has it.
fn machine(site: &Site, objects: &[SharedObject<'_>]) -> Option<Architecture> {
    let run = program::runs(site)?.path;
    let program = objects.iter().find(|object| object.path == run)?;
    if let NativeTarget::Linux(machine) = program.code.target { Some(machine) } else { None }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Cursor, Write as _},
        os::unix::fs::PermissionsExt as _,
    };

    use spothost_server::PackageLimits;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::{
        native_code::made::{AARCH64, X86_64, shared_object},
        *,
    };
    use crate::publish::{BuildOptions, Effort, LONGEST_FILE, Weight};

    fn doubts(files: &[(&str, u32, &[u8])]) -> Vec<String> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, content) in files {
            zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).expect("started");
            zip.write_all(content).expect("written");
        }
        let bytes = zip.finish().expect("a zip").into_inner();
        let site = Site::from_bytes(bytes.into(), &PackageLimits::default()).expect("a package");
        of_program(&site, &[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn file_that_hardly_belongs_into_a_package_is_named() {
        let key = b"-----BEGIN PRIVATE KEY-----\nMC4C";
        for (name, content, said) in [
            (".app/.env", &b"A=b"[..], Some(".app/.env: probably holds secrets")),
            (".app/a/.env.production", b"A=b", Some(".app/a/.env.production: probably holds secrets")),
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
    fn program_without_the_executable_bit_is_told() {
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

    #[test]
    fn files_of_the_folder_are_held_against_the_program() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let asks_for = |version| shared_object(X86_64, &["GLIBC_2.17", version]);
        let module = "lib/a.cpython-312-x86_64-linux-gnu.so";
        let of_another_version = "is built for CPython 3.12, and the program is run by CPython 3.11: ";
        let interpreter = ("python/bin/python3.12", shared_object(X86_64, &[]));
        for (number, (run, files, expected)) in [
            ("python3.12 -m x", vec![(module, asks_for("GLIBC_2.34"))], None),
            (
                "python3.11 -m x",
                vec![(module, asks_for("GLIBC_2.34"))],
                Some((Weight::Wrong, module, of_another_version)),
            ),
            (
                "python3.12 -m x",
                vec![(module, asks_for("GLIBC_2.38"))],
                Some((Weight::Doubtful, module, "asks for glibc 2.38, ")),
            ),
            (
                "./server",
                vec![("server", asks_for("GLIBC_2.38"))],
                Some((Weight::Doubtful, "server", "asks for glibc 2.38, ")),
            ),
            ("./server", vec![("server", asks_for("GLIBC_2.34"))], None),
            (
                "./python/bin/python3.12 -m x",
                vec![interpreter, ("lib/a.abi3.so", shared_object(AARCH64, &[]))],
                Some((Weight::Wrong, "lib/a.abi3.so", "is built for aarch64, and the program for x86_64: ")),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let site = folder.path().join(number.to_string());
            let program = site.join(".app");
            fs::create_dir_all(&program).expect("made");
            fs::write(site.join("index.html"), "home").expect("written");
            fs::write(program.join("Procfile"), format!("web: {run}")).expect("written");
            for (name, content) in &files {
                let path = program.join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("made");
                fs::write(&path, content).expect("written");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
            }
            let build_options = BuildOptions {
                site,
                effort: Effort::USUAL,
                longest_file: LONGEST_FILE,
                cache: Some(folder.path().join("cache")),
                domain: None,
                date: None,
            };
            let (built, problems) = build_options.make(&folder.path().join("site.zip")).expect("made");
            assert!(built.is_some(), "{problems:?}");
            assert_eq!(problems.len(), usize::from(expected.is_some()), "{run}: {problems:?}");
            let Some((weight, about, said)) = expected else { continue };
            assert_eq!((problems[0].weight, problems[0].about.as_str()), (weight, &*format!(".app/{about}")));
            assert!(problems[0].said.starts_with(said), "{problems:?}");
        }
    }
}
