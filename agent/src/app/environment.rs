//! The environment of a process: none of the agent's own, but for where programs are found.

use std::{collections::BTreeMap, env, ffi::OsString, path::Path};

use spothost_server::{ProcessPlan, ProgramPlace};

use super::endpoint::ListenPlace;
use crate::place::Name;

/// Where programs are found if this program was not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The folders of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessFolders<'a> {
    /// What the package holds below `.app/`, unpacked: its working folder.
    pub(super) tree: &'a Path,
    /// Its home, which is thrown away with the host.
    pub(super) home: &'a Path,
    /// Where its temporary files lie.
    pub(super) temporary: &'a Path,
}

/// The words of its command: the program, where it lies, and its arguments.
pub(super) fn words(plan: &ProcessPlan, folders: ProcessFolders<'_>, place: &ListenPlace) -> Vec<OsString> {
    let program = match &plan.program {
        ProgramPlace::Package(path) => folders.tree.join(path).into_os_string(),
        ProgramPlace::Host(path) => path.into(),
        ProgramPlace::Path(name) => name.into(),
    };
    let arguments = plan.words.iter().skip(1).map(|word| match place {
        ListenPlace::Passed { .. } => word.into(),
        ListenPlace::Port(port) => word.replace("$PORT", &port.to_string()).into(),
        ListenPlace::Socket(path) => word.replace("$SOCKET", &path.to_string_lossy()).into(),
    });
    std::iter::once(program).chain(arguments).collect()
}

/// All variables but those of a listener that is passed. What the package says comes last: it may know better than the defaults, and
/// names none that the host sets.
pub(super) fn environment(
    plan: &ProcessPlan,
    folders: ProcessFolders<'_>,
    place: &ListenPlace,
    name: &Name,
    version: &str,
) -> BTreeMap<String, OsString> {
    let tree = folders.tree.as_os_str();
    let beside = |folder: &str| folders.tree.join(folder).into_os_string();
    let join = |parts: &[OsString]| parts.join(&OsString::from(":"));
    let mut variables: BTreeMap<String, OsString> = [
        ("PATH", join(&[beside("bin"), env::var_os("PATH").unwrap_or_else(|| PATH.into())])),
        ("HOME", folders.home.into()),
        ("STATE", folders.home.into()),
        ("TMPDIR", folders.temporary.into()),
        ("PYTHONPATH", join(&[tree.to_owned(), beside("lib")])),
        ("PYTHONUNBUFFERED", "1".into()),
        ("FORWARDED_ALLOW_IPS", "*".into()),
        ("WEB_CONCURRENCY", "1".into()),
        ("LANG", "C.UTF-8".into()),
        ("TZ", "UTC".into()),
        ("SPOTHOST_DOMAIN", name.as_str().into()),
        ("SPOTHOST_VERSION", version.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    match place {
        ListenPlace::Passed { .. } => {}
        ListenPlace::Port(port) => drop(variables.insert("PORT".to_owned(), port.to_string().into())),
        ListenPlace::Socket(path) => drop(variables.insert("SOCKET".to_owned(), path.into())),
    }
    variables.extend(plan.env.iter().map(|(name, value)| (name.clone(), value.into())));
    variables
}
