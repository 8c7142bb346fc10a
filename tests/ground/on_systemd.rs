//! Boots real systems, runs the real user data with the built agent on each, and looks at what comes of it.
//!
//! ```text
//! sudo cargo run -p spothost-tests --example on-systemd [-- bookworm trixie noble]
//! ```
//!
//! Needs root, `debootstrap`, `systemd-nspawn`, for `noble` Ubuntu's archive keyring, what `tests/run` sets up,
//! and a debug build of `spothost`. It is a command of its own and not a test, because of the root. Nothing is
//! changed outside the folder of the tests' tools: the systems are kept there, and each boots on a copy in memory.

#[path = "rendering.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod rendering;
#[path = "tools.rs"]
mod tools;

use std::{
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rendering::Rendering;
use tools::{Ran, run, tool};
use world::{Instance, Site, Visitor, World, eventually, eventually_some};

/// What an image of this release has, and a container of it would not.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,curl,ca-certificates,libnss-systemd";
/// Where the authority of the world's CA lies in the system; the unit hides the place where it lies here.
const ROOTS: &str = "/etc/spothost/acme-roots.pem";
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
    instance.account.put("site-1-latest.zip", Site::titled("On systemd").zip()).await;
    let user_data = user_data(&mut instance).await;
    let machine = Machine::boot(suite, &instance).await;
    say(suite, &machine.sh("systemctl --version | head -1").succeeded().out);

    machine.run_user_data(&user_data, &instance).succeeded();
    let https = SocketAddr::new(instance.address, 443);
    let visitor = Visitor::new(&instance.account.domain(), https, &World::shared().acme_issuer());
    eventually("the site answers", Duration::from_secs(30), async || answers(&visitor).await).await;
    eventually("the domain leads there", Duration::from_secs(30), async || instance.is_led_to().await).await;
    say(suite, "the user data makes it a host, and the domain leads to it");

    machine.run_user_data(&user_data, &instance).succeeded();
    assert_eq!(machine.property("NRestarts"), "0");
    say(suite, "a second run leaves it alone");

    is_confined(&machine);
    say(suite, "the agent is confined, and root reads its status");
    comes_back(suite, &machine, &visitor).await;
    stays_down(suite, &machine).await;
}

async fn answers(visitor: &Visitor) -> bool {
    visitor.get("/").await.is_ok_and(|answer| answer.status == 200)
}

/// After a kill at once, and after hanging when the watchdog has noticed.
async fn comes_back(suite: &str, machine: &Machine, visitor: &Visitor) {
    for (signal, limit) in [("KILL", 5), ("STOP", 45)] {
        let (before, began) = (machine.property("MainPID"), Instant::now());
        machine.sh(&format!("kill -{signal} {before}")).succeeded();
        let again = async || machine.property("MainPID") != before && answers(visitor).await;
        eventually("another process answers", Duration::from_secs(limit), again).await;
        say(suite, &format!("SIG{signal}: another process answers after {:.1} s", began.elapsed().as_secs_f32()));
    }
}

/// When it was told to, and when its configuration is refused.
async fn stays_down(suite: &str, machine: &Machine) {
    let began = Instant::now();
    machine.sh("systemctl stop spothost.socket spothost").succeeded();
    assert!(began.elapsed() < Duration::from_secs(30), "stopping took {:?}", began.elapsed());
    say(suite, &format!("it stops within {:.1} s", began.elapsed().as_secs_f32()));

    machine.sh("echo 'domian = 1' >/etc/spothost/spothost.toml; systemctl start spothost");
    // Longer than RestartSec: a restart would show.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let found = ["ActiveState", "ExecMainStatus"].map(|name| machine.property(name));
    assert_eq!(found, ["failed", "64"], "a refused configuration is not tried again");
    let ports = machine.sh("systemctl is-active spothost.socket").out;
    assert_eq!(ports.trim(), "inactive", "visitors must not start it either");
    say(suite, "a refused configuration waits for a person, and no visitor for it");
}

/// Uid, capabilities and filters of the agent's process, and who can read what it keeps.
fn is_confined(machine: &Machine) {
    let status = machine.sh(&format!("cat /proc/{}/status", machine.property("MainPID"))).succeeded().out;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    assert_eq!(["CapEff:", "CapPrm:", "CapBnd:"].map(field), ["0000000000000000"; 3]);
    assert_eq!(["NoNewPrivs:", "Seccomp:"].map(field), ["1", "2"]);
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    for folder in ["/var/lib/private/spothost", "/run/private/spothost"] {
        assert_eq!(machine.sh(&format!("stat -c %a {folder}")).succeeded().out.trim(), "700", "{folder}");
    }
    machine.sh("spothost status").succeeded();
}

/// The user data of that instance, with the built program in its bucket, and with the ports that need a capability.
async fn user_data(instance: &mut Instance) -> String {
    let address = instance.address;
    let listen = instance.configuration["listen"].as_table_mut().expect("the listeners are configured");
    for (key, port) in [("http", 80), ("https", 443)] {
        listen.insert(key.to_owned(), toml::Value::String(SocketAddr::new(address, port).to_string()));
    }
    instance.configuration["acme"]["roots"] = toml::Value::String(ROOTS.to_owned());
    let configuration = toml::to_string(&instance.configuration).expect("TOML");
    let rendering = Rendering::new(&instance.account.bucket, &world::binary()).configuration(&configuration);
    let user_data = rendering.user_data();
    let key = user_data.split('\'').find(|part| part.starts_with("spothost/")).expect("a key").to_owned();
    let query = [("account", instance.account.id.as_str()), ("bucket", &instance.account.bucket), ("key", &key)];
    let program = fs::read(world::binary()).expect("the built program can be read");
    World::shared().control("put_object", &query, program.into()).await;
    user_data
}

/// A booted system. It shares the network, so that the world on loopback is its AWS.
struct Machine {
    nspawn: Child,
    leader: String,
}

impl Machine {
    async fn boot(suite: &str, instance: &Instance) -> Machine {
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
        let machine = Machine { leader: leader.await, nspawn };
        let booted = async || ["running", "degraded"].contains(&machine.sh("systemctl is-system-running").out.trim());
        eventually("the system has booted", Duration::from_secs(60), booted).await;
        machine.lead_to_the_world(instance);
        machine
    }

    /// What the unit takes from the agent's environment for good reason, and the world cannot be reached without.
    fn lead_to_the_world(&self, instance: &Instance) {
        let lines = format!(
            "[Service]\nUnsetEnvironment=\nEnvironment=AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false\n\
             Environment=AWS_ENDPOINT_URL={}\nEnvironment=AWS_EC2_METADATA_SERVICE_ENDPOINT={}\n",
            instance.aws.endpoint(),
            instance.imds.endpoint()
        );
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

    /// A property of the unit.
    fn property(&self, name: &str) -> String {
        self.sh(&format!("systemctl show --property={name} --value spothost")).succeeded().out.trim().to_owned()
    }

    /// Runs a shell script in the system.
    fn sh(&self, script: &str) -> Ran {
        run(Command::new("nsenter")
            .args(["--target", &self.leader, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"])
            .args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["bash", "-c", script]))
    }
}

impl Drop for Machine {
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

fn say(suite: &str, what: &str) {
    println!("{suite}: {}", what.trim());
}
