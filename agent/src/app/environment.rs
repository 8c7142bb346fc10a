//! The environment of a process: none of the agent's own, but for where programs are found.

use std::{collections::BTreeMap, env};

use spothost_server::{ProcessPlan, ProgramPlace};

use super::{endpoint::ListenPlace, supervised::Launch};
use crate::process::wire::ProcessFolders;

/// Where programs are found if this program was not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The words of its command: the program, where it lies, and its arguments.
pub(super) fn words(plan: &ProcessPlan, folders: &ProcessFolders, place: Option<&ListenPlace>) -> Vec<String> {
    let program = match &plan.program {
        ProgramPlace::Package(path) => format!("{}/{path}", folders.tree),
        ProgramPlace::Host(path) => path.clone(),
        ProgramPlace::Path(name) => name.clone(),
    };
    let arguments = plan.words.iter().skip(1).map(|word| match place {
        None | Some(ListenPlace::Passed { .. }) => word.clone(),
        Some(ListenPlace::Port(port)) => word.replace("$PORT", &port.to_string()),
        Some(ListenPlace::Socket(path)) => word.replace("$SOCKET", &path.to_string_lossy()),
    });
    std::iter::once(program).chain(arguments).collect()
}

/// All variables but those of a listener that is passed. What the package says comes last: it may know better than the defaults, and
/// names none that the host sets.
pub(super) fn environment(
    launch: &Launch,
    folders: &ProcessFolders,
    place: Option<&ListenPlace>,
) -> BTreeMap<String, String> {
    let ProcessFolders { tree, home, temporary } = folders;
    let path = env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
    let mut variables: BTreeMap<String, String> = [
        ("PATH", format!("{tree}/bin:{path}")),
        ("HOME", home.clone()),
        ("STATE", home.clone()),
        ("TMPDIR", temporary.clone()),
        ("PYTHONPATH", format!("{tree}:{tree}/lib")),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("FORWARDED_ALLOW_IPS", "*".to_owned()),
        ("WEB_CONCURRENCY", launch.processes.to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("SPOTHOST_DOMAIN", launch.name.to_string()),
        ("SPOTHOST_VERSION", launch.version.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    match place {
        None | Some(ListenPlace::Passed { .. }) => {}
        Some(ListenPlace::Port(port)) => drop(variables.insert("PORT".to_owned(), port.to_string())),
        Some(ListenPlace::Socket(path)) => {
            drop(variables.insert("SOCKET".to_owned(), path.to_string_lossy().into_owned()));
        }
    }
    variables.extend(launch.plan.env.clone());
    variables
}
