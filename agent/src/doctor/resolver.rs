//! Asking name servers: the system's, as a visitor or a CA would, and those of a parent zone, as its referral says.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{OPT, RData},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{chance, fault::Fault};

/// One CAA record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caa {
    /// Whether a CA that does not know the tag must not issue.
    pub(super) critical: bool,
    /// `issue`, `issuewild`, `iodef`, …; lower case.
    pub(super) tag: String,
    /// Its value.
    pub(super) value: String,
}

/// How long one server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of an answer over UDP that no path cuts (<https://www.dnsflagday.net/2020/>).
const LARGEST_DATAGRAM: u16 = 1232;
/// A server is asked so often: datagrams are lost.
const TRIES: usize = 2;

/// A type of record to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryType {
    A,
    Aaaa,
    Ns,
    Caa,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Whose it is: lower case, without the last dot.
    pub(super) name: String,
    /// What it says.
    pub(super) data: Data,
}

/// The data of a record, as far as the doctor reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Ns(String),
    Caa(Caa),
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DnsAnswer {
    /// What was asked for.
    pub(super) records: Vec<Record>,
    /// Whom the server refers to.
    pub(super) referred: Vec<Record>,
}

/// The servers that are asked.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    /// Where name servers of zones listen.
    port: u16,
}

impl Resolver {
    /// The servers of the system (`resolv.conf(5)`).
    pub(super) fn of_the_system() -> Result<Resolver, Fault> {
        const PATH: &str = "/etc/resolv.conf";
        let unreadable = |error: &dyn std::fmt::Display| {
            Fault::operator(format!("reading {PATH}"), error, "name a server: spothost doctor --resolver 1.1.1.1:53")
        };
        let text = fs::read(PATH).map_err(|error| unreadable(&error))?;
        let read = resolv_conf::Config::parse(text).map_err(|error| unreadable(&error))?;
        let servers = read.get_nameservers_or_local();
        let servers = servers.into_iter().map(|ip| SocketAddr::new(ip.into(), 53)).collect();
        Ok(Resolver { servers, port: 53 })
    }

    /// That server alone; those of zones listen at its port, too.
    pub(super) fn at(server: SocketAddr) -> Resolver {
        Resolver { servers: vec![server], port: server.port() }
    }

    /// Asks the servers, which ask on, until one answers.
    pub(super) async fn ask(&self, name: &str, kind: QueryType) -> Result<DnsAnswer, Fault> {
        let mut last = Fault::retry(format!("asking for {name}"), "there is no name server to ask");
        for server in &self.servers {
            match exchange(*server, name, kind, true).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// Asks the server at that address for what it knows itself.
    pub(super) async fn ask_at(&self, server: IpAddr, name: &str, kind: QueryType) -> Result<DnsAnswer, Fault> {
        exchange(SocketAddr::new(server, self.port), name, kind, false).await
    }

    /// The addresses of a name, of both families.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Fault> {
        let (four, six) = tokio::join!(self.ask(name, QueryType::A), self.ask(name, QueryType::Aaaa));
        let found = [four?, six.unwrap_or_default()].into_iter().flat_map(|answer| answer.records);
        Ok(found.filter_map(|record| if let Data::Address(ip) = record.data { Some(ip) } else { None }).collect())
    }
}

async fn exchange(server: SocketAddr, name: &str, kind: QueryType, recurse: bool) -> Result<DnsAnswer, Fault> {
    let doing = format!("asking {server} for {} of {}", kind.word(), if name.is_empty() { "." } else { name });
    let failed = |said: &dyn std::fmt::Display| Fault::retry(&doing, said);
    let id = chance::number() as u16;
    let question = asked(id, name, kind, recurse).map_err(|error| failed(&error))?;
    let mut said = String::new();
    for _ in 0..TRIES {
        match timeout(PATIENCE, by_datagram(server, &question)).await {
            Ok(Ok(bytes)) => {
                let bytes = if is_cut(&bytes) {
                    timeout(PATIENCE, by_stream(server, &question))
                        .await
                        .map_err(|_| failed(&"no answer over TCP"))?
                        .map_err(|error| failed(&error))?
                } else {
                    bytes
                };
                return read(id, &bytes).map_err(|said| failed(&said));
            }
            Ok(Err(error)) => said = error.to_string(),
            Err(_) => said = format!("no answer within {} s", PATIENCE.as_secs()),
        }
    }
    Err(failed(&said))
}

fn asked(id: u16, name: &str, kind: QueryType, recurse: bool) -> Result<Vec<u8>, simple_dns::SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    if recurse {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    let kind = QTYPE::TYPE(match kind {
        QueryType::A => TYPE::A,
        QueryType::Aaaa => TYPE::AAAA,
        QueryType::Ns => TYPE::NS,
        QueryType::Caa => TYPE::CAA,
    });
    packet.questions.push(Question::new(Name::new(name)?, kind, CLASS::IN.into(), false));
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: LARGEST_DATAGRAM, version: 0 });
    packet.build_bytes_vec()
}

async fn by_datagram(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Only what comes from that server is heard from here on.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn by_stream(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    // Each message has its length before it (RFC 1035 §4.2.2).
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn is_cut(bytes: &[u8]) -> bool {
    Packet::parse(bytes).map_or_else(
        // A message that ends in the middle of a record is cut, too, and says so in its third byte.
        |_| bytes.get(2).is_some_and(|flags| flags & 2 != 0),
        |packet| packet.has_flags(PacketFlag::TRUNCATION),
    )
}

fn read(id: u16, bytes: &[u8]) -> Result<DnsAnswer, String> {
    let packet = Packet::parse(bytes).map_err(|error| format!("a malformed answer: {error}"))?;
    if packet.id() != id {
        return Err("an answer to another question".to_owned());
    }
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => {}
        other => return Err(format!("{other:?}")),
    }
    let records = |section: &[ResourceRecord<'_>]| section.iter().filter_map(record).collect();
    Ok(DnsAnswer { records: records(&packet.answers), referred: records(&packet.name_servers) })
}

fn record(record: &ResourceRecord<'_>) -> Option<Record> {
    let plain = |name: &Name<'_>| name.to_string().trim_end_matches('.').to_ascii_lowercase();
    let data = match &record.rdata {
        RData::A(a) => Data::Address(Ipv4Addr::from(a.address).into()),
        RData::AAAA(aaaa) => Data::Address(Ipv6Addr::from(aaaa.address).into()),
        RData::NS(ns) => Data::Ns(plain(&ns.0)),
        RData::CAA(caa) => Data::Caa(Caa {
            // The one flag that there is (RFC 8659 §4.1.1).
            critical: caa.flag & 128 != 0,
            tag: caa.tag.to_string().to_ascii_lowercase(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        }),
        _ => return None,
    };
    Some(Record { name: plain(&record.name), data })
}

impl QueryType {
    fn word(self) -> &'static str {
        match self {
            QueryType::A => "A",
            QueryType::Aaaa => "AAAA",
            QueryType::Ns => "NS",
            QueryType::Caa => "CAA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_a_fault_and_no_panic() {
        let question = asked(7, "www.example.org", QueryType::Caa, true).expect("a question");
        assert_eq!(read(7, &question), Ok(DnsAnswer::default()));
        assert!(read(8, &question).is_err_and(|said| said.contains("another question")));
        for end in 0..question.len() {
            let _ = read(7, &question[..end]);
            let _ = is_cut(&question[..end]);
        }
        assert!(read(7, b"").is_err() && read(7, &[0xff; 64]).is_err());
    }

    #[test]
    fn name_that_is_none_is_no_question() {
        assert!(asked(7, &"a".repeat(64), QueryType::A, true).is_err());
    }
}
