//! Real clients: large uploads, streams of events.

use std::{fs, process::Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use world::Command;

use super::Proxied;
use crate::SOON;

/// Content that is spilled into a file on its way.
const LARGE: usize = 50 << 20;

pub(super) fn fastapi() -> Command {
    Command::new("fastapi", "uvicorn application:app --host 127.0.0.1 --port 8000")
}

pub(super) fn express() -> Command {
    Command::new("express", "node application.js").with("HOST", "127.0.0.1").with("PORT", "8000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_arrive_whole_with_and_without_a_length() {
    use sha2::{Digest as _, Sha256};

    let mut random = fastrand::Rng::with_seed(1);
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(LARGE).collect();
    let digest: String = Sha256::digest(&content).iter().map(|octet| format!("{octet:02x}")).collect();
    for command in [fastapi(), express()] {
        let proxied = Proxied::start(command).await;
        let file = proxied.laptop.folder.path().join("upload");
        fs::write(&file, &content).expect("a file");
        let file = file.display().to_string();
        for more in [&["--http1.1"][..], &["--http2"], &["--http1.1", "--header", "Transfer-Encoding: chunked"]] {
            let output = proxied.curl(&[more, &["--upload-file", &file]].concat(), "/api/content").await;
            let seen: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
            assert_eq!(seen, json!({"length": LARGE, "sha256": digest}), "{more:?}");
        }
    }
}

/// The stream never ends: an event that is seen was passed on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_of_a_stream_is_passed_on_at_once() {
    for command in [fastapi(), express()] {
        let proxied = Proxied::start(command).await;
        for version in ["--http1.1", "--http2"] {
            let mut curl = proxied.curl_command(&["--no-buffer", version], "/api/events");
            let mut curl = curl.stdout(Stdio::piped()).spawn().expect("curl");
            let mut lines = BufReader::new(curl.stdout.take().expect("its output")).lines();
            let first = async {
                let mut seen = Vec::new();
                while seen.len() < 5 {
                    seen.push(lines.next_line().await.expect("a line").expect("the stream goes on"));
                }
                seen
            };
            let seen = tokio::time::timeout(SOON, first).await.expect("events in time");
            assert_eq!(seen, ["id: 0", "data: event 0", "", "id: 1", "data: event 1"], "{version}");
            curl.kill().await.expect("it can be killed");
        }
    }
}
