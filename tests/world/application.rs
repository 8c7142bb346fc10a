//! A real application's server, running beside the agent.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;

use crate::{connection, eventually, own_address, tools};

/// The address in the commands of docs/applications.md; each application has one of its own instead.
const ADDRESS: &str = "127.0.0.1";
const PORT: u16 = 8000;
/// The socket in these commands, likewise.
const SOCKET: &str = "/run/app.sock";
/// How long a server may take to start, Ruby's on a busy machine included.
const LONGEST_START: Duration = Duration::from_secs(60);

/// How long to rest between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// How an application is started.
#[derive(Clone, Debug)]
pub struct Command {
    /// A folder of tests/applications, of which each run has a copy.
    pub folder: &'static str,
    /// Words for a shell in that folder. They listen at 127.0.0.1:8000 or at /run/app.sock, for which the run has places of its own.
    pub line: String,
    /// Lines that are run to their ends before, without others beside them.
    pub before: Vec<String>,
    /// Variables.
    pub environment: Vec<(String, String)>,
}

impl Command {
    /// That line in that folder.
    pub fn new(folder: &'static str, line: &str) -> Command {
        Command { folder, line: line.to_owned(), before: Vec::new(), environment: Vec::new() }
    }

    /// With a line that is run to its end before.
    #[must_use]
    pub fn after(mut self, line: &str) -> Command {
        self.before.push(line.to_owned());
        self
    }

    /// With another variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Command {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running application; all of its processes are killed when it is dropped.
#[derive(Debug)]
pub struct Application {
    command: Command,
    folder: TempDir,
    address: SocketAddr,
    process: Child,
}

impl Application {
    /// Starts it and waits until it listens. `prepare` may change its copy of the folder before.
    ///
    /// # Panics
    /// When it does not start; the message has its log.
    pub async fn start(command: Command, prepare: impl FnOnce(&Path)) -> Application {
        let folder = TempDir::new().expect("a temporary folder");
        let copy = folder.path().join("application");
        copy_folder(&tools::repository().join("tests/applications").join(command.folder), &copy);
        prepare(&copy);
        let address = SocketAddr::new(own_address(), PORT);
        for line in &command.before {
            let ran = shell(line, &command.environment, folder.path(), address).output().await.expect("a shell");
            assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        }
        let process = spawn(&command, folder.path(), address);
        let mut application = Application { command, folder, address, process };
        application.wait_until_listening().await;
        application
    }

    /// Ends all of its processes without asking (SIGKILL), and waits until it listens no more.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kill(&mut self) {
        self.kill_group();
        let _ = self.process.wait().await;
        // Its workers have the same socket, and end a moment later.
        eventually("the application ends", LONGEST_START, async || !self.listens().await).await;
    }

    /// Starts it again at the same address, in the same folder.
    ///
    /// # Panics
    /// As [`Application::start`].
    pub async fn start_again(&mut self) {
        let _ = fs::remove_file(self.socket());
        self.process = spawn(&self.command, self.folder.path(), self.address);
        self.wait_until_listening().await;
    }

    /// Its place as `spothost up --app` takes it.
    pub fn url(&self) -> String {
        if self.command.line.contains(SOCKET) {
            format!("unix:{}", self.socket().display())
        } else {
            format!("http://{}", self.address)
        }
    }

    /// Its copy of the folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("application")
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Gets a path from it directly, as JSON.
    ///
    /// # Panics
    /// When it does not answer so, or listens at a Unix socket.
    pub async fn ask(&self, path: &str) -> Value {
        let request = Request::get(format!("http://{}{path}", self.address)).body(Full::<Bytes>::default());
        let answer = connection::plain_client().request(request.expect("a valid request")).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body:?}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("app.sock")
    }

    async fn listens(&self) -> bool {
        if self.command.line.contains(SOCKET) {
            tokio::net::UnixStream::connect(self.socket()).await.is_ok()
        } else {
            tokio::net::TcpStream::connect(self.address).await.is_ok()
        }
    }

    async fn wait_until_listening(&mut self) {
        let begun = Instant::now();
        while !self.listens().await {
            let ended = self.process.try_wait().expect("a child can be waited for");
            let in_time = begun.elapsed() < LONGEST_START;
            assert!(ended.is_none() && in_time, "`{}` listens not: {ended:?}\n{}", self.command.line, self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn kill_group(&self) {
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn spawn(command: &Command, folder: &Path, address: SocketAddr) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a file");
    let mut shell = shell(&command.line, &command.environment, folder, address);
    shell.stdout(log.try_clone().expect("a second descriptor")).stderr(log);
    // Servers start workers: all of them end together.
    shell.process_group(0).kill_on_drop(true).spawn().expect("a shell")
}

/// A shell with that line, in the copied folder, that finds the servers of tests/setup/apps.sh.
fn shell(line: &str, environment: &[(String, String)], folder: &Path, address: SocketAddr) -> tokio::process::Command {
    let here = |text: &str| {
        text.replace(ADDRESS, &address.ip().to_string()).replace(SOCKET, &folder.join("app.sock").display().to_string())
    };
    let programs = tools::tool("apps/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &here(line)]).current_dir(folder.join("application")).stdin(Stdio::null()).env_clear();
    shell.env("PATH", format!("{}:{path}", programs.display())).env("HOME", folder).env("STATE", folder);
    shell.env("PYTHONDONTWRITEBYTECODE", "1").env("LANG", "C.UTF-8");
    shell.envs(environment.iter().map(|(name, value)| (name, here(value))));
    shell
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
