//! Hostile bytes and statements on the PostgreSQL wire; the numbers are those of the list of faults.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::pg::Server;

/// A statement that would run for years.
const ENDLESS: &str =
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b, generate_series(1, 1000) c";
/// A result that nobody has memory for.
const HUGE: &str =
    "SELECT a.a, 'some text to make the row wider' FROM generate_series(1, 100000) a, generate_series(1, 100000) b";

/// A client that writes bytes.
struct Raw {
    stream: TcpStream,
    process_id: i32,
    secret: i32,
}

impl Raw {
    fn connect(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let body = b"\0\x03\0\0user\0ada\0\0";
        stream.write_all(&(body.len() as u32 + 4).to_be_bytes()).expect("written");
        stream.write_all(body).expect("written");
        let mut raw = Self { stream, process_id: 0, secret: 0 };
        loop {
            let (kind, body) = raw.read();
            match kind {
                b'K' => {
                    raw.process_id = i32::from_be_bytes(body[..4].try_into().expect("4 bytes"));
                    raw.secret = i32::from_be_bytes(body[4..8].try_into().expect("4 bytes"));
                }
                b'Z' => return raw,
                b'E' => panic!("refused: {}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut message = vec![kind];
        message.extend((body.len() as u32 + 4).to_be_bytes());
        message.extend(body);
        self.stream.write_all(&message).expect("written");
    }

    fn query(&mut self, sql: &str) {
        self.send(b'Q', format!("{sql}\0").as_bytes());
    }

    fn parse(&mut self, sql: &str) {
        self.send(b'P', format!("\0{sql}\0\0\0").as_bytes());
    }

    fn bind(&mut self) {
        self.send(b'B', b"\0\0\0\0\0\0\0\0");
    }

    fn execute(&mut self, max_rows: i32) {
        let mut body = vec![0];
        body.extend(max_rows.to_be_bytes());
        self.send(b'E', &body);
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).expect("a message");
        let length = u32::from_be_bytes(head[1..].try_into().expect("4 bytes")) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).expect("its body");
        (head[0], body)
    }

    /// The kinds of all messages up to `ReadyForQuery`, and the SQLSTATE of the error among them.
    fn until_ready(&mut self) -> (String, Option<String>) {
        let (mut kinds, mut state) = (String::new(), None);
        loop {
            let (kind, body) = self.read();
            if kind == b'E' {
                state = body
                    .split(|byte| *byte == 0)
                    .find_map(|field| field.strip_prefix(b"C").map(|code| String::from_utf8_lossy(code).into_owned()));
            }
            if !(kind == b'D' && kinds.ends_with('D')) && kind != b'S' {
                kinds.push(char::from(kind));
            }
            if kind == b'Z' {
                return (kinds, state);
            }
        }
    }

    /// Reads a result to its end with a pause now and then; returns its rows and by how much memory grew meanwhile.
    fn count_rows_slowly(&mut self) -> (u64, u64) {
        let mut stream = BufReader::with_capacity(1 << 20, &self.stream);
        let (mut rows, mut before, mut most) = (0, 0, 0);
        let mut body = Vec::new();
        loop {
            let mut head = [0; 5];
            stream.read_exact(&mut head).expect("a message");
            let length = u32::from_be_bytes(head[1..].try_into().expect("4 bytes")) as usize - 4;
            body.resize(length, 0);
            stream.read_exact(&mut body).expect("its body");
            match head[0] {
                b'D' => rows += 1,
                b'E' => panic!("{}", String::from_utf8_lossy(&body)),
                b'Z' => return (rows, u64::saturating_sub(most, before)),
                _ => {}
            }
            if rows % 500_000 == 1 {
                std::thread::sleep(Duration::from_millis(100));
                most = most.max(resident_bytes());
                before = if before == 0 { most } else { before };
            }
        }
    }

    fn state_of(&mut self, sql: &str) -> Option<String> {
        self.query(sql);
        self.until_ready().1
    }

    fn is_alive(&mut self) {
        self.query("SELECT 1");
        assert_eq!(self.until_ready(), ("TDCZ".to_owned(), None));
    }

    fn cancel(&self, server: &Server) {
        let mut other = TcpStream::connect(server.address).expect("connects");
        let mut message = Vec::new();
        for word in [16, 80_877_102, self.process_id, self.secret] {
            message.extend(word.to_be_bytes());
        }
        other.write_all(&message).expect("written");
    }
}

/// Processor time that this process has used.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux machine");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number");
    Duration::from_millis(ticks * 10)
}

/// Resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("a Linux machine");
    status.split_whitespace().nth(1).expect("a field").parse::<u64>().expect("pages") * 4096
}

#[test]
fn row_32_chains_and_nesting_are_too_complex_and_the_session_lives() {
    let server = Server::start();
    let mut client = Raw::connect(&server);
    let parentheses = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let arms = vec!["SELECT 1"; 3_000].join(" UNION ALL ");
    let chain = format!("SELECT count(*) FROM spans WHERE {}", vec!["flags = 1"; 2_000].join(" OR "));
    let sum = format!("SELECT {}", vec!["1"; 2_000].join(" + "));
    for sql in [parentheses, arms, chain, sum] {
        assert_eq!(client.state_of(&sql).as_deref(), Some("54001"), "{}", &sql[..40]);
        client.is_alive();
    }
}

#[test]
fn row_33_row_limits_out_of_range() {
    let server = Server::start();
    let mut client = Raw::connect(&server);
    client.parse("SELECT 1");
    client.bind();
    client.execute(-1);
    client.send(b'S', b"");
    let (kinds, state) = client.until_ready();
    assert_eq!((kinds.as_str(), state.as_deref()), ("12EZ", Some("08P01")));
    client.parse("SELECT 1");
    client.bind();
    client.execute(i32::MAX);
    client.send(b'S', b"");
    assert_eq!(client.until_ready(), ("12DCZ".to_owned(), None));
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT 1");
    assert_eq!(client.until_ready().1, None);
    assert_eq!(client.state_of("FETCH 4000000000 FROM c"), None);
    assert_eq!(client.state_of("FETCH 99999999999999999999 FROM c").as_deref(), Some("22003"));
    assert_eq!(client.state_of("ROLLBACK"), None);
    client.is_alive();
}

#[test]
fn row_34_bind_with_wrong_counts() {
    let server = Server::start();
    let mut client = Raw::connect(&server);
    let cases: [(&str, &[u8]); 5] = [
        ("SELECT 1", b"\0\0\0\0\0\0\0\x02\0\0\0\0"),
        ("SELECT 1", b"\0\0\0\0\0\x01\0\0\0\x01x\0\0"),
        ("SELECT $1", b"\0\0\0\x02\0\0\0\0\0\x01\0\0\0\x01x\0\0"),
        ("SELECT $1", b"\0\0\xff\xff\0\0\0\0"),
        ("SELECT $1", b"\0\0\0\0\0\x01\x7f\xff\xff\xffx\0\0"),
    ];
    for (sql, bind) in cases {
        client.parse(sql);
        client.send(b'B', bind);
        client.execute(0);
        client.send(b'S', b"");
        assert_eq!(client.until_ready(), ("1EZ".to_owned(), Some("08P01".to_owned())), "{sql}");
        client.is_alive();
    }
}

#[test]
fn row_35_a_cancelled_statement_stops_and_frees_the_processor() {
    let server = Server::start();
    let mut client = Raw::connect(&server);
    client.query(ENDLESS);
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    client.cancel(&server);
    assert_eq!(client.until_ready().1.as_deref(), Some("57014"));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    client.is_alive();
    assert_eq!(client.state_of(&format!("SET statement_timeout = 300; {ENDLESS}")).as_deref(), Some("57014"));
    client.is_alive();
}

#[test]
fn row_35_a_client_that_leaves_stops_its_statement() {
    let server = Server::start();
    let mut counting = Raw::connect(&server);
    counting.query(ENDLESS);
    let mut reading = Raw::connect(&server);
    reading.query(HUGE);
    reading.read();
    std::thread::sleep(Duration::from_millis(500));
    drop((counting, reading));
    std::thread::sleep(Duration::from_secs(1));
    // Other tests of this binary may run beside, and rest now and then: the statements would never.
    let quiet = (0..240).any(|_| {
        let before = cpu_time();
        std::thread::sleep(Duration::from_millis(250));
        cpu_time() - before < Duration::from_millis(120)
    });
    assert!(quiet, "the processor is still busy");
    Raw::connect(&server).is_alive();
}

#[test]
fn row_37_nothing_is_written_and_no_file_is_read() {
    let server = Server::start();
    let mut client = Raw::connect(&server);
    for sql in [
        "COPY spans TO '/tmp/out.csv'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY spans FROM '/etc/passwd'",
        "COPY spans FROM STDIN",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO spans SELECT * FROM spans",
        "DROP VIEW spans",
        "SET datafusion.runtime.memory_limit = '1G'",
        "EXPLAIN ANALYZE INSERT INTO spans SELECT * FROM spans",
        "PREPARE p AS DELETE FROM spans",
        "PREPARE p AS COPY spans TO '/tmp/out.csv'",
        "BEGIN; DECLARE c CURSOR FOR DELETE FROM spans",
    ] {
        let state = client.state_of(sql);
        assert!(matches!(state.as_deref(), Some("42501" | "42601")), "{sql}: {state:?}");
        client.query("ROLLBACK");
        client.until_ready();
    }
    for sql in ["SELECT * FROM '/etc/passwd'", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM \"/etc/passwd\""]
    {
        assert!(client.state_of(sql).is_some(), "{sql}");
    }
    client.is_alive();
}

#[test]
fn row_38_a_slow_reader_keeps_memory_flat_under_both_protocols() {
    let server = Server::start();
    for extended in [false, true] {
        let mut client = Raw::connect(&server);
        match extended {
            false => client.query(HUGE),
            true => {
                client.parse(HUGE);
                client.bind();
                client.execute(0);
                client.send(b'S', b"");
            }
        }
        for _ in 0..10_000 {
            client.read();
        }
        let before = resident_bytes();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(50));
            for _ in 0..2_000 {
                client.read();
            }
        }
        let grown = resident_bytes().saturating_sub(before);
        // Other tests of this binary share the process; a buffered result of 10¹⁰ rows would dwarf this.
        assert!(grown < 256 << 20, "memory grew by {} MiB", grown >> 20);
        let asked = Instant::now();
        client.cancel(&server);
        assert_eq!(client.until_ready().1.as_deref(), Some("57014"));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        client.is_alive();
    }
}

/// Rows of the result that is read to its end, under each protocol; `SPANHOUSE_RESULT_ROWS=100000000` reads the whole of the fault.
const RESULT_ROWS: u64 = 4_000_000;

#[test]
fn row_38_a_long_result_is_read_to_its_end_in_flat_memory() {
    let server = Server::start();
    let rows = std::env::var("SPANHOUSE_RESULT_ROWS").map_or(RESULT_ROWS, |rows| rows.parse().expect("a number"));
    let sql = format!("SELECT value, 'some text' AS text FROM generate_series(1, {rows})");
    for extended in [false, true] {
        let mut client = Raw::connect(&server);
        match extended {
            false => client.query(&sql),
            true => {
                client.parse(&sql);
                client.bind();
                client.execute(0);
                client.send(b'S', b"");
            }
        }
        let (read, grown) = client.count_rows_slowly();
        assert_eq!(read, rows);
        assert!(grown < 256 << 20, "memory grew by {} MiB", grown >> 20);
        client.is_alive();
    }
}

#[test]
fn garbage_before_and_after_the_start_closes_only_its_own_connection() {
    let server = Server::start();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\x08\0\0\0\0",
        b"\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(server.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream.write_all(garbage).expect("written");
        let mut answer = Vec::new();
        // Closed with or without a word, and at once.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{garbage:?}");
        }
        assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    }
    let mut client = Raw::connect(&server);
    client.stream.write_all(b"Q\x7f\xff\xff\xff").expect("written");
    let (kind, body) = client.read();
    assert!(kind == b'E' && body.windows(5).any(|part| part == b"08P01"));
    Raw::connect(&server).is_alive();
}

#[test]
fn sockets_without_number_are_told_that_there_is_no_room() {
    let settings = spanhouse::server::ServerSettings { max_connections: 1, ..Default::default() };
    let server = Server::with_settings(settings);
    let mut sockets: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.address).expect("connects")).collect();
    let mut last = sockets.pop().expect("a socket");
    let mut answer = Vec::new();
    last.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    last.read_to_end(&mut answer).expect("an answer");
    assert!(answer.windows(5).any(|part| part == b"53300"), "{}", String::from_utf8_lossy(&answer));
    drop(sockets);
    std::thread::sleep(Duration::from_millis(300));
    Raw::connect(&server).is_alive();
}

#[test]
fn one_client_too_many_is_told_so() {
    let settings = spanhouse::server::ServerSettings { max_connections: 1, ..Default::default() };
    let server = Server::with_settings(settings);
    let first = Raw::connect(&server);
    let mut stream = TcpStream::connect(server.address).expect("connects");
    stream.write_all(b"\0\0\0\x12\0\x03\0\0user\0ada\0\0").expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.windows(5).any(|part| part == b"53300"), "{}", String::from_utf8_lossy(&answer));
    drop(first);
    std::thread::sleep(Duration::from_millis(300));
    Raw::connect(&server).is_alive();
}
