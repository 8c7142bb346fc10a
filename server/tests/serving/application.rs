//! An application that writes bytes and reads bytes, so that nothing is repaired behind the server either.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use spothost_server::{ApplicationAddress, Settings};

/// A request as the application has read it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Request line and fields, each byte a character.
    pub(crate) head: String,
    pub(crate) content: Vec<u8>,
    /// Field lines behind the last chunk.
    pub(crate) trailers: String,
}

impl Asked {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of a field, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// An application under the test's control. It goes with the test's process.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl App {
    /// Answers each request with what `answer` writes; the connection stays open if that is true.
    pub(crate) fn start(answer: impl Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    pub(crate) fn on(
        listener: TcpListener,
        answer: impl Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (all, made, answer) = (asked.clone(), connections.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, all, answer) = (stream.unwrap(), all.clone(), answer.clone());
                made.fetch_add(1, SeqCst);
                thread::spawn(move || {
                    while let Some(asked) = read(&mut stream) {
                        all.lock().unwrap().push(asked.clone());
                        if !answer(&asked, &mut stream) {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked, connections }
    }

    /// Answers all requests with this content.
    pub(crate) fn saying(content: &'static str) -> Self {
        Self::start(move |_, stream| says(stream, content))
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Settings that have this application answer.
    pub(crate) fn behind(&self) -> impl FnOnce(&mut Settings) + use<> {
        let address = self.address;
        move |settings| settings.application = Some(at(address))
    }
}

/// Where an application listens.
pub(crate) fn at(address: SocketAddr) -> ApplicationAddress {
    format!("http://{address}").parse().unwrap()
}

/// A response with this content.
pub(crate) fn says(stream: &mut TcpStream, content: &str) -> bool {
    write(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len()))
}

/// Whether these bytes could be written.
pub(crate) fn write(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) -> bool {
    stream.write_all(bytes.as_ref()).is_ok()
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(stream)?);
    }
    let head = head.iter().map(|byte| char::from(*byte)).collect();
    let mut asked = Asked { head, content: Vec::new(), trailers: String::new() };
    if let [length] = asked.all("content-length")[..] {
        asked.content = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut asked.content).ok()?;
    } else if asked.all("transfer-encoding") == ["chunked"] {
        loop {
            let length = usize::from_str_radix(line(stream)?.trim(), 16).unwrap();
            if length == 0 {
                break;
            }
            let mut chunk = vec![0; length + 2];
            stream.read_exact(&mut chunk).ok()?;
            asked.content.extend_from_slice(&chunk[..length]);
        }
        while !asked.trailers.ends_with("\r\n\r\n") && asked.trailers != "\r\n" {
            asked.trailers.push_str(&line(stream)?);
        }
    }
    Some(asked)
}

fn line(stream: &mut TcpStream) -> Option<String> {
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        line.push(char::from(byte(stream)?));
    }
    Some(line)
}

fn byte(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    Some(byte[0])
}
