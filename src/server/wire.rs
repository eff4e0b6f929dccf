//! One client's socket: whole messages in, buffered messages out, and an eye on whether the client is still there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, Ready};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio_util::sync::CancellationToken;

use super::audited::Sent;
use crate::access::{Protocol, Stream, Tls, begins_with_tls};
use crate::error::{Error, Kind};

/// Largest message a client may send: a statement, or its parameters. PostgreSQL takes 1 GiB; no question about traces needs
/// more than this, and every connection may hold one.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// What is written out at once: large enough for few system calls, small enough to be nothing per connection.
pub(super) const FLUSH_BYTES: usize = 64 << 10;
/// Most bytes that are read ahead while a statement runs, to notice that the client left.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// A buffer that one giant message has grown is given back above this.
const KEPT_BUFFER_BYTES: usize = 256 << 10;
/// How often a client that has sent more than the read-ahead is looked at.
const PEEK_INTERVAL: Duration = Duration::from_millis(200);

/// Why work for a client ends before its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The statement failed; the session goes on.
    Statement(Error),
    /// The session is over and the client is told why.
    Fatal(Error),
    /// The client is gone: nobody is left to be told.
    Gone,
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

impl From<io::Error> for Halt {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// What stops a running statement from outside.
#[derive(Debug, Clone)]
pub(super) struct Stops {
    /// The user cancelled the statement.
    pub(super) cancel: CancellationToken,
    /// The server stops.
    pub(super) shutdown: CancellationToken,
}

impl Stops {
    async fn stopped(&self) -> Halt {
        tokio::select! {
            () = self.shutdown.cancelled() => Halt::Fatal(shutting_down()),
            () = self.cancel.cancelled() => {
                Halt::Statement(Error::new(Kind::Cancelled, "canceling statement due to user request"))
            }
        }
    }
}

/// The error for a client whose server stops.
pub(super) fn shutting_down() -> Error {
    Error::new(Kind::Closed, "terminating connection because the server is stopping")
}

/// The socket with its buffers.
pub(super) struct Wire {
    stream: Stream,
    /// What an encrypted connection is bound to.
    end_point: Option<Arc<[u8]>>,
    input: BytesMut,
    pub(super) output: BytesMut,
    /// What was sent of the rows of the statement that runs.
    pub(super) sent: Sent,
}

impl Wire {
    /// Wraps a fresh socket.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(stream),
            end_point: None,
            input: BytesMut::new(),
            output: BytesMut::new(),
            sent: Sent::default(),
        }
    }

    /// The connection below.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What an encrypted connection is bound to, where that can be told.
    pub(super) fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// Whether a client begins with TLS without having asked; waits for its first byte.
    pub(super) async fn begins_with_tls(&self) -> Result<bool, Halt> {
        match &self.stream {
            Stream::Plain(stream) if self.input.is_empty() => Ok(begins_with_tls(stream).await?),
            _ => Ok(false),
        }
    }

    /// Encrypts from here on. What the client sent before, and could have been put there by others, is an error.
    pub(super) async fn encrypt(&mut self, tls: &Tls) -> Result<(), Halt> {
        if !self.input.is_empty() {
            let message = "received unencrypted data after SSL request";
            return Err(Halt::Fatal(Error::bad_input(message).with_sqlstate("08P01")));
        }
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Closed) else { return Err(Halt::Gone) };
        (self.stream, self.end_point) = tls.accept(Protocol::Postgres, stream).await?;
        Ok(())
    }

    /// Returns the next `bytes` bytes; fails when the client leaves before.
    pub(super) async fn read_exact(&mut self, bytes: usize) -> Result<BytesMut, Halt> {
        while self.input.len() < bytes {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Halt::Gone);
            }
        }
        Ok(self.input.split_to(bytes))
    }

    /// Returns the next message's type and body. Cancel-safe: a half-read message stays in the buffer.
    pub(super) async fn read_message(&mut self) -> Result<(u8, Bytes), Halt> {
        self.read_message_within(MAX_MESSAGE_BYTES).await
    }

    /// The same for a client of whom less is expected.
    pub(super) async fn read_message_within(&mut self, max_bytes: usize) -> Result<(u8, Bytes), Halt> {
        loop {
            if self.input.len() >= 5 {
                let length = (&self.input[1..5]).get_i32();
                let length = usize::try_from(length).ok().filter(|length| *length >= 4);
                let Some(length) = length else {
                    return Err(Halt::Fatal(Error::bad_input("invalid message length").with_sqlstate("08P01")));
                };
                if length > max_bytes {
                    return Err(Halt::Fatal(
                        Error::new(
                            Kind::TooLarge,
                            format!("a message of {length} bytes is over the limit of {max_bytes}"),
                        )
                        .with_sqlstate("08P01"),
                    ));
                }
                if self.input.len() > length {
                    let mut message = self.input.split_to(length + 1);
                    let kind = message[0];
                    message.advance(5);
                    return Ok((kind, message.freeze()));
                }
                self.input.reserve(length + 1 - self.input.len());
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Halt::Gone);
            }
        }
    }

    /// Appends a message to what will be written.
    pub(super) fn put(&mut self, message: &impl Message) {
        let start = self.output.len();
        if message.encode(&mut self.output).is_err() {
            // Only a message over the protocol's own sizes fails, and none of ours is near them.
            self.output.truncate(start);
            tracing::error!("a message to a client did not encode and was left out");
        }
    }

    /// Writes everything out, with nobody to interrupt it but the client's leaving.
    pub(super) async fn flush(&mut self) -> Result<(), Halt> {
        self.stream.write_all_buf(&mut self.output).await?;
        self.stream.flush().await?;
        self.shrink();
        Ok(())
    }

    /// Writes what the socket takes at once and closes it.
    pub(super) fn leave(self) {
        let Stream::Plain(stream) = self.stream else { return };
        // Nobody is left to tell of a failure.
        let _ = stream.into_std().and_then(|mut stream| std::io::Write::write_all(&mut stream, &self.output));
    }

    /// Writes everything out while a statement runs: stops when the client leaves or the statement is stopped. What is
    /// not written yet stays, so that the stream of messages is never torn.
    pub(super) async fn flush_attended(&mut self, stops: &Stops) -> Result<(), Halt> {
        while !self.output.is_empty() {
            match &mut self.stream {
                Stream::Plain(stream) => {
                    let (mut reader, mut writer) = stream.split();
                    tokio::select! {
                        biased;
                        halt = stops.stopped() => return Err(halt),
                        written = writer.write_buf(&mut self.output) => { written?; }
                        () = client_left(&mut reader, &mut self.input) => return Err(Halt::Gone),
                    }
                }
                // One task cannot read and write TLS at once; a client that has closed its side fails the write.
                stream => tokio::select! {
                    biased;
                    halt = stops.stopped() => return Err(halt),
                    written = stream.write_buf(&mut self.output) => { written?; }
                },
            }
        }
        tokio::select! {
            biased;
            halt = stops.stopped() => return Err(halt),
            flushed = self.stream.flush() => flushed?,
        }
        self.shrink();
        Ok(())
    }

    /// Runs `work` while watching the client and what may stop the statement.
    pub(super) async fn attend<T>(&mut self, stops: &Stops, work: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            halt = stops.stopped() => Err(halt),
            value = work => Ok(value),
            () = client_left(&mut self.stream, &mut self.input) => Err(Halt::Gone),
        }
    }

    fn shrink(&mut self) {
        if self.output.capacity() > KEPT_BUFFER_BYTES {
            self.output = BytesMut::new();
        }
        if self.input.is_empty() && self.input.capacity() > KEPT_BUFFER_BYTES {
            self.input = BytesMut::new();
        }
    }
}

/// The side of a connection from which the client's bytes come.
trait Incoming: AsyncRead + Unpin {
    /// Whether the client has closed its side, seen behind bytes that nobody has read; waits until there is something to see.
    async fn is_closed(&self) -> bool;
}

impl Incoming for ReadHalf<'_> {
    async fn is_closed(&self) -> bool {
        is_read_closed(self.ready(Interest::READABLE).await)
    }
}

impl Incoming for Stream {
    async fn is_closed(&self) -> bool {
        match self.socket() {
            Some(socket) => is_read_closed(socket.ready(Interest::READABLE).await),
            None => true,
        }
    }
}

fn is_read_closed(ready: io::Result<Ready>) -> bool {
    ready.map_or(true, Ready::is_read_closed)
}

/// Returns when the client has closed its side; reads ahead no more than a bound.
async fn client_left(reader: &mut impl Incoming, input: &mut BytesMut) {
    loop {
        if input.len() < READ_AHEAD_BYTES {
            input.reserve(1024);
            match reader.read_buf(input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        }
        tokio::time::sleep(PEEK_INTERVAL).await;
        if reader.is_closed().await {
            return;
        }
    }
}
