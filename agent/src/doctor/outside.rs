//! The names as a visitor meets them: looked up, connected to, and verified.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use hyper_rustls::ConfigBuilderExt as _;
use time::OffsetDateTime;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{Case, Line, Subject};
use crate::{
    claim::Claim,
    clock::{self, moment},
    place::Name,
};

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A certificate that ends sooner should have been renewed long since.
const SOON: time::Duration = time::Duration::days(3);

/// The outcome of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Met {
    /// A certificate that visitors trust, valid until then.
    Trusted(OffsetDateTime),
    /// A connection, and no such certificate.
    Distrusted(String),
    /// No connection.
    Silence(String),
}

/// Visits every name that visitors can; no answer is expected before a host has claimed the names.
pub(super) async fn examined(case: &Case<'_>, claim: Option<&Claim>) -> Vec<Line> {
    if claim.is_none() {
        return Vec::new();
    }
    let config = match ClientConfig::builder().try_with_platform_verifier() {
        Ok(builder) => Arc::new(builder.with_no_client_auth()),
        Err(error) => {
            let said = format!("loading the roots that visitors trust: {error}");
            return vec![Line::warning(Subject::Outside, said, "install the package ca-certificates")];
        }
    };
    let names = case.config.names();
    let visits = names.iter().filter(|name| !name.is_wildcard()).map(|name| visit(case, name, config.clone()));
    join_all(visits).await.concat()
}

async fn visit(case: &Case<'_>, name: &Name, config: Arc<ClientConfig>) -> Vec<Line> {
    let addresses = match case.resolver.addresses(name.as_str()).await {
        Ok(addresses) => addresses,
        Err(fault) => return vec![Line::fault(Subject::Outside, &fault)],
    };
    if addresses.is_empty() {
        let said = format!("{name} has no address: the name servers give none");
        return vec![Line::wrong(Subject::Outside, said, "see what the zone holds and who holds it: spothost hosts")];
    }
    let port = case.config.listen.https.port();
    let meetings = addresses.iter().map(|ip| met(SocketAddr::new(*ip, port), name, config.clone()));
    let now = clock::now();
    let met = join_all(meetings).await;
    addresses.iter().zip(met).map(|(ip, met)| judged(name, *ip, port, &met, now)).collect()
}

async fn met(address: SocketAddr, name: &Name, config: Arc<ClientConfig>) -> Met {
    let stream = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Met::Silence(error.to_string()),
        Err(_) => return Met::Silence(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    let Ok(server) = ServerName::try_from(name.to_string()) else {
        return Met::Distrusted("it is no name of a server".to_owned());
    };
    let tls = match timeout(PATIENCE, TlsConnector::from(config).connect(server, stream)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return Met::Distrusted(error.to_string()),
        Err(_) => return Met::Distrusted(format!("the TLS handshake did not end within {} s", PATIENCE.as_secs())),
    };
    let leaf = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let until = leaf.and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    match until {
        Some((_, leaf)) => Met::Trusted(leaf.validity().not_after.to_datetime()),
        None => Met::Distrusted("a certificate that cannot be read".to_owned()),
    }
}

fn judged(name: &Name, ip: IpAddr, port: u16, met: &Met, now: OffsetDateTime) -> Line {
    match met {
        Met::Trusted(until) if *until - now < SOON => Line::warning(
            Subject::Outside,
            format!("{name} is answered at {ip} with a certificate that ends on {}", moment(*until)),
            "see why it is not renewed: spothost budget",
        ),
        Met::Trusted(until) => Line::ok(
            Subject::Outside,
            format!("{name} is answered at {ip} with a trusted certificate until {}", moment(*until)),
        ),
        Met::Distrusted(why) => Line::wrong(
            Subject::Outside,
            format!("{name} is answered at {ip} with a certificate that no visitor trusts: {why}"),
            "see which certificate there is: spothost vault verify, and on the host spothost status",
        ),
        Met::Silence(why) => Line::wrong(
            Subject::Outside,
            format!("{name} leads to {ip}, and port {port} does not answer: {why}"),
            format!(
                "let visitors in: aws ec2 authorize-security-group-ingress --group-id sg-… --protocol tcp --port {port} --cidr 0.0.0.0/0"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn visit_is_judged_by_what_visitors_trust() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let table = [
            (Met::Trusted(now + time::Duration::days(30)), LineState::Ok, "trusted certificate"),
            (Met::Trusted(now + time::Duration::days(1)), LineState::Warning, "ends on"),
            (Met::Distrusted("self-signed".into()), LineState::Wrong, "self-signed"),
            (Met::Silence("refused".into()), LineState::Wrong, "port 443"),
        ];
        for (met, is, said) in table {
            let line = judged(&"a.example".parse().expect("a name"), IpAddr::from([192, 0, 2, 7]), 443, &met, now);
            assert!(line.is == is && line.said.contains(said), "{line:?}");
        }
    }
}
