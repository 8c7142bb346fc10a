//! The stores of a machine that is a folder, with programs that are scripts.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use tempfile::TempDir;

use super::{browser::Browser, *};
use crate::{certificate::LocalCa, clock, place::Name};

const DEBIAN: &str = "usr/local/share/ca-certificates";

/// A folder with a root, a home, programs, and a local CA.
struct World {
    folder: TempDir,
    machine: Machine,
}

impl World {
    fn new(anchors: &str) -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for made in ["root", "home", "bin", &format!("root/{anchors}")] {
            fs::create_dir_all(at(made)).expect("made");
        }
        let machine = Machine { root: at("root"), home: at("home"), path: at("bin").into() };
        World { folder, machine }
    }

    /// A program that is a script of `sh`.
    fn program(&self, name: &str, script: &str) {
        let path = self.folder.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// A program that notes how it was called.
    fn noting(&self, name: &str) {
        self.program(name, &format!("echo \"{name} $*\" >>'{}'", self.notes().display()));
    }

    fn notes(&self) -> PathBuf {
        self.folder.path().join("notes")
    }

    fn noted(&self) -> String {
        fs::read_to_string(self.notes()).unwrap_or_default()
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("local-ca")
    }

    fn anchor(&self) -> Anchor {
        let domain: Name = "localhost".parse().expect("a name");
        LocalCa::confined(&self.ca(), &domain, clock::now()).expect("a CA");
        Anchor::of(&self.ca()).expect("readable")
    }

    fn system(&self, done: Result<StoreChange, Obstacle>) -> Vec<StoreReport> {
        vec![StoreReport::new("system store", done)]
    }

    /// The names of the files in the store, sorted.
    fn stored(&self, anchors: &str) -> Vec<String> {
        let entries = fs::read_dir(self.machine.root.join(anchors)).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }
}

fn pem(anchor: &Anchor) -> Vec<u8> {
    fs::read(&anchor.path).expect("a certificate")
}

#[test]
fn each_distribution_has_its_folder_its_command_and_its_package() {
    for (anchors, program, ending, noted, package) in [
        (
            "etc/pki/ca-trust/source/anchors",
            "update-ca-trust",
            "pem",
            "update-ca-trust extract",
            "dnf install nss-tools",
        ),
        (DEBIAN, "update-ca-certificates", "crt", "update-ca-certificates ", "apt-get install libnss3-tools"),
        ("etc/ca-certificates/trust-source/anchors", "trust", "crt", "trust extract-compat", "pacman -S nss"),
        (
            "usr/share/pki/trust/anchors",
            "update-ca-certificates",
            "pem",
            "update-ca-certificates ",
            "mozilla-nss-tools",
        ),
    ] {
        let world = World::new(anchors);
        world.noting(program);
        // A Chromium, for which `certutil` is missing.
        world.noting("chromium");
        let anchor = world.anchor();
        let reports = trust(&world.machine, &anchor);
        assert_eq!(reports[0].done, Ok(StoreChange::PutIn), "{anchors}");
        assert_eq!(world.noted(), format!("{noted}\n"));
        let file = format!("{}.{ending}", anchor.name.replace(' ', "-"));
        assert_eq!(world.stored(anchors), std::slice::from_ref(&file));
        let path = world.machine.root.join(anchors).join(file);
        assert_eq!(fs::read(&path).expect("there"), pem(&anchor));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        assert!(reports[1].to_string().contains(package), "{}", reports[1]);
    }
}

#[test]
fn system_store_is_changed_once_each_way() {
    let world = World::new(DEBIAN);
    world.noting("update-ca-certificates");
    let anchor = world.anchor();
    let anchors = std::slice::from_ref(&anchor);
    assert_eq!(distrust(&world.machine, anchors), world.system(Ok(StoreChange::WasOut)));
    for done in [StoreChange::PutIn, StoreChange::WasIn] {
        assert_eq!(trust(&world.machine, &anchor), world.system(Ok(done)));
    }
    for done in [StoreChange::TakenOut, StoreChange::WasOut] {
        assert_eq!(distrust(&world.machine, anchors), world.system(Ok(done)));
    }
    assert_eq!(world.stored(DEBIAN), [""; 0]);
    assert_eq!(world.noted(), "update-ca-certificates \nupdate-ca-certificates --fresh\n", "called for changes alone");
}

#[test]
fn ca_of_before_goes_and_no_other_certificate_does() {
    let world = World::new(DEBIAN);
    world.noting("update-ca-certificates");
    let store = world.machine.root.join(DEBIAN);
    // An earlier version's CA, put in by hand under another name; and one of another person, alone and in a bundle with it.
    LocalCa::open(&world.ca()).expect("a CA");
    let before = fs::read(world.ca().join("ca.pem")).expect("there");
    let others = LocalCa::open(&world.folder.path().join("others")).expect("a CA");
    let other = fs::read(others.path()).expect("there");
    let bundle = [before.clone(), other.clone()].concat();
    for (name, content) in [("spothost-local.crt", &before), ("other.crt", &other), ("bundle.crt", &bundle)] {
        fs::write(store.join(name), content).expect("written");
    }
    let anchor = world.anchor();
    assert_eq!(trust(&world.machine, &anchor), world.system(Ok(StoreChange::PutIn)));
    let own = format!("{}.crt", anchor.name.replace(' ', "-"));
    assert_eq!(world.stored(DEBIAN), ["bundle.crt".to_owned(), "other.crt".to_owned(), own]);
    // The folder of the CA was removed, as a person may: the next one takes the place of that which is known by its name.
    fs::remove_dir_all(world.ca()).expect("removed");
    let anew = world.anchor();
    assert_eq!(anew.name, anchor.name);
    assert_eq!(trust(&world.machine, &anew), world.system(Ok(StoreChange::PutIn)));
    fs::remove_dir_all(world.ca()).expect("removed");
    let gone = Anchor::of(&world.ca()).expect("readable");
    assert_eq!(distrust(&world.machine, &[gone]), world.system(Ok(StoreChange::TakenOut)));
    assert_eq!(world.stored(DEBIAN), ["bundle.crt", "other.crt"]);
    assert_eq!(fs::read(store.join("other.crt")).expect("there"), other);
}

#[test]
fn store_that_cannot_be_changed_is_as_before_and_the_cure_is_said() {
    let world = World::new(DEBIAN);
    let anchor = world.anchor();
    let says = |reports: Vec<StoreReport>, parts: &[&str]| {
        let said = reports[0].to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    let own = world.machine.root.join(DEBIAN).join(format!("{}.crt", anchor.name.replace(' ', "-")));
    let install = format!("sudo install -m 644 {} {}", anchor.path.display(), own.display());
    says(trust(&world.machine, &anchor), &["not on the PATH: ", &install, " && sudo update-ca-certificates"]);
    world.program("update-ca-certificates", "echo 'no space left' >&2; exit 1");
    says(trust(&world.machine, &anchor), &["nothing was changed: no space left"]);
    assert_eq!(world.stored(DEBIAN), [""; 0]);
    fs::write(&own, pem(&anchor)).expect("written");
    let anchors = std::slice::from_ref(&anchor);
    says(distrust(&world.machine, anchors), &["nothing was changed: no space left"]);
    assert_eq!(fs::read(&own).expect("restored"), pem(&anchor));
    fs::remove_dir_all(world.machine.root.join(DEBIAN)).expect("removed");
    says(trust(&world.machine, &anchor), &["none of a kind that spothost knows"]);
    assert_eq!(distrust(&world.machine, anchors), []);
}

#[test]
fn browsers_are_found_by_their_databases_wherever_they_were_installed_from() {
    let world = World::new(DEBIAN);
    let home = &world.machine.home;
    assert_eq!(browsers(&world.machine), []);
    world.noting("google-chrome");
    let only =
        |name, databases: &[&str]| Browser { name, databases: databases.iter().map(|path| home.join(path)).collect() };
    assert_eq!(browsers(&world.machine), [only("Chromium", &[".pki/nssdb"])], "yet to be made");
    let chromium =
        [".local/share/pki/nssdb", ".var/app/com.google.Chrome/.pki/nssdb", "snap/chromium/current/.pki/nssdb"];
    let firefox = [
        ".mozilla/firefox/abc.default",
        ".mozilla/firefox/def.work",
        ".config/mozilla/firefox/ghi.default",
        "snap/firefox/common/.mozilla/firefox/jkl.default",
        ".var/app/org.mozilla.firefox/.mozilla/firefox/mno.default",
    ];
    for database in chromium.iter().chain(&firefox) {
        fs::create_dir_all(home.join(database)).expect("made");
        fs::write(home.join(database).join("cert9.db"), "").expect("written");
    }
    fs::create_dir_all(home.join(".mozilla/firefox/Crash Reports")).expect("made");
    assert_eq!(browsers(&world.machine), [only("Chromium", &chromium), only("Firefox", &firefox)]);
}

#[test]
fn database_without_certutil_is_out_unless_the_name_of_a_local_ca_is_in_it() {
    let world = World::new("root");
    let profile = world.machine.home.join(".mozilla/firefox/abc.default");
    fs::create_dir_all(&profile).expect("made");
    let anchors = [world.anchor()];
    for (content, done) in [
        ("nothing", Ok(StoreChange::WasOut)),
        ("…spothost local CA 0123abcd…", Err(Obstacle::new("certutil is not installed"))),
    ] {
        fs::write(profile.join("cert9.db"), content).expect("written");
        assert_eq!(distrust(&world.machine, &anchors), [StoreReport::new("Firefox", done)]);
    }
}
