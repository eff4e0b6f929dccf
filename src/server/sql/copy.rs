//! The options of `COPY … TO STDOUT`, in the bracketed form and in the old one that psql's `\copy` still gets.

use super::command::Parser;
use crate::error::{Error, Result};

/// The form of the copied rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// How rows are copied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyOptions {
    pub(crate) format: CopyFormat,
    pub(crate) delimiter: u8,
    pub(crate) null: String,
    pub(crate) header: bool,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    /// Columns to quote always; `Some` of none means all.
    pub(crate) force_quote: Option<Vec<String>>,
}

/// Options as they were written, before defaults.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    delimiter: Option<u8>,
    null: Option<String>,
    header: bool,
    quote: Option<u8>,
    escape: Option<u8>,
    force_quote: Option<Vec<String>>,
}

impl CopyOptions {
    /// Reads what follows `TO STDOUT`; `binary` is the old `COPY BINARY`.
    pub(super) fn parse(parser: &mut Parser<'_>, binary: bool) -> Result<Self> {
        let mut given = Given { format: binary.then_some(CopyFormat::Binary), ..Given::default() };
        parser.take("WITH");
        if parser.take_symbol("(") {
            loop {
                given.bracketed_option(parser)?;
                if parser.take_symbol(")") {
                    break;
                }
                if !parser.take_symbol(",") {
                    let found = parser.peek();
                    return Err(parser.unexpected(found));
                }
            }
            parser.require_end()?;
        } else {
            while parser.peek().is_some() {
                given.old_option(parser)?;
            }
        }
        given.into_options()
    }
}

impl Given {
    fn bracketed_option(&mut self, parser: &mut Parser<'_>) -> Result<()> {
        let token = parser.peek();
        let name = parser.name("an option")?;
        match name.as_str() {
            "format" => {
                let value = parser.option_value().unwrap_or_default();
                self.format = Some(match value.as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    _ => {
                        return Err(invalid(format!(
                            "COPY format \"{value}\" not recognized; use text, csv or binary"
                        )));
                    }
                });
            }
            "header" => {
                let value = parser.option_value().unwrap_or_else(|| "true".to_owned());
                self.header = matches!(value.to_ascii_lowercase().as_str(), "true" | "on" | "1" | "match");
            }
            "delimiter" => self.delimiter = Some(one_byte("delimiter", parser)?),
            "quote" => self.quote = Some(one_byte("quote", parser)?),
            "escape" => self.escape = Some(one_byte("escape", parser)?),
            "null" => self.null = parser.option_value(),
            "force_quote" => self.force_quote = Some(parser.column_list()?),
            "encoding" => encoding(parser)?,
            _ => return Err(parser.unexpected(token)),
        }
        Ok(())
    }

    fn old_option(&mut self, parser: &mut Parser<'_>) -> Result<()> {
        let token = parser.peek();
        let name = parser.name("an option")?;
        if name != "force" {
            parser.take("AS");
        }
        match name.as_str() {
            "binary" => self.format = Some(CopyFormat::Binary),
            "csv" => self.format = Some(CopyFormat::Csv),
            "header" => self.header = true,
            "delimiter" | "delimiters" => self.delimiter = Some(one_byte("delimiter", parser)?),
            "quote" => self.quote = Some(one_byte("quote", parser)?),
            "escape" => self.escape = Some(one_byte("escape", parser)?),
            "null" => self.null = parser.option_value(),
            "force" if parser.take("QUOTE") => self.force_quote = Some(parser.column_list()?),
            "encoding" => encoding(parser)?,
            _ => return Err(parser.unexpected(token)),
        }
        Ok(())
    }

    fn into_options(self) -> Result<CopyOptions> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        if format == CopyFormat::Binary && (self.header || self.delimiter.is_some() || self.null.is_some()) {
            return Err(invalid("COPY in binary has no header, delimiter or NULL text".to_owned()));
        }
        if !csv && (self.quote.is_some() || self.escape.is_some() || self.force_quote.is_some()) {
            return Err(invalid("QUOTE, ESCAPE and FORCE_QUOTE need COPY's CSV format".to_owned()));
        }
        let quote = self.quote.unwrap_or(b'"');
        let options = CopyOptions {
            format,
            delimiter: self.delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
            null: self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            header: self.header,
            quote,
            escape: self.escape.unwrap_or(quote),
            force_quote: self.force_quote,
        };
        let bad_delimiter = match format {
            CopyFormat::Csv => options.delimiter == quote,
            _ => {
                options.delimiter.is_ascii_lowercase()
                    || options.delimiter.is_ascii_digit()
                    || b"\\.".contains(&options.delimiter)
            }
        };
        if bad_delimiter || b"\r\n".contains(&options.delimiter) {
            return Err(invalid(format!("COPY delimiter cannot be \"{}\"", char::from(options.delimiter))));
        }
        Ok(options)
    }
}

fn one_byte(what: &str, parser: &mut Parser<'_>) -> Result<u8> {
    match parser.option_value().unwrap_or_default().as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(invalid(format!("COPY {what} must be a single one-byte character"))),
    }
}

fn encoding(parser: &mut Parser<'_>) -> Result<()> {
    match parser.option_value().unwrap_or_default().to_ascii_lowercase().replace('-', "").as_str() {
        "utf8" => Ok(()),
        other => Err(invalid(format!("COPY encoding \"{other}\" is not supported; use UTF8"))),
    }
}

fn invalid(message: String) -> Error {
    Error::bad_input(message).with_sqlstate("22023")
}

#[cfg(test)]
mod tests {
    use super::super::command::Command;
    use super::*;

    fn options(rest: &str) -> CopyOptions {
        match Command::parse(&format!("copy t to stdout {rest}")).expect(rest) {
            Command::CopyOut { options, .. } => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_spellings_say_the_same() {
        let new = options("with (format csv, header, delimiter ';', null 'x', force_quote (a, b))");
        let old = options("csv header delimiter as ';' null 'x' force quote a, b");
        assert_eq!(new, old);
        assert_eq!((new.format, new.header, new.delimiter), (CopyFormat::Csv, true, b';'));
        assert_eq!(options("").null, "\\N");
        assert_eq!(options("delimiter E'\\t'").delimiter, b'\t');
        assert!(!options("(format csv, header false)").header);
    }

    #[test]
    fn senseless_options_are_refused() {
        for rest in ["(format xml)", "(quote '\"')", "(format binary, header)", "(delimiter 'ab')", "(delimiter 'a')"] {
            let error = Command::parse(&format!("copy t to stdout {rest}")).expect_err(rest);
            assert_eq!(error.sqlstate(), "22023", "{rest}");
        }
        assert!(Command::parse("copy t to stdout (nonsense)").is_err());
    }
}
