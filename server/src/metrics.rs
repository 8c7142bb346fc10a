//! The counters, for Prometheus, on a loopback listener of their own.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::{body::Body, counters::Counters};

/// Serves the counters at every path of `address`, until dropped. Only a loopback address is taken, as the counters
/// are for this machine alone.
///
/// # Errors
/// What the operating system says of the address, or that it is no loopback address.
pub async fn serve(address: SocketAddr, counters: Arc<Counters>) -> io::Result<Infallible> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address} is no loopback address; use 127.0.0.1 or [::1]"),
        ));
    }
    serve_on(TcpListener::bind(address).await?, counters).await
}

async fn serve_on(listener: TcpListener, counters: Arc<Counters>) -> io::Result<Infallible> {
    // One connection at a time is enough for a scraper, and nothing can pile up.
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let answer = service_fn(|_: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(response(&counters))));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(5))
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), answer);
        // A scraper that goes away, or is too slow, comes again.
        let _ = tokio::time::timeout(Duration::from_secs(10), connection).await;
    }
}

fn response(counters: &Counters) -> Response<Body> {
    let mut response = Response::new(Body::from(counters.prometheus()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_scraper_gets_the_counters() {
        let counters = Arc::new(Counters::default());
        counters.answered(503);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_on(listener, counters));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("version=0.0.4"), "{text}");
        assert!(text.contains("\nspothost_responses_total{class=\"5xx\"} 1\n"), "{text}");
    }

    #[tokio::test]
    async fn only_loopback_addresses_are_taken() {
        let error = serve("0.0.0.0:0".parse().unwrap(), Arc::default()).await.unwrap_err();
        assert!(error.to_string().contains("no loopback address"), "{error}");
    }
}
