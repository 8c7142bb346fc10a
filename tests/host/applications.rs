//! Real applications behind `spothost up PATH --app`: one file a subject.

use http::{Method, Request};
use world::{Agent, Application, Command, Visitor};

use crate::{SOON, front, up::Laptop};

mod browser;
mod clients;
mod frameworks;
mod hosted;
mod owned;
mod raw;
mod recorded;
mod restarts;
mod secrets;
mod strict;
mod websockets;

/// An application, and the built program in front of it.
struct Proxied {
    application: Application,
    laptop: Laptop,
    agent: Agent,
    visitor: Visitor,
    /// Path of the CA to trust.
    ca: String,
}

impl Proxied {
    /// Starts both; the site has a front page and `about.html`.
    async fn start(command: Command) -> Proxied {
        Proxied::before(Application::start(command, |_| ()).await).await
    }

    /// Starts the program before an application that runs.
    async fn before(application: Application) -> Proxied {
        let laptop = Laptop::new();
        std::fs::write(laptop.site().join("about.html"), "from the file").expect("a file");
        let (mut agent, visitor, ca) = laptop.up_with(&laptop.site(), &["--app", &application.url()], &[]).await;
        agent
            .wait_for("the site", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("first")))
            .await;
        Proxied { application, laptop, agent, visitor, ca }
    }

    /// The address of the program as curl's `--connect-to` takes it, and as others do.
    fn address(&self) -> String {
        self.laptop.https.to_string()
    }

    /// Runs curl against the program; its output. Paths stand for URLs.
    async fn curl(&self, arguments: &[&str], path: &str) -> std::process::Output {
        self.curl_command(arguments, path).output().await.expect("curl")
    }

    fn curl_command(&self, arguments: &[&str], path: &str) -> tokio::process::Command {
        let mut curl = tokio::process::Command::new(world::tools::tool("apps/bin/curl"));
        let connect = format!("localhost:{}:{}", self.laptop.https.port(), self.address());
        curl.args(["--silent", "--show-error", "--cacert", &self.ca, "--connect-to", &connect]).args(arguments);
        curl.arg(format!("https://localhost:{}{path}", self.laptop.https.port())).kill_on_drop(true);
        curl
    }
}

/// The application that tells how it saw each request, run by that server of it.
fn recorder(server: &str) -> Command {
    let line = match server {
        "gunicorn" => "gunicorn wsgi:application --bind 127.0.0.1:8000 --log-level warning",
        "uvicorn" => "uvicorn asgi:application --host 127.0.0.1 --port 8000 --no-access-log",
        "granian" => "granian --interface asgi asgi:application --host 127.0.0.1 --port 8000",
        "node" => "node node.js",
        "puma" => "puma --quiet --bind tcp://127.0.0.1:8000 config.ru",
        other => panic!("there is no recorder for {other}"),
    };
    Command::new("recorder", line).with("HOST", "127.0.0.1").with("PORT", "8000")
}

/// A request without fields and content.
fn plain(method: Method, path: &str) -> Request<bytes::Bytes> {
    Request::builder().method(method).uri(path).body(bytes::Bytes::new()).expect("a valid request")
}
