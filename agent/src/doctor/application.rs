//! The application: who can have this site's hosts run a program, and whether this host can.

use std::{
    env,
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

use spothost_server::ProgramPlace;

use super::{Case, Line, Subject};
use crate::{
    app,
    config::{App, MemoryLimit},
    documents::layout,
    place::PackagePlace,
    process::memory,
    status::{Part, PartPhase, PartStatus, read},
};

/// Where `spothost-app.socket` listens, in a folder of root's.
const SOCKET: &str = "/run/spothost-app/runner.sock";
/// Where a unit lies (systemd.unit(5)).
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const UNIT: &str = "spothost-app@.service";
/// A file that the unified hierarchy of control groups has, and the one before has not (cgroups(7)).
const UNIFIED: &str = "/sys/fs/cgroup/cgroup.controllers";
/// What the system and the agent need beside the application.
const LEAST_LEFT: u64 = 192 << 20;

/// Looks at what `[app]` asks for, if it is configured.
pub(super) async fn examined(case: &Case<'_>) -> Vec<Line> {
    let Some(app) = &case.config.app else { return Vec::new() };
    let mut lines = vec![publishers(&case.config.package, case.config.package_keys.is_empty())];
    let package = case.told.folders.package_cache(&case.config.package).last_good().await;
    let plan = package.as_ref().and_then(|package| package.site.process());
    // With the credentials of a person it would say nothing of the host, and fetch the values to another machine.
    if case.is_the_host()
        && let (Some(place), Some(aws)) = (case.config.secrets(), &case.aws)
    {
        let needs = plan.map(|plan| plan.needs.clone()).unwrap_or_default();
        lines.push(match app::examined(place, Some(aws), &needs).await {
            Ok(said) => Line::ok(Subject::Application, format!("its secrets can be read: {said}")),
            Err(fault) => Line::fault(Subject::Application, &fault),
        });
    }
    if !case.is_the_host() {
        return lines;
    }
    lines.push(socket(fs::metadata(SOCKET)));
    lines.push(unit(UNITS.iter().any(|folder| Path::new(folder).join(UNIT).exists())));
    lines.push(wall(Path::new(UNIFIED).exists()));
    lines.extend(memory::bytes(MemoryLimit::Percent(100)).and_then(|all| room(app, all)));
    if let Some(plan) = plan {
        lines.extend(interpreter(&plan.program, &env::var("PATH").unwrap_or_default()));
    }
    if let Ok(status) = read(&case.told.folders.runtime.join(layout::STATUS)) {
        lines.extend(status.parts.iter().find(|part| part.part == Part::Application).and_then(state));
    }
    lines
}

/// Whether writing to the bucket is enough to run a program on the hosts.
fn publishers(place: &PackagePlace, unsigned: bool) -> Line {
    if unsigned {
        Line::warning(
            Subject::Application,
            format!(
                "PACKAGES ARE NOT SIGNED AND BRING PROGRAMS: each account that can write to {place} can run any program on every host"
            ),
            "sign packages: minisign -G, publish with --sign KEY, then write the public key into the hosts' configuration as package_key",
        )
    } else {
        Line::ok(
            Subject::Application,
            format!("a program is run only if a package_key has signed its package at {place}"),
        )
    }
}

fn socket(found: io::Result<Metadata>) -> Line {
    match found {
        Ok(found) if found.file_type().is_socket() => {
            Line::ok(Subject::Application, "spothost-app.socket listens for the agent")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Line::warning(Subject::Application, format!("{SOCKET} can be seen by root alone"), "sudo spothost doctor")
        }
        _ => Line::wrong(
            Subject::Application,
            "spothost-app.socket does not listen: systemd cannot start an application for the agent",
            "sudo systemctl start spothost-app.socket && sudo systemctl restart spothost",
        ),
    }
}

fn unit(is_there: bool) -> Line {
    if is_there {
        Line::ok(Subject::Application, format!("{UNIT} is installed"))
    } else {
        Line::wrong(
            Subject::Application,
            format!("{UNIT} is not installed: systemd can start no application"),
            "install the package of this version of spothost again, or launch a host from a launch template of this version",
        )
    }
}

/// Whether systemd can deny addresses at all. Whether it does is tried by the runner before each start, and told by the state.
fn wall(unified: bool) -> Line {
    if unified {
        Line::ok(Subject::Application, "systemd can deny the application the metadata of the instance")
    } else {
        Line::wrong(
            Subject::Application,
            "without unified control groups (cgroup v2) systemd cannot deny the application the metadata of the instance, and no \
             application is started",
            "use an image of Amazon Linux 2023, Debian 12 or 13, or Ubuntu 24.04, or boot with systemd.unified_cgroup_hierarchy=1",
        )
    }
}

/// What the application may take of the memory of this machine, in bytes; nothing where its limit is not known.
fn room(app: &App, all: u64) -> Option<Line> {
    let limit = match app.memory {
        MemoryLimit::Percent(percent) => all / 100 * u64::from(percent),
        MemoryLimit::Bytes(bytes) => bytes,
    };
    let left = all.saturating_sub(limit);
    let said = format!(
        "the application may take {} of {} MiB, which leaves {} to the system and the agent",
        limit >> 20,
        all >> 20,
        left >> 20
    );
    Some(if left >= LEAST_LEFT {
        Line::ok(Subject::Application, said)
    } else {
        let mend = format!(
            "leave them {} MiB: a smaller `memory` below [app], or instances with more of it",
            LEAST_LEFT >> 20
        );
        Line::warning(Subject::Application, said, mend)
    })
}

/// Whether the program that the package names is on this host; nothing where the package brings it.
fn interpreter(program: &ProgramPlace, path: &str) -> Option<Line> {
    let (name, found) = match program {
        ProgramPlace::Package(_) => return None,
        ProgramPlace::Host(place) => (place, Path::new(place).is_file()),
        ProgramPlace::Path(name) => (name, env::split_paths(path).any(|folder| folder.join(name).is_file())),
    };
    Some(if found {
        Line::ok(Subject::Application, format!("{name}, which runs the program of the package, is installed"))
    } else {
        Line::warning(
            Subject::Application,
            format!("{name}, which is to run the program of the package, is not installed here; .app/bin may bring it"),
            format!("let the package bring it, or use an image that has {name}"),
        )
    })
}

/// How the application does, as the agent has it from the runner.
fn state(part: &PartStatus) -> Option<Line> {
    match (&part.fault, part.phase) {
        (Some(fault), _) if fault.tries > 0 => Some(Line::wrong(
            Subject::Application,
            format!("{}: {}", fault.doing, fault.said),
            fault.remedy.clone().unwrap_or_else(|| "spothost app log".to_owned()),
        )),
        (_, PartPhase::Kept) => Some(Line::ok(Subject::Application, "the application of the package runs and is well")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn bucket_that_runs_code_without_a_key_is_warned_of_loudly() {
        let place: PackagePlace = PackagePlace::try_from("s3://sites/www/".to_owned()).expect("a place");
        let line = publishers(&place, true);
        assert_eq!(line.is, LineState::Warning);
        assert!(line.said.contains("NOT SIGNED") && line.said.contains("s3://sites/www/"), "{line:?}");
        assert!(line.mend.is_some_and(|mend| mend.contains("package_key")));
        assert_eq!(publishers(&place, false).is, LineState::Ok);
    }

    #[test]
    fn socket_that_is_none_or_is_missing_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runner.sock");
        assert_eq!(socket(fs::metadata(&path)).is, LineState::Wrong);
        fs::write(&path, "").expect("written");
        assert_eq!(socket(fs::metadata(&path)).is, LineState::Wrong);
        fs::remove_file(&path).expect("removed");
        let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        assert_eq!(socket(fs::metadata(&path)).is, LineState::Ok);
        assert_eq!(socket(Err(ErrorKind::PermissionDenied.into())).is, LineState::Warning);
    }

    #[test]
    fn memory_is_left_to_the_system_and_the_agent() {
        let of = |memory, all: u64| room(&App { memory, ..App::default() }, all << 20).expect("a line");
        assert_eq!(of(MemoryLimit::Percent(55), 460).is, LineState::Ok);
        assert_eq!(of(MemoryLimit::Percent(90), 460).is, LineState::Warning);
        assert_eq!(of(MemoryLimit::Bytes(600 << 20), 460).is, LineState::Warning);
        let said = of(MemoryLimit::Bytes(300 << 20), 1000).said;
        assert!(said.contains("300 of 1000 MiB") && said.contains("leaves 700"), "{said}");
    }

    #[test]
    fn interpreter_is_looked_for_where_the_process_will_look() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("python3.11"), "").expect("written");
        let path = format!("/nonexistent:{}", folder.path().display());
        let is = |program| interpreter(&program, &path).map(|line| line.is);
        assert_eq!(is(ProgramPlace::Path("python3.11".to_owned())), Some(LineState::Ok));
        assert_eq!(is(ProgramPlace::Path("python3.12".to_owned())), Some(LineState::Warning));
        assert_eq!(is(ProgramPlace::Host("/nonexistent/node".to_owned())), Some(LineState::Warning));
        assert_eq!(is(ProgramPlace::Package("bin/server".to_owned())), None);
    }
}
