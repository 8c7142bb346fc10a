//! With which code each command ends, and what it says then: what scripts and people go by.
//!
//! Codes that only a world can bring about have their tests beside the rest of their command: 3 (`departs.rs`, `notices.rs`), 5 and
//! 75 (`publish.rs`, `rollout.rs`), 1 and 0 of what looks at AWS (`check.rs`, `doctor.rs`, `hosts.rs`, `vault.rs`).

use std::{fs, net::TcpListener, path::Path};

use futures_util::{StreamExt as _, stream};
use tempfile::TempDir;
use world::{Ended, Site, own_address};

/// How many commands run beside each other.
const AT_ONCE: usize = 4;

/// A command line, the code that it ends with, and a text that it prints then.
type Case = (&'static str, i32, &'static str);

/// A machine without AWS. In a command line `@` stands for its folder.
struct Machine {
    folder: TempDir,
    taken: TcpListener,
}

impl Machine {
    fn new() -> Machine {
        let folder = TempDir::new().expect("a temporary folder");
        let taken = TcpListener::bind((own_address(), 0)).expect("a port");
        let machine = Machine { folder, taken };
        let port = machine.taken.local_addr().expect("it has one");
        let at = machine.folder.path().display().to_string();
        let config = |listen: &str| {
            format!(
                "domain = \"www.example.org\"\npackage = \"file://{at}/latest.zip\"\nvault = \"file://{at}/identity.json\"\n\
                 [acme]\ndirectory = \"internal\"\n[listen]\nhttp = \"{listen}\"\nhttps = \"{listen}\"\n"
            )
        };
        machine.put("disk.toml", config(&port.to_string()));
        machine.put("wrong.toml", "domain = \"www.example.org\"\n[limits]\nstreams = 0\n");
        machine.put("stack/spothost.toml", "");
        machine.put("broken.zip", "no zip");
        machine.put("wrapped.zip", world::archive(&[world::Entry::of("site/index.html", b"<h1>x</h1>")]));
        machine.put("site.zip", Site::titled("zipped").zip());
        machine.put("no.key", "no key");
        for (name, content) in Site::titled("site").files() {
            machine.put(&format!("site/{name}"), content);
        }
        machine.put("lenient/index.html", "<h1>x</h1>");
        machine.put("lenient/_redirects", "/a /b 999\n");
        machine.put("file", "x");
        fs::create_dir(machine.folder.path().join("empty")).expect("a folder");
        machine
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    async fn run(&self, line: &str) -> Ended {
        let at = self.folder.path().display().to_string();
        let line = line.replace('@', &at).replace("TAKEN", &self.taken.local_addr().expect("it has one").to_string());
        let arguments: Vec<_> = line.split_whitespace().collect();
        let folder = |name: &str| Path::new(&at).join(name).display().to_string();
        let variables =
            [("HOME", folder("home")), ("STATE_DIRECTORY", folder("state")), ("RUNTIME_DIRECTORY", folder("run"))];
        Ended::of(&arguments, &variables.map(|(name, value)| (name.to_owned(), value))).await
    }
}

/// Every code of every command that needs no AWS for it.
fn cases() -> Vec<Case> {
    vec![
        ("", 2, "Usage"),
        ("publsh", 2, "publish"),
        ("--help", 0, "Exit codes"),
        ("--version", 0, "spothost"),
        // The agent, and the same on a laptop.
        ("run --config @/missing.toml", 64, "missing.toml"),
        ("run --config @/wrong.toml", 64, "wrong.toml:"),
        ("run --config @/disk.toml", 71, "in use"),
        ("up @/missing", 64, "missing"),
        ("up @/site --https TAKEN --state-dir @/up", 71, "in use"),
        ("up @ --state-dir @/up", 64, "must not lie in the site"),
        ("up @/site --https nowhere", 2, "--https"),
        // Before the first launch.
        ("init --yes", 64, "--domain"),
        ("init --domain www.example.org --yes --dir @/stack", 64, "--force"),
        ("policy --config @/disk.toml", 0, "Statement"),
        ("policy --config @/missing.toml", 64, "missing.toml"),
        // Looking.
        ("check --config @/disk.toml", 1, "package"),
        ("check --config @/missing.toml", 64, "missing.toml"),
        ("doctor --config @/missing.toml", 64, "missing.toml"),
        ("doctor --config @/wrong.toml", 64, "at least 1"),
        ("status --runtime-dir @/empty", 1, "no agent has run here"),
        ("budget --config @/missing.toml", 64, "missing.toml"),
        ("budget --config @/disk.toml", 0, "www.example.org"),
        ("vault show --config @/disk.toml", 0, "the vault is empty"),
        ("vault show --config @/disk.toml --state-dir @/x --runtime-dir @/y --log-json", 0, "the vault is empty"),
        ("vault verify --config @/disk.toml", 1, "not"),
        ("vault rollback --config @/disk.toml", 1, "vault"),
        ("vault import --config @/disk.toml @/missing.pem @/missing.key", 1, "missing"),
        ("vault show --config @/missing.toml", 64, "missing.toml"),
        // Publishing.
        ("publish @/site --to file://@/a.zip", 0, "is published"),
        ("publish @/site --to file://@/b.zip --json", 0, "\"published\":true"),
        ("publish @/site.zip --to file://@/c.zip", 0, "is published"),
        ("publish @/site --dry-run", 0, "nothing was uploaded"),
        ("publish @/lenient --to file://@/d.zip", 65, "_redirects:1"),
        ("publish @/lenient --to file://@/d.zip --lenient", 0, "is published"),
        ("publish @/missing --dry-run", 65, "missing: cannot be read"),
        ("publish @/empty --dry-run", 65, "no file"),
        ("publish @/broken.zip --dry-run", 65, "name a folder or a zip"),
        ("publish @/wrapped.zip --dry-run", 65, "all of the package lies in site/: package what is in that folder"),
        ("publish @/site", 64, "or name the place"),
        ("publish @/site --config @/missing.toml", 64, "missing.toml"),
        ("publish @/site --to @/a.zip", 2, "s3://"),
        ("publish @/site --to file://@/empty", 64, "name a zip"),
        ("publish @/site --to file://@/a.zip --wait", 64, "--wait needs a bucket"),
        ("publish @/site --config @/disk.toml --wait", 64, "--wait needs a bucket"),
        ("publish @/site --to s3://bucket/ --timeout 1s", 2, "--wait"),
        ("publish @/site --dry-run --wait", 2, "--wait"),
        ("publish @/site --dry-run --sign @/missing.key", 64, "missing.key"),
        ("publish @/site --dry-run --sign @/no.key", 64, "minisign -G"),
        ("publish @/site --dry-run --brotli 12", 2, "--brotli"),
        ("publish @/site --dry-run --source-date=soon", 2, "2026-11-21T12:00:00Z"),
        ("publish @/site --dry-run --source-date", 64, "--source-date=2026-11-21T12:00:00Z"),
        ("publish @/site --dry-run --source-date=1795262400", 0, "nothing was uploaded"),
        ("publish @/site --dry-run --keep @/missing/site.zip", 71, "missing/site.zip"),
        ("publish @/site --to file://@/missing/site.zip", 71, "missing/site.zip"),
        // What is published.
        ("releases --config @/disk.toml", 64, "has no release history"),
        ("releases --at file://@/a.zip", 64, "has no release history"),
        ("rollback --config @/disk.toml", 64, "has no release history"),
        ("rollback --at s3://bucket/ --to latest", 2, "not a version"),
        ("prune --config @/disk.toml --keep 3", 64, "has no release history"),
        ("prune --config @/missing.toml --keep 3", 64, "missing.toml"),
        ("diff @/site @/site", 0, "the same 2 files"),
        ("diff @/site @/broken.zip", 1, "broken.zip"),
        ("diff @/site latest --config @/disk.toml", 64, "has no release history"),
        ("upgrade --config @/disk.toml", 0, "nothing is done"),
        ("upgrade --config @/missing.toml", 64, "missing.toml"),
        ("manual @/manual", 0, ""),
        ("manual @/file", 71, "file"),
        // The fleet.
        ("hosts --config @/missing.toml", 64, "missing.toml"),
        ("rollout --config @/missing.toml", 64, "missing.toml"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_ends_with_the_code_that_its_help_says() {
    let machine = Machine::new();
    let machine = &machine;
    let ran = stream::iter(cases()).map(|case| async move { (case, machine.run(case.0).await) });
    let wrong: Vec<_> = ran
        .buffered(AT_ONCE)
        .filter_map(|((line, code, text), ended)| async move {
            let said = ended.stdout.contains(text) || ended.stderr.contains(text);
            (ended.code != Some(code) || !said).then(|| format!("{line}: not {code} with {text:?}: {ended:?}"))
        })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_says_that_it_serves_once_it_does() {
    let machine = Machine::new();
    let ended = machine.run("up @/site --https TAKEN --state-dir @/up").await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(71), ""), "{ended:?}");
}
