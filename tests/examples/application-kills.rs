//! `kill -9` of an application, its agent and its runner, again and again under visitors, and what became of each request.
//!
//! ```sh
//! tests/run --no-run
//! cargo run -p spothost-tests --example application-kills -- [--times 100] [--visitors 8] [--server node|gunicorn]
//! ```
//!
//! Each round kills the application, the agent, the runner, and the agent again, each once it is well. The application notes the
//! number of each request, so that it is known which were begun, and which it got twice. At the end it counts what is left:
//! processes, runners, sockets, descriptors and folders. It ends with 1 where an agent came back to another process, a request was
//! lost while nothing was killed, a POST came twice, or something is left.

use std::{
    collections::HashSet,
    env, fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use world::{
    Agent, Numbered, Runners, Seen, Unit, eventually, eventually_some,
    hosted::{Hosted, Server, about, lives, pid},
};

const SOON: Duration = Duration::from_secs(60);
/// Requests between two kills.
const BETWEEN: u64 = 60;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Application,
    Agent,
    Runner,
}

/// One kill, and how it was mended.
struct Heal {
    killed: Killed,
    /// From before the kill until the load went on.
    from: Instant,
    to: Instant,
    /// Until a new visitor was answered by the application.
    answered: Duration,
    /// Until the process of the application was gone, where that is to be.
    gone: Option<Duration>,
}

/// What is there while all is well.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    processes: usize,
    runners: usize,
    sockets: usize,
    stored: usize,
    folders: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let times = number("--times", 100);
    let visitors = number("--visitors", 8);
    let server = match argument("--server").as_deref() {
        Some("gunicorn") => Server::Gunicorn,
        _ => Server::Node,
    };
    println!("{times} rounds, {visitors} visitors, {server:?}");
    let folders_before = folders();
    let hosted = Hosted::new(server, Runners::start).await;
    hosted.publish("one", "").await;
    let unit = hosted.instance.unit();
    let mut agent = hosted.instance.start_in(&unit);
    hosted.answers(&mut agent, "one").await;
    agent.wait_until_serving(SOON).await;
    let at_first = left(&hosted, &unit, &folders_before);
    let descriptors_at_first = descriptors(&agent);

    let load = Numbered::start(&hosted.visitor, visitors);
    let mut heals = Vec::new();
    let mut other_process = 0;
    for _ in 0..times {
        for killed in [Killed::Application, Killed::Agent, Killed::Runner, Killed::Agent] {
            goes_on(&load).await;
            let before = leader(&hosted).await;
            let from = Instant::now();
            match killed {
                Killed::Application => kill(before, Signal::SIGKILL).expect("it is ours"),
                Killed::Runner => assert_eq!(hosted.runners.kill(), 1, "one runner"),
                Killed::Agent => {
                    agent.kill().await;
                    agent = hosted.instance.start_in(&unit);
                }
            }
            let is_gone = async {
                if killed == Killed::Agent {
                    return None;
                }
                while lives(before) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Some(from.elapsed())
            };
            let answers = async {
                let another = async || {
                    let now = pid(&about(&hosted.visitor).await?, which(server));
                    (killed == Killed::Agent || now != before).then_some(now)
                };
                let now = eventually_some("it answers again", SOON, another).await;
                (now, from.elapsed())
            };
            let (gone, (now, answered)) = tokio::join!(is_gone, answers);
            other_process += usize::from(killed == Killed::Agent && now != before);
            goes_on(&load).await;
            // Its runner is known to the next agent once it says how it is doing.
            agent.wait_until_serving(SOON).await;
            heals.push(Heal { killed, from, to: Instant::now(), answered, gone });
        }
    }
    let seen = load.end().await;

    for killed in [Killed::Application, Killed::Agent, Killed::Runner] {
        let of: Vec<_> = heals.iter().filter(|heal| heal.killed == killed).collect();
        println!("kill -9 of the {killed:?}, {} times", of.len());
        show("  until a new visitor is answered", of.iter().map(|heal| heal.answered));
        if killed != Killed::Agent {
            show("  until its process is gone", of.iter().filter_map(|heal| heal.gone));
        }
    }
    println!("agents that came back to another process: {other_process}");
    let is_clean = requests(&seen, &heals, &hosted);

    let now = left(&hosted, &unit, &folders_before);
    // systemd removes the private /var/tmp of a unit, which there is none of here.
    let of_killed = now.folders - at_first.folders;
    println!("at first: {at_first:?}, {descriptors_at_first} descriptors of the agent");
    println!("now:      {now:?}, {} descriptors of the agent", descriptors(&agent));
    let as_before = Left { folders: at_first.folders, ..now } == at_first && of_killed == times;
    let descriptors_now = descriptors(&agent);
    agent.stop().await;
    drop(unit);
    eventually("the runner ends with its unit", SOON, async || hosted.runners.running() == 0).await;
    eventually("all processes end", SOON, async || processes(&hosted) == 0).await;
    println!("at the end: no runner and no process; {of_killed} folders of runners that were killed");
    for folder in folders().difference(&folders_before) {
        let _ = std::process::Command::new("chmod").arg("-R").arg("u+w").arg(folder).status();
        let _ = fs::remove_dir_all(folder);
    }
    // Connections of visitors come and go.
    let as_many = descriptors_now <= descriptors_at_first + 2 * visitors + 4;
    if other_process == 0 && is_clean && as_before && as_many { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what became of the requests; whether none was lost but by a kill, and no POST came twice.
fn requests(seen: &Seen, heals: &[Heal], hosted: &Hosted) -> bool {
    let counts = seen.counts(&hosted.notes_file());
    let never: HashSet<_> = counts.never.iter().collect();
    let posts_twice = counts.more.iter().filter(|number| *number % 3 == 0).count();
    println!(
        "{} requests: {} failed, {} GET came to the application twice, {posts_twice} POST",
        seen.sent,
        seen.lost.len(),
        counts.more.len() - posts_twice
    );
    let mut outside = seen.lost.clone();
    for killed in [Killed::Application, Killed::Agent, Killed::Runner] {
        let during = |lost: &world::Lost| {
            heals.iter().any(|heal| heal.killed == killed && lost.sent <= heal.to && heal.from <= lost.known)
        };
        let of: Vec<_> = outside.iter().filter(|lost| during(lost)).cloned().collect();
        outside.retain(|lost| !during(lost));
        let count = |idempotent: bool, begun: bool| {
            of.iter().filter(|lost| lost.idempotent == idempotent && begun != never.contains(&lost.number)).count()
        };
        println!(
            "failed by the kill of the {killed:?}: {} GET that it had begun, {} that it had not, {} POST that it had begun, {} that it had not",
            count(true, true),
            count(true, false),
            count(false, true),
            count(false, false)
        );
        let whys: HashSet<_> = of.iter().map(|lost| lost.why.clone()).collect();
        whys.iter().take(8).for_each(|why| println!("  {why}"));
    }
    println!("failed while nothing was killed: {}", outside.len());
    outside.iter().take(10).for_each(|lost| println!("  {}: {}", lost.number, lost.why));
    let lost: HashSet<_> = seen.lost.iter().map(|lost| lost.number).collect();
    let unsent = counts.never.iter().filter(|number| !lost.contains(number)).count();
    println!("answered, and never noted: {unsent}");
    outside.is_empty() && posts_twice == 0 && unsent == 0
}

async fn goes_on(load: &Numbered) {
    let answered = load.answered();
    eventually("the load goes on", SOON, async || load.answered() > answered + BETWEEN).await;
}

/// The first process of the application.
async fn leader(hosted: &Hosted) -> Pid {
    let about = eventually_some("it answers", SOON, async || about(&hosted.visitor).await).await;
    pid(&about, which(hosted.server))
}

/// As what the application knows its first process.
fn which(server: Server) -> &'static str {
    if server == Server::Gunicorn { "parent" } else { "pid" }
}

fn left(hosted: &Hosted, unit: &Unit, folders_before: &HashSet<PathBuf>) -> Left {
    let sockets = fs::read_dir(hosted.instance.disk().join("run/application")).into_iter().flatten().flatten();
    Left {
        processes: processes(hosted),
        runners: hosted.runners.running(),
        sockets: sockets.filter(|entry| entry.path().extension().is_some_and(|end| end == "sock")).count(),
        stored: unit.stored().len(),
        folders: folders().difference(folders_before).count(),
    }
}

/// How many processes of the application there are: those with its environment.
fn processes(hosted: &Hosted) -> usize {
    let mark = format!("NOTES={}\0", hosted.notes_file().display());
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let environments = all.filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments.filter(|environment| environment.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
}

/// The folders of runners.
fn folders() -> HashSet<PathBuf> {
    let all = fs::read_dir("/var/tmp").into_iter().flatten().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with("spothost-app-")).map(|e| e.path()).collect()
}

/// How many files the serving process of an agent has open.
fn descriptors(agent: &Agent) -> usize {
    let pid = agent.serving_pid().unwrap_or_else(|| agent.pid());
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn show(what: &str, times: impl Iterator<Item = Duration>) {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    println!("{what}: median {median:.1?}, longest {longest:.1?}");
}

fn number(name: &str, default: usize) -> usize {
    argument(name).and_then(|number| number.parse().ok()).unwrap_or(default)
}

fn argument(name: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != name).nth(1)
}
