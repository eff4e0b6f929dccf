//! Servers that speak like S3 and like Azure's blob storage, and a proxy that disturbs the way to them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::clients::{azurite, moto};

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The bucket or container that tests use.
const BUCKET: &str = "traces";

/// An object store on this machine; dropping it ends the process.
pub struct ObjectStoreServer {
    child: Child,
    pub address: SocketAddr,
    scheme: &'static str,
    _folder: TempDir,
}

impl ObjectStoreServer {
    /// S3, as `moto` has it.
    pub fn s3(test: &str) -> Option<Self> {
        let program = moto(test)?;
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let server = Self { child: start(command, address), address, scheme: "s3", _folder: folder };
        let made = request(
            address,
            &format!(
                "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\nAuthorization: \
                 AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x\r\n\r\n"
            ),
        );
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Some(server)
    }

    /// Azure's blob storage, as Azurite has it.
    pub fn azure(test: &str) -> Option<Self> {
        let runtime = azurite(test)?;
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let mut command = Command::new("node");
        command.arg(runtime.package_file("azurite/dist/src/blob/main.js"));
        command.args(["--silent", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort"]);
        command.arg(address.port().to_string()).arg("--location").arg(folder.path());
        let server = Self { child: start(command, address), address, scheme: "az", _folder: folder };
        runtime.run("create_container.mjs", &[&format!("http://{address}"), BUCKET]);
        Some(server)
    }

    /// The URL of a table in it.
    pub fn table_url(&self, prefix: &str) -> String {
        format!("{}://{BUCKET}/{prefix}", self.scheme)
    }

    /// The environment of a program that reaches it at `address`, which is its own or that of a [`Proxy`].
    pub fn environment(&self, address: SocketAddr) -> Vec<(String, String)> {
        let endpoint = format!("http://{address}");
        let pairs = match self.scheme {
            "s3" => vec![
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_ENDPOINT_URL", &endpoint),
            ],
            _ => vec![("AZURE_STORAGE_USE_EMULATOR", "true"), ("AZURITE_BLOB_STORAGE_URL", &endpoint)],
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl Drop for ObjectStoreServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Starts a server and waits until it listens.
pub(super) fn start(mut command: Command, address: SocketAddr) -> Child {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let give_up = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(address).is_err() {
        assert!(child.try_wait().expect("a child of ours").is_none(), "{command:?} ended at its start");
        assert!(Instant::now() < give_up, "{command:?} does not listen after {START_TIMEOUT:?}");
        thread::sleep(Duration::from_millis(50));
    }
    child
}

/// Sends a request as it stands; returns the answer as it comes, up to the end of the connection.
pub(super) fn request(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// What a [`Proxy`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Pass,
    /// Each piece that goes either way waits first.
    Slow,
    /// Each request is answered with `503 Slow Down`.
    Throttle,
    /// Each connection is cut after some kilobytes of it, either way.
    Cut,
    /// Nobody gets through.
    Away,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Pass, Self::Slow, Self::Throttle, Self::Cut, Self::Away];
}

/// Stands between a server and an object store. Its threads end with their connections.
pub struct Proxy {
    pub address: SocketAddr,
    mode: Arc<AtomicU8>,
    disturbed: Arc<AtomicUsize>,
}

/// How long a piece waits on a slow way.
const DELAY: Duration = Duration::from_millis(30);
/// What goes through before a connection is cut: less than a data file, more than most commits.
const CUT_AFTER_BYTES: usize = 6_000;

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (mode, disturbed) = (Arc::<AtomicU8>::default(), Arc::<AtomicUsize>::default());
        let way = Way { mode: mode.clone(), disturbed: disturbed.clone() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if way.mode() == Mode::Away {
                    way.count();
                    continue;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                let ends = client.try_clone().and_then(|c| Ok((c, server.try_clone()?)));
                let Ok((client_again, server_again)) = ends else { continue };
                let (there, back) = (way.clone(), way.clone());
                thread::spawn(move || there.carry(client, server, true));
                thread::spawn(move || back.carry(server_again, client_again, false));
            }
        });
        Self { address, mode, disturbed }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Requests and connections that were disturbed.
    pub fn disturbed(&self) -> usize {
        self.disturbed.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Way {
    mode: Arc<AtomicU8>,
    disturbed: Arc<AtomicUsize>,
}

impl Way {
    fn mode(&self) -> Mode {
        Mode::ALL[usize::from(self.mode.load(Ordering::SeqCst))]
    }

    fn count(&self) {
        self.disturbed.fetch_add(1, Ordering::SeqCst);
    }

    /// Carries bytes one way until an end closes.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, is_request: bool) {
        let (mut buffer, mut carried) = ([0; 4096], 0);
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            carried += len;
            match self.mode() {
                Mode::Pass => {}
                Mode::Slow => {
                    self.count();
                    thread::sleep(DELAY);
                }
                Mode::Throttle if is_request => {
                    self.count();
                    let _ = from.write_all(
                        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
                    );
                    break;
                }
                Mode::Throttle => {}
                Mode::Cut if carried > CUT_AFTER_BYTES => {
                    self.count();
                    break;
                }
                Mode::Cut => {}
                Mode::Away => {
                    self.count();
                    break;
                }
            }
            if to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
