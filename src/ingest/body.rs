//! A request's body within its limits: bytes, time, and what it decompresses to.

use std::io::Read;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::admission::Reservation;
use crate::error::{Error, Kind, Result};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Identity,
    Gzip,
    Zstd,
}

impl Compression {
    /// The compressions that are taken, as a header lists them.
    pub const ACCEPTED: &'static str = "identity, gzip, zstd";

    /// Reads the name that HTTP and gRPC have for a compression.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.trim() {
            "" | "identity" => Some(Self::Identity),
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => Some(Self::Gzip),
            name if name.eq_ignore_ascii_case("zstd") => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What the first bytes of a body say about its length; 0 when they say nothing.
pub(super) type Announced = fn(&[u8]) -> usize;

/// Collects a body of at most `max_bytes` within `timeout`.
///
/// # Errors
/// [`Kind::TooLarge`] past the limit, [`Kind::Overloaded`] without room in the budget, [`Kind::Incomplete`] when it takes too long or breaks off.
pub(super) async fn collect<B>(
    body: B,
    max_bytes: usize,
    announced: Announced,
    timeout: Duration,
    reservation: &mut Reservation,
) -> Result<Bytes>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let declared = body.size_hint().lower();
    if declared > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    match tokio::time::timeout(timeout, collect_frames(body, max_bytes, announced, reservation)).await {
        Ok(collected) => collected,
        Err(_) => Err(incomplete(format!("the body did not arrive within {} s", timeout.as_secs_f32()))),
    }
}

async fn collect_frames<B>(
    body: B,
    max_bytes: usize,
    announced: Announced,
    reservation: &mut Reservation,
) -> Result<Bytes>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(max_bytes);
    let mut collected = Collected::default();
    let mut body = pin!(body);
    while let Some(frame) = body.as_mut().frame().await {
        let frame = frame.map_err(|error| incomplete(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        // What has come counts, and not what was announced: announcing costs a sender nothing.
        reservation.grow(data.len())?;
        collected.push(data, |first| expected.max(announced(first)));
    }
    Ok(collected.finish())
}

fn incomplete(what: String) -> Error {
    Error::new(Kind::Incomplete, format!("{what}; send it again"))
}

/// The frames of a body. One that is alone stays where it is; the others are copied behind one another.
#[derive(Debug, Default)]
struct Collected {
    first: Bytes,
    joined: BytesMut,
}

impl Collected {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// Adds a frame of a body that may have as many bytes as `expected` makes of its first frame.
    fn push(&mut self, frame: Bytes, expected: impl Fn(&[u8]) -> usize) {
        if self.len() == 0 {
            self.first = frame;
            return;
        }
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            // What was announced is reserved up to a step only.
            self.joined.reserve((first.len() + frame.len()).max(expected(&first).min(STEP_BYTES)));
            self.joined.extend_from_slice(&first);
        }
        self.joined.extend_from_slice(&frame);
    }

    fn finish(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

/// Reads and forgets what is left of a refused body, so that a sender that writes first reads its answer.
pub(super) async fn drain<B>(body: B, max_bytes: usize, timeout: Duration)
where
    B: hyper::body::Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut left = max_bytes;
    let reading = async {
        while let Some(Ok(frame)) = body.as_mut().frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(len) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // A sender that is still not done gets its answer now, or a closed connection.
    let _ = tokio::time::timeout(timeout, reading).await;
}

/// Undoes a compression, up to `max_bytes`.
pub(super) fn decompress(
    body: Bytes,
    compression: Compression,
    max_bytes: usize,
    reservation: &mut Reservation,
) -> Result<Bytes> {
    match compression {
        Compression::Identity => Ok(body),
        Compression::Gzip => read_all(flate2::read::MultiGzDecoder::new(&*body), "gzip", max_bytes, reservation),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&*body).map_err(|e| broken("zstd", &e))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| broken("zstd", &e))?;
            read_all(decoder, "zstd", max_bytes, reservation)
        }
    }
}

/// 8 MiB: the largest window that RFC 9659 lets a sender of `zstd` use.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes that a buffer starts with, and that decompression reserves and writes at a time.
const STEP_BYTES: usize = 256 << 10;

fn read_all(mut from: impl Read, name: &str, max_bytes: usize, reservation: &mut Reservation) -> Result<Bytes> {
    let mut out: Vec<u8> = Vec::new();
    let mut len = 0;
    loop {
        if len == out.len() {
            if len > max_bytes {
                return Err(too_large(max_bytes));
            }
            // Doubling, so that copies stay linear, and one byte past the limit, so that passing it shows.
            let step = len.max(STEP_BYTES).min(max_bytes + 1 - len);
            reservation.grow(step)?;
            out.resize(len + step, 0);
        }
        match from.read(&mut out[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(name, &error)),
        }
    }
    if len > max_bytes {
        return Err(too_large(max_bytes));
    }
    out.truncate(len);
    Ok(out.into())
}

pub(super) fn too_large(max_bytes: usize) -> Error {
    let limit = if max_bytes >= 1 << 20 { format!("{} MiB", max_bytes >> 20) } else { format!("{max_bytes} bytes") };
    Error::new(Kind::TooLarge, format!("the request is larger than {limit}; send smaller batches"))
}

fn broken(name: &str, error: &std::io::Error) -> Error {
    Error::bad_input(format!("the body is not {name}, or breaks off: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::super::admission::Admission;
    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("finished").into()
    }

    #[tokio::test]
    async fn a_body_that_is_late_or_breaks_off_is_to_be_sent_again() {
        const SHORT: Duration = Duration::from_millis(20);
        let start = || Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"start")));
        let late = StreamBody::new(futures::stream::iter([start()]).chain(futures::stream::pending()));
        let broken = StreamBody::new(futures::stream::iter([start(), Err(std::io::ErrorKind::BrokenPipe.into())]));
        let admission = Admission::new(1 << 20);
        let (mut first, mut second) = (admission.open(), admission.open());
        let errors =
            [collect(late, 100, |_| 0, SHORT, &mut first).await, collect(broken, 100, |_| 0, SHORT, &mut second).await];
        for (error, text) in errors.into_iter().zip(["did not arrive within 0.02 s", "broke off"]) {
            let error = error.expect_err("not whole");
            assert_eq!((error.retryable(), error.http_status(), error.grpc_code()), (true, 503, 14), "{error}");
            assert!(error.message.contains(text), "{error}");
        }
    }

    #[test]
    fn decompression_stops_at_the_limit_and_at_the_budget() {
        let plain = vec![7u8; 1 << 20];
        for (body, compression) in [
            (gzip(&plain), Compression::Gzip),
            (zstd::encode_all(&*plain, 1).expect("encoded").into(), Compression::Zstd),
        ] {
            let admission = Admission::new(64 << 20);
            let run = |max_bytes| decompress(body.clone(), compression, max_bytes, &mut admission.open());
            assert_eq!(run(1 << 20).expect("within the limit"), plain);
            assert_eq!(run((1 << 20) - 1).expect_err("too large").kind, Kind::TooLarge);
            let tight = Admission::new(512 << 10);
            let error = decompress(body.clone(), compression, 1 << 20, &mut tight.open()).expect_err("no room");
            assert!(matches!(error.kind, Kind::Overloaded { .. }), "{error}");
            let half = body.slice(..body.len() / 2);
            let error = decompress(half, compression, 1 << 20, &mut admission.open()).expect_err("broken");
            assert_eq!(error.kind, Kind::BadInput, "{error}");
        }
    }
}
