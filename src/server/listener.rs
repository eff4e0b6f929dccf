//! Accepts clients, within bounds, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::{Authentication, BackendKeyData, SecretKey};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::audited::Audited;
use super::authentication::authenticate;
use super::backend::Severity;
use super::connection::Connection;
use super::databases::Databases;
use super::rights::Standing;
use super::settings::{REPORTED, ServerSettings, apply_startup, text_style};
use super::startup::{Opening, open};
use super::statement::Named;
use super::wire::{Halt, Wire, shutting_down};
use crate::access::{Gate, Listener, Peer, TenantName};
use crate::audit::Who;
use crate::engine::{Client, Engine};
use crate::error::{Error, Kind, Result};

/// Sockets above the sessions' bound: clients that start, cancel requests, and those who are told that there is no room.
const SPARE_SOCKETS: usize = 64;
/// One tenant beside the default one may have this part of the sessions: half of them.
const TENANT_SHARE: usize = 2;
/// How long clients have to take the last message when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after a failed accept: the cause, most often a lack of file descriptors, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
struct Shared {
    gate: Arc<Gate>,
    databases: Databases,
    settings: ServerSettings,
    sessions: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Serves the PostgreSQL clients whom `gate` lets in on `listener` until `shutdown`; returns when the last one is gone.
pub async fn serve(
    listener: TcpListener,
    gate: Arc<Gate>,
    databases: impl Into<Databases>,
    settings: ServerSettings,
    shutdown: CancellationToken,
) -> Result<()> {
    let sockets = Arc::new(Semaphore::new(settings.max_connections + SPARE_SOCKETS));
    let shared = Arc::new(Shared {
        gate,
        databases: databases.into(),
        sessions: Arc::new(Semaphore::new(settings.max_connections)),
        settings,
        shutdown: shutdown.clone(),
    });
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = clients.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection panicked and was closed");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match sockets.clone().try_acquire_owned() {
                Ok(permit) => {
                    let shared = shared.clone();
                    clients.spawn(async move {
                        client(stream, address, &shared).await;
                        drop(permit);
                    });
                }
                // Nothing is read or kept of those above the bound: there may be no memory for more.
                Err(_) => {
                    let mut wire = Wire::new(stream);
                    wire.put_error(&no_room(), Severity::Fatal);
                    wire.leave();
                }
            },
            Err(error) => {
                tracing::warn!(%error, "accepting a PostgreSQL client failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    shared.databases.end_all();
    let farewell = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        clients.shutdown().await;
    }
    Ok(())
}

async fn client(stream: TcpStream, address: SocketAddr, shared: &Shared) {
    // Answers are written in whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    let sent_away = CancellationToken::new();
    let guest = shared.gate.arrives(Listener::Postgres, address, sent_away.clone());
    let opened = tokio::select! {
        () = shared.shutdown.cancelled() => Err(Halt::Fatal(shutting_down())),
        () = sent_away.cancelled() => Err(Halt::Fatal(no_room())),
        opened = tokio::time::timeout(shared.settings.startup_timeout, begin(&mut wire, address, shared)) => {
            opened.unwrap_or(Err(Halt::Gone))
        }
    };
    let (parameters, tenant) = match opened {
        Ok((Opening::Session(parameters), tenant)) => (parameters, tenant),
        Ok((Opening::Cancel { process_id, secret }, _)) => {
            return shared.databases.cancel_with_secret(process_id, secret);
        }
        Err(Halt::Gone) => return,
        Err(Halt::Fatal(error) | Halt::Statement(error)) => return refuse(wire, &error).await,
    };
    let Ok(_permit) = shared.sessions.clone().try_acquire_owned() else {
        return refuse(wire, &no_room()).await;
    };
    guest.is_let_in();
    let most_sessions = shared.settings.max_connections.div_ceil(TENANT_SHARE);
    let (engine, end) = match shared.databases.of(tenant.as_ref(), most_sessions, &shared.shutdown).await {
        Ok(database) => database,
        Err(error) => return refuse(wire, &error).await,
    };
    match connection(wire, address, Wanted { parameters, tenant, engine, end }, shared) {
        Ok(connection) => connection.serve().await,
        Err(refused) => refuse(refused.0, &refused.1).await,
    }
}

/// Reads what a client came for; one that wants a session proves who it is. Gives whose database it may ask, the default tenant's without a name.
async fn begin(wire: &mut Wire, address: SocketAddr, shared: &Shared) -> Result<(Opening, Option<TenantName>), Halt> {
    let opening = open(wire, shared.gate.tls()).await?;
    if let Opening::Session(parameters) = &opening {
        let user = check(parameters).map_err(Halt::Fatal)?;
        let peer = Peer::of(wire.stream(), address);
        let authenticated = authenticate(wire, &shared.gate, &peer, user).await;
        let database = last(parameters, "database").unwrap_or_default();
        let authenticated =
            authenticated.and_then(|()| shared.gate.tenant_of_session(user, database).map_err(Halt::Fatal));
        if let Err(Halt::Fatal(error) | Halt::Statement(error)) = &authenticated {
            let who = Who { user: Some(user.to_owned()), address: Some(address), tenant: None };
            shared.settings.audit.turned_away(&who, "PostgreSQL session", error);
        }
        return authenticated.map(|tenant| (opening, tenant));
    }
    Ok((opening, None))
}

fn no_room() -> Error {
    Error::new(Kind::TooLarge, "sorry, too many clients already").with_sqlstate("53300")
}

async fn refuse(mut wire: Wire, error: &Error) {
    wire.put_error(error, Severity::Fatal);
    let _ = tokio::time::timeout(FAREWELL, wire.flush()).await;
}

/// What a client that was let in asked for.
struct Wanted {
    parameters: Vec<(String, String)>,
    tenant: Option<TenantName>,
    /// That of the tenant's database, and what ends its sessions.
    engine: Arc<Engine>,
    end: CancellationToken,
}

/// Lets a client in and says what it needs to know before its first statement.
fn connection(
    mut wire: Wire,
    address: SocketAddr,
    Wanted { parameters, tenant, engine, end }: Wanted,
    shared: &Shared,
) -> Result<Connection, Box<(Wire, Error)>> {
    let session = engine.session();
    let applied = apply_startup(&session, &parameters).and_then(|()| text_style(&session));
    let style = match applied {
        Ok(style) => style,
        Err(error) => return Err(Box::new((wire, error))),
    };
    let user = session.setting("session_authorization").unwrap_or_default();
    let client = Client { user, address: Some(address) };
    let registration = engine.activity().register(client, end.clone());
    session.identify(registration.process_id(), address);
    let sessions = engine.activity().sessions_of(&registration.client().user);
    let whose = (registration.client().clone(), tenant.clone());
    let standing = match Standing::new(shared.gate.clone(), whose, &session, sessions) {
        Ok(standing) => standing,
        Err(error) => return Err(Box::new((wire, error))),
    };
    wire.put(&Authentication::Ok);
    let tenant = tenant.map(|name| name.to_string());
    let who = Who { user: Some(registration.client().user.clone()), address: Some(address), tenant };
    let over = if wire.stream().is_encrypted() { "PostgreSQL over TLS" } else { "PostgreSQL" };
    let audited = Audited::begin(shared.settings.audit.clone(), who, over);
    let mut connection = Connection {
        wire,
        session,
        registration,
        standing,
        shutdown: end,
        status: TransactionStatus::Idle,
        savepoints: Vec::new(),
        named: Named::default(),
        style,
        // No value is told yet, and none holds a NUL.
        reported: vec!["\0".to_owned(); REPORTED.len()],
        audited,
    };
    connection.report_settings();
    let Connection { registration, wire, .. } = &mut connection;
    wire.put(&BackendKeyData::new(registration.process_id(), SecretKey::I32(registration.secret())));
    Ok(connection)
}

/// The value of a parameter; the last one of a name counts, as for settings.
fn last<'a>(parameters: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    parameters.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// Checks what a session's start says; gives the user.
fn check(parameters: &[(String, String)]) -> Result<&str> {
    let user = last(parameters, "user").unwrap_or_default();
    if user.is_empty() {
        return Err(Error::bad_input("no PostgreSQL user name specified in startup packet").with_sqlstate("28000"));
    }
    if !matches!(last(parameters, "replication").unwrap_or("off"), "off" | "false" | "no" | "0") {
        return Err(Error::bad_input("replication connections are not supported").with_sqlstate("0A000"));
    }
    Ok(user)
}
