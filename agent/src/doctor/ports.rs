//! The ports of this host: whether the agent answers at them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{HOST, LOCATION, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{Case, Line, Subject};
use crate::{place::Name, probe};

const PATIENCE: Duration = Duration::from_secs(5);

/// The program that answers at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortOwner {
    None,
    Agent,
    /// Another program, or the agent of another site.
    Other,
}

/// Looks at the ports, if this is the host.
pub(super) async fn examined(case: &Case<'_>) -> Vec<Line> {
    if !case.is_the_host() {
        return Vec::new();
    }
    let listen = &case.config.listen;
    let domain = &case.config.domain;
    let http = near(listen.http);
    let https = near(listen.https);
    let (by_http, by_https) = tokio::join!(at_http(http, domain), at_https(https, domain));
    vec![judged(listen.http.port(), by_http), judged(listen.https.port(), by_https)]
}

/// An address of this machine that leads there; a socket for every address is for both families.
fn near(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()) } else { address }
}

async fn at_https(address: SocketAddr, domain: &Name) -> PortOwner {
    let Ok(Ok(_)) = timeout(PATIENCE, TcpStream::connect(address)).await else { return PortOwner::None };
    match probe::status(address, domain, PATIENCE).await {
        // 421 (RFC 9110 §15.5.20): it is a server of other names.
        None | Some(StatusCode::MISDIRECTED_REQUEST) => PortOwner::Other,
        Some(_) => PortOwner::Agent,
    }
}

async fn at_http(address: SocketAddr, domain: &Name) -> PortOwner {
    let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await else { return PortOwner::None };
    let asked = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = tokio::spawn(connection);
        let request = Request::get("/").header(HOST, domain.as_str()).body(Empty::<Bytes>::new()).ok()?;
        let answer = sender.send_request(request).await.ok();
        connection.abort();
        answer
    };
    let Ok(Some(answer)) = timeout(PATIENCE, asked).await else { return PortOwner::Other };
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
    let redirects = answer.status().is_redirection() && location.starts_with(&format!("https://{domain}"));
    let waits = answer.status() == StatusCode::SERVICE_UNAVAILABLE && answer.headers().contains_key(RETRY_AFTER);
    if redirects || waits { PortOwner::Agent } else { PortOwner::Other }
}

fn judged(port: u16, who: PortOwner) -> Line {
    match who {
        PortOwner::Agent => Line::ok(Subject::Ports, format!("the agent answers at port {port}")),
        PortOwner::None => Line::wrong(
            Subject::Ports,
            format!("no program listens at port {port}"),
            "sudo systemctl enable --now spothost.socket spothost",
        ),
        PortOwner::Other => Line::wrong(
            Subject::Ports,
            format!("another program than the agent of this site answers at port {port}"),
            format!("find that program, and end it: sudo ss -ltnp 'sport = :{port}'"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn port_is_judged_by_who_answers() {
        for (who, is) in [
            (PortOwner::Agent, LineState::Ok),
            (PortOwner::None, LineState::Wrong),
            (PortOwner::Other, LineState::Wrong),
        ] {
            assert_eq!(judged(80, who).is, is);
        }
    }
}
