//! The listeners: whether the server's answer, or whether their ports are free for one.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::holders::holder;
use super::seen::Seen;
use crate::cli::data::ServerFile;
use crate::cli::note::Note;
use crate::cli::settings::{Listen, Settings};

/// A listener of this machine takes a connection at once, unless its queue is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A listener by the name of its setting, as it is set, and as the server has it.
struct Listener<'a> {
    name: &'static str,
    what: &'static str,
    set: &'a Listen,
    at: Option<SocketAddr>,
}

fn listeners<'a>(settings: &'a Settings, server: Option<&ServerFile>) -> [Listener<'a>; 4] {
    let of = |name, what, set, at: fn(&ServerFile) -> Option<SocketAddr>| Listener {
        name,
        what,
        set,
        at: server.and_then(at),
    };
    [
        of("otlp_grpc", "OTLP over gRPC", &settings.otlp_grpc, |server| server.otlp_grpc),
        of("otlp_http", "OTLP over HTTP", &settings.otlp_http, |server| server.otlp_http),
        of("postgres", "PostgreSQL clients", &settings.postgres, |server| server.postgres),
        of("admin_listen", "health and metrics", &settings.admin_listen, |server| server.admin),
    ]
}

pub(super) async fn check(seen: &Seen) -> Vec<Note> {
    let mut notes = Vec::new();
    for listener in listeners(&seen.settings, seen.server.as_ref()) {
        notes.push(match &seen.server {
            Some(server) => answers(&listener, server.pid, seen.given.contains(&listener.name)).await,
            None => is_free(&listener).await,
        });
    }
    notes
}

/// Where this machine reaches a listener.
pub(super) fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Whether a listener of the server that runs takes connections.
async fn answers(listener: &Listener<'_>, pid: u32, is_given: bool) -> Note {
    let Listener { name, what, set, at } = listener;
    let Some(address) = at else {
        return match set {
            Listen::At { host, port } if is_given => {
                Note::warn(name, format!("the settings say {host}:{port}, and the server has none for {what}"), RESTART)
            }
            _ => Note::ok(name, format!("off: there is none for {what}")),
        };
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(reached_at(*address))).await;
    let failed = match connected {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("it takes no connection within {} s", CONNECT_TIMEOUT.as_secs())),
    };
    match (failed, set) {
        (Some(why), _) => {
            let advice = format!(
                "process {pid} should listen there for {what}: its log of events says more; restart it if it stays so"
            );
            Note::bad(name, format!("{address} does not answer: {why}"), advice)
        }
        (None, set) if is_given && !is_at(set, *address) => {
            Note::warn(name, format!("{address} answers for {what}, and the settings say another address"), RESTART)
        }
        (None, _) => Note::ok(name, format!("{address} answers for {what}: process {pid}")),
    }
}

const RESTART: &str = "the server was started with other settings: restart it, or give this command its own";

/// Whether a listener that is set so may be the one at `address`; a name may stand for any.
fn is_at(set: &Listen, address: SocketAddr) -> bool {
    match set {
        Listen::Off => false,
        Listen::At { host, port } => {
            let same_host = host.parse::<IpAddr>().map_or(true, |ip| ip == address.ip());
            same_host && (*port == 0 || *port == address.port())
        }
    }
}

/// Whether a server could have the port.
async fn is_free(listener: &Listener<'_>) -> Note {
    let Listener { name, what, set, .. } = listener;
    let (host, port) = match set {
        Listen::Off => return Note::ok(name, format!("off: there will be none for {what}")),
        Listen::At { host, port: 0 } => {
            return Note::ok(name, format!("a server will take any free port of {host} for {what}"));
        }
        Listen::At { host, port } => (host, *port),
    };
    let flag = name.replace('_', "-");
    match TcpListener::bind((host.as_str(), port)).await {
        Ok(_) => Note::ok(name, format!("{host}:{port} is free for {what}")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let by = holder(port).unwrap_or_else(|| "another program".to_owned());
            let advice =
                format!("stop that, or choose another port: {name} = \"{host}:PORT\", or --{flag} {host}:PORT");
            Note::bad(name, format!("{host}:{port} is taken by {by}"), advice)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let advice = "ports below 1024 are for root: take a higher one, or give the service CAP_NET_BIND_SERVICE";
            Note::bad(name, format!("{host}:{port} may not be listened at by this user"), advice)
        }
        Err(error) => {
            let advice = "is that an address of this machine? `ip address` lists them; 127.0.0.1 is for this machine, 0.0.0.0 for all";
            Note::bad(name, format!("{host}:{port} cannot be listened at: {error}"), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    #[test]
    fn an_address_is_that_of_a_setting_if_host_and_port_are() {
        let set = |host: &str, port| Listen::At { host: host.into(), port };
        let address: SocketAddr = "127.0.0.1:4317".parse().expect("an address");
        assert!(is_at(&set("127.0.0.1", 4317), address) && is_at(&set("127.0.0.1", 0), address));
        assert!(is_at(&set("localhost", 4317), address), "a name may be any address");
        assert!(!is_at(&set("127.0.0.1", 4318), address) && !is_at(&set("0.0.0.0", 4317), address));
        assert!(!is_at(&Listen::Off, address));
        let all: SocketAddr = "[::]:5".parse().expect("an address");
        assert_eq!(reached_at(all).to_string(), "[::1]:5");
    }

    #[tokio::test]
    async fn a_port_is_free_or_taken_by_somebody() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let set = Listen::At { host: "127.0.0.1".into(), port };
        let listener = Listener { name: "postgres", what: "PostgreSQL clients", set: &set, at: None };
        let note = is_free(&listener).await;
        assert_eq!(note.level, Level::Bad);
        assert!(note.text.starts_with(&format!("127.0.0.1:{port} is taken by ")), "{}", note.text);
        #[cfg(target_os = "linux")]
        assert!(note.text.contains(&format!("process {} (", std::process::id())), "{}", note.text);
        drop(taken);
        assert_eq!(is_free(&listener).await.level, Level::Ok);
    }
}
