//! `spothost upgrade`, with the world's S3, and a systemd that is stood in for. The programs are scripts that answer what is
//! asked of a program: what version it is, and whether it serves.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use minisign::KeyPair;
use tempfile::TempDir;

use crate::bucket::Bucket;
use world::tools::{Ran, run};

/// A machine with a program, and what is offered to it.
struct Machine {
    bucket: Bucket,
    keys: KeyPair,
    disk: TempDir,
}

/// A program of that version, which serves or does not.
fn program(version: &str, serves: bool) -> String {
    let status = u8::from(!serves);
    format!(
        "#!/bin/sh\ncase $1 in --version) echo 'spothost {version}' ;; status) exit {status} ;; *) exit 64 ;; esac\n"
    )
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

impl Machine {
    async fn new() -> Machine {
        let keys = KeyPair::generate_unencrypted_keypair().expect("a key");
        let machine = Machine { bucket: Bucket::new().await, keys, disk: TempDir::new().expect("a temporary folder") };
        fs::create_dir(machine.path("bin")).expect("a folder");
        let told = machine.path("told").display().to_string();
        executable(&machine.path("bin/systemctl"), &format!("#!/bin/sh\necho \"$*\" >>'{told}'\n"));
        executable(&machine.path("spothost"), &program("0.1.0", true));
        machine.configure(&format!(
            "[upgrade]\nfrom = \"s3://{}/spothost/latest/\"\nkey = \"{}\"\n",
            machine.bucket.name(),
            machine.keys.pk.to_base64()
        ));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn configure(&self, more: &str) {
        let least =
            "domain = \"a.example\"\npackage = \"s3://sites/www/\"\nvault = \"v\"\n[acme]\ndirectory = \"internal\"\n";
        fs::write(self.path("spothost.toml"), format!("{least}{more}")).expect("written");
    }

    /// Offers a program with a checksum and a signature, which may be those of something else.
    async fn offer(&self, program: &str, summed: &str, signed: &str) {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let file = |name: &str, text: &str| {
            let path = self.path(name);
            fs::write(&path, text).expect("written");
            path
        };
        let sum = run(Command::new("sha256sum").arg(file("summed", summed))).succeeded().out;
        let signature = minisign::sign(None, &self.keys.sk, signed.as_bytes(), None, None).expect("signed");
        for (end, text) in [("", program), (".sha256", &sum), (".minisig", &signature.to_string())] {
            self.bucket.put(&format!("spothost/latest/spothost-{machine}{end}"), &file("offered", text)).await;
        }
    }

    fn upgrade(&self) -> Ran {
        let path = std::env::var_os("PATH").expect("PATH is set");
        let mut command = Command::new(world::binary());
        command.env_clear();
        let mut command = self.bucket.with_keys(command);
        let path = std::env::join_paths([self.path("bin")].into_iter().chain(std::env::split_paths(&path)));
        command.env("PATH", path.expect("no colons")).env("AWS_EC2_METADATA_DISABLED", "true");
        run(command
            .args(["upgrade", "--patience", "1s", "--config"])
            .arg(self.path("spothost.toml"))
            .arg("--program")
            .arg(self.path("spothost")))
    }

    fn installed(&self) -> String {
        fs::read_to_string(self.path("spothost")).expect("there")
    }

    /// What systemd was told so far.
    fn told(&self) -> Vec<String> {
        fs::read_to_string(self.path("told")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn newer_version_that_is_signed_is_installed_and_started_and_the_one_before_is_kept() {
    let machine = Machine::new().await;
    assert!(machine.upgrade().succeeded().out.contains("nothing newer"));
    let fresh = program("0.2.0", true);
    machine.offer(&fresh, &fresh, &fresh).await;
    let ran = machine.upgrade().succeeded();
    assert!(ran.out.contains("0.2.0 serves"), "{ran:#?}");
    assert_eq!((machine.installed(), machine.told()), (fresh, vec!["restart spothost.service".to_owned()]));
    assert_eq!(fs::read_to_string(machine.path("spothost.before")).expect("kept"), program("0.1.0", true));
    assert_eq!(fs::metadata(machine.path("spothost")).expect("there").permissions().mode() & 0o777, 0o755);
    assert!(machine.upgrade().succeeded().out.contains("nothing newer"));
    assert_eq!(machine.told().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn version_that_does_not_serve_is_gone_back_from_and_not_tried_again() {
    let machine = Machine::new().await;
    let fresh = program("0.2.0", false);
    machine.offer(&fresh, &fresh, &fresh).await;
    let ran = machine.upgrade();
    assert!(
        ran.code == Some(1) && ran.err.contains("did not serve within 1s; the previous version runs again"),
        "{ran:#?}"
    );
    assert_eq!((machine.installed(), machine.told().len()), (program("0.1.0", true), 2));
    let again = machine.upgrade();
    assert!(again.code == Some(1) && again.err.contains("not tried again"), "{again:#?}");
    assert_eq!(machine.told().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_what_it_says_is_refused_and_nothing_is_changed() {
    let machine = Machine::new().await;
    let fresh = program("0.2.0", true);
    let other = program("0.3.0", true);
    let older = program("0.0.9", true);
    let table = [
        (&fresh, &other, &fresh, "its SHA-256 is"),
        (&fresh, &fresh, &other, "its signature is of no key"),
        (&older, &older, &older, "only a newer one"),
    ];
    for (program_, summed, signed, said) in table {
        machine.offer(program_, summed, signed).await;
        let ran = machine.upgrade();
        assert!(ran.code == Some(1) && ran.err.contains(said), "{said}: {ran:#?}");
        assert_eq!((machine.installed(), machine.told()), (program("0.1.0", true), Vec::new()));
        assert!(!machine.path("spothost.new").exists() && !machine.path("spothost.before").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn agent_that_does_not_serve_is_left_alone_and_without_a_word_in_the_configuration_nothing_is_done() {
    let machine = Machine::new().await;
    let fresh = program("0.2.0", true);
    machine.offer(&fresh, &fresh, &fresh).await;
    executable(&machine.path("spothost"), &program("0.1.0", false));
    let ran = machine.upgrade();
    assert!(ran.code == Some(75) && ran.err.contains("does not serve"), "{ran:#?}");
    executable(&machine.path("spothost"), &program("0.1.0", true));
    machine.configure("");
    assert!(machine.upgrade().succeeded().out.contains("no [upgrade]"));
    assert_eq!((machine.installed(), machine.told()), (program("0.1.0", true), Vec::new()));
}
