//! The units, as systemd reads them.

use std::{fs, process::Command};

use tempfile::TempDir;

use world::tools::{Ran, repository, run, tool};

/// Exposure in the tenths that `--threshold` takes. The units say why the rest cannot be had.
const EXPOSURE: [(&str, u32); 2] = [("spothost.service", 11), ("spothost-app@.service", 20)];
/// What belongs to a host.
const UNITS: [&str; 6] = [
    "spothost.service",
    "spothost.socket",
    "spothost-app.socket",
    "spothost-app@.service",
    "spothost-upgrade.service",
    "spothost-upgrade.timer",
];

#[test]
fn units_leave_little_exposed() {
    for (unit, tenths) in EXPOSURE {
        let ran = run(Command::new(tool("ground/bin/systemd-analyze"))
            .args(["security", "--offline=yes", "--no-pager", &format!("--threshold={tenths}")])
            .arg(repository().join("systemd").join(unit)))
        .succeeded();
        assert!(ran.out.contains("Overall exposure level for spothost"), "{ran:#?}");
    }
}

#[test]
fn unit_is_understood_by_systemd_to_the_last_line() {
    let root = installed(|unit| unit);
    let ran = verify(&root).succeeded();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
}

#[test]
fn verification_sees_a_misspelt_line() {
    let root = installed(|unit| unit.replace("WatchdogSec=", "WatchdogSecs="));
    assert!(verify(&root).err.contains("Unknown key 'WatchdogSecs'"));
}

#[test]
fn unit_keeps_on_except_when_the_configuration_is_refused() {
    let unit = text("spothost.service");
    for line in [
        "Type=notify",
        "Restart=always",
        "StartLimitIntervalSec=0",
        // Longer than the two minutes that a spot notice leaves: systemd counts from STOPPING=1 on.
        "TimeoutStopSec=130s",
        "RestartPreventExitStatus=64 3",
        "ExecStart=/usr/local/bin/spothost run --config /etc/spothost/spothost.toml",
        "LimitCORE=0",
        // A share of what there is: about 280 MiB of a t3.nano.
        "MemoryMax=60%",
        "CapabilityBoundingSet=",
        "Requires=spothost.socket",
        "Wants=spothost-app.socket",
        // These two belong together: with another mode systemd kills the agent that drains.
        "Environment=SPOTHOST_DRAIN=beside",
        "KillMode=process",
        "OOMPolicy=continue",
        // A process of an application outlives the agent that asked for it.
        "FileDescriptorStoreMax=64",
    ] {
        assert!(unit.lines().any(|other| other == line), "the unit has no line {line}");
    }
    let waits = |line: &str| {
        let mut parts =
            ["ExecStopPost=-+", ": >/run/spothost/unfollowed;", "flock --wait 31 /run/spothost/draining"].iter();
        parts.all(|part| line.contains(part))
    };
    assert!(unit.lines().any(waits), "a stop does not wait for the drain");
    let unset = unit.lines().filter_map(|line| line.strip_prefix("UnsetEnvironment="));
    let unset: Vec<_> = unset.flat_map(str::split_whitespace).collect();
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_EC2_METADATA_SERVICE_ENDPOINT"] {
        assert!(unset.contains(&name), "{name} reaches the agent");
    }
}

/// The socket lies where only root looks, and the agent's unit has it and nothing beside it.
#[test]
fn agent_alone_reaches_the_runner() {
    let socket = text("spothost-app.socket");
    for line in ["ListenSequentialPacket=/run/spothost-app/runner.sock", "DirectoryMode=0700", "Accept=yes"] {
        assert!(socket.lines().any(|other| other == line), "the socket has no line {line}");
    }
    // With `-`: a host whose socket is missing serves files.
    let mounted = "BindPaths=-/run/spothost-app/runner.sock:/run/spothost-app.sock";
    assert!(text("spothost.service").lines().any(|line| line == mounted));
    assert!(!text("spothost.service").contains("SupplementaryGroups="), "a missing group keeps a unit from starting");
}

#[test]
fn unit_of_an_application_is_walled_in_and_leaves_the_runner_its_means() {
    let unit = text("spothost-app@.service");
    let has = |line: &str| unit.lines().any(|other| other == line);
    for line in [
        "ExecStart=/usr/local/bin/spothost app",
        "IPAddressDeny=169.254.169.254 fd00:ec2::254 169.254.170.2 169.254.170.23 fd00:ec2::23",
        "Delegate=memory pids",
        // The account would be that of all instances without the instance in it.
        "User=spothost-%i",
        "DynamicUser=yes",
        // systemd would end the runner, which has to tell what the kernel killed.
        "OOMPolicy=continue",
        "KillMode=mixed",
        "Before=spothost.service",
        "SyslogLevelPrefix=no",
    ] {
        assert!(has(line), "the unit has no line {line}");
    }
    for line in ["ProtectControlGroups=yes", "MemoryDenyWriteExecute=yes", "NoExecPaths=", "Restart="] {
        assert!(!unit.lines().any(|other| other.starts_with(line)), "the unit has a line {line}");
    }
}

/// The text of a unit.
fn text(name: &str) -> String {
    fs::read_to_string(repository().join("systemd").join(name)).expect("the unit is there")
}

/// What systemd says of the units in `folder`, where packages put them and their program.
pub(crate) fn verified_in_usr(folder: &std::path::Path) -> Ran {
    let root = installed(|unit| unit);
    for name in UNITS {
        fs::remove_file(root.path().join("etc/systemd/system").join(name)).expect("a unit is removed");
        fs::copy(folder.join(name), root.path().join("usr/lib/systemd/system").join(name)).expect("a unit is placed");
    }
    fs::create_dir_all(root.path().join("usr/bin")).expect("a folder is made");
    fs::rename(root.path().join("usr/local/bin/spothost"), root.path().join("usr/bin/spothost")).expect("moved");
    verify(&root)
}

/// A root folder with systemd's own targets, the unit and something at the place of the binary.
fn installed(edit: impl Fn(String) -> String) -> TempDir {
    let root = TempDir::new().expect("a temporary folder");
    for folder in ["etc/systemd/system", "usr/local/bin", "usr/lib/systemd/system"] {
        fs::create_dir_all(root.path().join(folder)).expect("a folder is made");
    }
    for name in UNITS {
        let unit = root.path().join("etc/systemd/system").join(name);
        fs::write(unit, edit(text(name))).expect("the unit is written");
    }
    fs::create_dir_all(root.path().join("bin")).expect("a folder is made");
    fs::copy("/bin/sh", root.path().join("bin/sh")).expect("a shell is placed");
    fs::copy("/bin/true", root.path().join("usr/local/bin/spothost")).expect("a binary is placed");
    let unpacked = tool("ground/systemd/tree");
    let own = ["usr/lib/systemd/system", "lib/systemd/system"].map(|path| unpacked.join(path));
    let own = own.iter().find(|path| path.join("sysinit.target").exists()).expect("systemd's own targets are there");
    for entry in fs::read_dir(own).expect("the folder can be listed") {
        let entry = entry.expect("an entry can be read");
        let is_file = entry.file_type().expect("its kind is known").is_file();
        // Of the rest newer versions of systemd find this and that wrong themselves.
        if is_file && entry.path().extension() == Some("target".as_ref()) {
            let to = root.path().join("usr/lib/systemd/system").join(entry.file_name());
            fs::copy(entry.path(), to).expect("a target is copied");
        }
    }
    root
}

fn verify(root: &TempDir) -> Ran {
    run(Command::new(tool("ground/bin/systemd-analyze"))
        .args(["verify", "--man=no", "--no-pager"])
        .arg(format!("--root={}", root.path().display()))
        .args(UNITS))
}
