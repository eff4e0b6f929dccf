//! The texts of a report, as they were read from disk.

use std::path::PathBuf;

use xxhash_rust::xxh3::Xxh3;

/// The longest name of a report or a table: it becomes a folder's name with more beside it.
pub(super) const MAX_NAME_BYTES: usize = 100;

/// Whether the text can name a report, a rule or a delivery, and so a folder and a part of a key.
pub(in crate::report) fn is_name(text: &str) -> bool {
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(is_known) && !text.starts_with('-')
}

/// A report's file, or its two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Source {
    pub name: String,
    pub sql_path: PathBuf,
    pub sql: String,
    /// The file beside it with the header, and its text.
    pub toml: Option<(PathBuf, String)>,
}

impl Source {
    /// The file that has the header, and the header as TOML whose lines are those of the file.
    pub(super) fn header(&self) -> (PathBuf, String) {
        if let Some((path, text)) = &self.toml {
            return (path.clone(), text.clone());
        }
        let (start, end) = self.header_lines();
        let mut text = "\n".repeat(start);
        for line in self.sql.lines().take(end).skip(start) {
            let line = without_mark(line).trim_start_matches('-');
            text.push_str(line.strip_prefix(' ').unwrap_or(line));
            text.push('\n');
        }
        (self.sql_path.clone(), text)
    }

    /// The statement, with an empty line for each of the header's, and whether there is anything in it.
    pub(super) fn statement(&self) -> (String, bool) {
        let sql = without_mark(&self.sql);
        let sql = match self.toml {
            Some(_) => sql.to_owned(),
            None => {
                let (_, end) = self.header_lines();
                let mut rest = "\n".repeat(end);
                rest.extend(sql.split_inclusive('\n').skip(end));
                rest
            }
        };
        let has_statement = sql.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"));
        (sql, has_statement)
    }

    /// A hash of the whole text.
    pub(super) fn version(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(self.sql.as_bytes());
        if let Some((_, toml)) = &self.toml {
            // No text has this byte.
            hash.update(&[0xff]);
            hash.update(toml.as_bytes());
        }
        format!("{:016x}", hash.digest())
    }

    /// What to do with a comment that was taken for a header.
    pub(super) fn advice(&self) -> &'static str {
        match self.toml {
            Some(_) => "",
            None => "; the comment at the top is the header: begin other lines of it with -- #",
        }
    }

    /// The first line of the header and the first one after it, from 0: the comment lines at the top.
    fn header_lines(&self) -> (usize, usize) {
        let sql = without_mark(&self.sql);
        let start = sql.lines().take_while(|line| line.trim().is_empty()).count();
        let length = sql.lines().skip(start).take_while(|line| line.starts_with("--")).count();
        (start, start + length)
    }
}

/// A text without the mark that some editors put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(sql: &str) -> Source {
        Source { name: "x".to_owned(), sql_path: "x.sql".into(), sql: sql.to_owned(), toml: None }
    }

    #[test]
    fn a_header_keeps_its_lines_and_so_does_the_statement() {
        let source = source("\u{feff}\n-- a = 1\r\n--b = 2\n--\n\n-- no header\nSELECT 1\n");
        assert_eq!(source.header().1, "\na = 1\nb = 2\n\n");
        assert_eq!(source.statement(), ("\n\n\n\n\n-- no header\nSELECT 1\n".to_owned(), true));
    }

    #[test]
    fn a_header_may_lie_beside() {
        let mut source = source("-- a comment\nSELECT 1");
        let version = source.version();
        source.toml = Some(("x.toml".into(), "title = \"X\"".to_owned()));
        assert_eq!(source.header(), ("x.toml".into(), "title = \"X\"".to_owned()));
        assert_eq!(source.statement(), ("-- a comment\nSELECT 1".to_owned(), true));
        assert_ne!(source.version(), version);
    }

    #[test]
    fn what_is_only_comments_is_no_statement() {
        for sql in ["", "-- title = \"x\"\n", "-- a = 1\n\n -- b\n"] {
            assert!(!source(sql).statement().1, "{sql:?}");
        }
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "daily_health-2", "0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "../a", "a.b", "é", &"a".repeat(101)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
