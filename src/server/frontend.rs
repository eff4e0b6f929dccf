//! What clients send, read with every bound checked.
//!
//! pgwire's own decoders trust the lengths inside a message, and panic when they lie; these do not.

use bytes::Bytes;

use crate::error::{Error, Result};

/// A message of a client after its startup.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frontend {
    Query(String),
    Parse {
        name: String,
        query: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        max_rows: i32,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    /// Left over from a copy that ended early; to be passed over.
    Copy,
    /// A type that this server does not serve.
    Other(u8),
}

/// The parts of a `Bind`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) parameter_formats: Vec<i16>,
    pub(super) parameters: Vec<Option<Bytes>>,
    pub(super) result_formats: Vec<i16>,
}

/// What a `Describe` or `Close` is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

impl Frontend {
    /// Reads a message of type `kind`.
    pub(super) fn decode(kind: u8, body: Bytes) -> Result<Self> {
        let mut body = Body { rest: body };
        let message = match kind {
            b'Q' => Self::Query(body.text()?),
            b'P' => {
                let (name, query) = (body.text()?, body.text()?);
                let count = body.count()?;
                let types = (0..count).map(|_| body.u32()).collect::<Result<_>>()?;
                Self::Parse { name, query, types }
            }
            b'B' => Self::Bind(body.bind()?),
            b'D' => Self::Describe(body.target()?),
            b'E' => Self::Execute { portal: body.text()?, max_rows: body.u32()?.cast_signed() },
            b'C' => Self::Close(body.target()?),
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'd' | b'c' | b'f' => return Ok(Self::Copy),
            other => return Ok(Self::Other(other)),
        };
        if !body.rest.is_empty() {
            return Err(malformed("bytes are left over"));
        }
        Ok(message)
    }
}

/// What is left of a message.
struct Body {
    rest: Bytes,
}

impl Body {
    fn take(&mut self, bytes: usize) -> Result<Bytes> {
        if bytes > self.rest.len() {
            return Err(malformed("insufficient data left in message"));
        }
        Ok(self.rest.split_to(bytes))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads a count of items; each item has at least two bytes, so that it cannot promise more than is there.
    fn count(&mut self) -> Result<usize> {
        let count = usize::from(self.u16()?);
        if count * 2 > self.rest.len() {
            return Err(malformed("insufficient data left in message"));
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| malformed("invalid string in message"))?;
        let bytes = self.take(end + 1)?;
        String::from_utf8(bytes[..end].to_vec())
            .map_err(|_| Error::bad_input("invalid byte sequence for encoding \"UTF8\"").with_sqlstate("22021"))
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.count()?;
        (0..count).map(|_| self.u16().map(u16::cast_signed)).collect()
    }

    fn parameter(&mut self) -> Result<Option<Bytes>> {
        match self.u32()?.cast_signed() {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(malformed("a parameter has a negative length")),
            },
        }
    }

    fn bind(&mut self) -> Result<Bind> {
        let (portal, statement) = (self.text()?, self.text()?);
        let parameter_formats = self.formats()?;
        let count = self.count()?;
        let parameters = (0..count).map(|_| self.parameter()).collect::<Result<_>>()?;
        Ok(Bind { portal, statement, parameter_formats, parameters, result_formats: self.formats()? })
    }

    fn target(&mut self) -> Result<Target> {
        match self.u8()? {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            other => Err(malformed(format!("invalid target type {other}"))),
        }
    }
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::bad_input(format!("invalid message format: {what}")).with_sqlstate("08P01")
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use pgwire::messages::{Message, extendedquery, simplequery};
    use proptest::prelude::*;

    use super::*;

    fn decode(message: &impl Message) -> Frontend {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes).expect("encodes");
        let kind = bytes[0];
        Frontend::decode(kind, bytes.freeze().slice(5..)).expect("decodes")
    }

    #[test]
    fn messages_written_by_another_implementation_are_read() {
        assert_eq!(decode(&simplequery::Query::new("select 1".into())), Frontend::Query("select 1".into()));
        assert_eq!(
            decode(&extendedquery::Parse::new(Some("s".into()), "select $1".into(), vec![23])),
            Frontend::Parse { name: "s".into(), query: "select $1".into(), types: vec![23] }
        );
        assert_eq!(
            decode(&extendedquery::Bind::new(
                None,
                Some("s".into()),
                vec![1],
                vec![Some("x".into()), None],
                vec![0, 1]
            )),
            Frontend::Bind(Bind {
                portal: String::new(),
                statement: "s".into(),
                parameter_formats: vec![1],
                parameters: vec![Some("x".into()), None],
                result_formats: vec![0, 1],
            })
        );
        assert_eq!(
            decode(&extendedquery::Execute::new(Some("p".into()), -1)),
            Frontend::Execute { portal: "p".into(), max_rows: -1 }
        );
    }

    #[test]
    fn lying_lengths_are_protocol_violations() {
        for (kind, body) in [
            (b'B', &b"\0\0\0\0\xff\xff"[..]),
            (b'B', &b"\0\0\0\0\0\x01\x7f\xff\xff\xff"[..]),
            (b'P', &b"\0select 1\0\xff\xff"[..]),
            (b'E', &b"\0\0"[..]),
            (b'D', &b"Zx\0"[..]),
            (b'Q', &b"no end"[..]),
            (b'S', &b"extra"[..]),
        ] {
            let error = Frontend::decode(kind, Bytes::copy_from_slice(body)).expect_err("refused");
            assert_eq!(error.sqlstate(), "08P01", "{}", char::from(kind));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frontend::decode(kind, body.into());
        }
    }
}
