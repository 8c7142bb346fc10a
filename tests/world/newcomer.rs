//! What a system with systemd goes through as a host, from the user data to a refused configuration, whatever it boots on.

use std::{
    fs,
    net::IpAddr,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use crate::{Burden, Instance, Site, Visitor, World, eventually};

use crate::{rendering::Rendering, tools::Ran};

/// Where the authority of the world's CA lies in the system; the unit hides the place where it lies here.
pub const ROOTS: &str = "/etc/spothost/acme-roots.pem";

/// A booted system.
pub trait Machine {
    /// Runs a shell script in it, as root.
    fn sh(&self, script: &str) -> Ran;

    /// A property of the agent's unit.
    fn property(&self, name: &str) -> String {
        self.sh(&format!("systemctl show --property={name} --value spothost")).succeeded().out.trim().to_owned()
    }
}

/// The user data of that instance, with the built program in its bucket, listening at `address` at the ports that need a
/// capability.
pub async fn user_data(instance: &mut Instance, address: IpAddr) -> String {
    let listen = instance.configuration["listen"].as_table_mut().expect("the listeners are configured");
    for (key, port) in [("http", 80), ("https", 443)] {
        listen.insert(key.to_owned(), toml::Value::String(SocketAddr::new(address, port).to_string()));
    }
    instance.configuration["acme"]["roots"] = toml::Value::String(ROOTS.to_owned());
    let configuration = toml::to_string(&instance.configuration).expect("TOML");
    let rendering = Rendering::new(&instance.account.bucket, &crate::binary()).configuration(&configuration);
    let user_data = rendering.user_data();
    let key = user_data.split('\'').find(|part| part.starts_with("spothost/")).expect("a key").to_owned();
    put(instance, &key, &crate::binary()).await;
    user_data
}

/// Puts a file into the bucket of that instance.
pub async fn put(instance: &Instance, key: &str, file: &Path) {
    let query = [("account", instance.account.id.as_str()), ("bucket", &instance.account.bucket), ("key", key)];
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    World::shared().control("put_object", &query, bytes.into()).await;
}

/// What the unit takes from the agent's environment for good reason, and the world cannot be reached without: a drop-in.
pub fn way_to_the_world(instance: &Instance, imds: &str) -> String {
    format!(
        "[Service]\nUnsetEnvironment=\nEnvironment=AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false\n\
         Environment=AWS_ENDPOINT_URL={}\nEnvironment=AWS_EC2_METADATA_SERVICE_ENDPOINT={imds}\n",
        instance.aws.endpoint(),
    )
}

/// How long the file is that a slow reader takes.
const LARGE: usize = 24 << 20;

/// A site with a front page of that title and a large file.
pub fn site(title: &str) -> Site {
    let large: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(LARGE).collect();
    Site::titled(title).with("large.bin", large)
}

/// Somebody who visits the site at its usual port.
pub fn visitor(instance: &Instance) -> Visitor {
    let https = SocketAddr::new(instance.address, 443);
    Visitor::new(&instance.account.domain(), https, &World::shared().acme_issuer())
}

/// Waits until the site answers, and the name leads to it: where the package brings an application, once that answers.
pub async fn is_host(instance: &Instance, visitor: &Visitor, limit: Duration) {
    eventually("the site answers", limit, async || answers(visitor).await).await;
    eventually("the domain leads there", limit, async || instance.is_led_to().await).await;
}

/// Whether the front page is served.
pub async fn answers(visitor: &Visitor) -> bool {
    visitor.get("/").await.is_ok_and(|answer| answer.status == 200)
}

/// After a kill at once, and after hanging when the watchdog has noticed; all times are multiplied by `slowness`.
pub async fn comes_back(what: &str, machine: &impl Machine, visitor: &Visitor, slowness: u32) {
    for (signal, limit) in [("KILL", 5), ("STOP", 45)] {
        let before = machine.property("MainPID");
        let began = Instant::now();
        machine.sh(&format!("kill -{signal} {before}")).succeeded();
        let again = async || machine.property("MainPID") != before && answers(visitor).await;
        eventually("another process answers", Duration::from_secs(limit) * slowness, again).await;
        say(what, &format!("SIG{signal}: another process answers after {:.1} s", began.elapsed().as_secs_f32()));
    }
}

/// A restart beside a slow reader, a slow sender and an idle HTTP/2 connection: systemd starts the next process at once, new
/// visitors do not notice, and the reader gets all. Stopped, it drains before its network goes.
pub async fn restarts_beside_readers(what: &str, machine: &impl Machine, visitor: &Visitor, slowness: u32) {
    for how in ["systemctl restart spothost", "kill $(systemctl show --property=MainPID --value spothost)"] {
        let burden = Burden::lay(visitor, "/large.bin").await;
        let before = machine.property("MainPID");
        let began = Instant::now();
        machine.sh(how).succeeded();
        let again = async || machine.property("MainPID") != before && answers(visitor).await;
        eventually("another process answers", Duration::from_secs(5) * slowness, again).await;
        if !burden.weighs() {
            panic!("the reader was not served any more: {:?}", burden.lift().await);
        }
        say(
            what,
            &format!(
                "{how}: another process answers after {:.2} s, beside a slow reader",
                began.elapsed().as_secs_f32()
            ),
        );
        assert_eq!(burden.lift().await, Ok(LARGE));
    }
}

/// When it was told to, and when its configuration is refused.
pub async fn stays_down(what: &str, machine: &impl Machine, slowness: u32) {
    let began = Instant::now();
    machine.sh("systemctl stop spothost.socket spothost").succeeded();
    assert!(began.elapsed() < Duration::from_secs(30) * slowness, "stopping took {:?}", began.elapsed());
    say(what, &format!("it stops within {:.1} s", began.elapsed().as_secs_f32()));

    machine.sh("echo 'domian = 1' >/etc/spothost/spothost.toml; systemctl start spothost");
    // Longer than RestartSec: a restart would show.
    tokio::time::sleep(Duration::from_secs(3) * slowness).await;
    let found = ["ActiveState", "ExecMainStatus"].map(|name| machine.property(name));
    assert_eq!(found, ["failed", "64"], "a refused configuration is not tried again");
    let ports = machine.sh("systemctl is-active spothost.socket").out;
    assert_eq!(ports.trim(), "inactive", "visitors must not start it either");
    say(what, "a refused configuration waits for a person, and no visitor for it");
}

/// Uid, capabilities and filters of the agent's process, and who can read what it keeps.
pub fn is_confined(what: &str, machine: &impl Machine) {
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
    say(what, "the agent is confined, and root reads its status");
}

/// Prints a line of the report about one of the systems.
pub fn say(who: &str, what: &str) {
    println!("{who}: {}", what.trim());
}
