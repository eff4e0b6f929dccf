//! A JSON reader over the buffer that gives numbers as their text, since 64-bit integers and doubles must not lose a digit.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// JSON objects and arrays in one another. An attribute value takes up to four a level, a span's own place ten.
const MAX_LEVELS: usize = 160;

/// Reads one JSON text from front to back.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    levels: usize,
    path: Vec<Step>,
}

/// A step from a value to one inside it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Key(&'static str),
    Index(usize),
}

/// A value that holds no others.
#[derive(Debug)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// The number's text.
    Number(&'a str),
    String(Cow<'a, str>),
}

/// What a value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Array,
    Scalar,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, levels: 0, path: Vec::new() }
    }

    /// Runs `read` one step deeper, for the path in its errors.
    pub fn step<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.path.push(step);
        let outcome = read(self)?;
        self.path.pop();
        Ok(outcome)
    }

    /// Reads an object, handing each key to `entry`, which reads the value; `null` is an object without keys.
    /// Returns whether it was an object.
    pub fn object(&mut self, mut entry: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<bool> {
        match self.peek() {
            Some(b'{') => self.open()?,
            Some(b'n') => return self.word("null").map(|()| false),
            _ => return Err(self.error("an object or null was expected here")),
        }
        if self.close(b'}') {
            return Ok(true);
        }
        loop {
            let key = self.string()?;
            self.require(b':', "a colon was expected after the key")?;
            entry(self, &key)?;
            if self.close(b'}') {
                return Ok(true);
            }
            self.require(b',', "a comma or the object's end was expected")?;
        }
    }

    /// Reads an array, calling `element` at each element; `null` is an empty one.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        match self.peek() {
            Some(b'[') => self.open()?,
            Some(b'n') => return self.word("null"),
            _ => return Err(self.error("an array or null was expected here")),
        }
        if self.close(b']') {
            return Ok(());
        }
        let mut index = 0;
        loop {
            self.step(Step::Index(index), &mut element)?;
            index += 1;
            if self.close(b']') {
                return Ok(());
            }
            self.require(b',', "a comma or the array's end was expected")?;
        }
    }

    /// Looks at what the next value is made of.
    pub fn shape(&mut self) -> Shape {
        match self.peek() {
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::Array,
            _ => Shape::Scalar,
        }
    }

    /// Reads a value that is neither object nor array.
    pub fn scalar(&mut self) -> Result<Scalar<'a>> {
        match self.peek() {
            Some(b'"') => self.string().map(Scalar::String),
            Some(b'n') => self.word("null").map(|()| Scalar::Null),
            Some(b't') => self.word("true").map(|()| Scalar::Bool(true)),
            Some(b'f') => self.word("false").map(|()| Scalar::Bool(false)),
            Some(b'-' | b'0'..=b'9') => self.number().map(Scalar::Number),
            Some(b'{' | b'[') => Err(self.error("a single value was expected here")),
            _ => Err(self.error("a value was expected here")),
        }
    }

    /// Reads a value of whatever kind and forgets it.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.skip()).map(drop),
            Some(b'[') => self.array(Self::skip),
            _ => self.scalar().map(drop),
        }
    }

    /// Checks that nothing follows.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("something follows the end of the request")),
        }
    }

    /// An error at the place that the reader has reached.
    #[cold]
    pub fn error(&self, what: &str) -> Error {
        let before = &self.text.as_bytes()[..self.at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        let place = if path.is_empty() { String::new() } else { format!(", at {path}") };
        Error::bad_input(format!("the request is not OTLP JSON: line {line}, column {column}{place}: {what}"))
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Skips white space; gives the next byte without taking it.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.bytes()[self.at..];
        let skipped = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += skipped;
        rest.get(skipped).copied()
    }

    fn open(&mut self) -> Result<()> {
        if self.levels >= MAX_LEVELS {
            return Err(self.error("objects and arrays are nested too deeply"));
        }
        self.levels += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self, bracket: u8) -> bool {
        let is_end = self.peek() == Some(bracket);
        if is_end {
            self.at += 1;
            self.levels -= 1;
        }
        is_end
    }

    fn require(&mut self, byte: u8, otherwise: &str) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.error(otherwise));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("a value was expected here"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        let digits = |reader: &mut Self| {
            let count = reader.bytes()[reader.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            reader.at += count;
            count
        };
        let takes = |reader: &mut Self, wanted: &[u8]| {
            let is_there = reader.bytes().get(reader.at).is_some_and(|byte| wanted.contains(byte));
            reader.at += usize::from(is_there);
            is_there
        };
        takes(self, b"-");
        let integer_start = self.at;
        let integer_digits = digits(self);
        let leads_with_zero = integer_digits > 1 && self.bytes()[integer_start] == b'0';
        let mut valid = integer_digits > 0 && !leads_with_zero;
        if takes(self, b".") {
            valid &= digits(self) > 0;
        }
        if takes(self, b"eE") {
            takes(self, b"+-");
            valid &= digits(self) > 0;
        }
        if valid { Ok(&self.text[start..self.at]) } else { Err(self.error("this is not a JSON number")) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.require(b'"', "a string was expected here")?;
        let start = self.at;
        self.plain_run();
        let plain = &self.text[start..self.at];
        if self.bytes().get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let character = self.escape()?;
                    text.push(character);
                }
                Some(_) => return Err(self.error("a control character stands in a string; escape it")),
                None => return Err(self.error("a string has no end")),
            }
            let run = self.at;
            self.plain_run();
            text.push_str(&self.text[run..self.at]);
        }
    }

    /// Skips what stands for itself in a string.
    fn plain_run(&mut self) {
        let rest = &self.bytes()[self.at..];
        let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        self.at += special.unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<char> {
        let Some(byte) = self.bytes().get(self.at) else {
            return Err(self.error("a string has no end"));
        };
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.error("this escape does not exist")),
        })
    }

    /// Reads what follows `\u`. Half of a surrogate pair is no character; it becomes U+FFFD, since JavaScript writes such.
    fn unicode_escape(&mut self) -> Result<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        if self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.bytes().get(self.at..self.at + 4).unwrap_or_default();
        let value = digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?));
        match value {
            Some(value) if digits.len() == 4 => {
                self.at += 4;
                Ok(value)
            }
            _ => Err(self.error("four hex digits were expected after \\u")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a text is JSON within our depth, and what its only string is.
    fn accepts(text: &str) -> bool {
        let mut reader = Reader::new(text);
        reader.skip().and_then(|()| reader.end()).is_ok()
    }

    fn oracle(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn escapes_are_undone() {
        let read = |text: &str| match Reader::new(text).scalar() {
            Ok(Scalar::String(text)) => text.into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(r#""a\"\\\/\b\f\n\r\té😀""#), "a\"\\/\u{8}\u{c}\n\r\té😀");
        assert_eq!(read(r#""\ud83d""#), "\u{fffd}");
        assert_eq!(read(r#""\ud83dA\udc00""#), "\u{fffd}A\u{fffd}");
    }

    #[test]
    fn errors_name_line_column_and_path() {
        let mut reader = Reader::new("{\n \"é\": [1, x]}");
        let error = reader
            .object(|reader, _| {
                reader.step(Step::Key("list"), |reader| reader.array(|reader| reader.scalar().map(drop)))
            })
            .expect_err("no value");
        assert!(error.to_string().contains("line 2, column 11, at list[1]: a value"), "{error}");
    }

    #[test]
    fn depth_is_bounded() {
        assert!(accepts(&format!("{}{}", "[".repeat(MAX_LEVELS), "]".repeat(MAX_LEVELS))));
        assert!(!accepts(&format!("{}{}", "[".repeat(MAX_LEVELS + 1), "]".repeat(MAX_LEVELS + 1))));
        assert!(!accepts(&"[".repeat(1_000_000)));
    }

    proptest! {
        #[test]
        fn it_accepts_what_serde_json_accepts(text in r#"[\[\]{}",:0-9eE.+\-ntrufalse \\/xA]{0,12}"#) {
            prop_assert_eq!(accepts(&text), oracle(&text), "{}", text);
        }

        #[test]
        fn strings_read_as_serde_json_reads_them(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("a string");
            match Reader::new(&json).scalar() {
                Ok(Scalar::String(read)) => prop_assert_eq!(read, text),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
