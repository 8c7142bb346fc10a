//! The application of a package: it is known whether it runs, and it changes with the files.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use http_body_util::BodyExt as _;
use spothost_server::{ApplicationHandle, LiveSite};
use tokio::time::{sleep, timeout};

use crate::{
    application::{App, at, says, write},
    applications::package,
    client::{get, h2, h2_request, tls},
    server::{Server, site},
};

/// Nothing resolves within this time.
const A_WHILE: Duration = Duration::from_millis(100);
/// Everything has come within this time.
const A_MINUTE: Duration = Duration::from_secs(60);

fn live(handle: &ApplicationHandle, front: &str) -> Arc<LiveSite> {
    Arc::new(LiveSite::with_application(site(package(front)), handle.application()))
}

fn serving(handle: &ApplicationHandle) -> Server {
    let server = Server::without_site(|_| {});
    server.site.send_replace(Some(live(handle, "[app]")));
    server
}

fn handle(address: SocketAddr) -> ApplicationHandle {
    ApplicationHandle::new(at(address))
}

async fn held(server: &Server, many: usize) {
    let line = format!("spothost_application_requests_held {many}\n");
    while !server.running().counters().prometheus().contains(&line) {
        sleep(Duration::from_millis(2)).await;
    }
}

/// An application that answers once it is told to, and what tells it.
fn waiting(listener: TcpListener, content: &'static str) -> (App, mpsc::Sender<()>) {
    let (told, tell) = mpsc::channel::<()>();
    let tell = Mutex::new(tell);
    let app = App::on(listener, move |_, stream| {
        let _ = tell.lock().unwrap().recv();
        says(stream, content)
    });
    (app, told)
}

#[tokio::test]
async fn nothing_is_left_in_the_queue_of_a_listener_whose_application_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = handle(listener.local_addr().unwrap());
    let server = serving(&handle);
    let mut clients = Vec::new();
    for method in ["GET", "POST"] {
        let mut client = tls(&server).await;
        client.send(method, "/x", &["Content-Length: 0"]).await;
        clients.push(client);
    }
    held(&server, 2).await;
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody has connected");
    assert_eq!(get(&server, "/", &[]).await.text(), "front", "files are served meanwhile");
    listener.set_nonblocking(false).unwrap();
    let app = App::on(listener, |_, stream| says(stream, "up"));
    handle.set_up(true);
    for mut client in clients {
        assert_eq!(client.response().await.text(), "up");
    }
    assert_eq!(app.asked().len(), 2);
    held(&server, 0).await;
}

#[tokio::test]
async fn application_that_is_to_end_answers_its_last_requests_and_gets_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = handle(listener.local_addr().unwrap());
    handle.set_up(true);
    let server = serving(&handle);
    let (old, told) = waiting(listener, "old");
    told.send(()).unwrap();
    assert_eq!(get(&server, "/x", &[]).await.text(), "old");
    timeout(Duration::from_secs(10), handle.idle()).await.unwrap();
    let mut first = tls(&server).await;
    first.send("GET", "/first", &[]).await;
    while old.asked().len() < 2 {
        sleep(Duration::from_millis(2)).await;
    }
    handle.set_up(false);
    let mut second = tls(&server).await;
    second.send("GET", "/second", &[]).await;
    held(&server, 1).await;
    assert!(timeout(A_WHILE, handle.idle()).await.is_err(), "one is under way");
    told.send(()).unwrap();
    assert_eq!(first.response().await.text(), "old");
    timeout(Duration::from_secs(10), handle.idle()).await.unwrap();
    assert_eq!(old.asked().len(), 2);
    // Another process may have the listener by now; this test's has the same.
    told.send(()).unwrap();
    handle.set_up(true);
    assert_eq!(second.response().await.text(), "old");
}

#[tokio::test]
async fn files_and_application_change_in_one_and_the_one_before_is_released_after_its_last_request() {
    let (old, told) = waiting(TcpListener::bind("127.0.0.1:0").unwrap(), "old");
    let new = App::saying("new");
    let (before, after) = (handle(old.address), handle(new.address));
    before.set_up(true);
    after.set_up(true);
    let server = serving(&before);
    let mut under_way = tls(&server).await;
    under_way.send("POST", "/x", &["Content-Length: 0"]).await;
    while old.asked().is_empty() {
        sleep(Duration::from_millis(2)).await;
    }
    server.site.send_replace(Some(live(&after, "[app]\nroutes = ['/*']")));
    assert_eq!(get(&server, "/x", &[]).await.text(), "new");
    assert!(timeout(A_WHILE, before.released()).await.is_err(), "a request is under way");
    told.send(()).unwrap();
    assert_eq!(under_way.response().await.text(), "old", "it ends where it began");
    timeout(Duration::from_secs(10), before.released()).await.unwrap();
    timeout(Duration::from_secs(10), before.idle()).await.unwrap();
    assert!(timeout(A_WHILE, after.released()).await.is_err());
    drop(server);
}

#[tokio::test]
async fn an_event_stream_ends_whole_when_its_application_goes_and_nothing_else_does() {
    let (gone, left) = mpsc::channel::<String>();
    let gone = Mutex::new(gone);
    let app = App::start(move |asked, stream| {
        let kind = match asked.target() {
            "/events" => "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked",
            "/sized" => "Content-Type: text/event-stream\r\nContent-Length: 99",
            _ => "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked",
        };
        let content = if asked.target() == "/sized" { "data: 1\n\n" } else { "9\r\ndata: 1\n\n\r\n" };
        write(stream, format!("HTTP/1.1 200 OK\r\n{kind}\r\n\r\n{content}"));
        // Until the server closes this connection.
        let closed = !stream.read(&mut [0]).is_ok_and(|read| read > 0);
        let _ = gone.lock().unwrap().send(asked.target().to_owned());
        !closed
    });
    let handle = handle(app.address);
    handle.set_up(true);
    let server = serving(&handle);
    let mut others = Vec::new();
    for target in ["/sized", "/asked"] {
        let mut client = tls(&server).await;
        client.send("GET", target, &[]).await;
        client.until(b"data: 1\n\n").await;
        others.push(client);
    }
    let mut events = tls(&server).await;
    events.send("GET", "/events", &[]).await;
    events.until(b"data: 1\n\n\r\n").await;
    let mut sender = h2(&server).await;
    let response = timeout(A_MINUTE, sender.send_request(h2_request("GET", "/events"))).await.unwrap().unwrap();
    let mut content = response.into_body();
    let first = timeout(A_MINUTE, content.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "data: 1\n\n");
    handle.end_streams();
    let rest = timeout(A_MINUTE, content.collect()).await.unwrap().expect("the end of the stream, and no reset");
    assert!(rest.to_bytes().is_empty());
    assert_eq!(events.until(b"0\r\n\r\n").await, b"0\r\n\r\n");
    for _ in 0..2 {
        let told = timeout(A_MINUTE, async {
            loop {
                match left.try_recv() {
                    Ok(target) => break target,
                    Err(_) => sleep(Duration::from_millis(2)).await,
                }
            }
        });
        assert_eq!(told.await.unwrap(), "/events", "the application is told by the end of its connection");
    }
    events.send("GET", "/", &[]).await;
    assert_eq!(events.response().await.text(), "front", "the connection of the client stays");
    for mut other in others {
        assert!(other.silent_for(A_WHILE).await, "it is neither cut nor ended");
    }
    // Whoever comes now gets another stream.
    events.send("GET", "/events", &[]).await;
    events.until(b"data: 1\n\n\r\n").await;
}
