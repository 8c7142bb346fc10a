//! Boots a whole Debian under qemu from the real user data, with a package that brings a Django application: what systemd and the
//! kernel have to do for it is done by the real ones.
//!
//! ```text
//! sudo cargo run -p spothost-tests --example applications-under-qemu [-- bookworm]
//! ```
//!
//! Needs what `under-qemu` needs, and the tests' applications (`tests/setup/apps.sh`).

use std::{
    collections::HashMap,
    env, fs,
    net::Ipv4Addr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use world::emulated::{Disk, Emulated, SLOWNESS};
use world::newcomer::{Machine, is_host, say, user_data, visitor};
use world::tools::{repository, run, tool};
use world::{Gateway, Instance, Load, Site, Visitor, eventually, eventually_some};

/// What lies in the libraries of the application.
const LIBRARIES: [&str; 4] = ["django", "gunicorn", "asgiref", "sqlparse"];
/// How long a process may take to start, on a machine that is not emulated.
const STARTS: Duration = Duration::from_secs(20);
const RUNNERS: &str = "spothost-app@*.service";

#[tokio::main]
async fn main() {
    let suite = env::args().nth(1).unwrap_or_else(|| "bookworm".to_owned());
    let disk = Disk::made(&suite);
    let libraries = libraries();
    let mut instance = Instance::new().await;
    // A process takes so much longer to start there that requests have to wait longer for it.
    instance.configuration.insert("app".to_owned(), toml::toml! { hold = "5m" }.into());
    instance.account.put("site-1-latest.zip", package(&libraries, "one", "").zip()).await;
    let user_data = user_data(&mut instance, Ipv4Addr::UNSPECIFIED.into()).await;
    instance.imds.set_user_data(&user_data);
    let imds = instance.imds.endpoint().trim_start_matches("http://").parse().expect("an address");
    let _imds = Gateway::open((Ipv4Addr::LOCALHOST, 80).into(), imds).await;

    let began = Instant::now();
    let machine = Emulated::boot(&disk, &instance);
    let visitor = visitor(&instance);
    is_host(&instance, &visitor, Duration::from_secs(90) * SLOWNESS).await;
    let files = began.elapsed();
    is_version(&visitor, "one").await;
    say(
        &suite,
        &format!("files {} s after power-on, Django {} s later", files.as_secs(), (began.elapsed() - files).as_secs()),
    );

    is_walled(&suite, &machine, &instance, &visitor).await;
    survives(&suite, &machine, &visitor).await;
    does_not_start_without_the_wall(&suite, &machine, &visitor).await;
    swaps(&suite, &machine, &instance, &visitor, &libraries).await;

    machine.sh("systemctl stop spothost.socket spothost").succeeded();
    let none = async || machine.sh(&format!("systemctl list-units --no-legend '{RUNNERS}'")).out.trim().is_empty();
    eventually("the runner ends with the agent", STARTS * SLOWNESS, none).await;
    say(&suite, "it ends with the agent");
}

/// Its unit is its own, and it reaches neither the metadata nor credentials of containers; a process outside does.
async fn is_walled(suite: &str, machine: &Emulated, instance: &Instance, visitor: &Visitor) {
    let process = process(visitor).await.expect("it tells of itself");
    let pid = &process["pid"];
    let group = machine.sh(&format!("cat /proc/{pid}/cgroup")).succeeded().out;
    assert!(group.contains("/spothost-app@") && group.trim().ends_with("/app"), "{group}");
    let agent = machine.sh(&format!("stat -c %u /proc/{}", machine.property("MainPID"))).succeeded().out;
    assert_ne!(process["uid"].to_string(), agent.trim(), "an account of its own");
    assert_eq!(process["secure"], true, "{process}");
    assert!(process["environment"].get("INVOCATION_ID").is_none(), "{process}");
    let status = machine.sh(&format!("cat /proc/{pid}/status")).succeeded().out;
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }

    // A network in which the addresses of IPv6 lead somewhere, too.
    let device = "$(ip -oneline link | awk -F': ' '$2 != \"lo\" { print $2; exit }')";
    let routed = format!(
        "ip -6 address add fd00:ec2::1/64 dev {device} nodad\n\
         for last in 254 23; do ip -6 neighbour replace fd00:ec2::$last lladdr 52:55:0a:00:02:02 dev {device}; done\n\
         curl --silent --max-time 20 http://169.254.169.254/latest/from-outside || true\n\
         python3 - <<'END'\n\
         import socket\n\
         for address in ['169.254.169.254', '169.254.170.2', '169.254.170.23', 'fd00:ec2::254', 'fd00:ec2::23']:\n\
         \x20   family = socket.AF_INET6 if ':' in address else socket.AF_INET\n\
         \x20   socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (address, 80))\n\
         END"
    );
    machine.sh(&routed).succeeded();
    let reached = visitor.get("/reach").await.expect("it answers").text();
    let reached: Value = serde_json::from_str(&reached).unwrap_or_else(|error| panic!("{error}: {reached}"));
    let datagrams = reached["datagrams"].as_object().expect("an answer for each address");
    assert!(datagrams.len() == 6 && datagrams.values().all(|answer| answer == "EPERM"), "{reached}");
    let asked = |path: &str| instance.imds.log().iter().filter(|request| request.path.ends_with(path)).count();
    assert_eq!((asked("/from-outside"), asked("/from-the-application")), (1, 0), "{reached}");
    say(suite, &format!("the wall stands: {reached}"));
}

/// Two versions after the first, one beside and one in the place of the version before it.
async fn swaps(suite: &str, machine: &Emulated, instance: &Instance, visitor: &Visitor, libraries: &Libraries) {
    let versions = ["one", "two", "three"];
    let any = versions.map(|version| Bytes::from_static(version.as_bytes())).to_vec();
    for (number, (version, how)) in [("two", "beside"), ("three", "in-place")].into_iter().enumerate() {
        let load = Load::start(visitor, 2, HashMap::from([("/version".to_owned(), any.clone())]));
        let site = package(libraries, version, &format!("swap = '{how}'"));
        instance.account.put(&format!("site-{}-latest.zip", number + 2), site.zip()).await;
        is_version(visitor, version).await;
        let runners = async || machine.sh(&format!("systemctl list-units --no-legend '{RUNNERS}'")).out.lines().count();
        eventually("one runner is left", STARTS * SLOWNESS, async || runners().await == 1).await;
        let longest = load.latencies().percentile(1.0);
        let tally = load.stop().await;
        assert_eq!((tally.failed, tally.refused), (0, 0), "{:?}", tally.failures);
        assert!(tally.answered > 10, "{} requests", tally.answered);
        say(suite, &format!("{how}: {} requests during the swap, none failed; {longest:?}", tally.answered));
    }
}

/// Kills the agent, the application and the runner.
async fn survives(suite: &str, machine: &Emulated, visitor: &Visitor) {
    let before = process(visitor).await.expect("it tells of itself");
    for how in ["kill -9 $(systemctl show --property=MainPID --value spothost)", "systemctl restart spothost"] {
        let main = machine.property("MainPID");
        machine.sh(how).succeeded();
        let again = async || machine.property("MainPID") != main && is_now(visitor, "one").await;
        eventually("another agent answers", STARTS * SLOWNESS, again).await;
        let after = process(visitor).await.expect("it tells of itself");
        assert_eq!((&after["pid"], &after["parent"]), (&before["pid"], &before["parent"]), "{how}");
    }
    say(suite, "a kill and a restart of the agent leave the application its process");

    let runner = "systemctl show --property=MainPID --value 'spothost-app@*.service'";
    for (what, kill) in
        [("application", format!("kill -9 {}", before["parent"])), ("runner", format!("kill -9 $({runner})"))]
    {
        let before = process(visitor).await.expect("it tells of itself");
        let began = Instant::now();
        machine.sh(&kill).succeeded();
        let another = async || {
            let now = process(visitor).await?;
            (now["parent"] != before["parent"]).then_some(now)
        };
        eventually_some("another process answers", STARTS * SLOWNESS, another).await;
        say(
            suite,
            &format!("kill -9 of the {what}: another process answers after {:.1} s", began.elapsed().as_secs_f32()),
        );
        let left = machine.sh(&format!("cat /proc/{}/cmdline | tr '\\0' ' '", before["pid"])).out;
        assert!(!left.contains("gunicorn"), "{what}: {left}");
    }
}

/// Files are served then, and the status says why the application is not.
async fn does_not_start_without_the_wall(suite: &str, machine: &Emulated, visitor: &Visitor) {
    let folder = "/run/systemd/system/spothost-app@.service.d";
    let open = format!(
        "mkdir -p {folder}; printf '[Service]\\nIPAddressDeny=\\n' >{folder}/open.conf; systemctl daemon-reload; spothost app restart"
    );
    machine.sh(&open).succeeded();
    let said = async || {
        let status = machine.sh("spothost status").out;
        status.contains("could reach 169.254.169.254").then_some(status)
    };
    let status = eventually_some("the status says that there is no wall", STARTS * SLOWNESS, said).await;
    let line = status.lines().find(|line| line.contains("could reach")).unwrap_or_default();
    say(suite, &format!("without the wall it does not start: {}", line.trim()));
    assert!(machine.sh("pgrep --full gunicorn").out.trim().is_empty(), "{status}");
    assert!(visitor.get("/").await.is_ok_and(|answer| answer.status == 200), "files are served");
    machine.sh(&format!("rm -r {folder}; systemctl daemon-reload")).succeeded();
    is_version(visitor, "one").await;
    say(suite, "with the wall it starts again");
}

async fn is_version(visitor: &Visitor, version: &str) {
    let is = async || is_now(visitor, version).await;
    eventually(&format!("the application of version {version} answers"), STARTS * 2 * SLOWNESS, is).await;
}

async fn is_now(visitor: &Visitor, version: &str) -> bool {
    visitor.get("/version").await.is_ok_and(|answer| answer.status == 200 && answer.text() == version)
}

/// What the application tells of its process.
async fn process(visitor: &Visitor) -> Option<Value> {
    let answer = visitor.get("/process").await.ok()?;
    serde_json::from_str(&answer.text()).ok()
}

/// Files below `.app/lib`.
type Libraries = Vec<(String, Bytes)>;

/// Django and gunicorn as an application brings them, with their byte-code, and without the languages that it does not speak.
fn libraries() -> Libraries {
    let folder = TempDir::new().expect("a temporary folder");
    let lib = folder.path().join("lib");
    fs::create_dir(&lib).expect("a folder");
    for name in LIBRARIES {
        run(Command::new("cp").arg("-a").arg(tool("apps/python").join(name)).arg(&lib)).succeeded();
    }
    let prune = "find . -name __pycache__ -prune -exec rm -r {} + && rm -r django/contrib/gis && \
                 find django -path '*/locale/*' -type f -not -path '*/locale/en/*' -not -path '*/locale/__init__.py' -delete";
    run(Command::new("sh").args(["-c", prune]).current_dir(&lib)).succeeded();
    let compile = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."];
    run(Command::new(tool("apps/bin/python")).args(compile).current_dir(&lib)).succeeded();
    let mut files = Vec::new();
    collect(&lib, "", &mut files);
    files
}

fn collect(folder: &Path, below: &str, files: &mut Libraries) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("its kind is known").is_dir() {
            collect(&entry.path(), &name, files)
        } else {
            files.push((name, fs::read(entry.path()).expect("a file").into()))
        }
    }
}

/// The package of that version.
fn package(libraries: &Libraries, version: &str, more: &str) -> Site {
    let settings = format!(
        "[app]\nrun = 'python3 -m gunicorn project:application --threads 4 --log-level warning'\nhealth = '/health'\nready = '10m'\n\
         {more}\n[app.env]\nVERSION = '{version}'\n"
    );
    let project = repository().join("tests/applications/walled/project.py");
    let site = Site::titled(version)
        .with("site.toml", settings)
        .with(".app/project.py", fs::read(project).expect("the application"));
    libraries.iter().fold(site, |site, (name, body)| site.with(&format!(".app/lib{name}"), body.clone()))
}
