//! Each input of `fuzz/corpus`, sent to a real server, gets the answer that docs/hostile-inputs.md says; `UPDATE_GOLDENS=1` writes the page anew,
//! for a person to look at.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use spanhouse::access::{AccessFile, Gate, GateSettings, UserEntry, Verifier};
use spanhouse::fuzzing::TARGETS;
use spanhouse::ingest::IngestSettings;
use tokio::net::TcpSocket;

use crate::fuzz_corpora::corpus;
use crate::otlp_server::{HttpAnswer, Server as OtlpServer};
use crate::pg::Server;

/// The beginning of the page, and what stands above the inputs of each target.
const HEAD: &str = "# Hostile inputs, one by one

What is sent here by strangers who mean ill, and the answer that each input gets. The inputs are the files of `fuzz/corpus`, from which fuzzers start as well; `tests/it/hostile_inputs.rs` sends each to a real server and holds the answer to this page.
What befalls the server around them (disks, kills, clocks, floods) is in [faults.md](faults.md).
";
const SECTIONS: [(&str, &str); 8] = [
    (
        "otlp_protobuf",
        "## OTLP/HTTP, protobuf\n\nThe status, and what the answer's body says: the spans that are refused while the others are kept, or why the request is.",
    ),
    ("otlp_json", "## OTLP/HTTP, JSON\n\nThe same."),
    (
        "sql",
        "## Statements\n\nIn one message of the simple protocol. Tags of the statements that ran, and the SQLSTATE and message of the one that did not; those behind it are not run.",
    ),
    (
        "pg_startup",
        "## Before a PostgreSQL session\n\nOn a server with users. `N` is the refusal to encrypt, where there is no certificate; `R` asks for something: 10 which mechanism, 11 the proof.",
    ),
    (
        "pg_messages",
        "## In a PostgreSQL session\n\nThe types of the messages that come back, and the SQLSTATE and message of each error. A session that lives answers the `Sync` after the input with `Z`.",
    ),
    (
        "jaeger_json",
        "## Files of Jaeger JSON\n\nWhat conversion makes of a file, and the decoder of that: the spans that it keeps and refuses, and behind the semicolon those that cannot be converted.",
    ),
    ("zipkin_json", "## Files of Zipkin JSON\n\nThe same."),
    (
        "wal",
        "## A log at the start of a server\n\nWhat replay makes of these bytes as segments of a log; behind the semicolon, when their checksums are made right first. `damaged` stops the start, with file and byte; a torn tail is cut.",
    ),
];

#[test]
fn each_hostile_input_gets_the_answer_that_the_page_says() {
    let mut page = HEAD.to_owned();
    for (target, section) in SECTIONS {
        page.push_str(&format!("\n{section}\n\n| input | bytes | answer |\n|---|---|---|\n"));
        let inputs = corpus(target);
        let answers = match target {
            "otlp_protobuf" => exported("application/x-protobuf", &inputs),
            "otlp_json" => exported("application/json", &inputs),
            "sql" => asked(&inputs),
            "pg_startup" => began(&inputs),
            "pg_messages" => in_session(&inputs),
            _ => read(target, &inputs),
        };
        for ((name, bytes), answer) in inputs.iter().zip(answers) {
            page.push_str(&format!("| {} | {} | {} |\n", name.replace('-', " "), bytes.len(), cell(&answer)));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hostile-inputs.md");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let written = fs::read_to_string(&path).expect("the page");
    for (number, (is, was)) in page.lines().zip(written.lines()).enumerate() {
        assert_eq!(is, was, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(page.lines().count(), written.lines().count(), "rows of {}", path.display());
}

/// A text in one cell of a table: one line, nothing that ends the cell, and not without end.
fn cell(text: &str) -> String {
    const MOST: usize = 240;
    let shown: String =
        text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    let cut: String =
        if shown.chars().count() > MOST { shown.chars().take(MOST).chain(['…']).collect() } else { shown };
    cut.replace('|', "\\|").replace('<', "\\<")
}

/// What an OTLP/HTTP listener answers.
fn exported(content_type: &str, inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = OtlpServer::start(IngestSettings::default()).await;
        let mut answers = Vec::new();
        for (_, bytes) in inputs {
            let answer = server.post(content_type, bytes.clone()).await;
            answers.push(format!("{}{}", answer.status, said(&answer)));
        }
        server.stop().await;
        answers
    })
}

fn said(answer: &HttpAnswer) -> String {
    let is_json = answer.headers["content-type"] == "application/json";
    let text = |text: &serde_json::Value| text.as_str().unwrap_or_default().to_owned();
    let message = match (answer.status, is_json) {
        (200, true) => text(&answer.json()["partialSuccess"]["errorMessage"]),
        (200, false) => {
            let read = ExportTraceServiceResponse::decode(answer.body.clone()).expect("a response");
            read.partial_success.map(|partial| partial.error_message).unwrap_or_default()
        }
        (_, true) => text(&answer.json()["message"]),
        (_, false) => answer.rpc_status().message,
    };
    if message.is_empty() { message } else { format!(": {message}") }
}

/// What a session answers to scripts.
fn asked(inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let server = Server::start();
    let answer = |(_, script): &(String, Vec<u8>)| {
        let mut stream = session(&server);
        let message = message(b'Q', &[script, &b"\0"[..]].concat());
        stream.write_all(&[message, message_of_end()].concat()).expect("written");
        let answers = answers(stream);
        let told = answers.iter().filter_map(|(kind, body)| match kind {
            b'C' => Some(String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()),
            b'E' => Some(error(body)),
            b'I' => Some("nothing to run".to_owned()),
            _ => None,
        });
        told.collect::<Vec<_>>().join(", ")
    };
    inputs.iter().map(answer).collect()
}

/// What comes before a session, each from an address of its own: who tries in vain is answered later each time.
fn began(inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let reader = UserEntry::new(Verifier::of_password("pencil"), ["reader".parse().expect("a role")].into());
    AccessFile::edit(folder.path(), |file| Ok(file.users.insert("ada".to_owned(), reader))).expect("written");
    let gate = Gate::open(folder.path(), GateSettings::default()).expect("a gate");
    let server = Server::guarded(gate);
    let answer = |(place, (_, bytes)): (usize, &(String, Vec<u8>))| {
        let mut stream = connect_from(&server, &format!("127.0.1.{}", place + 1));
        // The server may have closed the connection already.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let encryption = answer.iter().take_while(|byte| **byte == b'N').count();
        let mut told = vec!["N".to_owned(); encryption];
        told.extend(messages(&answer[encryption..]).iter().map(|(kind, body)| match kind {
            b'E' => error(body),
            b'R' => format!("R {}", body[3]),
            kind => char::from(*kind).to_string(),
        }));
        if told.is_empty() { "closed without a word".to_owned() } else { told.join(", ") }
    };
    inputs.iter().enumerate().map(answer).collect()
}

/// What a session answers to messages.
fn in_session(inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let server = Server::start();
    let answer = |(_, bytes): &(String, Vec<u8>)| {
        let mut stream = session(&server);
        stream.write_all(bytes).expect("written");
        // Behind whole messages the end is one, too; what is cut gets no answer but for the end of the connection.
        match is_whole(bytes) {
            true => stream.write_all(&[message(b'S', b""), message_of_end()].concat()).expect("written"),
            false => stream.shutdown(Shutdown::Write).expect("closed"),
        }
        let told: Vec<_> = answers(stream)
            .iter()
            .map(|(kind, body)| match kind {
                b'E' => error(body),
                kind => char::from(*kind).to_string(),
            })
            .collect();
        if told.is_empty() { "closed without a word".to_owned() } else { told.join(", ") }
    };
    inputs.iter().map(answer).collect()
}

/// What the body of the target says.
fn read(target: &str, inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let body = TARGETS.iter().find(|own| own.name == target).expect("a target").body;
    inputs.iter().map(|(name, bytes)| body(bytes).unwrap_or_else(|found| panic!("{name}: {found}"))).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn message_of_end() -> Vec<u8> {
    message(b'X', b"")
}

fn connect_from(server: &Server, address: &str) -> TcpStream {
    server.runtime.block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(address.parse().expect("an address"), 0)).expect("bound");
        let stream = socket.connect(server.address).await.expect("connects").into_std().expect("a socket");
        stream.set_nonblocking(false).expect("it blocks");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream
    })
}

/// A session whose client has read everything up to `ReadyForQuery`.
fn session(server: &Server) -> TcpStream {
    let mut stream = connect_from(server, "127.0.0.1");
    let body = b"\0\x03\0\0user\0ada\0\0";
    stream.write_all(&[&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()).expect("written");
    let mut byte = [0];
    let mut read = Vec::new();
    while !read.ends_with(b"Z\0\0\0\x05I") {
        stream.read_exact(&mut byte).expect("a session");
        read.push(byte[0]);
    }
    stream
}

/// The messages up to the end of the connection, without those of rows and settings, and a repeated kind once.
fn answers(mut stream: TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).expect("an end");
    let mut answers = messages(&read);
    answers.retain(|(kind, _)| !matches!(kind, b'S' | b'N'));
    answers.dedup_by(|later, former| later.0 == b'D' && former.0 == b'D');
    answers
}

fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() {
        let (body, behind) = rest.split_at(u32::from_be_bytes([a, b, c, d]) as usize - 4);
        messages.push((kind, body.to_vec()));
        bytes = behind;
    }
    assert!(bytes.is_empty(), "no messages: {}", bytes.escape_ascii());
    messages
}

/// Whether bytes are whole messages of a session.
fn is_whole(mut bytes: &[u8]) -> bool {
    while let Some((&[_, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(behind) = length.checked_sub(4).and_then(|length| rest.get(length..)) else { return false };
        bytes = behind;
    }
    bytes.is_empty()
}

fn error(body: &[u8]) -> String {
    let field = |of: u8| {
        let fields = body.split(|byte| *byte == 0);
        let found = fields.into_iter().find_map(|field| field.strip_prefix(&[of]));
        String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}
