//! Boots a whole Debian with cloud-init and systemd under qemu, with the world as its cloud: its metadata come from the world's
//! IMDS at 169.254.169.254, its user data are the real ones, and visitors come from outside.
//!
//! ```text
//! sudo cargo run -p spothost-tests --example under-qemu [-- bookworm]
//! ```
//!
//! Needs root, port 80 of 127.0.0.1, `mmdebstrap`, `qemu-system-x86`, what `tests/run` sets up, and a debug build of `spothost`.
//! A command of its own and not a test, because of the root and of its minutes: the processor is emulated. Where KVM works,
//! `SPOTHOST_QEMU="-accel kvm -cpu host"` makes it quick. The disk is made once, beside the tests' tools; each machine writes to a
//! copy that is thrown away.

use std::{
    env, fs,
    net::Ipv4Addr,
    process::Command,
    time::{Duration, Instant},
};

use minisign::KeyPair;
use tempfile::TempDir;
use world::emulated::{Disk, Emulated, SLOWNESS};
use world::newcomer::{
    Machine, answers, comes_back, is_confined, is_host, put, restarts_beside_readers, say, site, stays_down, user_data,
    visitor, way_to_the_world,
};
use world::tools::{repository, run};
use world::{Gateway, Instance, eventually};

/// Version of the built program; the same bytes with another version in them are a newer program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const NEWER: &str = "9.9.9";

#[tokio::main]
async fn main() {
    let suite = env::args().nth(1).unwrap_or_else(|| "bookworm".to_owned());
    let disk = Disk::made(&suite);
    let mut instance = Instance::new().await;
    instance.account.put("site-1-latest.zip", site("Under qemu").zip()).await;
    let user_data = user_data(&mut instance, Ipv4Addr::UNSPECIFIED.into()).await;
    instance.imds.set_user_data(&user_data);
    let keys = KeyPair::generate_unencrypted_keypair().expect("a key");
    let imds = instance.imds.endpoint().trim_start_matches("http://").parse().expect("an address");
    let _imds = Gateway::open((Ipv4Addr::LOCALHOST, 80).into(), imds).await;

    let began = Instant::now();
    let mut machine = Emulated::boot(&disk, &instance);
    let visitor = visitor(&instance);
    is_host(&instance, &visitor, Duration::from_secs(90) * SLOWNESS).await;
    say(&suite, &format!("cloud-init has made it a host {} s after power-on", began.elapsed().as_secs()));
    let ended = machine.sh("cloud-init status --wait --long");
    assert!(ended.out.contains("status: done"), "{ended:#?}");
    say(&suite, &machine.sh("systemctl --version | head -1; uname -r; cloud-init --version").succeeded().out);
    assert_eq!(machine.times_done(&instance), 1, "{}", machine.console());
    is_confined(&suite, &machine);

    let boot = machine.sh("cat /proc/sys/kernel/random/boot_id").succeeded().out;
    // The shell may go before it has answered; the boot that follows tells.
    machine.sh("systemctl reboot --no-block");
    let again = async || {
        let now = machine.sh("cat /proc/sys/kernel/random/boot_id");
        now.code == Some(0) && now.out != boot && answers(&visitor).await
    };
    eventually("it is a host after a reboot", Duration::from_secs(90) * SLOWNESS, again).await;
    assert_eq!(machine.times_done(&instance), 1, "the user data runs at the first boot alone: {}", machine.console());
    assert_eq!(instance.acme.accepted("newOrder"), 1, "the certificate is used again");
    say(&suite, "it is a host again after a reboot, with the same certificate");

    restarts_beside_readers(&suite, &machine, &visitor, SLOWNESS).await;
    comes_back(&suite, &machine, &visitor, SLOWNESS).await;
    upgrades(&suite, &machine, &instance, &keys).await;
    assert!(answers(&visitor).await);
    stays_down(&suite, &machine, SLOWNESS).await;
    machine.sh("systemctl poweroff --no-block");
    eventually("it is off", Duration::from_secs(30) * SLOWNESS, async || machine.is_off()).await;
}

/// A newer program comes over the same sockets; one that cannot run is gone back from.
async fn upgrades(suite: &str, machine: &Emulated, instance: &Instance, keys: &KeyPair) {
    let unit = fs::read_to_string(repository().join("systemd/spothost-upgrade.service")).expect("the unit");
    let drop_in = way_to_the_world(instance, "http://169.254.169.254");
    let configured = format!(
        "\n[upgrade]\nfrom = \"s3://{}/programs/\"\nkey = \"{}\"\n",
        instance.account.bucket,
        keys.pk.to_base64()
    );
    let folder = "/run/systemd/system/spothost-upgrade.service.d";
    machine
        .sh(&format!(
            "cat >/etc/systemd/system/spothost-upgrade.service <<'END'\n{unit}\nEND\n\
             mkdir -p {folder}; cat >{folder}/world.conf <<'END'\n{drop_in}END\n\
             cat >>/etc/spothost/spothost.toml <<'END'\n{configured}END\n\
             systemctl daemon-reload"
        ))
        .succeeded();

    let newer = newer(&fs::read(world::binary()).expect("the built program"));
    for (program, works) in [(newer, true), (b"#!/bin/sh\necho spothost 9.9.99\n".to_vec(), false)] {
        let before = machine.property("MainPID");
        offer(instance, keys, &program).await;
        let ran = machine.sh("systemctl start spothost-upgrade.service");
        let said = machine.sh("journalctl --unit spothost-upgrade --no-pager --lines 20").out;
        assert_eq!(ran.code == Some(0), works, "{said}");
        let runs = machine.sh("/usr/local/bin/spothost --version").succeeded().out;
        assert_eq!(runs.trim(), format!("spothost {NEWER}"), "{said}");
        assert_ne!(machine.property("MainPID"), before, "{said}");
        machine.sh("spothost status").succeeded();
    }
    say(suite, "a newer program was taken over the same sockets; one that cannot run was rolled back");
}

async fn offer(instance: &Instance, keys: &KeyPair, program: &[u8]) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("program");
    fs::write(&path, program).expect("written");
    let sum = run(Command::new("sha256sum").arg(&path)).succeeded().out;
    let signature = minisign::sign(None, &keys.sk, program, None, None).expect("signed").to_string();
    put(instance, "programs/spothost-x86_64", &path).await;
    for (end, text) in [("sha256", sum), ("minisig", signature)] {
        fs::write(&path, text).expect("written");
        put(instance, &format!("programs/spothost-x86_64.{end}"), &path).await;
    }
}

/// The same program, which takes itself for a newer one.
fn newer(program: &[u8]) -> Vec<u8> {
    assert_eq!(VERSION.len(), NEWER.len());
    let mut newer = program.to_vec();
    let found: Vec<usize> = program
        .windows(VERSION.len())
        .enumerate()
        .filter(|(_, part)| *part == VERSION.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!found.is_empty(), "the program does not say that it is {VERSION}");
    for at in found {
        newer[at..at + NEWER.len()].copy_from_slice(NEWER.as_bytes());
    }
    newer
}
