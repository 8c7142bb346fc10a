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
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use minisign::KeyPair;
use tempfile::TempDir;
use world::newcomer::{
    Machine, ROOTS, answers, comes_back, is_confined, is_host, put, restarts_beside_readers, say, site, stays_down,
    user_data, visitor, way_to_the_world,
};
use world::tools::{Ran, repository, run, tool};
use world::{Gateway, Instance, eventually};

/// What an image of a cloud has.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,iproute2,curl,ca-certificates,libnss-systemd,cloud-init,socat,\
                        initramfs-tools,linux-image-cloud-amd64";
/// So many times slower than a machine that is not emulated, at the most.
const SLOWNESS: u32 = 10;
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
    say(suite, "a newer program was taken over the same sockets; one that cannot run was gone back from");
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

/// A system on a disk, with a kernel beside it.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The disk of that release of Debian, made once.
    fn made(suite: &str) -> Disk {
        let folder = tool("python").with_file_name("machines").join(suite);
        let disk = Disk { folder };
        let recipe = format!("{PACKAGES}\n{FILES:?}");
        if fs::read_to_string(disk.file("recipe")).is_ok_and(|made| made == recipe) {
            return disk;
        }
        say(suite, &format!("making its disk in {}", disk.folder.display()));
        let work = TempDir::new_in("/var/tmp").expect("a temporary folder");
        let tree = work.path().join("tree");
        run(Command::new("mmdebstrap")
            .args(["--variant=minbase", "--quiet", &format!("--include={PACKAGES}"), suite])
            .arg(&tree))
        .succeeded();
        for (path, text) in FILES {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        }
        for (unit, of) in [("world.service", "cloud-init.target"), ("systemd-networkd.service", "multi-user.target")] {
            let own = tree.join("etc/systemd/system").join(unit).exists();
            let unit_path = format!("/{}/systemd/system/{unit}", if own { "etc" } else { "lib" });
            let wants = tree.join(format!("etc/systemd/system/{of}.wants"));
            fs::create_dir_all(&wants).expect("a folder");
            let _ = std::os::unix::fs::symlink(unit_path, wants.join(unit));
        }
        fs::create_dir_all(tree.join("world")).expect("a folder");
        fs::create_dir_all(&disk.folder).expect("a folder");
        for (file, kernel) in [("kernel", "vmlinuz"), ("initrd", "initrd.img")] {
            fs::copy(tree.join(kernel), disk.file(file)).expect("Debian leaves a link to its kernel");
        }
        let _ = fs::remove_file(disk.file("disk"));
        filesystem(&tree, &disk.file("disk"), "3G");
        // The last, so that a disk that was not finished is made again.
        fs::write(disk.file("recipe"), recipe).expect("written");
        disk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// An ext4 with what is in that folder.
fn filesystem(tree: &Path, image: &Path, size: &str) {
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(tree).arg(image).arg(size)).succeeded();
}

/// What an image of a cloud would not have: its way to a world that is no cloud, and to us.
const FILES: [(&str, &str); 8] = [
    ("etc/fstab", "/dev/vda / ext4 defaults 0 1\n/dev/vdb /world ext4 ro 0 0\n"),
    ("etc/hostname", "debian\n"),
    ("etc/systemd/network/80-dhcp.network", "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n"),
    ("etc/cloud/cloud.cfg.d/90-world.cfg", "datasource_list: [ Ec2 ]\nnetwork: { config: disabled }\nlocale: false\n"),
    // A drop-in for this boot, and forwarders: where the world is on this machine, it is at 127.0.0.1 there, too.
    (
        "etc/systemd/system/world.service",
        "[Unit]\nDefaultDependencies=no\nRequiresMountsFor=/world\nAfter=local-fs.target\n\
         Before=cloud-init-local.service cloud-init.service\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh /world/prepare\n",
    ),
    (
        "etc/systemd/system/world-forward@.service",
        "[Service]\nExecStart=/usr/bin/socat TCP-LISTEN:%i,bind=127.0.0.1,reuseaddr,fork TCP:169.254.169.254:%i\nRestart=always\n",
    ),
    (
        "etc/systemd/system/world-shell.service",
        "[Service]\nExecStart=/usr/bin/socat TCP-LISTEN:2222,reuseaddr,fork EXEC:'/bin/bash /usr/local/sbin/world-shell'\n\
         Restart=always\n",
    ),
    (
        "usr/local/sbin/world-shell",
        "read -r length\nscript=$(head -c \"$length\")\nout=$(mktemp) err=$(mktemp)\n\
         bash -c \"$script\" >\"$out\" 2>\"$err\" </dev/null\ncode=$?\n\
         echo \"$code $(base64 -w 0 \"$out\")|$(base64 -w 0 \"$err\")\"\nrm -f \"$out\" \"$err\"\n",
    ),
];

/// An emulated machine.
struct Emulated {
    qemu: Child,
    shell: SocketAddr,
    files: TempDir,
}

impl Emulated {
    fn boot(disk: &Disk, instance: &Instance) -> Emulated {
        let files = TempDir::new_in("/var/tmp").expect("a temporary folder");
        let world = files.path().join("world");
        filesystem(&world_files(&files, instance), &world, "8M");
        let shell = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
        let address = instance.address;
        // Its gateway is where IMDS answers on EC2; what is sent there comes to this machine's loopback.
        let network = format!(
            "user,id=net,net=169.254.0.0/16,host=169.254.169.254,dhcpstart=169.254.1.15,\
             hostfwd=tcp:{address}:80-:80,hostfwd=tcp:{address}:443-:443,hostfwd=tcp:{shell}-:2222"
        );
        let drive = |path: &Path, more: &str| format!("file={},if=virtio,format=raw,{more}", path.display());
        let id = "ec2e1916-9099-7caf-fd21-012345abcdef";
        let extra = env::var("SPOTHOST_QEMU").unwrap_or_else(|_| "-accel tcg,thread=multi -cpu max".to_owned());
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-smp", "2", "-m", "1024", "-display", "none", "-monitor", "none"])
            .args(extra.split_whitespace())
            .arg("-kernel")
            .arg(disk.file("kernel"))
            .arg("-initrd")
            .arg(disk.file("initrd"))
            .args(["-append", "root=/dev/vda rw console=ttyS0"])
            .args(["-drive", &drive(&disk.file("disk"), "snapshot=on"), "-drive", &drive(&world, "readonly=on")])
            .args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net,mac=0e:49:61:0f:c3:11"])
            .args(["-device", "virtio-rng-pci"])
            .args(["-smbios", &format!("type=1,manufacturer=Amazon EC2,uuid={id},serial={id}")])
            .args(["-serial", &format!("file:{}", files.path().join("console").display())])
            .env("TMPDIR", "/var/tmp")
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu starts");
        Emulated { qemu, shell, files }
    }

    /// What it has written to its console.
    fn console(&self) -> String {
        let bytes = fs::read(self.files.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How often the user data have run to their end.
    fn times_done(&self, instance: &Instance) -> usize {
        self.console().matches(&format!("spothost user data: is done on {}", instance.imds.instance_id())).count()
    }

    fn is_off(&mut self) -> bool {
        self.qemu.try_wait().expect("qemu is ours").is_some()
    }

    /// What the script came to; none when it cannot be reached.
    fn asked(&self, script: &str) -> Option<Ran> {
        let mut stream = TcpStream::connect(self.shell).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60) * SLOWNESS)).ok()?;
        stream.write_all(format!("{}\n{script}", script.len()).as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(stream).take(1 << 24).read_line(&mut line).ok()?;
        let (code, rest) = line.trim_end().split_once(' ')?;
        let (out, err) = rest.split_once('|')?;
        let text = |part: &str| Some(String::from_utf8_lossy(&BASE64_STANDARD.decode(part).ok()?).into_owned());
        Some(Ran { code: code.parse().ok(), out: text(out)?, err: text(err)? })
    }
}

impl Machine for Emulated {
    fn sh(&self, script: &str) -> Ran {
        let unreached = || Ran { code: None, out: String::new(), err: "the machine was not reached".to_owned() };
        self.asked(script).unwrap_or_else(unreached)
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.console();
            let last = console.lines().rev().take(60).collect::<Vec<_>>();
            eprintln!("{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
            eprintln!("{}", self.sh("journalctl --unit spothost --lines 40 --no-pager").out);
        }
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The files of the second disk, by which the machine learns where its world is.
fn world_files(files: &TempDir, instance: &Instance) -> PathBuf {
    let folder = files.path().join("files");
    fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
    write("agent.conf", &way_to_the_world(instance, "http://169.254.169.254"));
    write("cloud-final.conf", &format!("[Service]\nEnvironment=AWS_ENDPOINT_URL_S3={}\n", instance.aws.endpoint()));
    fs::copy(instance.acme.roots(), folder.join("roots.pem")).expect("the CA's authority can be read");
    let port = |url: &str| {
        url.split('/').nth(2).and_then(|authority| authority.rsplit(':').next()).expect("a port").to_owned()
    };
    let (aws, acme) = (port(&instance.aws.endpoint()), port(&instance.acme.directory()));
    write(
        "prepare",
        &format!(
            "set -e\ncd /run/systemd/system || {{ mkdir -p /run/systemd/system && cd /run/systemd/system; }}\n\
             mkdir -p spothost.service.d cloud-final.service.d {}\n\
             cp /world/agent.conf spothost.service.d/world.conf\n\
             cp /world/cloud-final.conf cloud-final.service.d/world.conf\n\
             cp /world/roots.pem {ROOTS}\n\
             systemctl daemon-reload\n\
             systemctl start --no-block world-forward@{aws} world-forward@{acme} world-shell\n",
            Path::new(ROOTS).parent().expect("a folder").display()
        ),
    );
    folder
}
