//! Ports that are taken, lent, or not to be had.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use spothost_server::{Bound, Listen};

use crate::{
    client::{get, plain},
    package::Package,
    server::{Server, site},
};

#[test]
fn a_port_that_is_taken_is_refused_with_the_cure() {
    let any = "127.0.0.1:0".parse().unwrap();
    let first = Bound::bind(&Listen { http: any, https: any }).unwrap();
    let error = Bound::bind(&Listen { http: any, https: first.https() }).unwrap_err();
    assert_eq!(error.address, first.https());
    assert!(error.to_string().contains("`ss -ltnp`"), "{error}");
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    let error = Bound::bind(&Listen { http: elsewhere, https: any }).unwrap_err();
    assert!(error.to_string().contains("this machine has no such address"), "{error}");
}

#[test]
fn connections_wait_from_the_moment_a_port_is_bound() {
    let any = "127.0.0.1:0".parse().unwrap();
    let bound = Bound::bind(&Listen { http: any, https: any }).unwrap();
    let mut waiting = TcpStream::connect(bound.http()).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n").unwrap();
    let server = Server::on(bound, |_| {});
    server.publish(site(Package::example()));
    let mut answer = [0; 12];
    waiting.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
}

#[tokio::test]
async fn lent_listeners_go_on_when_the_server_ends() {
    let (http, https) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let lent = || Bound::from_listeners(http.try_clone().unwrap(), https.try_clone().unwrap()).unwrap();
    for _ in 0..2 {
        let server = Server::on(lent(), |_| {});
        server.publish(site(Package::example()));
        assert_eq!(get(&server, "/about", &[]).await.status, 200);
        assert_eq!(server.drain(0, 10_000).await.requests_cut, 0);
        // Who comes now waits for the next server.
        assert!(TcpStream::connect(http.local_addr().unwrap()).is_ok());
    }
    let server = Server::on(lent(), |_| {});
    let mut client = plain(&server).await;
    client.send("GET", "/", &[]).await;
    assert_eq!(client.response().await.status, 503);
}

#[test]
fn a_lent_listener_is_used_for_its_port_and_the_other_port_is_taken() {
    let any = "127.0.0.1:0".parse().unwrap();
    let https = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = https.local_addr().unwrap();
    let mut lent = vec![elsewhere, https.try_clone().unwrap()];
    // The process that lends it may have bound it more widely.
    let listen = Listen { http: any, https: ("127.0.0.2".parse::<std::net::IpAddr>().unwrap(), at.port()).into() };
    let bound = Bound::bind_or_use(&listen, &mut lent).unwrap();
    assert_eq!(bound.https(), at);
    assert_ne!(bound.http().port(), 0);
    assert_eq!(lent.len(), 1, "what nobody asked for is left");
}

#[test]
fn a_lent_socket_that_does_not_listen_is_refused() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Bound::from_listeners(listener, socket.into()).unwrap_err();
    assert!(error.to_string().contains("does not listen"), "{error}");
}
