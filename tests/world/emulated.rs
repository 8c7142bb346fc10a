//! A whole Debian with cloud-init and systemd under qemu, with the world as its cloud.
//!
//! Needs root, port 80 of 127.0.0.1, `mmdebstrap` and `qemu-system-x86`. The processor is emulated; where KVM works,
//! `SPOTHOST_QEMU="-accel kvm -cpu host"` makes it quick. The disk is made once, beside the tests' tools; each machine writes to a
//! copy that is thrown away.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use crate::{
    Instance,
    newcomer::{Machine, ROOTS, say, way_to_the_world},
    tools::{Ran, run, tool},
};

/// What an image of a cloud has.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,iproute2,curl,ca-certificates,libnss-systemd,cloud-init,socat,\
                        initramfs-tools,linux-image-cloud-amd64";
/// So many times slower than a machine that is not emulated, at the most.
pub const SLOWNESS: u32 = 10;

/// A system on a disk, with a kernel beside it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The disk of that release of Debian, made once.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn made(suite: &str) -> Disk {
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
#[derive(Debug)]
pub struct Emulated {
    qemu: Child,
    shell: SocketAddr,
    files: TempDir,
}

impl Emulated {
    /// Powers one on that has that disk, and finds its cloud in the world of that instance.
    ///
    /// # Panics
    /// When qemu does not start.
    pub fn boot(disk: &Disk, instance: &Instance) -> Emulated {
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
    pub fn console(&self) -> String {
        let bytes = fs::read(self.files.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How often the user data have run to their end.
    pub fn times_done(&self, instance: &Instance) -> usize {
        self.console().matches(&format!("spothost user data: is done on {}", instance.imds.instance_id())).count()
    }

    /// Whether it has powered off.
    ///
    /// # Panics
    /// When that cannot be asked.
    pub fn is_off(&mut self) -> bool {
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
            eprintln!("{}", self.sh("journalctl --unit spothost --unit 'spothost-app@*' --lines 60 --no-pager").out);
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
    let aws = port(&instance.aws.endpoint());
    let acme = port(&instance.acme.directory());
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
