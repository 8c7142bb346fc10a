//! What a program in Python needs below `.app/`: the interpreter that runs it, its dependencies, and their byte-code.

use std::{collections::HashSet, io::Read as _};

use spothost_server::{ProcessPlan, ProgramFile, ProgramPlace, Site};

use crate::{
    package::{native_target::Architecture, program},
    publish::Problem,
};

/// From how many modules on it matters how Python finds their byte-code.
const MANY_MODULES: usize = 50;
/// How many bytes of a list of requirements are read.
const LONGEST_REQUIREMENTS: u64 = 64 << 10;
/// The list of requirements, below `.app/`.
const REQUIREMENTS: &str = "requirements.txt";
/// Folders of programs on hosts of any kind.
const FOLDERS_OF_HOSTS: &[&str] = &["/bin/", "/usr/bin/", "/usr/local/bin/"];

/// The interpreter of Python that a program is run by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The name of its file: `python3.11`.
    pub(super) name: String,
    /// The tag of its version, if that is known: `311`, or `313t` where it has no global lock.
    pub(super) version: Option<String>,
}

impl Interpreter {
    /// The interpreter that the program of `site` is run by, directly or as the first line of a script says; none where that is none
    /// of CPython's, or cannot be told. Blocking: the head of one file is read.
    pub(super) fn of(site: &Site) -> Option<Interpreter> {
        let plan = site.process()?;
        let program = plan.words.first()?;
        let mut interpreter = match Interpreter::named(file_name(program)) {
            Some(interpreter) => interpreter,
            None => Interpreter::named(file_name(&Script::of(site, plan)?.interpreter))?,
        };
        if interpreter.version.is_none()
            && let ProgramPlace::Package(path) = &plan.program
        {
            interpreter.version = version_beside(site, path);
        }
        Some(interpreter)
    }

    /// The interpreter of that name; none for another program.
    fn named(name: &str) -> Option<Interpreter> {
        let version = name.strip_prefix("python")?;
        let numbers = version.strip_suffix('t').unwrap_or(version);
        let is_version = numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let tag = version.contains('.').then(|| version.replace('.', ""));
        is_version.then(|| Interpreter { name: name.to_owned(), version: tag })
    }

    /// The word that runs it on a host, where a plain `python` mostly is not.
    fn command(interpreter: Option<&Interpreter>) -> &str {
        match interpreter {
            Some(Interpreter { name, .. }) if name != "python" => name,
            Some(_) | None => "python3",
        }
    }

    /// The one command that installs the requirements below `.app/` for hosts of that machine.
    pub(super) fn installation(interpreter: Option<&Interpreter>, machine: Option<Architecture>) -> String {
        let version = interpreter.and_then(|interpreter| interpreter.version.as_deref());
        let version = version.map(|tag| format!(" --python-version {}", dotted(tag.trim_end_matches('t'))));
        let machine = machine.unwrap_or(Architecture::X86_64).name();
        let version = version.unwrap_or_default();
        // Amazon Linux 2023 has glibc 2.34, Debian 12 has 2.36.
        format!(
            "uv pip install --target .app/lib{version} --python-platform {machine}-manylinux_2_34 -r .app/{REQUIREMENTS}"
        )
    }
}

/// A version as people write it, of a tag as file names have it: 3.11 of 311.
pub(super) fn dotted(tag: &str) -> String {
    match tag.split_at_checked(1) {
        Some((major, minor)) => format!("{major}.{minor}"),
        None => tag.to_owned(),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The version of the interpreter at that path below `.app/`, by the folder of its standard library beside it
/// (`bin/python3`, `lib/python3.11/`), which it finds by that as well.
fn version_beside(site: &Site, path: &str) -> Option<String> {
    let root = path.rsplit_once("bin/")?.0;
    site.program().find_map(|file| {
        let below = file.path.strip_prefix(root)?.strip_prefix("lib/")?;
        Interpreter::named(below.split_once('/')?.0)?.version
    })
}

/// The script that a program is, with a line that says what runs it.
struct Script<'a> {
    /// Its path below `.app/`.
    path: &'a str,
    /// What runs it: a path, or a name that is looked up.
    interpreter: String,
}

impl<'a> Script<'a> {
    /// The script that is run, if one of the package is.
    fn of(site: &'a Site, plan: &ProcessPlan) -> Option<Script<'a>> {
        let path = match &plan.program {
            ProgramPlace::Package(path) => path.clone(),
            // This folder comes first in PATH.
            ProgramPlace::Path(name) => format!("bin/{name}"),
            ProgramPlace::Host(_) => return None,
        };
        let file = site.program().find(|file| file.path == path)?;
        let path = file.path;
        let head = program::head(file.content).ok()?;
        let interpreter = interpreter_of(&String::from_utf8_lossy(&head))?;
        Some(Script { path, interpreter })
    }
}

/// What runs a script that begins with `head`: the first word after `#!` (`execve(2)`), or the one that `env` looks up. Installers write
/// a path that is long, or has spaces, into the second line, for sh to execute.
fn interpreter_of(head: &str) -> Option<String> {
    let mut lines = head.strip_prefix("#!")?.lines();
    let mut words = lines.next()?.split_whitespace();
    let program = words.next()?;
    if program.ends_with("/sh")
        && let Some(executed) = lines.next().and_then(|line| line.strip_prefix("'''exec' "))
    {
        let unquoted = executed.trim_start_matches(['"', '\'']);
        return unquoted.split(['"', '\'']).next().map(str::to_owned);
    }
    if program.ends_with("/env") {
        return words.find(|word| !word.starts_with('-') && !word.contains('=')).map(str::to_owned);
    }
    Some(program.to_owned())
}

/// What is doubtful of a program in Python: how it is run, what it needs, and whether that is compiled. Blocking: parts of it are read.
pub(super) fn doubts(site: &Site, interpreter: Option<&Interpreter>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(script_of_another_machine(site, interpreter));
    problems.extend(requirements(site, interpreter));
    problems.extend(without_byte_code(site, interpreter));
    problems
}

/// The script that `run` names, and that begins with a path of the machine that it was installed on.
fn script_of_another_machine(site: &Site, interpreter: Option<&Interpreter>) -> Option<Problem> {
    let plan = site.process()?;
    let python = Interpreter::command(interpreter);
    if let ProgramPlace::Path(name) = &plan.program
        && !site.program().any(|file| file.path.strip_prefix("bin/") == Some(name))
        && let Some(file) = site.program().find(|file| file.path.strip_prefix("lib/bin/") == Some(name))
    {
        let said = format!(
            "is not in PATH, which has .app/bin before the folders of the host: run = \"{python} -m {name} …\""
        );
        return Some(Problem::doubtful(format!(".app/{}", file.path), said));
    }
    let Script { path, interpreter } = Script::of(site, plan)?;
    // One without a folder is looked up in PATH.
    let folder = interpreter.strip_suffix(file_name(&interpreter)).unwrap_or_default();
    if folder.is_empty() || FOLDERS_OF_HOSTS.contains(&folder) {
        return None;
    }
    let how = if path.ends_with(".py") { path.to_owned() } else { format!("-m {}", file_name(path)) };
    let said = format!(
        "is run by {interpreter}, a path of the machine that it was installed on, which hosts hardly have: run = \"{python} {how} …\""
    );
    Some(Problem::doubtful(format!(".app/{path}"), said))
}

/// Requirements that are not installed below `.app/`, or that not every installer reads.
fn requirements(site: &Site, interpreter: Option<&Interpreter>) -> Vec<Problem> {
    let Some(file) = site.program().find(|file| file.path == REQUIREMENTS) else { return Vec::new() };
    let mut text = Vec::new();
    if file.content.take(LONGEST_REQUIREMENTS).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let about = format!(".app/{REQUIREMENTS}");
    let mut problems = Vec::new();
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") || text.contains(&0) {
        let said = "is UTF-16, as PowerShell 5 writes what is redirected, and not every installer reads that: save it as UTF-8 \
                    (pip freeze | Out-File -Encoding ascii requirements.txt)";
        problems.push(Problem::doubtful(about.as_str(), said));
        // Of a name in ASCII every other byte is left, which is enough to see that there is one.
        text.retain(|byte| byte.is_ascii() && *byte != 0);
    }
    let is_python = interpreter.is_some() || site.program().any(|file| file.path.ends_with(".py"));
    if is_python && names_requirements(&String::from_utf8_lossy(&text)) && !site.program().any(is_installed) {
        let command = Interpreter::installation(interpreter, None);
        let said = format!("is not installed below .app/, and hosts install nothing: {command}");
        problems.push(Problem::doubtful(about, said));
    }
    problems
}

/// Whether a list names any requirement; of options, those do that name other lists and folders.
fn names_requirements(list: &str) -> bool {
    list.lines().any(|line| match line.trim().as_bytes() {
        [] | [b'#', ..] => false,
        [b'-', option, ..] => matches!(option, b'r' | b'e'),
        _ => true,
    })
}

/// Whether this is a file of a requirement that was installed.
fn is_installed(file: ProgramFile<'_>) -> bool {
    let path = file.path;
    path.starts_with("lib/") || path.contains(".dist-info/") || path.contains("site-packages/")
}

/// Modules of Python that would be compiled at each start, as their byte-code is missing or not used: the tree is read-only, and no time
/// of a file in it is that of its source.
fn without_byte_code(site: &Site, interpreter: Option<&Interpreter>) -> Option<Problem> {
    let tag = interpreter.and_then(|interpreter| interpreter.version.as_deref());
    let mut modules = Vec::new();
    let mut compiled = HashSet::new();
    for file in site.program() {
        if let Some(module) = file.path.strip_suffix(".py") {
            modules.push(module.to_owned());
        } else if let Some(source) = source_of(file.path, tag)
            && is_unchecked(file)
        {
            compiled.insert(source);
        }
    }
    let without = modules.iter().filter(|module| !compiled.contains(*module)).count();
    let python = Interpreter::command(interpreter);
    let said = format!(
        "{without} of {} modules of Python are compiled anew at each start: {python} -m compileall -q --invalidation-mode unchecked-hash \
         .app, with the Python that runs them",
        modules.len()
    );
    (modules.len() >= MANY_MODULES && 2 * without > modules.len()).then(|| Problem::doubtful(".app/", said))
}

/// The module, without its extension, of byte-code at `a/__pycache__/b.cpython-311.pyc` (PEP 3147), if it is that of the interpreter with
/// this tag, where one is known.
fn source_of(path: &str, tag: Option<&str>) -> Option<String> {
    let (folder, file) = path.rsplit_once('/')?;
    let (module, of) = file.strip_suffix(".pyc")?.split_once('.')?;
    let folder = folder.strip_suffix("__pycache__")?;
    let is_used = tag.is_none_or(|tag| {
        of.strip_prefix("cpython-").is_some_and(|of| of.trim_end_matches('t') == tag.trim_end_matches('t'))
    });
    is_used.then(|| format!("{folder}{module}"))
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

    /// Files below `.app/`, with what they hold.
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    /// The name of an interpreter, and the tag of its version.
    type Named<'a> = (&'a str, Option<&'a str>);

    /// A package that runs that, with these files.
    fn site(run: &str, files: Files) -> Site {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut file = |name: String, content: &[u8]| {
            zip.start_file(name, SimpleFileOptions::default().unix_permissions(0o755)).expect("started");
            zip.write_all(content).expect("written");
        };
        file("index.html".to_owned(), b"home");
        file("site.toml".to_owned(), format!("[app]\nrun = '{run}'\n").as_bytes());
        for (name, content) in files {
            file(format!(".app/{name}"), content);
        }
        let bytes = zip.finish().expect("a zip").into_inner();
        Site::from_bytes(bytes.into(), &PackageLimits::default()).expect("a package")
    }

    #[test]
    fn interpreter_is_that_of_the_command_or_of_its_first_line() {
        let python311 = Some(("python3.11", Some("311")));
        let long = &b"#!/bin/sh\n'''exec' \"/home/a b/bin/python3.10\" \"$0\" \"$@\"\n' '''\n"[..];
        let table: &[(&str, Files, Option<Named>)] = &[
            ("python3.11 -m x", &[], python311),
            ("/usr/bin/python3.9 x.py", &[], Some(("python3.9", Some("39")))),
            ("python3.13t -m x", &[], Some(("python3.13t", Some("313t")))),
            ("python3 -m x", &[], Some(("python3", None))),
            ("python -m x", &[], Some(("python", None))),
            ("pypy3 -m x", &[], None),
            ("pythonic", &[], None),
            ("node x.js", &[], None),
            ("gunicorn x", &[], None),
            ("gunicorn x", &[("bin/gunicorn", b"#!/home/ci/venv/bin/python3.11\n")], python311),
            ("./x.py", &[("x.py", b"#!/usr/bin/env python3.11\n")], python311),
            ("./x.py", &[("x.py", b"#!/usr/bin/env -S PYTHONUTF8=1 python3.11 -u\n")], python311),
            ("./x", &[("x", long)], Some(("python3.10", Some("310")))),
            ("./x", &[("x", b"#!/bin/sh\nexec python3.11 x\n")], None),
            ("./x", &[("x", b"#!")], None),
            ("./x", &[("x", b"#! \xff\xfe\n")], None),
            (
                "./python/bin/python3 -m x",
                &[("python/bin/python3", b"x"), ("python/lib/python3.14/os.py", b"x")],
                Some(("python3", Some("314"))),
            ),
            (
                "./python/bin/python3 -m x",
                &[("python/bin/python3", b"x"), ("lib/python3.14/os.py", b"x")],
                Some(("python3", None)),
            ),
        ];
        for (run, files, expected) in table {
            let expected = expected
                .map(|(name, version)| Interpreter { name: name.to_owned(), version: version.map(str::to_owned) });
            assert_eq!(Interpreter::of(&site(run, files)), expected, "{run} {files:?}");
        }
    }

    #[test]
    fn what_a_program_in_python_lacks_is_told_with_its_cure() {
        let django = ("requirements.txt", &b"# ours\nDjango==5.2\n"[..]);
        let utf16: Vec<u8> = "\u{feff}Django==5.2\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let without_mark: Vec<u8> = "Django==5.2\r\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let of_ci = &b"#!/home/ci/venv/bin/python3.11\nimport re\n"[..];
        let long = &b"#!/bin/sh\n'''exec' '/home/ci/a b/bin/python' \"$0\" \"$@\"\n"[..];
        let table: &[(&str, Files, Option<&str>)] = &[
            (
                "python3.11 -m gunicorn",
                &[django],
                Some(
                    ".app/requirements.txt: is not installed below .app/, and hosts install nothing: uv pip install --target .app/lib \
                     --python-version 3.11 --python-platform x86_64-manylinux_2_34 -r .app/requirements.txt",
                ),
            ),
            ("python3 app.py", &[django], Some("uv pip install --target .app/lib --python-platform x86_64")),
            ("gunicorn app", &[django, ("app.py", b"x")], Some("is not installed below .app/")),
            ("python3.11 -m gunicorn", &[django, ("lib/django/__init__.py", b"")], None),
            ("python3.11 -m gunicorn", &[django, ("Django-5.2.dist-info/METADATA", b"")], None),
            (
                "./py/bin/python3 x.py",
                &[django, ("py/bin/python3", b"x"), ("py/lib/python3.11/site-packages/x.py", b"")],
                None,
            ),
            ("node app.js", &[django], None),
            ("python3.11 app.py", &[("requirements.txt", b"\n# none\n--index-url https://example.org\n")], None),
            ("python3.11 app.py", &[("requirements.txt", b"-r base.txt\n")], Some("is not installed")),
            (
                "python3.11 app.py",
                &[("requirements.txt", &utf16), ("lib/django/__init__.py", b"")],
                Some(".app/requirements.txt: is UTF-16"),
            ),
            (
                "python3.11 app.py",
                &[("requirements.txt", &without_mark), ("lib/django/__init__.py", b"")],
                Some("is UTF-16"),
            ),
            ("python3.11 app.py", &[("requirements.txt", b"")], None),
            // Scripts that installers write.
            (
                "bin/gunicorn app",
                &[("bin/gunicorn", of_ci)],
                Some(
                    ".app/bin/gunicorn: is run by /home/ci/venv/bin/python3.11, a path of the machine that it was installed on, which hosts \
                     hardly have: run = \"python3.11 -m gunicorn …\"",
                ),
            ),
            ("gunicorn app", &[("bin/gunicorn", of_ci)], Some("is run by /home/ci/venv/bin/python3.11, ")),
            ("bin/gunicorn app", &[("bin/gunicorn", long)], Some("is run by /home/ci/a b/bin/python, ")),
            ("bin/gunicorn app", &[("bin/gunicorn", long)], Some("run = \"python3 -m gunicorn …\"")),
            ("./manage.py", &[("manage.py", of_ci)], Some("run = \"python3.11 manage.py …\"")),
            ("gunicorn app", &[("lib/bin/gunicorn", of_ci)], Some(".app/lib/bin/gunicorn: is not in PATH, ")),
            ("python3.11 -m gunicorn app", &[("lib/bin/gunicorn", of_ci)], None),
            ("./x", &[("x", b"#!/usr/bin/python3.11\n")], None),
            ("./x", &[("x", b"#!/usr/bin/env python3.11\n")], None),
            ("./x", &[("x", b"#!/bin/sh\n")], None),
        ];
        for (run, files, said) in table {
            let site = site(run, files);
            let interpreter = Interpreter::of(&site);
            let told: Vec<String> = doubts(&site, interpreter.as_ref()).iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), usize::from(said.is_some()), "{run} {files:?}: {told:?}");
            assert!(said.is_none_or(|said| told[0].contains(said)), "{run} {files:?}: {told:?}");
        }
        let site = site("python3.11 app.py", &[("requirements.txt", &utf16)]);
        let told = requirements(&site, Interpreter::of(&site).as_ref());
        assert!(told.len() == 2 && told[1].said.starts_with("is not installed"), "{told:?}");
    }

    #[test]
    fn byte_code_counts_where_the_interpreter_uses_it() {
        let modules: Vec<_> = (0..60).map(|number| format!("lib/m{number}.py")).collect();
        let unchecked: &[u8] = &[0xa7, 0x0d, 0x0d, 0x0a, 1, 0, 0, 0];
        for (run, tag, is_used) in [
            ("python3.11 x.py", "cpython-311", true),
            ("python3.11 x.py", "cpython-312", false),
            ("python3.11 x.py", "cpython-311.opt-1", false),
            ("python3.13t x.py", "cpython-313", true),
            ("python3 x.py", "cpython-312", true),
        ] {
            let codes: Vec<_> = (0..60).map(|number| format!("lib/__pycache__/m{number}.{tag}.pyc")).collect();
            let names = modules.iter().map(|name| (&**name, &b"x = 1"[..]));
            let files: Vec<_> = names.chain(codes.iter().map(|name| (&**name, unchecked))).collect();
            let site = site(run, &files);
            let told = doubts(&site, Interpreter::of(&site).as_ref());
            assert_eq!(told.is_empty(), is_used, "{run} {tag}: {told:?}");
        }
    }

    #[test]
    fn drawn_bytes_are_no_trouble() {
        let seed =
            std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SPOTHOST_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let parts: &[&[u8]] = &[
            b"#!",
            b"/bin/sh",
            b"/env ",
            b"\n",
            b"'''exec' ",
            b"\"",
            b"'",
            b"python",
            b"3.",
            b"11",
            b"t",
            b"/",
            b" ",
            b"\r",
            b"\xff",
            b"\0",
            "é".as_bytes(),
            b"-r",
            b"#",
        ];
        for _ in 0..2_000 {
            let drawn = (0..random.usize(1..20)).flat_map(|_| parts[random.usize(..parts.len())]).copied();
            let drawn: Vec<u8> = drawn.collect();
            let files = [("x", &*drawn), ("requirements.txt", &*drawn), ("lib/__pycache__/x.cpython-311.pyc", &*drawn)];
            let site = site("./x y", &files);
            doubts(&site, Interpreter::of(&site).as_ref());
            Interpreter::named(&String::from_utf8_lossy(&drawn));
            dotted(&String::from_utf8_lossy(&drawn));
        }
    }
}
