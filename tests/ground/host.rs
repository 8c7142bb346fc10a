//! A fresh instance: a root folder with nothing in it, and a PATH with nothing on it but what every image has.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use tempfile::TempDir;

use crate::bucket::Bucket;
use world::tools::{Ran, run, tool};

/// What the user data may count on: bash's surroundings on Amazon Linux 2023, Debian 12 and 13, Ubuntu 24.04.
const COMMANDS: &str = "cat chmod cmp cp curl date grep head install mkdir mktemp mv rm sed sha256sum sleep stat sync \
                        tail tee uname";

/// An instance before its first boot.
pub(crate) struct Host {
    root: TempDir,
    path: TempDir,
    /// For how many seconds a failing step is repeated.
    patience: u32,
}

/// A file as a second run must leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The permission bits.
    pub(crate) mode: u32,
    /// The content.
    pub(crate) content: Vec<u8>,
    inode: u64,
    written: SystemTime,
}

impl Host {
    /// One without the AWS CLI, like Debian's and Ubuntu's images.
    pub(crate) fn new() -> Host {
        let folder = || TempDir::new().expect("a temporary folder");
        let host = Host { root: folder(), path: folder(), patience: 300 };
        fs::create_dir(host.root().join("dev")).expect("dev/ is made");
        fs::write(host.root().join("dev/console"), "").expect("the console is made");
        for command in COMMANDS.split_whitespace() {
            host.link(command, &on_path(command));
        }
        // systemd is stood in for: it records what it is told.
        host.stand_in("systemctl", &format!("echo \"$*\" >>'{}'", host.journal().display()));
        host
    }

    /// The same with the AWS CLI, like Amazon Linux.
    pub(crate) fn with_aws_cli(self) -> Host {
        self.link("aws", &tool("ground/bin/aws"));
        for command in ["env", "sh"] {
            self.link(command, &on_path(command));
        }
        self
    }

    /// With a program of that name that does what the shell `script` says.
    pub(crate) fn with(self, name: &str, script: &str) -> Host {
        self.stand_in(name, script);
        self
    }

    /// With a command that does its work, and whose arguments are recorded.
    pub(crate) fn recording(self, command: &str) -> Host {
        let script = format!("echo \"$*\" >>'{}'\nexec {} \"$@\"", self.record().display(), on_path(command).display());
        self.with(command, &script)
    }

    /// The arguments of the recorded command, one call a line.
    pub(crate) fn arguments(&self) -> String {
        fs::read_to_string(self.record()).unwrap_or_default()
    }

    /// One that gives up after the first failure of a step.
    pub(crate) fn impatient(self) -> Host {
        self.patient_for(0)
    }

    /// One that repeats a failing step for so many seconds.
    pub(crate) fn patient_for(mut self, seconds: u32) -> Host {
        self.patience = seconds;
        self
    }

    /// Runs the user data as cloud-init does, with this IMDS and S3.
    pub(crate) fn boot(&self, user_data: &str, bucket: &Bucket) -> Ran {
        let script = self.path.path().join("user-data");
        fs::write(&script, user_data).expect("the user data is written");
        run(Command::new("/bin/bash")
            .arg(script)
            .env_clear()
            .env("PATH", self.path.path())
            .env("SPOTHOST_ROOT", self.root())
            .env("SPOTHOST_PATIENCE", self.patience.to_string())
            .env("AWS_ENDPOINT_URL_S3", bucket.endpoint())
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", bucket.imds().endpoint()))
    }

    /// Runs `spothost check` as it was installed, on the configuration that was installed.
    pub(crate) fn check(&self, bucket: &Bucket) -> Ran {
        let mut installed = Command::new(self.root().join("usr/local/bin/spothost"));
        installed.env_clear();
        run(bucket
            .with_keys(installed)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", bucket.imds().endpoint())
            .env("STATE_DIRECTORY", self.root().join("var/lib/spothost"))
            .env("RUNTIME_DIRECTORY", self.root().join("run/spothost"))
            .args(["check", "--config"])
            .arg(self.root().join("etc/spothost/spothost.toml")))
    }

    /// A file of this host, or none where nothing is.
    pub(crate) fn placed(&self, path: &str) -> Option<Placed> {
        let path = self.root().join(path.trim_start_matches('/'));
        let metadata = fs::metadata(&path).ok()?;
        Some(Placed {
            mode: metadata.permissions().mode() & 0o7777,
            content: fs::read(&path).expect("a placed file can be read"),
            inode: metadata.ino(),
            written: metadata.modified().expect("files have a time"),
        })
    }

    /// Every file of this host but the console.
    pub(crate) fn files(&self) -> BTreeMap<String, Placed> {
        let mut folders = vec![self.root().to_owned()];
        let mut files = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder can be listed") {
                let path = entry.expect("an entry can be read").path();
                let name = format!("/{}", path.strip_prefix(self.root()).expect("below the root").display());
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(placed) = self.placed(&name).filter(|_| name != "/dev/console") {
                    files.insert(name, placed);
                }
            }
        }
        files
    }

    /// What was said on the console.
    pub(crate) fn console(&self) -> String {
        fs::read_to_string(self.root().join("dev/console")).expect("the console can be read")
    }

    /// What systemd was told since the last time this was asked.
    pub(crate) fn told_systemd(&self) -> Vec<String> {
        let told = fs::read_to_string(self.journal()).unwrap_or_default();
        fs::write(self.journal(), "").expect("the journal is emptied");
        told.lines().map(str::to_owned).collect()
    }

    /// Where the files of this host are.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    fn journal(&self) -> PathBuf {
        self.path.path().join("told-systemd")
    }

    fn record(&self) -> PathBuf {
        self.path.path().join("arguments")
    }

    fn link(&self, name: &str, target: &Path) {
        symlink(target, self.path.path().join(name)).expect("a link is made");
    }

    fn stand_in(&self, name: &str, script: &str) {
        let path = self.path.path().join(name);
        // A link of that name would be written through.
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a stand-in is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a stand-in is made executable");
    }
}

/// Where this machine has the command.
fn on_path(command: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    std::env::split_paths(&path)
        .map(|folder| folder.join(command))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("this machine has no {command}, which the user data needs"))
}
