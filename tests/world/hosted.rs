//! The application that a package brings, on a host with runners.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde_json::Value;
use toml::Table;

use crate::{Agent, Instance, Runners, Site, Visitor, tools};

/// How long anything may take that should take a second or two.
const SOON: Duration = Duration::from_secs(30);

/// What runs the application of `tests/applications/owned`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Two workers of gunicorn.
    Gunicorn,
    /// uvicorn.
    Uvicorn,
    /// Node.js.
    Node,
}

impl Server {
    /// The command.
    pub fn run(self) -> String {
        let tool = |name: &str| tools::tool(&format!("apps/bin/{name}")).display().to_string();
        match self {
            Server::Gunicorn => {
                format!("{} -m gunicorn app:application --workers 2 --log-level warning", tool("python"))
            }
            Server::Uvicorn => format!("{} -m uvicorn app:asgi --fd 3 --no-access-log", tool("python")),
            Server::Node => format!("{} app.js", tool("node")),
        }
    }
}

/// An instance whose configuration has `[app]`, beside runners.
#[derive(Debug)]
pub struct Hosted {
    /// The instance.
    pub instance: Instance,
    /// Somebody who visits it.
    pub visitor: Visitor,
    /// What starts a runner for each connection.
    pub runners: Runners,
    /// What runs the application.
    pub server: Server,
}

impl Hosted {
    /// On a new instance, whose runners `start` starts for the connections to a socket.
    pub async fn new(server: Server, start: fn(&Path) -> Runners) -> Hosted {
        Hosted::on(Instance::new().await, server, start)
    }

    /// On that instance.
    pub fn on(mut instance: Instance, server: Server, start: fn(&Path) -> Runners) -> Hosted {
        let visitor = instance.visitor();
        let socket = instance.config_path().with_file_name("runner.sock");
        let runners = start(&socket);
        let mut app = Table::new();
        app.insert("runner".to_owned(), toml::Value::String(socket.display().to_string()));
        app.insert("processes".to_owned(), toml::Value::Integer(2));
        instance.configuration.insert("app".to_owned(), toml::Value::Table(app));
        Hosted { instance, visitor, runners, server }
    }

    /// Where the application notes what it was sent.
    pub fn notes_file(&self) -> PathBuf {
        self.instance.config_path().with_file_name("notes")
    }

    /// Publishes that version with `more` in `[app]`; its entity tag.
    pub async fn publish(&self, version: &str, more: &str) -> String {
        self.publish_running(&self.server.run(), version, more).await
    }

    /// The same with another command. The package stays under a name of its own, too, as `spothost publish` leaves it.
    ///
    /// # Panics
    /// When a file of the application is missing.
    pub async fn publish_running(&self, run: &str, version: &str, more: &str) -> String {
        let settings = format!(
            "[app]\nrun = '{run}'\nhealth = '/health'\n{more}\n[app.env]\nVERSION = '{version}'\nNOTES = '{}'\n",
            self.notes_file().display()
        );
        let of = tools::repository().join("tests/applications/owned");
        let site = ["app.py", "app.js"].into_iter().fold(Site::titled(version), |site, file| {
            site.with(&format!(".app/{file}"), fs::read(of.join(file)).expect("a file of the application"))
        });
        let zip = site.with("site.toml", settings).zip();
        self.instance.account.put(&format!("site-{version}.zip"), zip.clone()).await;
        self.instance.account.put("site-latest.zip", zip).await
    }

    /// Waits until the application of that version answers.
    pub async fn answers(&self, agent: &mut Agent, expected: &str) {
        let answers = async |_: &Agent| version(&self.visitor).await.as_deref() == Some(expected);
        agent.wait_for(&format!("the application {expected}"), SOON, answers).await;
    }
}

/// What the application tells of itself.
pub async fn about(visitor: &Visitor) -> Option<Value> {
    let request = Request::builder().method(Method::GET).uri("/about").body(Bytes::new()).ok()?;
    let answer = visitor.send(request, true).await.ok()?;
    serde_json::from_slice(answer.text().as_bytes()).ok()
}

/// The version of the application that answers.
pub async fn version(visitor: &Visitor) -> Option<String> {
    Some(about(visitor).await?["version"].as_str()?.to_owned())
}

/// A process of which the application tells: `pid` or `parent`.
///
/// # Panics
/// When it does not.
pub fn pid(about: &Value, which: &str) -> Pid {
    Pid::from_raw(i32::try_from(about[which].as_i64().expect("a process id")).expect("a process id"))
}

/// Whether a process has not ended.
pub fn lives(pid: Pid) -> bool {
    // One that is not waited for yet has ended all the same.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(pid, None) != Err(Errno::ESRCH) && !state.contains(") Z ")
}
