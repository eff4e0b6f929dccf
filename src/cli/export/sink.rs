//! Where an export goes: standard output, or a file that is there when it is whole; compressed as the file's name says.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use crate::cli::output::beside;
use crate::error::{Error, Result};
use crate::render::Visible;

/// What is written to.
pub(super) struct Sink {
    path: Option<PathBuf>,
    out: Out,
}

enum Out {
    Plain(BufWriter<Place>),
    Gzip(GzEncoder<BufWriter<Place>>),
    Zstd(zstd::Encoder<'static, BufWriter<Place>>),
}

enum Place {
    Stdout(io::Stdout),
    /// What would move the cursor is shown.
    Terminal(Visible<io::Stdout>),
    /// Beside the file whose place it takes.
    File(NamedTempFile),
}

const BUFFER_BYTES: usize = 1 << 18;

impl Sink {
    /// Opens the file, or standard output.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let place = match path {
            Some(path) => Place::File(beside(path).map_err(|error| cannot_write(path, error))?),
            None if io::stdout().is_terminal() => Place::Terminal(Visible::new(io::stdout())),
            None => Place::Stdout(io::stdout()),
        };
        let place = BufWriter::with_capacity(BUFFER_BYTES, place);
        let ending = path.and_then(Path::extension).and_then(|ending| ending.to_str());
        let out = match ending {
            Some("gz") => Out::Gzip(GzEncoder::new(place, flate2::Compression::default())),
            Some("zst") => Out::Zstd(
                zstd::Encoder::new(place, zstd::DEFAULT_COMPRESSION_LEVEL)
                    .map_err(|error| Error::io("cannot compress", error))?,
            ),
            _ => Out::Plain(place),
        };
        Ok(Self { path: path.map(Path::to_owned), out })
    }

    /// Writes the end, and puts the file into its place.
    pub(super) fn finish(self) -> Result<()> {
        let path = self.path.as_deref().unwrap_or(Path::new("standard output"));
        let failed = |error| cannot_write(path, error);
        let place = match self.out {
            Out::Plain(out) => out,
            Out::Gzip(out) => out.finish().map_err(failed)?,
            Out::Zstd(out) => out.finish().map_err(failed)?,
        };
        let mut place = place.into_inner().map_err(|error| failed(error.into_error()))?;
        place.flush().map_err(failed)?;
        match place {
            Place::File(file) => file.persist(path).map(drop).map_err(|error| failed(error.error)),
            Place::Stdout(_) | Place::Terminal(_) => Ok(()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Plain(out) => out.write(bytes),
            Out::Gzip(out) => out.write(bytes),
            Out::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.flush(),
            Out::Gzip(out) => out.flush(),
            Out::Zstd(out) => out.flush(),
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::Terminal(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Terminal(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write {}", path.display()), error)
}
