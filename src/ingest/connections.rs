//! Accepting connections: a cap, deadlines for the silent, and a graceful end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::{Gate, Guest, Listener, Peer};
use crate::error::{Error, Result};

/// How long requests in flight may go on after a shutdown began.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(10);

/// How long the head of an HTTP/1 request may take; it also ends connections that stay silent between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client may take from connecting to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2 windows: what a sender may have under way before it is read. The connection's bounds what one peer can make us hold.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// The largest HTTP/2 frame that a sender may use: most requests fit into one, which is then not copied together.
const MAX_FRAME_BYTES: u32 = 256 << 10;

/// Requests of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 128;

/// Bytes of a request's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// What a pause after a failed accept is: it fails while the process has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `shutdown`, then finishes the requests in flight; encrypted where `gate` has a certificate and a client begins so.
/// Each request knows its [`Peer`] and keeps its connection.
pub(crate) async fn serve<H, F, B>(
    listener: TcpListener,
    gate: Arc<Gate>,
    max_connections: usize,
    handle: H,
    shutdown: CancellationToken,
) -> Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let handle = move |request: Request<Incoming>| {
        let busy = Busy::of(request.extensions());
        let answer = handle(request);
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    };
    let opened = move |stream: TcpStream, connection, handle, shutdown, address| {
        serve_peer(gate.clone(), stream, connection, handle, shutdown, address)
    };
    accept(listener, max_connections, handle, shutdown, opened).await
}

/// The same where clients have to be let in. `handle` says by [`Busy`] from when on a request keeps its connection: that of a client that is not
/// let in has to make room for others.
pub(super) async fn serve_guarded<H, F, B>(
    listener: TcpListener,
    (gate, place): (Arc<Gate>, Listener),
    max_connections: usize,
    handle: H,
    shutdown: CancellationToken,
) -> Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let opened = move |stream: TcpStream, connection: Connection, handle, shutdown, address| {
        let guest = gate.arrives(place, address, connection.state.evicted.clone());
        // It is new, and has none yet.
        let _ = connection.state.guest.set(guest);
        serve_peer(gate.clone(), stream, connection, handle, shutdown, address)
    };
    accept(listener, max_connections, handle, shutdown, opened).await
}

/// Accepts connections until `shutdown`; each is a task of `opened`.
async fn accept<H, O, T>(
    listener: TcpListener,
    max_connections: usize,
    handle: H,
    shutdown: CancellationToken,
    opened: O,
) -> Result<()>
where
    H: Clone,
    O: Fn(TcpStream, Connection, H, CancellationToken, SocketAddr) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let registry = Arc::new(Registry::default());
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(connection) = registry.admit(max_connections) else {
            tracing::warn!(max_connections, "all connections are busy; closed a new one");
            continue;
        };
        // Answers are small: without this they wait for more to come. It fails only on a dead socket.
        let _ = stream.set_nodelay(true);
        tasks.spawn(opened(stream, connection, handle.clone(), shutdown.clone(), address));
    }
    drop(listener);
    let finishing = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(CONNECTION_GRACE, finishing)
        .await
        .map_err(|_| Error::new(crate::error::Kind::Closed, "requests in flight did not finish in time"))
}

/// Encrypts a connection where that is due, and serves it.
async fn serve_peer<H, F, B>(
    gate: Arc<Gate>,
    stream: TcpStream,
    connection: Connection,
    handle: H,
    shutdown: CancellationToken,
    address: SocketAddr,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let opened = tokio::select! {
        opened = tokio::time::timeout(HANDSHAKE_TIMEOUT, gate.open_stream(stream, address)) => opened,
        () = connection.state.evicted.cancelled() => return,
        () = shutdown.cancelled() => return,
    };
    let (stream, peer) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::info!(%address, "a client did not open a connection: {error}"),
        Err(_) => return tracing::info!(%address, "a client did not open a connection in time"),
    };
    let handle = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert::<Peer>(peer.clone());
        handle(request)
    };
    serve_connection(stream, connection, handle, shutdown).await;
}

async fn serve_connection<S, H, F, B>(stream: S, connection: Connection, handle: H, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let state = connection.state.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert::<Arc<ConnectionState>>(state.clone());
        handle(request)
    });
    let builder = builder();
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        // Evicted while no request was let in: there is nothing to finish.
        () = connection.state.evicted.cancelled() => return,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection ended badly: {error}");
    }
}

/// Both versions of HTTP everywhere: who comes to the wrong port is told so.
fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES as usize * 4)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    builder
}

/// The open connections, so that the one that was idle longest can make room.
#[derive(Debug, Default)]
struct Registry {
    next_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<ConnectionState>>>,
}

#[derive(Debug)]
struct ConnectionState {
    opened: Instant,
    /// Milliseconds from `opened` to the end of the last request.
    last_active_ms: AtomicU64,
    requests: AtomicUsize,
    evicted: CancellationToken,
    /// What it is at the gate, where there is one.
    guest: OnceLock<Guest>,
}

/// An admitted connection; leaves the registry on drop.
struct Connection {
    id: u64,
    registry: Arc<Registry>,
    state: Arc<ConnectionState>,
}

impl Registry {
    /// Admits a connection; at the cap it takes the place of the one idle longest. `None` when all are busy.
    fn admit(self: &Arc<Self>, max_connections: usize) -> Option<Connection> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= max_connections {
            let (id, _) = open
                .iter()
                .filter(|(_, state)| state.requests.load(Ordering::Relaxed) == 0)
                .min_by_key(|(_, state)| state.idle_since())?;
            let id = *id;
            if let Some(evicted) = open.remove(&id) {
                evicted.evicted.cancel();
            }
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(ConnectionState {
            opened: Instant::now(),
            last_active_ms: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            evicted: CancellationToken::new(),
            guest: OnceLock::new(),
        });
        open.insert(id, state.clone());
        Some(Connection { id, registry: self.clone(), state })
    }
}

impl ConnectionState {
    fn idle_since(&self) -> Instant {
        self.opened + Duration::from_millis(self.last_active_ms.load(Ordering::Relaxed))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registry.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// A request in flight on a connection, which is not evicted meanwhile.
pub(super) struct Busy(Arc<ConnectionState>);

impl Busy {
    /// Keeps the connection that a request came over; nothing for one that came over none.
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Arc<ConnectionState>>().cloned().map(Self::new)
    }

    fn new(state: Arc<ConnectionState>) -> Self {
        if let Some(guest) = state.guest.get() {
            guest.is_let_in();
        }
        state.requests.fetch_add(1, Ordering::Relaxed);
        Self(state)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let active_ms = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_active_ms.store(active_ms, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_request_that_is_not_let_in_keeps_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (waits, mut waiting) = mpsc::unbounded_channel();
        let handle = move |request: Request<Incoming>| {
            let waits = waits.clone();
            async move {
                if request.uri().path() == "/waits" {
                    waits.send(()).expect("awaited");
                    std::future::pending::<()>().await;
                }
                let busy = Busy::of(request.extensions());
                assert!(busy.is_some());
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"let in"))))
            }
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve_guarded(
            listener,
            (Gate::for_this_machine(), Listener::OtlpHttp),
            1,
            handle,
            shutdown.clone(),
        ));
        let mut first = TcpStream::connect(address).await.expect("connected");
        first.write_all(b"GET /waits HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("sent");
        waiting.recv().await.expect("it waits");
        let mut second = TcpStream::connect(address).await.expect("connected");
        let request = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        second.write_all(request).await.expect("sent");
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("let in"), "{answer}");
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).await.expect("an end");
        assert!(rest.is_empty(), "it made room");
        shutdown.cancel();
        serving.await.expect("no panic").expect("an end");
    }

    #[test]
    fn at_the_cap_the_longest_idle_makes_room_and_the_busy_stay() {
        let registry = Arc::new(Registry::default());
        let first = registry.admit(2).expect("room");
        let second = registry.admit(2).expect("room");
        let busy = Busy::new(first.state.clone());
        let third = registry.admit(2).expect("the idle one makes room");
        assert!(second.state.evicted.is_cancelled() && !first.state.evicted.is_cancelled());
        let also_busy = Busy::new(third.state.clone());
        assert!(registry.admit(2).is_none());
        drop((busy, also_busy));
        assert!(registry.admit(2).is_some());
    }
}
