//! While an application is away requests wait for it, within bounds, and files are served.

use http::Method;

use super::{Proxied, plain, recorder};
use crate::front;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_an_application_that_starts_anew() {
    for server in ["gunicorn", "granian", "node"] {
        let mut proxied = Proxied::start(recorder(server)).await;
        for round in 0..3 {
            for h2 in [false, true] {
                let answer = proxied.visitor.send(plain(Method::POST, "/app"), h2).await.expect("an answer");
                assert_eq!(answer.status, 200, "{server}, round {round}: {answer:?}");
            }
            proxied.application.kill().await;
            let waiting: Vec<_> = [false, true]
                .map(|h2| {
                    let visitor = proxied.visitor.clone();
                    tokio::spawn(async move { visitor.send(plain(Method::POST, "/app"), h2).await })
                })
                .into();
            assert!(front(&proxied.visitor).await.is_some(), "{server}, round {round}: files are served as ever");
            assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "{server}, round {round}");
            proxied.application.start_again().await;
            for waiting in waiting {
                let answer = waiting.await.expect("no panic").expect("an answer");
                assert_eq!(answer.status, 200, "{server}, round {round}: {answer:?}");
            }
            assert_eq!(proxied.application.ask("/count").await, 2, "{server}, round {round}: each was sent once");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_stays_away_is_answered_for() {
    let mut proxied = Proxied::start(recorder("gunicorn")).await;
    proxied.application.kill().await;
    for h2 in [false, true] {
        let answer = proxied.visitor.send(plain(Method::GET, "/app"), h2).await.expect("an answer");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("proxy-status"), "spothost; error=destination_unavailable");
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{answer:?}");
        assert!(front(&proxied.visitor).await.is_some(), "files are served as ever");
    }
    proxied.application.start_again().await;
    let answer = proxied.visitor.send(plain(Method::GET, "/app"), true).await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}
