//! An HTTP receiver that does what a test says, well or badly, and keeps what came.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status with headers and a body.
    Status(u16, &'static [(&'static str, &'static str)], String),
    /// A redirect to this address.
    Redirect(u16, String),
    /// Nothing, until the sender goes.
    Hang,
    /// The connection is closed before any answer.
    Close,
    /// The connection is closed in the middle of the headers.
    CloseInHeaders,
    /// A status and a body without end, as fast as it is taken.
    Endless(u16),
}

/// 200 and nothing else.
pub fn ok() -> Answer {
    status(200)
}

/// A status without a body.
pub fn status(status: u16) -> Answer {
    Answer::Status(status, &[], String::new())
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// In lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// A receiver on a port of its own; its threads end with their connections.
pub struct Receiver {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// Answers the requests in turn; the last answer holds for all that follow.
    pub fn answering(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, kept) = (answers.clone(), kept.clone());
                thread::spawn(move || serve(stream, &answers, &kept));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

/// A sender that stopped is noticed by then.
const STEP: Duration = Duration::from_secs(60);

fn serve(mut stream: TcpStream, answers: &[Answer], kept: &Mutex<Vec<Request>>) {
    let _ = stream.set_read_timeout(Some(STEP));
    let Some(request) = read(&mut stream) else { return };
    let count = {
        let mut kept = kept.lock().expect("not poisoned");
        kept.push(request);
        kept.len()
    };
    let answer = &answers[(count - 1).min(answers.len() - 1)];
    // Whoever hangs up early is no concern of a receiver.
    let _ = reply(&mut stream, answer);
}

fn reply(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    match answer {
        Answer::Status(status, headers, body) => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        }
        Answer::Redirect(status, location) => {
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        }
        Answer::Hang => stream.read(&mut [0; 64]).map(|_| ()),
        Answer::Close => Ok(()),
        Answer::CloseInHeaders => write!(stream, "HTTP/1.1 200 OK\r\nContent-Le"),
        Answer::Endless(status) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'e'; 8192])?;
            }
        }
    }
}

/// Reads a request with its body, whose length it says.
fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).ok()?;
    let mut lines = head.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body })
}
