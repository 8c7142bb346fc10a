//! Where the distributions of Linux keep the CAs that an administrator trusts.

use std::path::Path;

use super::machine::Machine;
use crate::shell::word;

/// A family of distributions: its folder of trusted CAs, and the commands around it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    /// Folder into which an administrator puts certificates, below the root.
    pub anchors: &'static str,
    /// How the names of files there end.
    pub ending: &'static str,
    /// The command that makes what programs read of that folder, and its arguments.
    pub update: &'static [&'static str],
    /// The same after a file was removed.
    pub update_removed: &'static [&'static str],
    /// The command that brings `certutil`.
    pub brings_certutil: &'static str,
}

/// The folder of one family never lies on another, except that Debian's is common: so it comes after Fedora's.
const DISTRIBUTIONS: [Distribution; 4] = [
    // Fedora, RHEL, CentOS, Amazon Linux: update-ca-trust(8).
    Distribution {
        anchors: "etc/pki/ca-trust/source/anchors",
        ending: "pem",
        update: &["update-ca-trust", "extract"],
        update_removed: &["update-ca-trust", "extract"],
        brings_certutil: "dnf install nss-tools",
    },
    // Debian, Ubuntu: update-ca-certificates(8).
    Distribution {
        anchors: "usr/local/share/ca-certificates",
        ending: "crt",
        update: &["update-ca-certificates"],
        // Without this the links to a file that is gone stay in /etc/ssl/certs.
        update_removed: &["update-ca-certificates", "--fresh"],
        brings_certutil: "apt-get install libnss3-tools",
    },
    // Arch: trust(1) of p11-kit.
    Distribution {
        anchors: "etc/ca-certificates/trust-source/anchors",
        ending: "crt",
        update: &["trust", "extract-compat"],
        update_removed: &["trust", "extract-compat"],
        brings_certutil: "pacman -S nss",
    },
    // SUSE: update-ca-certificates(8) of its own.
    Distribution {
        anchors: "usr/share/pki/trust/anchors",
        ending: "pem",
        update: &["update-ca-certificates"],
        update_removed: &["update-ca-certificates"],
        brings_certutil: "zypper install mozilla-nss-tools",
    },
];

impl Distribution {
    /// The one that `machine` runs, by the folder that it has.
    pub(super) fn of(machine: &Machine) -> Option<&'static Distribution> {
        DISTRIBUTIONS.iter().find(|distribution| machine.below(distribution.anchors).is_dir())
    }

    /// The command to run after `removes` says whether files were removed.
    pub(super) fn update(&self, removes: bool) -> &'static [&'static str] {
        if removes { self.update_removed } else { self.update }
    }

    /// The command line for root that removes the files `remove`, puts the certificate at `add` into its place, and tells all
    /// programs.
    pub(super) fn by_hand(&self, remove: &[&Path], add: Option<(&Path, &Path)>) -> String {
        let mut steps = Vec::new();
        if !remove.is_empty() {
            let paths: Vec<String> = remove.iter().map(|path| word(path)).collect();
            steps.push(format!("sudo rm {}", paths.join(" ")));
        }
        if let Some((from, to)) = add {
            steps.push(format!("sudo install -m 644 {} {}", word(from), word(to)));
        }
        steps.push(format!("sudo {}", self.update(!remove.is_empty()).join(" ")));
        steps.join(" && ")
    }
}
