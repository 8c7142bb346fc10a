//! What `launch-template/render` makes of a configuration and a binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{Ran, repository, run};

/// A configuration with everything that is needed.
pub const CONFIGURATION: &str = r#"# The site of these tests.
domain  = "www.example.org"
aliases = ["example.org"]
package = "s3://example-sites/www/"
vault   = "www.example.org/identity"
zone    = "Z0123456789ABC"
"#;

/// The arguments of one call of `render`, with the files that they name.
pub struct Rendering {
    files: TempDir,
    bucket: String,
    binary: (&'static str, PathBuf),
    more: Vec<String>,
}

impl Rendering {
    /// Of a site in `bucket`, with a binary for the machine that runs the tests.
    pub fn new(bucket: &str, binary: &Path) -> Rendering {
        let rendering = Rendering {
            files: TempDir::new().expect("a temporary folder"),
            bucket: bucket.to_owned(),
            binary: (this_machine(), binary.to_owned()),
            more: Vec::new(),
        };
        rendering.configuration(CONFIGURATION)
    }

    /// With another configuration.
    pub fn configuration(self, toml: &str) -> Rendering {
        fs::write(self.files.path().join("spothost.toml"), toml).expect("the configuration is written");
        self
    }

    /// With the binary given for `machine` (`x86-64` or `arm64`).
    pub fn for_machine(mut self, machine: &'static str) -> Rendering {
        self.binary.0 = machine;
        self
    }

    /// With another argument. Of an option that is given twice the last counts.
    pub fn with(mut self, option: &str, value: &str) -> Rendering {
        self.more.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// The script.
    pub fn user_data(&self) -> String {
        self.render(&["--user-data"]).succeeded().out
    }

    /// The launch template.
    pub fn template(&self) -> Value {
        serde_json::from_str(&self.render(&[]).succeeded().out).expect("render prints JSON")
    }

    /// What `render` says against it.
    ///
    /// Panics when it says nothing.
    pub fn refusal(&self) -> String {
        let ran = self.render(&[]);
        assert_ne!(ran.code, Some(0), "it was rendered");
        assert_eq!(ran.out, "", "a refused rendering prints no template");
        ran.err
    }

    fn render(&self, options: &[&str]) -> Ran {
        let (machine, binary) = &self.binary;
        run(Command::new("python3")
            .arg(repository().join("launch-template/render"))
            .arg("--config")
            .arg(self.files.path().join("spothost.toml"))
            .args(["--bucket", &self.bucket, "--image", "ami-0123456789abcdef0", "--root-device", "/dev/xvda"])
            .args(["--instance-profile", "spothost-www", "--security-group", "sg-0123456789abcdef0"])
            .arg(format!("--{machine}"))
            .arg(binary)
            .args(&self.more)
            .args(options))
    }
}

/// The name of this machine's architecture in the options of `render`.
pub fn this_machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => panic!("spothost has no binaries for {other}"),
    }
}

/// The other architecture.
pub fn other_machine() -> &'static str {
    if this_machine() == "arm64" { "x86-64" } else { "arm64" }
}
