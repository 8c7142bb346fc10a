//! Requests that no file answers, and the application that does.

use std::{
    io::Read as _,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spothost_server::{ApplicationBounds, Settings};
use tokio::io::AsyncWriteExt;

use crate::{
    application::{App, at, says, write},
    client::{get, h2, h2_get, h2_request, plain, request, tls},
    frames::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, connect, frame, literal, next, status},
    package::Package,
    server::Server,
};

/// A package with that `site.toml`.
pub(crate) fn package(site: &str) -> Vec<u8> {
    Package::new()
        .stored("index.html", "front")
        .stored("a.html", "a")
        .stored("private/x.txt", "0123456789")
        .stored("site.toml", site)
        .finish()
}

fn behind(app: &App, site: &str) -> Server {
    Server::with(package(site), app.behind())
}

#[tokio::test]
async fn files_come_first_and_the_rest_is_the_applications() {
    let app = App::saying("app");
    let server = behind(&app, "[app]\nroutes = ['/*', '!/static/*']");
    for (method, target, status, text) in [
        ("GET", "/", 200, "front"),
        ("GET", "/a", 200, "a"),
        ("GET", "/b", 200, "app"),
        ("GET", "/private/", 200, "app"),
        ("POST", "/a", 200, "app"),
        ("PROPFIND", "/a", 200, "app"),
        ("OPTIONS", "/a", 200, "app"),
        ("GET", "/static/x.css", 404, "404 Not Found\n"),
        ("GET", "/static%2fx.css", 404, "404 Not Found\n"),
        ("GET", "//static/x.css", 404, "404 Not Found\n"),
        ("POST", "/static/x.css", 405, "405 Method Not Allowed\n"),
        ("TRACE", "/b", 405, "405 Method Not Allowed\n"),
        ("GET", "/b%E9", 400, "400 Bad Request\n"),
        ("POST", "/b%zz", 400, "400 Bad Request\n"),
    ] {
        let response = request(&server, method, target, &[]).await;
        assert_eq!((response.status, response.text().as_str()), (status, text), "{method} {target}");
    }
    let last = request(&server, "OPTIONS", "/b", &["Max-Forwards: 0"]).await;
    assert_eq!((last.status, last.text().as_str()), (204, ""));
    let asked: Vec<_> = app.asked().iter().map(|asked| asked.target().to_owned()).collect();
    assert_eq!(asked, ["/b", "/private/", "/a", "/a", "/a"]);
    request(&server, "OPTIONS", "/b", &["Max-Forwards: 10"]).await;
    assert_eq!(app.asked().pop().unwrap().all("max-forwards"), ["9"]);
}

#[tokio::test]
async fn a_target_is_passed_byte_for_byte() {
    let app = App::saying("app");
    let server = behind(&app, "");
    let targets = ["/b?", "/b?a=b&a=c&%20=+", "/b%2Fc", "/b;d=e", "/%C3%A4?\u{e4}", "/b//c", "/b/?/../x"];
    for target in targets {
        assert_eq!(get(&server, target, &[]).await.text(), "app", "{target}");
    }
    let mut client = tls(&server).await;
    client.send("GET", "https://www.example.org/absolute?x", &[]).await;
    assert_eq!(client.response().await.status, 200);
    let asked: Vec<Vec<u8>> =
        app.asked().iter().map(|asked| asked.target().chars().map(|byte| byte as u8).collect()).collect();
    let expected: Vec<_> = targets.iter().chain(&["/absolute?x"]).map(|target| target.as_bytes().to_vec()).collect();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_request_that_would_be_passed_is_led_to_https_with_its_method() {
    let app = App::saying("app");
    let server = behind(&app, "");
    let mut client = plain(&server).await;
    client.send("POST", "/form?x", &["Content-Length: 3"]).await;
    client.write(b"a=b").await;
    let response = client.response().await;
    assert_eq!(response.status, 308);
    assert!(response.field("location").unwrap().ends_with("/form?x"));
    assert!(app.asked().is_empty());
}

#[tokio::test]
async fn content_comes_whole_whatever_its_framing_and_size() {
    let app = App::start(|asked, stream| {
        let sum: u64 = asked.content.iter().map(|byte| u64::from(*byte)).sum();
        says(stream, &format!("{} {sum}", asked.content.len()))
    });
    let server = behind(&app, "");
    for length in [0, 1, 1_000, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
        let content: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let expected = format!("{length} {}", content.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        let mut client = tls(&server).await;
        client.send("POST", "/up", &[&format!("Content-Length: {length}")]).await;
        client.write(&content).await;
        assert_eq!(client.response().await.text(), expected);
        client.send("POST", "/up", &["Transfer-Encoding: chunked"]).await;
        for chunk in content.chunks(10_000) {
            client.write(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
            client.write(chunk).await;
            client.write(b"\r\n").await;
        }
        client.write(b"0\r\n\r\n").await;
        assert_eq!(client.response().await.text(), expected);
        let sent = app.asked().pop().unwrap();
        assert!(sent.all("transfer-encoding").is_empty(), "its length is known by now");
        assert_eq!(sent.all("content-length"), [length.to_string()], "be there none");
        assert_eq!(sent.all("expect"), [""; 0]);
    }
}

#[tokio::test]
async fn content_that_is_streamed_comes_whole_and_takes_its_time() {
    let app = App::start(|asked, stream| says(stream, &String::from_utf8_lossy(&asked.content)));
    let server = behind(&app, "[app]\nstream = ['/up']\nanswer = '600ms'");
    for method in ["GET", "POST"] {
        let mut client = tls(&server).await;
        client.send(method, "/up", &["Transfer-Encoding: chunked"]).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            client.write(b"3\r\nabc\r\n").await;
        }
        client.write(b"0\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status, response.text().as_str()), (200, "abcabcabc"), "{method}");
    }
}

#[tokio::test]
async fn trailers_of_a_request_follow_content_that_is_streamed() {
    let app = App::start(|asked, stream| says(stream, &asked.trailers));
    let server = behind(&app, "[app]\nstream = ['/stream']");
    let trailers = "X-Sum: 7\r\nX-Forwarded-For: 10.0.0.1\r\nX_Sum: 8\r\nAuthorization: x\r\n";
    for (target, passed) in [("/stream", "x-sum: 7\r\n\r\n"), ("/buffer", "")] {
        let mut client = tls(&server).await;
        client.send("POST", target, &["Transfer-Encoding: chunked"]).await;
        client.write(format!("2\r\nhi\r\n0\r\n{trailers}\r\n").as_bytes()).await;
        assert_eq!(client.response().await.text(), passed, "{target}");
        assert_eq!(app.asked().pop().unwrap().content, b"hi");
    }
}

#[tokio::test]
async fn a_response_may_come_before_all_of_its_request() {
    let early = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = early.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in early.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut head = [0; 20];
            stream.read_exact(&mut head).unwrap();
            write(&mut stream, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            if number == 0 {
                // What was sent is not read.
                continue;
            }
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
        }
    });
    let server = Server::with(package(""), move |settings| settings.application = Some(at(address)));
    for round in 0..2 {
        let mut client = tls(&server).await;
        client.send("POST", "/x", &["Content-Length: 3000000"]).await;
        client.write(&vec![b'x'; 3_000_000]).await;
        let response = client.response().await;
        assert_eq!((response.status, response.text().as_str()), (403, "no"), "{round}");
    }
}

#[tokio::test]
async fn too_much_content_is_refused_and_the_application_not_asked() {
    let app = App::saying("app");
    let server = behind(&app, "[app]\nbody = 1000");
    let mut client = tls(&server).await;
    client.send("POST", "/up", &["Content-Length: 1001", "Expect: 100-continue"]).await;
    let refused = client.response().await;
    assert_eq!((refused.status, refused.field("proxy-status")), (413, Some("spothost; error=http_request_error")));
    let mut client = tls(&server).await;
    client.send("POST", "/up", &["Transfer-Encoding: chunked"]).await;
    client.write(&[b"3e9\r\n", &[0; 1001][..], b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!(client.response().await.status, 413);
    assert!(app.asked().is_empty());
}

#[tokio::test]
async fn a_disk_without_room_costs_its_own_request_alone() {
    let app = App::start(|asked, stream| says(stream, &asked.content.len().to_string()));
    let folder = tempfile::tempdir().unwrap();
    for (spill, spilled) in [(folder.path().join("gone"), 1 << 30), (folder.path().to_owned(), 200_000)] {
        let address = app.address;
        let server = Server::with(package(""), move |settings| {
            settings.application = Some(at(address));
            settings.application_bounds = ApplicationBounds { spill, spilled, ..ApplicationBounds::default() };
        });
        let content = vec![b'x'; 300_000];
        let mut client = tls(&server).await;
        client.send("POST", "/up", &["Content-Length: 300000"]).await;
        client.write(&content).await;
        let refused = client.response().await;
        assert_eq!(
            (refused.status, refused.field("proxy-status")),
            (503, Some("spothost; error=proxy_internal_error"))
        );
        assert!(refused.field("retry-after").is_some());
        let mut client = tls(&server).await;
        client.send("POST", "/up", &["Content-Length: 1000"]).await;
        client.write(&content[..1000]).await;
        assert_eq!(client.response().await.text(), "1000");
    }
    assert_eq!(app.asked().len(), 2, "the application was asked for no other");
}

/// What a test that uses up the descriptors of its process is called by.
const DESCRIPTORS: &str = "SPOTHOST_TEST_DESCRIPTORS";

#[tokio::test]
async fn a_lack_of_descriptors_is_not_taken_for_an_application_that_is_down() {
    if std::env::var_os(DESCRIPTORS).is_none() {
        // In a process of its own: the other tests want theirs.
        let name = "applications::a_lack_of_descriptors_is_not_taken_for_an_application_that_is_down";
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        let ran = test.args(["--exact", name]).env(DESCRIPTORS, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let app = App::saying("app");
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    client.send("GET", "/", &[]).await;
    assert_eq!(client.response().await.text(), "front");
    let limit = Rlimit { current: Some(256), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let taken: Vec<_> = (0..512).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    assert!(taken.len() < 256);
    let asked = Instant::now();
    client.send("GET", "/x", &[]).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("proxy-status")), (503, Some("spothost; error=proxy_internal_error")));
    assert!(response.field("retry-after").is_some());
    assert!(asked.elapsed() < Duration::from_secs(5), "it does not wait as for an application that is down");
    drop(taken);
    client.send("GET", "/x", &[]).await;
    assert_eq!(client.response().await.text(), "app");
}

#[tokio::test]
async fn a_client_that_waits_is_asked_for_its_content_by_the_server_itself() {
    let app = App::saying("app");
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    client.send("POST", "/up", &["Content-Length: 2", "Expect: 100-continue"]).await;
    assert!(client.until(b"\r\n\r\n").await.starts_with(b"HTTP/1.1 100"));
    client.write(b"hi").await;
    assert_eq!(client.response().await.text(), "app");
    assert_eq!(app.asked()[0].all("expect"), [""; 0]);
}

#[tokio::test]
async fn a_response_is_passed_in_whatever_way_it_is_framed() {
    let app = App::start(|asked, stream| match asked.target() {
        "/chunks" => {
            write(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n")
        }
        "/close" => {
            write(stream, "HTTP/1.0 200 OK\r\n\r\nhi!");
            false
        }
        "/none" => write(stream, "HTTP/1.1 204 No Content\r\n\r\n"),
        "/same" => write(stream, "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nETag: \"x\"\r\n\r\n"),
        "/reset" => write(stream, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        _ => write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi!"),
    });
    let server = behind(&app, "");
    for target in ["/length", "/chunks", "/close"] {
        let mut sender = h2(&server).await;
        assert_eq!(h2_get(&mut sender, h2_request("GET", target)).await.unwrap().1, "hi!", "{target}");
    }
    assert_eq!(get(&server, "/length", &[]).await.text(), "hi!");
    for (target, status) in [("/none", 204), ("/same", 304), ("/reset", 205)] {
        let mut client = tls(&server).await;
        for _ in 0..2 {
            client.send("GET", target, &[]).await;
            assert_eq!(client.response().await.status, status);
        }
    }
}

#[tokio::test]
async fn early_hints_are_passed_over_http_2_and_trailers_to_who_takes_them() {
    let app = App::start(|asked, stream| {
        let trailer = if asked.all("te") == ["trailers"] { "X-Sum: 7\r\n" } else { "" };
        write(
            stream,
            format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\nX: y\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                 HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\n{trailer}\r\n"
            ),
        )
    });
    let server = behind(&app, "");
    let mut stream = connect(&server).await;
    let asked = [
        literal(":method", "GET"),
        literal(":scheme", "https"),
        literal(":authority", "www.example.org"),
        literal(":path", "/x"),
        literal("te", "trailers"),
    ];
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &asked.concat())).await.unwrap();
    let mut came = Vec::new();
    loop {
        let frame = next(&mut stream).await;
        match frame.kind {
            HEADERS if came.len() < 2 => came.push(status(&frame).to_string()),
            HEADERS => came.push("trailers".to_owned()),
            DATA => came.push(String::from_utf8(frame.payload.clone()).unwrap()),
            _ => continue,
        }
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(came, ["103", "200", "hi", "trailers"]);
    let mut client = tls(&server).await;
    for _ in 0..2 {
        client.send("GET", "/x", &[]).await;
        assert_eq!(client.response().await.text(), "hi");
    }
    client.send("GET", "/x", &["TE: trailers", "Connection: te"]).await;
    let whole = client.until(b"0\r\nx-sum: 7\r\n\r\n").await;
    assert!(whole.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&whole));
}

#[tokio::test]
async fn a_request_that_is_sent_again_has_its_early_hints() {
    let asked_before = AtomicUsize::new(0);
    let app = App::start(move |_, stream| {
        asked_before.fetch_add(1, SeqCst) > 0
            && write(stream, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    });
    let server = behind(&app, "");
    let mut stream = connect(&server).await;
    let asked = [(":method", "GET"), (":scheme", "https"), (":authority", "www.example.org"), (":path", "/x")];
    let asked = asked.map(|(name, value)| literal(name, value)).concat();
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &asked)).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 2 {
        let frame = next(&mut stream).await;
        if frame.kind == HEADERS {
            came.push(status(&frame));
        }
    }
    assert_eq!((came, app.asked().len()), (vec![103, 204], 2));
}

#[tokio::test]
async fn head_has_the_length_of_get_and_no_content() {
    let app = App::start(|_, stream| write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"));
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    for _ in 0..3 {
        client.send("HEAD", "/x", &[]).await;
        let response = client.response_to("HEAD").await;
        assert_eq!((response.status, response.field("content-length")), (200, Some("3")));
    }
    assert_eq!(app.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn fields_are_passed_but_for_those_that_end_here() {
    let app = App::start(|_, stream| {
        write(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nX-Hop: 1\r\nConnection: x-hop, keep-alive\r\nSet-Cookie: c=d\r\n\
             Keep-Alive: timeout=5\r\nServer: app\r\nX-Accel-Expires: 1\r\n\r\n",
        )
    });
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    let fields = [
        "X-Forwarded-For: 10.0.0.1",
        "X_Real_IP: 10.0.0.1",
        "Accept: b",
        "Accept: a",
        "Connection: x-hop",
        "X-Hop: 1",
        "Cookie: a=b",
    ];
    client.send("GET", "/x", &fields).await;
    let head = client.until(b"\r\n\r\n").await;
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    for there in ["set-cookie: a=b\r\nset-cookie: c=d\r\n", "server: app\r\n", "via: 1.1 spothost\r\n"] {
        assert!(head.contains(there), "{there}: {head}");
    }
    for gone in ["x-hop", "keep-alive", "x-accel"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    let asked = &app.asked()[0];
    assert_eq!((asked.all("x-forwarded-for"), asked.all("x-forwarded-proto")), (vec!["127.0.0.1"], vec!["https"]));
    assert_eq!(
        (asked.all("accept"), asked.all("cookie"), asked.all("via")),
        (vec!["b", "a"], vec!["a=b"], vec!["1.1 spothost"])
    );
    assert_eq!(
        (asked.all("x_real_ip"), asked.all("x-hop"), asked.all("host")),
        (vec![], vec![], vec!["www.example.org"])
    );
    let looped = get(&server, "/x", &["Via: 1.1 spothost"]).await;
    assert_eq!((looped.status, looped.field("proxy-status")), (508, Some("spothost; error=proxy_loop_detected")));
    let early = request(&server, "POST", "/x", &["Early-Data: 1", "Content-Length: 0"]).await;
    assert_eq!(early.status, 425);
    assert_eq!(get(&server, "/x", &["Early-Data: 1"]).await.status, 200, "what is safe may be repeated");
}

#[tokio::test]
async fn the_package_adds_fields_where_the_application_does_not_say_them() {
    let app =
        App::start(|_, stream| write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Frame-Options: DENY\r\n\r\n"));
    let headers = "/*\n  X-Frame-Options: SAMEORIGIN\n  X-Added: yes\n  Cache-Control: max-age=1\n  Set-Cookie: a=b\n  Content-Security-Policy: default-src 'self'\n";
    let package = Package::new().stored("index.html", "front").stored("_headers", headers).finish();
    let address = app.address;
    let server = Server::with(package, move |settings| {
        settings.application = Some(at(address));
        settings.hsts = Some(Duration::from_secs(60));
    });
    let response = get(&server, "/x", &[]).await;
    let said: Vec<_> = [
        "x-frame-options",
        "x-added",
        "cache-control",
        "set-cookie",
        "content-security-policy",
        "strict-transport-security",
    ]
    .iter()
    .map(|name| response.field(name))
    .collect();
    assert_eq!(said, [Some("DENY"), Some("yes"), None, None, Some("default-src 'self'"), Some("max-age=60")]);
}

#[tokio::test]
async fn a_response_that_breaks_the_rules_is_never_passed_as_whole() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ];
    let app = App::start(move |asked, stream| {
        write(stream, answers[asked.target()[1..].parse::<usize>().unwrap()]);
        true
    });
    let server = behind(&app, "");
    for (number, answer) in answers.iter().enumerate() {
        let response = get(&server, &format!("/{number}"), &[]).await;
        let said = response.field("proxy-status").unwrap_or_default();
        assert_eq!(response.status, 502, "{answer:?}");
        assert!(
            ["spothost; error=http_protocol_error", "spothost; error=http_upgrade_failed"].contains(&said),
            "{answer:?}: {said}"
        );
    }
    assert_eq!(app.connections(), answers.len(), "none is used again");
}

#[tokio::test]
async fn bytes_behind_a_response_end_its_connection() {
    let app = App::start(|asked, stream| match asked.target() {
        "/more" => write(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        ),
        _ => says(stream, "fine"),
    });
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    for (target, text) in [("/more", "hi"), ("/x", "fine"), ("/more", "hi"), ("/y", "fine")] {
        client.send("GET", target, &[]).await;
        assert_eq!(client.response().await.text(), text);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_broken_off_for_the_client_too() {
    let app = App::start(|asked, stream| {
        match asked.target() {
            "/length" => {
                write(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n{}", "x".repeat(500_000)))
            }
            _ => write(
                stream,
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7a120\r\n{}\r\n", "x".repeat(500_000)),
            ),
        };
        false
    });
    let server = behind(&app, "");
    for target in ["/length", "/chunks"] {
        let mut client = tls(&server).await;
        client.send("GET", target, &[]).await;
        let rest = client.rest().await;
        assert!(rest.len() < 600_000 && !rest.ends_with(b"0\r\n\r\n"), "{target}: {}", rest.len());
        let mut sender = h2(&server).await;
        assert!(h2_get(&mut sender, h2_request("GET", target)).await.is_err(), "{target}");
    }
}

#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once_over_a_connection_just_made() {
    let dies = Arc::new(AtomicBool::new(false));
    let now = dies.clone();
    let app = App::start(move |_, stream| !now.load(SeqCst) && says(stream, "app"));
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    for number in 1..4 {
        client.send("POST", "/x", &["Content-Length: 1"]).await;
        client.write(b"x").await;
        assert_eq!(client.response().await.text(), "app");
        assert_eq!(app.connections(), number, "each has its own");
    }
    dies.store(true, SeqCst);
    client.send("POST", "/x", &["Content-Length: 1"]).await;
    client.write(b"x").await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("proxy-status")), (502, Some("spothost; error=connection_terminated")));
    assert_eq!(app.asked().len(), 4, "it was sent once");
    client.send("GET", "/x", &[]).await;
    assert_eq!(client.response().await.status, 502);
    assert_eq!(app.asked().len(), 6, "this one twice");
}

#[tokio::test]
async fn a_request_is_not_repeated_once_a_byte_of_its_response_has_come() {
    let app = App::start(|asked, stream| {
        if asked.target() == "/half" {
            write(stream, "HTTP/1.1 200 OK\r\nContent-Le");
        }
        false
    });
    let server = behind(&app, "");
    for (target, asked) in [("/half", 1), ("/none", 3)] {
        let response = get(&server, target, &[]).await;
        let said = response.field("proxy-status");
        assert_eq!((response.status, said), (502, Some("spothost; error=connection_terminated")), "{target}");
        assert_eq!(app.asked().len(), asked, "{target}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_loses_no_request() {
    let app = App::start(|asked, stream| {
        says(stream, "app");
        // Says that it stays open, and closes.
        !asked.target().contains("last")
    });
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    for round in 0..50 {
        let target = if round % 2 == 0 { "/last" } else { "/x" };
        client.send("GET", target, &[]).await;
        assert_eq!(client.response().await.text(), "app", "{round}");
    }
}

#[tokio::test]
async fn an_application_that_is_late_is_waited_for_so_long_and_no_longer() {
    let (told, tell) = mpsc::channel::<()>();
    let tell = std::sync::Mutex::new(tell);
    let app = App::start(move |_, _| {
        // Until the test is over.
        let _ = tell.lock().unwrap().recv();
        false
    });
    let server = behind(&app, "[app]\nanswer = '300ms'");
    let begun = Instant::now();
    let response = get(&server, "/x", &[]).await;
    assert_eq!((response.status, response.field("proxy-status")), (504, Some("spothost; error=http_response_timeout")));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(app.asked().len(), 1, "nothing is repeated after that");
    drop(told);
}

/// Settings with a port at which no process listens.
fn nobody(hold: Duration) -> (std::net::SocketAddr, impl FnOnce(&mut Settings)) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (address, move |settings| {
        settings.application = Some(at(address));
        settings.application_bounds = ApplicationBounds { hold, queue: 3, ..ApplicationBounds::default() };
    })
}

#[tokio::test]
async fn requests_wait_for_an_application_that_is_down_within_bounds() {
    let (address, settings) = nobody(Duration::from_secs(30));
    let server = Server::with(package(""), settings);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = tls(&server).await;
        client.send("POST", "/x", &["Content-Length: 1"]).await;
        client.write(b"x").await;
        clients.push(client);
    }
    let held =
        |server: &Server| server.running().counters().prometheus().contains("spothost_application_requests_held 3\n");
    while !held(&server) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = Instant::now();
    let full = get(&server, "/x", &[]).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "it does not wait");
    assert_eq!((full.status, full.field("proxy-status")), (503, Some("spothost; error=connection_limit_reached")));
    assert!(full.field("retry-after").is_some());
    // A client that leaves gives up its place.
    drop(clients.pop());
    let left = Instant::now();
    while held(&server) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(left.elapsed() < Duration::from_secs(5), "the place is free at once");
    let app = App::on(TcpListener::bind(address).unwrap(), |_, stream| says(stream, "back"));
    for mut client in clients {
        assert_eq!(client.response().await.text(), "back");
    }
    assert_eq!(app.asked().len(), 2);
}

#[tokio::test]
async fn one_connection_has_no_more_requests_under_way_than_its_address_may_have_connections() {
    let (told, tell) = mpsc::channel::<()>();
    let tell = std::sync::Mutex::new(tell);
    let app = App::start(move |_, stream| {
        // Until the test lets one go.
        let _ = tell.lock().unwrap().recv();
        says(stream, "app")
    });
    let behind = app.behind();
    let server = Server::with(package(""), |settings| {
        behind(settings);
        settings.bounds.connections_per_address = 2;
    });
    let mut stream = connect(&server).await;
    let get = |target: &str| {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "www.example.org"), (":path", target)];
        fields.map(|(name, value)| literal(name, value)).concat()
    };
    let mut answers = Vec::new();
    for id in [1, 3, 5] {
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &get("/x"))).await.unwrap();
    }
    while answers.len() < 4 {
        let frame_read = next(&mut stream).await;
        if frame_read.kind == HEADERS {
            answers.push((frame_read.stream, status(&frame_read)));
            match answers.len() {
                1 => (0..3).for_each(|_| told.send(()).unwrap()),
                3 => stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 7, &get("/x"))).await.unwrap(),
                _ => {}
            }
        }
    }
    assert_eq!(answers[0], (5, 503));
    assert_eq!(answers[3], (7, 200), "the places were given back");
}

#[tokio::test]
async fn who_waits_for_too_long_is_told_when_to_come_again() {
    let (_, settings) = nobody(Duration::from_millis(100));
    let server = Server::with(package(""), settings);
    let response = get(&server, "/x", &[]).await;
    assert_eq!(
        (response.status, response.field("proxy-status")),
        (503, Some("spothost; error=destination_unavailable"))
    );
    assert!(response.field("retry-after").is_some());
    let (_, settings) = nobody(Duration::ZERO);
    let server = Server::with(package(""), settings);
    let response = get(&server, "/x", &[]).await;
    assert_eq!((response.status, response.field("proxy-status")), (502, Some("spothost; error=connection_refused")));
    assert_eq!(get(&server, "/", &[]).await.text(), "front", "files are served all the same");
}

#[tokio::test]
async fn a_slow_reader_holds_up_no_application() {
    const LENGTH: usize = 20_000_000;
    let (told, tell) = mpsc::channel();
    let app = App::start(move |_, stream| {
        write(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
        let done = write(stream, vec![b'x'; LENGTH]);
        told.send(done).unwrap();
        true
    });
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    client.send("GET", "/x", &[]).await;
    // The client has not read a byte.
    let done = tokio::task::spawn_blocking(move || tell.recv_timeout(Duration::from_secs(30)).unwrap()).await.unwrap();
    assert!(done, "all was taken off the application");
    assert_eq!(client.response().await.content.len(), LENGTH);
}

#[tokio::test]
async fn a_stream_is_passed_as_it_comes_with_back_pressure() {
    const ALL: usize = 60_000_000;
    let (tell, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let written = Arc::new(AtomicUsize::new(0));
    let counts = written.clone();
    let app = App::start(move |asked, stream| {
        let said = match asked.target() {
            "/events" | "/endless/events" => "Content-Type: text/event-stream; charset=utf-8",
            "/endless/asked" => "X-Accel-Buffering: no",
            _ => "X: y",
        };
        write(stream, format!("HTTP/1.1 200 OK\r\n{said}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        if asked.target() == "/events" {
            for event in ["data: 1\n\n", "data: 2\n\n"] {
                write(stream, format!("{:x}\r\n{event}\r\n", event.len()));
                // The client has it before anything else is written.
                told.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap();
            }
            // Until the client is gone.
            return stream.read(&mut [0]).is_ok_and(|read| read > 0);
        }
        while counts.load(SeqCst) < ALL && write(stream, [&b"186a0\r\n"[..], &[b'x'; 100_000], b"\r\n"].concat()) {
            counts.fetch_add(100_000, SeqCst);
        }
        write(stream, "0\r\n\r\n")
    });
    let server = behind(&app, "[app]\nstream = ['/endless/routed']");
    let mut client = tls(&server).await;
    client.send("GET", "/events", &[]).await;
    for event in ["data: 1\n\n\r\n", "data: 2\n\n\r\n"] {
        client.until(event.as_bytes()).await;
        tell.send(()).unwrap();
    }
    drop(client);
    for (target, streamed) in
        [("/endless/events", true), ("/endless/asked", true), ("/endless/routed", true), ("/endless/buffered", false)]
    {
        written.store(0, SeqCst);
        let mut client = tls(&server).await;
        client.send("GET", target, &[]).await;
        client.until(b"xxxx").await;
        // The client reads no more. What is buffered is taken to its end, however long that takes; what is streamed waits.
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = written.load(SeqCst);
            if now == ALL || (streamed && now == before) {
                break;
            }
            before = now;
        }
        let taken = written.load(SeqCst);
        if streamed {
            assert!(taken < ALL / 2, "{target}: the application waits for the client: {taken}")
        } else {
            assert_eq!(taken, ALL, "{target}: it does not")
        }
        drop(client);
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_to_the_application() {
    let (told, tell) = mpsc::channel();
    let app = App::start(move |_, stream| {
        told.send(stream.read(&mut [0]).unwrap_or(0)).unwrap();
        false
    });
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    client.send("GET", "/x", &[]).await;
    while app.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let read = tokio::task::spawn_blocking(move || tell.recv_timeout(Duration::from_secs(30)).unwrap()).await.unwrap();
    assert_eq!(read, 0, "the connection was closed");
}

#[tokio::test]
async fn a_file_of_the_package_is_sent_where_the_application_names_it_and_may() {
    let app = App::start(|asked, stream| {
        let file = asked.target();
        write(
            stream,
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Redirect: {file}\r\nContent-Type: application/x-own\r\nSet-Cookie: a=b\r\n\r\n"
            ),
        )
    });
    let site = "hide = ['private']\n[app]\nsend_file = ";
    let server = behind(&app, &format!("{site}true"));
    assert_eq!(request(&server, "GET", "/private/x.txt", &[]).await.text(), "0123456789");
    let part = get(&server, "/private/x.txt", &["Range: bytes=2-4"]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(
        (part.field("content-type"), part.field("set-cookie"), part.field("x-accel-redirect")),
        (Some("application/x-own"), Some("a=b"), None)
    );
    let tag = part.field("etag").unwrap().to_owned();
    assert_eq!(get(&server, "/private/x.txt", &[&format!("If-None-Match: {tag}")]).await.status, 304);
    assert_eq!(get(&server, "/private/none.txt", &[]).await.status, 404);
    let server = behind(&app, &format!("{site}false"));
    let response = get(&server, "/private/x.txt", &[]).await;
    assert_eq!((response.text().as_str(), response.field("x-accel-redirect")), ("", None));
}

#[tokio::test]
async fn files_of_the_program_are_never_sent() {
    let app = App::start(|asked, stream| {
        let file = asked.target();
        write(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Accel-Redirect: {file}\r\n\r\napp"))
    });
    let site = "show = ['.app', '*']\nfallback = '.app/fallback.html'\n[app]\nrun = 'server'\nroutes = ['/*', '!/static/*']\nsend_file = true";
    let files = [
        ".app/server",
        ".app/index.html",
        ".app/404.html",
        ".app/fallback.html",
        ".app/x.txt",
        ".app/x.txt.br",
        ".APP/x.txt",
    ];
    let package = |site: &str| {
        let package = Package::new().stored("index.html", "front").stored("site.toml", site);
        let package = package.stored("_redirects", "/static/a /.app/x.txt 200!\n/static/b /.app/index.html 200\n");
        files.iter().fold(package, |package, name| package.stored(name, "secret")).finish()
    };
    let behind = Server::with(package(&site.replace("fallback = '.app/fallback.html'\n", "")), app.behind());
    let alone = Server::with(package("show = ['.app', '*']\nfallback = '.app/fallback.html'"), |_| {});
    for target in [
        "/.app/server",
        "/.app/",
        "/.app",
        "/.app/index.html",
        "/.app/index",
        "/.app/x.txt",
        "/.app/x.txt.br",
        "/.APP/x.txt",
        "/.App/x.txt",
        "/%2eapp/x.txt",
        "/%2Eapp%2Fx.txt",
        "/.app%2fx.txt",
        "/.%61pp/x.txt",
        "//.app/x.txt",
        "/.app//x.txt",
        "/./.app/x.txt",
        "/static/../.app/x.txt",
        "/static/a",
        "/static/b",
        "/nothing",
    ] {
        for server in [&behind, &alone] {
            let plain = get(server, target, &["Accept-Encoding: br"]).await;
            assert!(!plain.text().contains("secret"), "{target}: {}", plain.text());
            let (_, content) = h2_get(&mut h2(server).await, h2_request("GET", target)).await.unwrap();
            assert!(!content.windows(6).any(|part| part == b"secret"), "over HTTP/2: {target}");
        }
    }
    assert_eq!(get(&behind, "/.app/x.txt", &[]).await.status, 404, "the application names a file of its own");
}

#[tokio::test]
async fn a_package_for_an_application_where_there_is_none_says_so() {
    let server = Server::with(package("[app]\nroutes = ['/api/*']"), |_| {});
    let response = get(&server, "/api/x", &[]).await;
    assert_eq!((response.status, response.field("proxy-status")), (503, Some("spothost; error=destination_not_found")));
    assert_eq!((get(&server, "/a", &[]).await.status, get(&server, "/x", &[]).await.status), (200, 404));
}

/// An application that echoes what it is sent once it has accepted a WebSocket, and closes with a `q`.
fn echo() -> App {
    App::start(|asked, stream| {
        if asked.all("upgrade") != ["websocket"] {
            return says(stream, "no socket");
        }
        let accept = match asked.target() {
            "/wrong" => "AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
            // To a client of HTTP/2 a 200 would accept it.
            "/page" => return says(stream, "no socket"),
            "/refused" => return write(stream, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
            _ => accept(asked.all("sec-websocket-key")[0]),
        };
        write(
            stream,
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            ),
        );
        write(stream, b"\x81\x05hello");
        let mut bytes = [0; 1000];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) | Err(_) => return false,
                Ok(read) if bytes[..read].contains(&b'q') => return false,
                Ok(read) => assert!(write(stream, &bytes[..read])),
            }
        }
    })
}

fn accept(key: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

const OPENING: [&str; 4] = [
    "Upgrade: websocket",
    "TE: trailers\r\nConnection: Upgrade, TE",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

#[tokio::test]
async fn a_websocket_is_tied_to_the_application_once_that_has_accepted_it() {
    let app = echo();
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    client.send("GET", "/socket", &OPENING).await;
    let head = client.until(b"\r\n\r\n").await;
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 101 ") && head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    assert!(head.contains("sec-websocket-protocol: chat\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    client.until(b"hello").await;
    let asked = app.asked().pop().unwrap();
    assert_eq!((asked.all("connection"), asked.all("te")), (vec!["upgrade"], vec![]), "a switch has no trailers");
    for text in ["one", "two"] {
        client.write(text.as_bytes()).await;
        client.until(text.as_bytes()).await;
    }
    let open = server.running().counters().prometheus();
    assert!(open.contains("spothost_application_tunnels_open 1\n"), "{open}");
    client.write(b"q").await;
    assert_eq!(client.rest().await, b"");
    for (target, opening, status) in [
        ("/wrong", OPENING, 502),
        ("/refused", OPENING, 403),
        ("/x", [OPENING[0], OPENING[1], "Sec-WebSocket-Version: 8", OPENING[3]], 426),
        ("/x", [OPENING[0], OPENING[1], OPENING[2], "Sec-WebSocket-Key: x"], 400),
        ("/x", ["Upgrade: h2c", OPENING[1], OPENING[2], OPENING[3]], 200),
        ("/x", [OPENING[0], "Connection: close", OPENING[2], OPENING[3]], 200),
    ] {
        let response = get(&server, target, &opening).await;
        assert_eq!(response.status, status, "{target} {opening:?}");
    }
    let server = behind(&app, "[app]\nwebsocket = false");
    assert_eq!(get(&server, "/x", &OPENING).await.text(), "no socket");
}

#[tokio::test]
async fn bytes_before_the_switch_are_in_no_tunnel() {
    let app = echo();
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: www.example.org\r\n{}\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
        OPENING.join("\r\n")
    );
    client.write(head.as_bytes()).await;
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert!(!rest.contains("smuggled"), "{rest}");
    assert!(app.asked().iter().all(|asked| asked.target() == "/socket"));
}

#[tokio::test]
async fn a_drain_tells_both_ends_of_a_websocket() {
    let app = echo();
    let server = behind(&app, "");
    let mut client = tls(&server).await;
    client.send("GET", "/socket", &OPENING).await;
    client.until(b"\r\n\r\n\x81\x05hello").await;
    // A whole frame, so that the next may follow.
    client.write(b"\x81\x82\0\0\0\0hi").await;
    client.until(b"\x81\x82\0\0\0\0hi").await;
    let drained = thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(server.drain(0, 10_000))
    });
    client.until(b"\x88\x02\x03\xe9").await;
    drop(client);
    assert_eq!(drained.join().unwrap().requests_cut, 0);
}

/// The fields that open a WebSocket over HTTP/2.
fn extended_connect() -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "www.example.org"),
        (":path", "/socket"),
        ("sec-websocket-version", "13"),
    ];
    fields.map(|(name, value)| literal(name, value)).concat()
}

/// An application that accepts each WebSocket, says that it heard something, and after the end of its client what `ends` writes.
fn listening(ends: impl Fn(&mut std::net::TcpStream) + Send + Sync + 'static) -> App {
    App::start(move |asked, stream| {
        let accept = accept(asked.all("sec-websocket-key")[0]);
        write(
            stream,
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ),
        );
        while stream.read(&mut [0; 100]).is_ok_and(|read| read > 0) {
            write(stream, b"heard");
        }
        ends(stream);
        false
    })
}

#[tokio::test]
async fn a_websocket_over_http_2_may_be_silent_and_ends_with_its_stream() {
    let (told, tell) = mpsc::channel();
    let (over, is_over) = mpsc::channel::<()>();
    let is_over = std::sync::Mutex::new(is_over);
    let app = listening(move |_| {
        told.send(()).unwrap();
        // It keeps its own side open.
        let _ = is_over.lock().unwrap().recv();
    });
    let behind = app.behind();
    let server = Server::with(package(""), |settings| {
        behind(settings);
        settings.patience.content = Duration::from_millis(200);
        settings.patience.idle = Duration::from_millis(200);
    });
    let mut stream = connect(&server).await;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &extended_connect())).await.unwrap();
    while next(&mut stream).await.kind != HEADERS {}
    tokio::time::sleep(Duration::from_secs(1)).await;
    stream.write_all(&frame(DATA, 0, 1, b"after a while")).await.unwrap();
    loop {
        let frame = next(&mut stream).await;
        if frame.kind == DATA {
            assert_eq!(frame.payload, b"heard");
            break;
        }
    }
    stream.write_all(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await.unwrap();
    let end = tokio::task::spawn_blocking(move || tell.recv_timeout(Duration::from_secs(10)));
    end.await.unwrap().expect("the application sees the end of a stream that was reset");
    let reset = Instant::now();
    while !server.running().counters().prometheus().contains("spothost_application_tunnels_open 0\n") {
        assert!(reset.elapsed() < Duration::from_secs(10), "nothing is kept of it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(over);
}

#[tokio::test]
async fn the_end_of_one_side_of_a_websocket_over_http_2_is_not_that_of_the_other() {
    let app = listening(|stream| {
        write(stream, b" bye");
    });
    let server = behind(&app, "");
    let mut stream = connect(&server).await;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &extended_connect())).await.unwrap();
    while next(&mut stream).await.kind != HEADERS {}
    stream.write_all(&frame(DATA, END_STREAM, 1, b"the last")).await.unwrap();
    let mut came = Vec::new();
    loop {
        let frame = next(&mut stream).await;
        if frame.kind == DATA {
            came.extend_from_slice(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(String::from_utf8(came).unwrap(), "heard bye");
}

#[tokio::test]
async fn a_websocket_goes_over_a_stream_of_http_2() {
    let app = echo();
    let server = behind(&app, "");
    let mut stream = connect(&server).await;
    let settings = loop {
        let frame = next(&mut stream).await;
        if frame.kind == SETTINGS && !frame.payload.is_empty() {
            break frame;
        }
    };
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:?}");
    let open = |target: &str, protocol: &str| {
        [
            literal(":method", "CONNECT"),
            literal(":protocol", protocol),
            literal(":scheme", "https"),
            literal(":authority", "www.example.org"),
            literal(":path", target),
            literal("sec-websocket-version", "13"),
            literal("sec-websocket-protocol", "chat"),
        ]
        .concat()
    };
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &open("/socket", "websocket"))).await.unwrap();
    let mut content = Vec::new();
    let mut head = None;
    while head.is_none() || content.len() < 7 {
        let frame = next(&mut stream).await;
        match frame.kind {
            HEADERS => head = Some(status(&frame)),
            DATA => content.extend_from_slice(&frame.payload),
            _ => {}
        }
    }
    assert_eq!((head, content), (Some(200), b"\x81\x05hello".to_vec()));
    stream.write_all(&frame(DATA, 0, 1, b"over h2")).await.unwrap();
    let mut content = Vec::new();
    while content.len() < 7 {
        let frame = next(&mut stream).await;
        if frame.kind == DATA {
            content.extend_from_slice(&frame.payload);
        }
    }
    assert_eq!(content, b"over h2");
    let asked = app.asked().pop().unwrap();
    assert!(asked.head.starts_with("GET /socket HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!((asked.all("sec-websocket-version"), asked.all("sec-websocket-key").len()), (vec!["13"], 1));
    stream.write_all(&frame(DATA, 0, 1, b"q")).await.unwrap();
    let begun = Instant::now();
    loop {
        let frame = next(&mut stream).await;
        if frame.kind == DATA && frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "the end of one side is that of the other");
    for (number, target, protocol, expected) in [
        (3, "/refused", "websocket", 403),
        (5, "/wrong", "websocket", 502),
        (7, "/socket", "connect-udp", 400),
        (9, "/page", "websocket", 502),
    ] {
        stream.write_all(&frame(HEADERS, END_HEADERS, number, &open(target, protocol))).await.unwrap();
        loop {
            let frame = next(&mut stream).await;
            if frame.kind == HEADERS && frame.stream == number {
                assert_eq!(status(&frame), expected, "{target} {protocol}");
                break;
            }
        }
    }
    // Where there is no application nothing is announced, and the field is not known.
    let server = Server::start();
    let mut stream = connect(&server).await;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &open("/socket", "websocket"))).await.unwrap();
    loop {
        let frame = next(&mut stream).await;
        assert_ne!(frame.kind, HEADERS);
        if frame.kind == SETTINGS && !frame.payload.is_empty() {
            assert!(!frame.payload.chunks(6).any(|setting| setting[1] == 8));
        }
        if frame.kind == 3 {
            assert_eq!(frame.payload, [0, 0, 0, 1], "PROTOCOL_ERROR");
            break;
        }
    }
}
