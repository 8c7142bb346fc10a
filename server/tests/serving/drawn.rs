//! HTTP/2 by an implementation that is not ours: PyPI's h2 and hpack, as a client, say drawn legal and illegal messages.
//!
//! `SPOTHOST_DRAWS` says how many connections there are; `SPOTHOST_SEED` repeats one of them, or that many from it on.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

use spothost_server::Settings;

use crate::{
    handler::Works,
    package::{Package, noise, text},
    server::{DOMAIN, Server},
};

/// Connections, unless it is said how many: each row of the driver's table of illegal messages comes once.
const DRAWS: u64 = 204;
/// Streams of a connection: there are to be 200 at once.
const STREAMS: u32 = 250;
/// Longer than any history takes: no client here is slow for its own sake.
const PATIENCE: Duration = Duration::from_secs(3_600);

fn number<N: FromStr>(name: &str) -> Option<N> {
    let said = env::var(name).ok()?;
    Some(said.parse().unwrap_or_else(|_| panic!("{name} is a number, not {said:?}")))
}

/// The Python that `tests/run` sets up.
fn python() -> PathBuf {
    let home = env::var_os("SPOTHOST_TEST_HOME").map(PathBuf::from).unwrap_or_else(|| {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"));
        cache.join("spothost/test-tools")
    });
    let python = home.join("python/bin/python");
    assert!(python.exists(), "there is no {}: `tests/setup/python.sh {}` makes it", python.display(), home.display());
    python
}

/// The files that are served, in a folder too, for what comes to be compared.
fn files(folder: &Path) -> Vec<u8> {
    let files = [
        ("empty.txt", Vec::new()),
        ("one.txt", b"1".to_vec()),
        ("frame.bin", noise(16_384)),
        ("odd.bin", noise(70_001)),
        ("big.bin", noise(400_000)),
        ("page.txt", text("page", 22_000).into()),
        ("inflated.txt", text("inflated", 150_000).into()),
        ("404.html", b"no such page".to_vec()),
    ];
    files.iter().for_each(|(name, content)| fs::write(folder.join(name), content).unwrap());
    let package = files.iter().fold(Package::new(), |package, (name, content)| {
        if name.ends_with(".bin") { package.stored(name, content) } else { package.deflated(name, content) }
    });
    package.deflated("index.html", "home").finish()
}

/// Bears 200 streams at once, and any slowness.
fn patient(settings: &mut Settings) {
    settings.bounds.streams = STREAMS;
    settings.bounds.inflated = 4 * STREAMS as usize;
    settings.bounds.inflated_per_address = settings.bounds.inflated;
    settings.patience.handshake = PATIENCE;
    settings.patience.first = PATIENCE;
    settings.patience.head = PATIENCE;
    settings.patience.idle = PATIENCE;
    settings.patience.write = PATIENCE;
    settings.patience.close = PATIENCE;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_another_implementation_are_answered_or_refused_as_the_standards_say() {
    let folder = tempfile::tempdir().unwrap();
    let (served, certificate) = (folder.path().join("files"), folder.path().join("certificate.pem"));
    fs::create_dir(&served).unwrap();
    let server = Server::with(files(&served), patient);
    let echo = Server::handled_by(Works::new(), patient);
    echo.identity.send_replace(server.identity.borrow().clone());
    fs::write(&certificate, &server.certificate).unwrap();
    let seed = number("SPOTHOST_SEED");
    let draws = number("SPOTHOST_DRAWS").unwrap_or(if seed.is_some() { 1 } else { DRAWS });
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drawn/drive.py");
    let mut command = Command::new(python());
    command.arg("-B").arg(driver).arg(server.https.to_string()).args(["--name", DOMAIN]);
    command.arg("--echo").arg(echo.https.to_string());
    command.arg("--certificate").arg(certificate).arg("--files").arg(served);
    for (name, count) in [("--streams", u64::from(STREAMS)), ("--seed", seed), ("--draws", draws)] {
        command.arg(name).arg(count.to_string());
    }
    println!("SPOTHOST_SEED={seed} SPOTHOST_DRAWS={draws}");
    // How far a long run is.
    command.stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}
