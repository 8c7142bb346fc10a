//! Boots real systems, runs the real user data with the built agent on each, and looks at what comes of it.
//!
//! ```text
//! sudo cargo run -p spothost-tests --example on-systemd [-- bookworm trixie noble]
//! ```
//!
//! Needs root, `debootstrap`, `systemd-nspawn`, for `noble` Ubuntu's archive keyring, what `tests/run` sets up,
//! and a debug build of `spothost`. It is a command of its own and not a test, because of the root. Nothing is
//! changed outside the folder of the tests' tools: the systems are kept there, and each boots on a copy in memory.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use world::newcomer::{
    Machine, ROOTS, comes_back, is_confined, is_host, restarts_beside_readers, say, site, stays_down, user_data,
    visitor, way_to_the_world,
};
use world::tools::{Ran, run, tool};
use world::{Instance, eventually, eventually_some};

/// What an image of this release has, and a container of it would not.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,curl,ca-certificates,libnss-systemd";
/// The `debootstrap` script for Ubuntu's releases, which an older one does not know by their names.
const UBUNTU: &str = "/usr/share/debootstrap/scripts/gutsy";

#[tokio::main]
async fn main() {
    let given: Vec<String> = env::args().skip(1).collect();
    let all = ["bookworm", "trixie", "noble"].map(str::to_owned);
    for suite in if given.is_empty() { &all[..] } else { &given[..] } {
        becomes_a_host(suite).await;
    }
}

async fn becomes_a_host(suite: &str) {
    let mut instance = Instance::new().await;
    instance.account.put("site-1-latest.zip", site("On systemd").zip()).await;
    let address = instance.address;
    let user_data = user_data(&mut instance, address).await;
    let machine = Container::boot(suite, &instance).await;
    say(suite, &machine.sh("systemctl --version | head -1").succeeded().out);

    machine.run_user_data(&user_data, &instance).succeeded();
    let visitor = visitor(&instance);
    is_host(&instance, &visitor, Duration::from_secs(30)).await;
    say(suite, "the user data makes it a host, and the domain leads to it");

    machine.run_user_data(&user_data, &instance).succeeded();
    assert_eq!(machine.property("NRestarts"), "0");
    say(suite, "a second run leaves it alone");

    is_confined(suite, &machine);
    restarts_beside_readers(suite, &machine, &visitor, 1).await;
    comes_back(suite, &machine, &visitor, 1).await;
    stays_down(suite, &machine, 1).await;
}

/// A booted system. It shares the network, so that the world on loopback is its AWS.
struct Container {
    nspawn: Child,
    leader: String,
}

impl Container {
    async fn boot(suite: &str, instance: &Instance) -> Container {
        let nspawn = Command::new("systemd-nspawn")
            .args(["--register=no", "--keep-unit", "--quiet", "--boot", "--volatile=overlay", "--console=read-only"])
            .arg("-D")
            .arg(tree(suite))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("systemd-nspawn starts");
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        let leader = eventually_some("the system has a first process", Duration::from_secs(20), async || {
            let children = fs::read_to_string(&children).unwrap_or_default();
            children.split_whitespace().next().map(str::to_owned)
        });
        let machine = Container { leader: leader.await, nspawn };
        let booted = async || ["running", "degraded"].contains(&machine.sh("systemctl is-system-running").out.trim());
        eventually("the system has booted", Duration::from_secs(60), booted).await;
        machine.lead_to_the_world(instance);
        machine
    }

    fn lead_to_the_world(&self, instance: &Instance) {
        let lines = way_to_the_world(instance, &instance.imds.endpoint());
        let folder = "/run/systemd/system/spothost.service.d";
        self.sh(&format!("mkdir -p {folder} && cat >{folder}/world.conf <<'END'\n{lines}END")).succeeded();
        let roots = fs::read_to_string(instance.acme.roots()).expect("the CA's authority can be read");
        self.sh(&format!("mkdir -p /etc/spothost && cat >{ROOTS} <<'END'\n{roots}END")).succeeded();
    }

    fn run_user_data(&self, user_data: &str, instance: &Instance) -> Ran {
        fs::write(format!("/proc/{}/root/run/user-data", self.leader), user_data).expect("the user data is written");
        self.sh(&format!(
            "AWS_ENDPOINT_URL_S3={} AWS_EC2_METADATA_SERVICE_ENDPOINT={} bash /run/user-data",
            instance.aws.endpoint(),
            instance.imds.endpoint()
        ))
    }
}

impl Machine for Container {
    fn sh(&self, script: &str) -> Ran {
        run(Command::new("nsenter")
            .args(["--target", &self.leader, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"])
            .args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["bash", "-c", script]))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.sh("journalctl --unit spothost --lines 40 --no-pager").out);
        }
        let _ = self.sh("systemctl poweroff --force --force");
        let _ = self.nspawn.wait();
    }
}

/// The system's files, fetched once.
fn tree(suite: &str) -> PathBuf {
    let tree = tool("python").with_file_name("trees").join(suite);
    if tree.join("usr/bin/curl").exists() {
        return tree;
    }
    say(suite, &format!("fetching it into {}", tree.display()));
    fs::create_dir_all(&tree).expect("a folder for the system");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}")]);
    if suite == "noble" {
        let keyring = "--keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg";
        // An empty mirror is the one that the script names.
        debootstrap.args([keyring, "--components=main,universe", suite]).arg(&tree).args(["", UBUNTU]);
    } else {
        debootstrap.arg(suite).arg(&tree);
    }
    run(&mut debootstrap).succeeded();
    tree
}
