//! Asking a process whether it is well, as a visitor of the site would ask it.

use std::{pin::pin, time::Duration};

use bytes::BytesMut;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderName, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use spothost_server::{ApplicationAddress, Check};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::place::Name;

/// How long one answer may take.
const ANSWERS: Duration = Duration::from_secs(5);
/// How much of an answer people are told.
const TOLD: usize = 500;
/// How much of an answer is searched for a text.
const SEARCHED: usize = 1 << 20;

/// An answer to the question whether a process is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) status: StatusCode,
    /// What it says beside that, to be shown: a line of it.
    pub(super) says: String,
}

impl Health {
    /// Whether the process is well: a redirect is an answer, too.
    pub(super) fn is_well(&self) -> bool {
        self.status.is_success() || self.status.is_redirection()
    }
}

/// Asks for `path` with the site's own name, as over HTTPS: frameworks refuse another name, and redirect what is not HTTPS.
///
/// # Errors
/// Why there is no answer, in words.
pub(super) async fn ask(address: &ApplicationAddress, path: &str, name: &Name) -> Result<Health, String> {
    let answer = answer(address, path, name, TOLD).await?;
    Ok(Health { status: answer.status, says: line(&answer.content) })
}

/// Asks for the target of that check likewise.
///
/// # Errors
/// What is wrong with the answer, in a sentence.
pub(super) async fn holds(address: &ApplicationAddress, check: &Check, name: &Name) -> Result<(), String> {
    let answer = answer(address, &check.target, name, SEARCHED).await;
    let held = answer.and_then(|answer| {
        check.fits(answer.status, &answer.headers)?;
        check.is_contained(&answer.content)
    });
    held.map_err(|said| format!("[gate] {:?} {said}", check.target))
}

/// An answer of a process.
struct ProcessAnswer {
    status: StatusCode,
    headers: HeaderMap,
    /// The first bytes of it.
    content: Bytes,
}

/// Asks for `path`; at most so many bytes of the content are read.
async fn answer(address: &ApplicationAddress, path: &str, name: &Name, most: usize) -> Result<ProcessAnswer, String> {
    let asked = async {
        match address {
            ApplicationAddress::Unix(socket) => {
                over(UnixStream::connect(socket).await.map_err(said)?, path, name, most).await
            }
            ApplicationAddress::Tcp(addresses) => {
                over(TcpStream::connect(&addresses[..]).await.map_err(said)?, path, name, most).await
            }
        }
    };
    match timeout(ANSWERS, asked).await {
        Ok(answered) => answered,
        Err(_) => Err(format!("it does not answer within {} s", ANSWERS.as_secs())),
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    name: &Name,
    most: usize,
) -> Result<ProcessAnswer, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let asking = async {
        let request = Request::get(path)
            .header(HOST, name.as_str())
            .header(HeaderName::from_static("x-forwarded-proto"), "https")
            .header(HeaderName::from_static("x-forwarded-host"), name.as_str())
            .header(HeaderName::from_static("x-forwarded-for"), "127.0.0.1")
            .header(USER_AGENT, "spothost-health")
            .body(Empty::<Bytes>::new())
            .map_err(said)?;
        let response = sender.send_request(request).await.map_err(said)?;
        let (head, mut body) = response.into_parts();
        let mut content = BytesMut::new();
        // More than that is not read, and no process is unwell for what comes after it.
        while content.len() < most
            && let Some(Ok(frame)) = body.frame().await
        {
            if let Some(data) = frame.data_ref() {
                content.extend_from_slice(&data[..data.len().min(most - content.len())]);
            }
        }
        Ok(ProcessAnswer { status: head.status, headers: head.headers, content: content.freeze() })
    };
    let mut asking = pin!(asking);
    tokio::select! {
        answered = &mut asking => answered,
        // Its answer may be whole all the same: with `Connection: close` the end comes together with it.
        _ = connection => asking.await,
    }
}

/// The content as one line of printable characters.
fn line(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;

    async fn answered(answer: &'static [u8]) -> (Result<Health, String>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        let name: Name = "www.example.org".parse().expect("a name");
        let app = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut asked = vec![0; 4096];
            let many = stream.read(&mut asked).await.expect("a request");
            stream.write_all(answer).await.expect("written");
            String::from_utf8_lossy(&asked[..many]).into_owned()
        };
        let address = ApplicationAddress::Unix(path.clone());
        tokio::join!(ask(&address, "/up?x=1", &name), app)
    }

    #[tokio::test]
    async fn process_is_asked_as_a_visitor_asks_and_says_how_it_is() {
        let (health, asked) = answered(b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n").await;
        assert!(health.is_ok_and(|health| health.is_well()));
        let asked = asked.to_ascii_lowercase();
        assert!(asked.starts_with("get /up?x=1 http/1.1\r\n"), "{asked}");
        for field in ["host: www.example.org\r\n", "x-forwarded-proto: https\r\n", "user-agent: spothost-health\r\n"] {
            assert!(asked.contains(field), "{field} in {asked}");
        }
        let (health, _) =
            answered(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\n\r\nInvalid HTTP_HOST\nheader: \x1b[31mx\r\n")
                .await;
        let health = health.expect("an answer");
        assert!(!health.is_well());
        assert_eq!(health.says, "Invalid HTTP_HOST header: [31mx");
        // As gunicorn's sync workers answer.
        for _ in 0..20 {
            let closes =
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n";
            let (health, _) = answered(closes).await;
            assert_eq!(health.map(|health| (health.is_well(), health.says)), Ok((true, "well".to_owned())));
        }
    }

    #[tokio::test]
    async fn process_that_says_nothing_of_use_is_said_to() {
        let (health, _) = answered(b"").await;
        assert!(health.is_err(), "{health:?}");
        let (health, _) = answered(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        assert!(health.is_err(), "{health:?}");
    }
}
