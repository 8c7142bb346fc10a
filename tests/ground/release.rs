//! What a release is made of: the scripts that make it, the manual, the completions, and the units as packages have them.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::unit::verified_in_usr;
use world::tools::{repository, run, tool};

/// What `release/stage` lays out of the built program.
fn staged() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let stage = repository().join("release/stage");
    run(Command::new(stage).arg(world::binary()).arg(folder.path().join("stage"))).succeeded();
    folder
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("it can be listed");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn packages_have_a_page_for_every_command_and_completions_for_three_shells() {
    let staged = staged();
    let stage = staged.path().join("stage");
    let pages = names(&stage.join("man"));
    let help = run(Command::new(world::binary()).arg("--help")).succeeded().out;
    let commands = help.split("Commands:").nth(1).expect("a list").split("\n\n").next().unwrap_or_default();
    let commands: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<_> = commands.into_iter().filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(commands.len() > 15 && commands.contains(&"doctor"), "{commands:?}");
    for command in commands {
        assert!(pages.contains(&format!("spothost-{command}.1.gz")), "no page of {command}: {pages:?}");
    }
    let page = run(Command::new("gzip").args(["-dc"]).arg(stage.join("man/spothost-doctor.1.gz"))).succeeded().out;
    assert!(page.contains(".TH") && page.contains("print the fix"), "{page}");
    let completions = names(&stage.join("completions"));
    assert_eq!(completions, ["_spothost", "spothost.bash", "spothost.fish"].map(str::to_owned).into());
    run(Command::new("bash").arg("-n").arg(stage.join("completions/spothost.bash"))).succeeded();
    for file in ["spothost.toml.example", "LICENSE-MIT", "LICENSE-APACHE", "README.md", "spothost", "docs/README.md"] {
        assert!(stage.join(file).is_file(), "no {file}");
    }
}

#[test]
fn units_of_packages_are_understood_by_systemd_and_start_the_program_of_the_package() {
    let staged = staged();
    let stage = staged.path().join("stage");
    for (unit, starts) in [("spothost.service", "spothost run "), ("spothost-app@.service", "spothost app\n")] {
        let unit = fs::read_to_string(stage.join(unit)).expect("the unit");
        assert!(unit.contains(&format!("ExecStart=/usr/bin/{starts}")) && !unit.contains("/usr/local/"), "{unit}");
    }
    let ran = verified_in_usr(&stage);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
}

#[test]
fn packages_have_every_unit() {
    let manifest = fs::read_to_string(repository().join("agent/Cargo.toml")).expect("the manifest");
    for unit in names(&repository().join("systemd")) {
        let of_deb = format!("\"usr/lib/systemd/system/{unit}\", \"644\"");
        let of_rpm = format!("dest = \"/usr/lib/systemd/system/{unit}\"");
        assert!(manifest.contains(&of_deb) && manifest.contains(&of_rpm), "a package lacks {unit}");
    }
}

#[test]
fn example_configuration_is_one_that_is_understood() {
    let example = repository().join("release/spothost.toml.example");
    let ran = run(Command::new(world::binary()).args(["policy", "--config"]).arg(example)).succeeded();
    assert!(ran.out.contains("MoveTheNames"));
}

#[test]
fn program_that_needs_a_newer_glibc_is_refused() {
    let glibc = repository().join("release/glibc");
    let needed = run(Command::new(&glibc).arg(world::binary())).succeeded().out;
    assert!(needed.trim().starts_with("2."), "{needed}");
    let refused = run(Command::new(&glibc).arg(world::binary()).arg("2.5"));
    assert!(refused.code == Some(1) && refused.err.contains("build it on an older one"), "{refused:#?}");
    assert_eq!(run(Command::new(&glibc).arg(repository().join("README.md"))).code, Some(2));
}

/// As crates.io would have them: nothing that they build from lies outside of them, and what is said of them is complete.
#[test]
fn crates_can_be_packaged() {
    let target = tempfile::TempDir::new().expect("a temporary folder");
    let ran = run(Command::new(env!("CARGO"))
        .args(["package", "--locked", "--offline", "--allow-dirty", "--no-verify", "--workspace"])
        .args(["--exclude", "spothost-tests"])
        .env("CARGO_TARGET_DIR", target.path())
        .current_dir(repository()));
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    ran.succeeded();
    for (name, within) in [("spothost", "src/main.rs"), ("spothost-server", "src/lib.rs")] {
        let version = env!("CARGO_PKG_VERSION");
        let file = target.path().join(format!("package/{name}-{version}.crate"));
        let listed = run(Command::new("tar").args(["--list", "--gzip", "--file"]).arg(file)).succeeded().out;
        assert!(listed.contains(&format!("{name}-{version}/{within}")), "{listed}");
    }
    let outside = ["agent", "server"].map(|krate| included(&repository().join(krate).join("src")));
    assert_eq!(outside.concat(), Vec::<String>::new(), "a package of the crate would not have it");
}

/// The files outside of a crate that its code, without tests, includes.
fn included(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(included(&entry));
            continue;
        }
        let text = fs::read_to_string(&entry).expect("a source");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let above = |line: &&str| {
            (line.contains("include_str!(") || line.contains("include_bytes!(")) && line.contains("../../")
        };
        found.extend(code.lines().filter(above).map(|line| format!("{}: {line}", entry.display())));
    }
    found
}

#[test]
fn scripts_of_the_release_satisfy_shellcheck() {
    let scripts = ["make", "stage", "glibc", "try", "deb/postinst", "deb/prerm", "deb/postrm"];
    let scripts = scripts.map(|name| repository().join("release").join(name));
    run(Command::new(tool("shellcheck/usr/bin/shellcheck")).arg("--severity=style").args(scripts)).succeeded();
}
