//! A script as its statements.

use super::lexer::Lexer;
use crate::error::{Error, Kind, Result};

/// Most statements in one message: far above what tools send, and a bound on what one message can make us hold.
const MAX_STATEMENTS: usize = 10_000;

/// One statement of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    /// Characters of the script before it.
    pub(crate) offset_chars: usize,
}

/// Splits a script at its semicolons; statements with nothing but blanks and comments are left out.
pub(crate) fn split(script: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut first: Option<usize> = None;
    let mut last = 0;
    let (mut counted_bytes, mut counted_chars) = (0, 0);
    let mut push = |start: usize, end: usize| {
        counted_chars += script[counted_bytes..start].chars().count();
        counted_bytes = start;
        pieces.push(Piece { text: &script[start..end], offset_chars: counted_chars });
        if pieces.len() > MAX_STATEMENTS {
            return Err(Error::new(
                Kind::TooLarge,
                format!("more than {MAX_STATEMENTS} statements in one message; send fewer"),
            ));
        }
        Ok(())
    };
    for token in Lexer::new(script) {
        if token.is_symbol(";") {
            if let Some(start) = first.take() {
                push(start, last)?;
            }
            continue;
        }
        first.get_or_insert(token.start);
        last = token.end();
    }
    if let Some(start) = first {
        push(start, last)?;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_count_only_where_postgresql_sees_them() {
        let cases: [(&str, &[&str]); 10] = [
            ("", &[]),
            (" ; ;-- x\n/* a; /* b; */ c */;", &[]),
            ("select 1; select 2", &["select 1", "select 2"]),
            ("select ';''x;';select 2", &["select ';''x;'", "select 2"]),
            ("select \"a;\"\"b\"; x", &["select \"a;\"\"b\"", "x"]),
            ("select E'a\\';b';x", &["select E'a\\';b'", "x"]),
            ("select $$a;b$$;x", &["select $$a;b$$", "x"]),
            ("select $t$a;$$;b$t$;x", &["select $t$a;$$;b$t$", "x"]),
            ("select $1;x", &["select $1", "x"]),
            ("select 'never closed; really", &["select 'never closed; really"]),
        ];
        for (script, expected) in cases {
            let got: Vec<&str> = split(script).expect("split").iter().map(|piece| piece.text).collect();
            assert_eq!(got, expected, "{script}");
        }
    }

    #[test]
    fn offsets_count_characters() {
        let pieces = split("select 'é';  select x").expect("split");
        assert_eq!(pieces[1].offset_chars, 13);
        assert!(split(&"x;".repeat(MAX_STATEMENTS + 1)).is_err());
    }
}
