//! Whatever an application answers, a client sees a whole answer, a refusal or one that breaks off, and never another client's
//! (P2 to P9): tests/applications/raw.py has the answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use world::{Answer, Command, eventually};

use super::{Proxied, plain};
use crate::SOON;

/// A row of the table.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    sees: Vec<String>,
    status: u16,
    content: String,
    fields: BTreeMap<String, String>,
    absent: Vec<String>,
    again: bool,
    method: String,
    request: usize,
    waits: bool,
}

impl Row {
    fn target(&self) -> String {
        format!("/raw/{}", self.name)
    }

    fn request(&self) -> Request<Bytes> {
        let request = Request::builder().method(self.method.as_str()).uri(self.target());
        request.body(vec![b'x'; self.request].into()).expect("a valid request")
    }

    /// Why the client must not see this; none when it may.
    fn fault(&self, seen: &Result<Answer, String>) -> Option<String> {
        let may = |word: &str| self.sees.iter().any(|sees| sees == word);
        match seen {
            Err(error) if error.starts_with("a broken body") && may("cut") => None,
            Err(error) => Some(error.clone()),
            Ok(answer) if answer.status == 502 && may("refused") => self.fault_of_refusal(answer),
            Ok(answer) if may("whole") => self.fault_of_whole(answer),
            Ok(answer) => Some(format!("{answer:?}")),
        }
    }

    /// A refusal says that the proxy made it, and nothing of the application (P24).
    fn fault_of_refusal(&self, answer: &Answer) -> Option<String> {
        let is_ours = answer.header("proxy-status").contains("spothost") && !answer.text().contains("hello");
        (!is_ours).then(|| format!("{answer:?}"))
    }

    fn fault_of_whole(&self, answer: &Answer) -> Option<String> {
        let joined = |name: &str| {
            let values = answer.headers.get_all(name).iter();
            values
                .map(|value| value.as_bytes().iter().map(|octet| char::from(*octet)).collect())
                .collect::<Vec<String>>()
                .join("\n")
        };
        let is_right = answer.status == self.status
            && answer.text() == self.content
            && self.fields.iter().all(|(name, value)| joined(name) == *value)
            && self.absent.iter().all(|name| !answer.headers.contains_key(name));
        (!is_right).then(|| format!("{answer:?}"))
    }
}

async fn every_row_over(h2: bool) {
    let command = Command::new("", "python raw.py 127.0.0.1 8000");
    let proxied = Proxied::start(command).await;
    let table = proxied.application.ask("/table").await;
    let rows: Vec<Row> = serde_json::from_value(table).expect("the table");
    assert!(rows.len() >= 100, "{}", rows.len());
    let mut faults = Vec::new();
    for row in &rows {
        let mut talk = proxied.visitor.talk(h2);
        let seen = talk.send(row.request()).await;
        faults.extend(row.fault(&seen).map(|fault| format!("{}: {fault}", row.name)));
        if row.waits {
            // Its last bytes have to be there before the next request is sent.
            eventually("the whole answer", SOON, async || is_sent(&proxied, &row.name).await).await;
        }
        // The next request, on the same connection, would take the same connection to the application.
        let next = talk.send(plain(Method::GET, "/raw/length")).await;
        let is_good = next.as_ref().is_ok_and(|answer| answer.status == 200 && answer.text() == "hello");
        if !is_good {
            faults.push(format!("{}: behind it comes {next:?}", row.name));
        }
    }
    faults.extend(used_again(&proxied.application.ask("/log").await, &rows));
    assert!(faults.is_empty(), "HTTP/2 {h2}: {} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Whether the application has sent all of that row's bytes.
async fn is_sent(proxied: &Proxied, name: &str) -> bool {
    let sent = proxied.application.ask("/sent").await;
    sent.as_array().is_some_and(|sent| sent.iter().any(|sent| sent == name))
}

/// Connections to the application that were used behind an answer that forbids it; and one line if none was used again at all.
fn used_again(log: &serde_json::Value, rows: &[Row]) -> Vec<String> {
    let log: Vec<(u64, String)> = serde_json::from_value(log.clone()).expect("the log");
    let mut faults = Vec::new();
    let mut well_used = 0;
    for (at, (connection, target)) in log.iter().enumerate() {
        let Some(row) = rows.iter().find(|row| row.target() == *target) else { continue };
        let later = log[at + 1..].iter().find(|(other, _)| other == connection);
        match later {
            Some(_) if row.again => well_used += 1,
            Some((_, later)) => faults.push(format!("{}: {later} was sent on the same connection", row.name)),
            None => (),
        }
    }
    if well_used == 0 {
        faults.push("no connection to the application was used twice".to_owned());
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_answers_are_refused_or_cut_over_http1_and_their_connections_closed() {
    every_row_over(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_answers_are_refused_or_cut_over_http2_and_their_connections_closed() {
    every_row_over(true).await;
}

/// Requests with content go on a connection just made, and one without is sent again on a fresh one where the old was closed meanwhile
/// (P15, P16).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_sent_twice_only_where_it_may_be() {
    let proxied = Proxied::start(Command::new("", "python raw.py 127.0.0.1 8000")).await;
    let post =
        |name: &str| Request::post(format!("/raw/{name}")).body(Bytes::from_static(b"x")).expect("a valid request");
    let mut talk = proxied.visitor.talk(true);
    let requests = [plain(Method::GET, "/raw/length"), post("length"), post("closed"), post("half-a-head")];
    for (request, status) in requests.into_iter().zip([200, 200, 502, 502]) {
        let answer = talk.send(request).await.expect("an answer");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let log: Vec<(u64, String)> = serde_json::from_value(proxied.application.ask("/log").await).expect("the log");
    assert_eq!(log.len(), 4, "{log:?}");
    let mut connections: Vec<_> = log.iter().map(|(connection, _)| connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), 4, "each content has a connection of its own: {log:?}");
    // An idempotent one may be sent once more, and no oftener.
    let cut = proxied.visitor.send(plain(Method::GET, "/raw/half-a-head"), true).await.expect("an answer");
    assert_eq!(cut.status, 502);
    let closed = proxied.visitor.send(plain(Method::GET, "/raw/closed"), true).await.expect("an answer");
    assert_eq!(closed.status, 502);
    let log: Vec<(u64, String)> = serde_json::from_value(proxied.application.ask("/log").await).expect("the log");
    let times = |target: &str| log[4..].iter().filter(|(_, other)| other == target).count();
    assert_eq!(times("/raw/half-a-head"), 1, "bytes of an answer came: {log:?}");
    assert!(times("/raw/closed") <= 2, "{log:?}");
}
