//! A headless Chromium: a form guarded against forgery, a file that is uploaded, a stream of events.

use std::{fs, process::Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use world::{Application, tools};

use super::{Proxied, clients, frameworks};

/// What Chromium gives for each step; see tests/applications/browser.py.
pub(super) async fn browse(proxied: &Proxied, steps: Value) -> Vec<Value> {
    let profile = proxied.laptop.folder.path().join("chromium");
    fs::create_dir_all(&profile).expect("a folder");
    let mut driver = tokio::process::Command::new(tools::tool("apps/bin/python"));
    driver.arg(tools::repository().join("tests/applications/browser.py"));
    driver.arg(tools::tool("apps/bin/chromium")).arg(&profile).arg(proxied.laptop.https.ip().to_string());
    driver.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut driver = driver.spawn().expect("Python");
    let mut input = driver.stdin.take().expect("its input");
    input.write_all(steps.to_string().as_bytes()).await.expect("the steps are sent");
    drop(input);
    let output = driver.wait_with_output().await.expect("it ends");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), proxied.application.log());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_sends_a_guarded_form_and_a_file() {
    let (command, prepare) = frameworks::django("nothing");
    let proxied = Proxied::before(Application::start(command, prepare).await).await;
    let file = proxied.laptop.folder.path().join("photo.bin");
    fs::write(&file, vec![9; 2 << 20]).expect("a file");
    let steps = json!([
        {"open": "https://localhost:8443/form/"},
        {"choose": ["input[name=file]", file.display().to_string()]},
        {"submit": "document.querySelector('[name=word]').value = 'höhe'; document.forms[0].requestSubmit()"},
        {"open": "https://localhost:8443/admin/"},
        {"submit": "document.querySelector('[name=username]').value = 'ada'; \
            document.querySelector('[name=password]').value = 'lovelace'; document.forms[0].requestSubmit()"},
    ]);
    let gave = browse(&proxied, steps).await;
    assert_eq!(gave[0], "h2", "{gave:?}");
    let sent: Value = serde_json::from_str(gave[2].as_str().expect("text")).expect("JSON");
    assert_eq!((&sent["word"], &sent["length"]), (&json!("höhe"), &json!(2 << 20)), "{gave:?}");
    assert!(gave[4].as_str().is_some_and(|page| page.contains("Site administration")), "{gave:?}");
}

/// The first two events of a stream, with their numbers.
const EVENTS: &str = "new Promise(done => {
    const seen = [];
    const stream = new EventSource('/api/events');
    stream.onmessage = event => {
        seen.push([event.lastEventId, event.data]);
        if (seen.length === 2) { stream.close(); done(seen); }
    };
})";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_follows_a_stream_of_events() {
    let proxied = Proxied::start(clients::express()).await;
    let gave = browse(&proxied, json!([{"open": "https://localhost:8443/"}, {"run": EVENTS}])).await;
    assert_eq!(gave, [json!("h2"), json!([["0", "event 0"], ["1", "event 1"]])]);
}
