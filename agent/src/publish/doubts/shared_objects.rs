//! Shared objects below `.app/` that the program cannot load: for another machine, another version of Python, or a newer glibc.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    native_code::{Glibc, NativeCode},
    python::{Interpreter, dotted},
};
use crate::{
    package::native_target::{Architecture, NativeTarget},
    publish::Problem,
};

/// The glibc of Amazon Linux 2023, and that of Debian 12.
const OLDEST_GLIBC: Glibc = Glibc(34);
const NEXT_GLIBC: Glibc = Glibc(36);

/// A shared object below `.app/`, or the program itself.
#[derive(Clone, Debug)]
pub(super) struct SharedObject<'a> {
    /// Its path below `.app/`.
    pub(super) path: &'a str,
    /// What it asks of a host.
    pub(super) code: NativeCode,
    /// The module of Python that it is, if its name says so.
    pub(super) module: Option<ExtensionModule<'a>>,
}

/// A module of Python in native code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExtensionModule<'a> {
    /// Its path below `.app/`, without all extensions: several files may be one module, each for another interpreter.
    name: &'a str,
    /// The interpreters that import it.
    abi: Abi<'a>,
}

/// The interpreters that a module of native code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abi<'a> {
    /// CPython with this tag: `311`.
    CPython(&'a str),
    /// Any later CPython (PEP 384).
    Stable,
    /// One of Windows.
    Windows,
}

/// The program that loads shared objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loader<'a> {
    /// The interpreter, where it is one of Python.
    pub(super) interpreter: Option<&'a Interpreter>,
    /// The machine that the program of the package is built for; none where the host has the program.
    pub(super) machine: Option<Architecture>,
}

/// Whether the file at that path below `.app/` is a shared object by its name.
pub(super) fn is_shared_object(path: &str) -> bool {
    let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    path.ends_with(".so") || path.ends_with(".pyd") || path.rsplit_once(".so.").is_some_and(|(_, end)| is_version(end))
}

impl<'a> ExtensionModule<'a> {
    /// The module of Python that the file at that path is; none where its name does not say so (PEP 3149).
    pub(super) fn of(path: &'a str) -> Option<ExtensionModule<'a>> {
        let begin = path.rfind('/').map_or(0, |at| at + 1);
        let (stem, extensions) = path[begin..].split_once('.')?;
        let abi = if let Some(tag) = extensions.strip_prefix("cpython-") {
            Abi::CPython(tag.split(['-', '.']).next()?.trim_end_matches('m'))
        } else if extensions.starts_with("abi3") {
            Abi::Stable
        } else if extensions.ends_with("pyd") {
            Abi::Windows
        } else {
            return None;
        };
        Some(ExtensionModule { name: &path[..begin + stem.len()], abi })
    }

    /// Whether CPython with that tag imports it, on the right machine. Of one for Windows its machine is told.
    fn is_for(&self, version: &str) -> bool {
        match self.abi {
            Abi::CPython(tag) => tag == version,
            Abi::Stable | Abi::Windows => true,
        }
    }
}

impl Loader<'_> {
    /// What is wrong or doubtful with these shared objects for this program.
    pub(super) fn judge(self, objects: &[SharedObject<'_>]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let version = self.version(objects);
        problems.extend(version.as_deref().and_then(|version| self.of_another_version(objects, version)));
        if problems.is_empty() {
            problems.extend(self.unnamed_version(objects));
        }
        let importable: Vec<_> = objects.iter().filter(|object| object.is_for(version.as_deref())).collect();
        problems.extend(self.of_another_machine(&importable));
        problems.extend(self.newer_glibc(objects));
        problems
    }

    /// The version of the interpreter: what it is known to be, or else the one that imports the most modules.
    fn version(self, objects: &[SharedObject<'_>]) -> Option<String> {
        let interpreter = self.interpreter?;
        if interpreter.version.is_some() {
            return interpreter.version.clone();
        }
        let versions: BTreeSet<_> = objects.iter().filter_map(SharedObject::version).collect();
        let of_another = |version: &&&str| not_for(objects, version).len();
        versions.iter().min_by_key(of_another).map(|version| (*version).to_owned())
    }

    /// Modules that no file makes importable to an interpreter of that version.
    fn of_another_version(self, objects: &[SharedObject<'_>], version: &str) -> Option<Problem> {
        let not_imported = not_for(objects, version);
        let first = not_imported.first()?;
        let built_for = dotted(first.version().unwrap_or_default());
        let against = if self.interpreter?.version.is_some() {
            format!("the program is run by CPython {}", dotted(version))
        } else {
            format!("other modules for {}, which no interpreter imports together", dotted(version))
        };
        let more = and_more(&not_imported);
        let cure = self.cure(first);
        let said = format!("is built for CPython {built_for}{more}, and {against}: {cure}");
        Some(Problem::wrong(first.about(), said))
    }

    /// Modules for one version, where the host has the interpreter and `run` leaves open which one.
    fn unnamed_version(self, objects: &[SharedObject<'_>]) -> Option<Problem> {
        let Interpreter { name, version: None } = self.interpreter? else { return None };
        if self.machine.is_some() {
            return None;
        }
        let module = objects.iter().find(|object| object.version().is_some())?;
        let version = dotted(module.version()?);
        let said = format!(
            "is built for CPython {version}, and `run` names {name}, which is another version on some hosts: name python{version}"
        );
        Some(Problem::doubtful(module.about(), said))
    }

    /// What cannot be loaded on the machine of the program; where that is not known, on the one on which the most can be.
    fn of_another_machine(self, objects: &[&SharedObject<'_>]) -> Option<Problem> {
        let machine = self.machine.or_else(|| {
            [Architecture::X86_64, Architecture::Aarch64]
                .into_iter()
                .min_by_key(|machine| not_on(objects, *machine).len())
        })?;
        let not_loaded = not_on(objects, machine);
        let first = not_loaded.first()?;
        let alike = objects.iter().find(|object| object.code.target == NativeTarget::Linux(machine));
        let built_for = first.code.target;
        let machine = machine.name();
        let against = match (self.machine, alike) {
            (Some(_), _) => format!("the program for {machine}"),
            (None, Some(other)) => format!("{} for {machine}, and no host is both", other.about()),
            (None, None) => "hosts are Linux on x86_64 or aarch64".to_owned(),
        };
        let more = and_more(&not_loaded);
        let cure = self.cure(first);
        let said = format!("is built for {built_for}{more}, and {against}: {cure}");
        let weight =
            if self.interpreter.is_some() && first.module.is_some() { Problem::wrong } else { Problem::doubtful };
        Some(weight(first.about(), said))
    }

    /// What asks for a glibc that not all hosts have.
    fn newer_glibc(self, objects: &[SharedObject<'_>]) -> Option<Problem> {
        let mut newer: Vec<_> = objects.iter().filter(|object| object.code.glibc > Some(OLDEST_GLIBC)).collect();
        newer.sort_by_key(|object| std::cmp::Reverse(object.code.glibc));
        let first = newer.first()?;
        let glibc = first.code.glibc?;
        let said = format!(
            "asks for glibc {glibc}{}, Amazon Linux 2023 has {OLDEST_GLIBC}, Debian 12 has {NEXT_GLIBC}: {}",
            and_more(&newer),
            self.cure_of_glibc(first)
        );
        Some(Problem::doubtful(first.about(), said))
    }

    fn cure(self, object: &SharedObject<'_>) -> String {
        self.installation_of(object).unwrap_or_else(|| "build it for that, or leave it out".to_owned())
    }

    fn cure_of_glibc(self, object: &SharedObject<'_>) -> String {
        let otherwise = || "build it on the oldest system that your hosts run, or link it statically".to_owned();
        self.installation_of(object).unwrap_or_else(otherwise)
    }

    /// How another build of an object is installed; none of what `uv` has not installed.
    fn installation_of(self, object: &SharedObject<'_>) -> Option<String> {
        let is_installed = self.interpreter.is_some() && object.path.starts_with("lib/");
        is_installed.then(|| Interpreter::installation(self.interpreter, self.machine))
    }
}

impl<'a> SharedObject<'a> {
    fn about(&self) -> String {
        format!(".app/{}", self.path)
    }

    /// What the program loads by one name, from whichever of its files fits.
    fn name(&self) -> &'a str {
        self.module.map_or(self.path, |module| module.name)
    }

    /// The tag of the only version of CPython that imports it, if there is such a one.
    fn version(&self) -> Option<&'a str> {
        match self.module?.abi {
            Abi::CPython(tag) => Some(tag),
            Abi::Stable | Abi::Windows => None,
        }
    }

    /// Whether it is no module of another version.
    fn is_for(&self, version: Option<&str>) -> bool {
        match (self.module, version) {
            (Some(module), Some(version)) => module.is_for(version),
            (None, _) | (_, None) => true,
        }
    }
}

/// The modules that CPython with that tag does not import, from no file.
fn not_for<'o, 'a>(objects: &'o [SharedObject<'a>], version: &str) -> Vec<&'o SharedObject<'a>> {
    let imported: BTreeSet<_> = objects
        .iter()
        .filter_map(|object| object.module)
        .filter(|module| module.is_for(version))
        .map(|module| module.name)
        .collect();
    let is_missing = |object: &&SharedObject<'_>| object.module.is_some_and(|module| !imported.contains(module.name));
    objects.iter().filter(is_missing).collect()
}

/// What cannot be loaded on that machine: modules that no file has for it, and each other object that is for another.
fn not_on<'o, 'a>(objects: &[&'o SharedObject<'a>], machine: Architecture) -> Vec<&'o SharedObject<'a>> {
    let mut loaded = BTreeMap::new();
    for object in objects {
        *loaded.entry(object.name()).or_insert(false) |= object.code.target == NativeTarget::Linux(machine);
    }
    objects.iter().filter(|object| loaded.get(object.name()) == Some(&false)).copied().collect()
}

fn and_more(objects: &[&SharedObject<'_>]) -> String {
    match objects.len() {
        0 | 1 => String::new(),
        2 => " (and one more)".to_owned(),
        count => format!(" (and {} more)", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: NativeTarget = NativeTarget::Linux(Architecture::X86_64);
    const AARCH64: NativeTarget = NativeTarget::Linux(Architecture::Aarch64);

    /// Paths, targets and versions of glibc.
    type Objects<'a> = &'a [(&'a str, NativeTarget, u16)];
    /// A weight, and parts of what is said.
    type Told<'a> = (&'a str, &'a [&'a str]);

    /// What is said of these objects.
    fn said(run: Option<(&str, Option<&str>)>, machine: Option<Architecture>, objects: Objects) -> Vec<Problem> {
        let interpreter =
            run.map(|(name, version)| Interpreter { name: name.to_owned(), version: version.map(str::to_owned) });
        let objects: Vec<_> = objects
            .iter()
            .map(|(path, target, glibc)| SharedObject {
                path,
                code: NativeCode { target: *target, glibc: Some(Glibc(*glibc)) },
                module: ExtensionModule::of(path),
            })
            .collect();
        Loader { interpreter: interpreter.as_ref(), machine }.judge(&objects)
    }

    #[test]
    fn shared_object_that_the_program_cannot_load_is_told_with_its_cure() {
        let python311 = Some(("python3.11", Some("311")));
        let python3 = Some(("python3", None));
        let x86_64 = Some(Architecture::X86_64);
        let a311 = "lib/a.cpython-311-x86_64-linux-gnu.so";
        let a312 = "lib/a.cpython-312-x86_64-linux-gnu.so";
        let b311 = "lib/b.cpython-311-x86_64-linux-gnu.so";
        let b312 = "lib/b.cpython-312-x86_64-linux-gnu.so";
        let arm = "lib/c/a.cpython-311-aarch64-linux-gnu.so";
        let wrong = "wrong: ";
        let doubtful = "doubtful: ";
        let table: &[(_, _, Objects, &[Told])] = &[
            // The version of Python.
            (python311, None, &[(a311, X86_64, 17)], &[]),
            (python311, None, &[("lib/a.abi3.so", X86_64, 17), ("lib/x.libs/libz-1.so.1.2", X86_64, 17)], &[]),
            (
                python311,
                None,
                &[(a312, X86_64, 17), (b312, X86_64, 17)],
                &[(
                    wrong,
                    &[
                        ".app/lib/a.cpython-312-x86_64-linux-gnu.so: is built for CPython 3.12 (and one more), and the program is run by CPython 3.11: ",
                        "uv pip install --target .app/lib --python-version 3.11 --python-platform x86_64-manylinux_2_34 -r ",
                    ],
                )],
            ),
            (python311, None, &[(a311, X86_64, 17), (a312, X86_64, 17)], &[]),
            (
                Some(("python3.13t", Some("313t"))),
                None,
                &[("lib/a.cpython-313-x86_64-linux-gnu.so", X86_64, 17)],
                &[(wrong, &["for CPython 3.13,", "by CPython 3.13t: "])],
            ),
            (Some(("python3.7", Some("37"))), None, &[("lib/a.cpython-37m-x86_64-linux-gnu.so", X86_64, 17)], &[]),
            (
                python3,
                None,
                &[(a311, X86_64, 17)],
                &[(doubtful, &["is built for CPython 3.11, and `run` names python3, ", "name python3.11"])],
            ),
            (python3, None, &[("lib/a.abi3.so", X86_64, 17)], &[]),
            // An interpreter of the package.
            (python3, x86_64, &[(a311, X86_64, 17)], &[]),
            (
                python3,
                None,
                &[(a311, X86_64, 17), (b311, X86_64, 17), ("lib/c.cpython-312-x86_64-linux-gnu.so", X86_64, 17)],
                &[(
                    wrong,
                    &[
                        ".app/lib/c.cpython-312",
                        "for CPython 3.12, and other modules for 3.11, which no interpreter imports together: ",
                    ],
                )],
            ),
            // Not a program in Python: the names say nothing.
            (None, None, &[(a311, X86_64, 17), (b312, X86_64, 17)], &[]),
            // The machine.
            (
                python311,
                x86_64,
                &[(arm, AARCH64, 17)],
                &[(wrong, &["is built for aarch64, and the program for x86_64: uv", "x86_64-manylinux_2_34"])],
            ),
            (python311, Some(Architecture::Aarch64), &[(arm, AARCH64, 17)], &[]),
            (python311, None, &[(arm, AARCH64, 17)], &[]),
            (
                python311,
                None,
                &[(a311, X86_64, 17), (b311, X86_64, 17), (arm, AARCH64, 17)],
                &[(
                    wrong,
                    &[
                        ".app/lib/c/a.",
                        "is built for aarch64, and .app/lib/a.cpython-311-x86_64-linux-gnu.so for x86_64, and no host is both: ",
                    ],
                )],
            ),
            // One module for both machines.
            (python311, None, &[(a311, X86_64, 17), ("lib/a.cpython-311-aarch64-linux-gnu.so", AARCH64, 17)], &[]),
            // For either machine there is a file, but for the version that is run there is none.
            (
                python311,
                Some(Architecture::Aarch64),
                &[(a311, X86_64, 17), ("lib/a.cpython-312-aarch64-linux-gnu.so", AARCH64, 17)],
                &[(wrong, &["is built for x86_64, and the program for aarch64: "])],
            ),
            (
                python311,
                None,
                &[("lib/a.cpython-311-darwin.so", NativeTarget::MacOs, 17)],
                &[(wrong, &["is built for macOS, and hosts are Linux on x86_64 or aarch64: uv"])],
            ),
            (
                python311,
                None,
                &[("lib/a.cp311-win_amd64.pyd", NativeTarget::Windows, 17)],
                &[(wrong, &["is built for Windows, "])],
            ),
            (
                None,
                x86_64,
                &[("plugins/x.so", AARCH64, 17)],
                &[(
                    doubtful,
                    &["is built for aarch64, and the program for x86_64: build it for that, or leave it out"],
                )],
            ),
            (
                None,
                x86_64,
                &[("x.so", NativeTarget::OtherMachine(243), 17)],
                &[(doubtful, &["is built for another machine (ELF e_machine 243), and the program"])],
            ),
            // glibc.
            (None, x86_64, &[("server", X86_64, 34)], &[]),
            (
                None,
                x86_64,
                &[("server", X86_64, 38), ("x.so", X86_64, 39), ("y.so", X86_64, 34)],
                &[(
                    doubtful,
                    &[
                        ".app/x.so: asks for glibc 2.39 (and one more), Amazon Linux 2023 has 2.34, Debian 12 has 2.36: build it on the oldest",
                    ],
                )],
            ),
            (python311, None, &[(a311, X86_64, 35)], &[(doubtful, &["asks for glibc 2.35, ", ": uv pip install"])]),
        ];
        for (run, machine, objects, expected) in table {
            let problems = said(*run, *machine, objects);
            assert_eq!(problems.len(), expected.len(), "{objects:?}: {problems:?}");
            for (problem, (weight, parts)) in problems.iter().zip(*expected) {
                let told = format!("{:?}: {problem}", problem.weight).to_lowercase();
                assert!(told.starts_with(weight), "{told}");
                for part in *parts {
                    assert!(problem.to_string().contains(part), "{part}: {problem}");
                }
            }
        }
    }

    #[test]
    fn shared_objects_are_known_by_their_names() {
        for (path, expected) in [
            ("lib/a.so", true),
            ("lib/libz.so.1.2.13", true),
            ("lib/libz-5f2a.so.1", true),
            ("a.cp311-win_amd64.pyd", true),
            ("lib/a.so.py", false),
            ("lib/a.sooner", false),
            ("lib/so", false),
        ] {
            assert_eq!(is_shared_object(path), expected, "{path}");
        }
        for path in ["", "/", ".", "a", "lib/.so", "é.cpython-", "x.cpython-.so", "x.abi3.so", "a/b."] {
            let module = ExtensionModule::of(path);
            assert!(module.is_none_or(|module| path.starts_with(module.name)), "{path}");
        }
    }
}
