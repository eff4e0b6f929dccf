//! Clients that were not let in yet: they keep only others of their own address out.

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::House;
use crate::otlp_server::{HttpAnswer, request, send, span};
use crate::support::Server;

/// Connections of an address that may wait, as docs/security.md has it.
const MAY_WAIT: usize = 64;
const SILENT: usize = 100;

/// A connection from another address of this machine, which says nothing.
async fn silent(port: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("bound");
    let server: SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
    socket.connect(server).await.expect("connects")
}

/// What a connection was told before it ended; nothing of one that is open.
async fn told(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    let read = tokio::time::timeout(Duration::from_millis(20), stream.read_to_end(&mut told)).await;
    read.ok().map(|_| told)
}

/// Waits until as many connections have ended as had to make room; gives what these were told.
async fn sent_away(streams: &mut [TcpStream]) -> Vec<Vec<u8>> {
    for _ in 0..100 {
        let mut ended = Vec::new();
        for stream in &mut *streams {
            ended.extend(told(stream).await);
        }
        if ended.len() >= SILENT - MAY_WAIT {
            return ended;
        }
    }
    panic!("the first connections of the address stay");
}

async fn http(server: &str, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> HttpAnswer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    send(client, method, server.to_owned(), headers, body).await
}

async fn figure(server: &Server, name: &str) -> f64 {
    let answer = http(&format!("{}/metrics", server.admin_url()), "GET", &[], Vec::new()).await;
    let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_those_who_show_nothing_keep_out_others_of_their_address_only() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let bearer = format!("Bearer {}", house.token(&["shop"]));
    let server = Server::start_in(&house.data_dir(), &[]);
    let otlp = server.otlp_http_url();
    let otlp_port = otlp.rsplit(':').next().expect("a port");
    for (port, is_postgres) in [(server.postgres_port(), true), (otlp_port, false)] {
        let mut streams = Vec::new();
        for _ in 0..SILENT {
            streams.push(silent(port).await);
        }
        let ended = sent_away(&mut streams).await;
        assert_eq!(ended.len(), SILENT - MAY_WAIT);
        for told in ended {
            let is_told = String::from_utf8_lossy(&told).contains("53300");
            assert_eq!(is_told, is_postgres, "{}", told.escape_ascii());
        }
        // From another address.
        let settings = format!("host=127.0.0.1 port={} user=ada password=pencil", server.postgres_port());
        let (client, connection) = tokio_postgres::connect(&settings, tokio_postgres::NoTls).await.expect("let in");
        tokio::spawn(connection);
        client.simple_query("SELECT 1").await.expect("an answer");
        let headers = [("content-type", "application/x-protobuf"), ("authorization", &bearer)];
        let answer = http(&format!("{otlp}/v1/traces"), "POST", &headers, request(vec![span(1)])).await;
        assert_eq!(answer.status, 200);
        assert_eq!(figure(&server, "spanhouse_connections_waiting").await, MAY_WAIT as f64, "the silent ones");
        drop(streams);
        while figure(&server, "spanhouse_connections_waiting").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let gone = figure(&server, "spanhouse_connections_sent_away_total").await;
    assert_eq!(gone, 2.0 * (SILENT - MAY_WAIT) as f64);
}
