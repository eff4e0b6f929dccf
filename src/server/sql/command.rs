//! The commands that belong to a connection and not to the engine.

use std::iter::Peekable;

use super::copy::CopyOptions;
use super::lexer::{Lexer, Token, TokenKind};
use crate::error::{Error, Result};

/// A statement, sorted by who answers it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// The engine answers it.
    Engine,
    Transaction(Transaction),
    Declare(CursorDeclaration),
    Fetch {
        cursor: String,
        count: FetchCount,
        rows_shown: bool,
    },
    /// `CLOSE name`, or `CLOSE ALL`.
    Close(Option<String>),
    Prepare {
        name: String,
        types: Vec<String>,
        query: String,
        query_offset_chars: usize,
    },
    Execute {
        name: String,
        arguments: Vec<String>,
    },
    /// `DEALLOCATE name`, or `DEALLOCATE ALL`.
    Deallocate(Option<String>),
    /// `DISCARD` with its tag.
    Discard(&'static str),
    /// A command that has nothing to do here, with its tag.
    Nothing(&'static str),
    CopyOut {
        source: CopySource,
        options: CopyOptions,
    },
}

/// A transaction command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transaction {
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
}

/// A `DECLARE … CURSOR FOR query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CursorDeclaration {
    pub(crate) name: String,
    /// Whether it outlives its transaction.
    pub(crate) hold: bool,
    pub(crate) binary: bool,
    pub(crate) query: String,
    pub(crate) query_offset_chars: usize,
}

/// How far a `FETCH` or `MOVE` goes; cursors only go forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchCount {
    Rows(u64),
    All,
    /// To this row, counted from 1, which is then the only one shown.
    Absolute(u64),
    /// The n-th row from here, which is then the only one shown.
    Relative(u64),
}

/// What a `COPY … TO STDOUT` copies, as a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopySource {
    pub(crate) query: String,
    /// `None` when the query is not in the text as it stands.
    pub(crate) query_offset_chars: Option<usize>,
}

impl Command {
    /// Reads one statement as far as is needed to know whose it is.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser::new(text);
        let Some(first) = parser.next() else { return Ok(Self::Engine) };
        let keyword = if first.kind == TokenKind::Word { first.text.to_ascii_uppercase() } else { String::new() };
        match keyword.as_str() {
            "BEGIN" => Ok(Self::Transaction(Transaction::Begin)),
            "START" if parser.take("TRANSACTION") => Ok(Self::Transaction(Transaction::Begin)),
            "COMMIT" | "END" => parser.end_of_transaction(Transaction::Commit),
            "ROLLBACK" | "ABORT" => parser.rollback(),
            "SAVEPOINT" => Ok(Self::Transaction(Transaction::Savepoint(parser.name("a savepoint")?))),
            "RELEASE" => {
                parser.take("SAVEPOINT");
                Ok(Self::Transaction(Transaction::Release(parser.name("a savepoint")?)))
            }
            "DECLARE" => parser.declare(),
            "FETCH" => parser.fetch(true),
            "MOVE" => parser.fetch(false),
            "CLOSE" => parser.name_or_all("a cursor").map(Self::Close),
            "PREPARE" => parser.prepare(),
            "EXECUTE" => parser.execute(),
            "DEALLOCATE" => {
                parser.take("PREPARE");
                parser.name_or_all("a prepared statement").map(Self::Deallocate)
            }
            "DISCARD" => parser.discard(),
            "LISTEN" => Ok(Self::Nothing("LISTEN")),
            "UNLISTEN" => Ok(Self::Nothing("UNLISTEN")),
            "COPY" => parser.copy(),
            _ => Ok(Self::Engine),
        }
    }
}

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Peekable<Lexer<'a>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, tokens: Lexer::new(text).peekable() }
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.tokens.next()
    }

    pub(super) fn peek(&mut self) -> Option<Token<'a>> {
        self.tokens.peek().copied()
    }

    /// Takes a keyword if it comes next.
    pub(super) fn take(&mut self, keyword: &str) -> bool {
        self.tokens.next_if(|token| token.is(keyword)).is_some()
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        self.tokens.next_if(|token| token.is_symbol(symbol)).is_some()
    }

    /// Makes the error for a token that does not fit.
    pub(super) fn unexpected(&self, token: Option<Token<'a>>) -> Error {
        let at = token.map_or(self.text.len(), |token| token.start);
        let near = token.map_or("at end of input".to_owned(), |token| format!("at or near \"{}\"", token.text));
        Error::bad_input(format!("syntax error {near}")).with_position(self.text[..at].chars().count() + 1)
    }

    fn require(&mut self, keyword: &str) -> Result<()> {
        if self.take(keyword) {
            return Ok(());
        }
        let found = self.peek();
        Err(self.unexpected(found))
    }

    fn require_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        let found = self.peek();
        Err(self.unexpected(found))
    }

    pub(super) fn require_end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            found => Err(self.unexpected(found)),
        }
    }

    pub(super) fn name(&mut self, _of: &str) -> Result<String> {
        let token = self.next();
        token.and_then(|token| token.name()).ok_or_else(|| self.unexpected(token))
    }

    fn name_or_all(&mut self, of: &str) -> Result<Option<String>> {
        if self.take("ALL") {
            return self.require_end().map(|()| None);
        }
        let name = self.name(of)?;
        self.require_end()?;
        Ok(Some(name))
    }

    /// Returns the rest of the text, which must not be empty, and the characters before it.
    fn rest(&mut self) -> Result<(String, usize)> {
        let Some(token) = self.peek() else { return Err(self.unexpected(None)) };
        Ok((self.text[token.start..].to_owned(), self.text[..token.start].chars().count()))
    }

    fn end_of_transaction(&mut self, what: Transaction) -> Result<Command> {
        let _ = self.take("WORK") || self.take("TRANSACTION");
        if self.take("AND") && !self.take("NO") {
            return Err(Error::bad_input("AND CHAIN is not supported; begin the next transaction yourself")
                .with_sqlstate("0A000"));
        }
        Ok(Command::Transaction(what))
    }

    fn rollback(&mut self) -> Result<Command> {
        let _ = self.take("WORK") || self.take("TRANSACTION");
        if self.take("TO") {
            self.take("SAVEPOINT");
            return Ok(Command::Transaction(Transaction::RollbackTo(self.name("a savepoint")?)));
        }
        self.end_of_transaction(Transaction::Rollback)
    }

    fn declare(&mut self) -> Result<Command> {
        let name = self.name("a cursor")?;
        let mut binary = false;
        while !self.take("CURSOR") {
            let token = self.next();
            match token {
                Some(token) if token.is("BINARY") => binary = true,
                Some(token) if token.is("INSENSITIVE") || token.is("ASENSITIVE") => {}
                Some(token) if token.is("NO") => self.require("SCROLL")?,
                Some(token) if token.is("SCROLL") => {
                    return Err(
                        Error::bad_input("cursors only go forward; declare it without SCROLL").with_sqlstate("0A000")
                    );
                }
                other => return Err(self.unexpected(other)),
            }
        }
        let hold = self.take("WITH");
        if hold || self.take("WITHOUT") {
            self.require("HOLD")?;
        }
        self.require("FOR")?;
        let (query, query_offset_chars) = self.rest()?;
        Ok(Command::Declare(CursorDeclaration { name, hold, binary, query, query_offset_chars }))
    }

    fn fetch(&mut self, rows_shown: bool) -> Result<Command> {
        let count = self.fetch_count()?;
        let _ = self.take("FROM") || self.take("IN");
        let cursor = self.name("a cursor")?;
        self.require_end()?;
        Ok(Command::Fetch { cursor, count, rows_shown })
    }

    fn fetch_count(&mut self) -> Result<FetchCount> {
        let backward = || {
            Error::bad_input("cursor can only scan forward")
                .with_sqlstate("55000")
                .with_hint("Cursors of this server never go back; open a new one.")
        };
        let unsigned = |value: i64| u64::try_from(value).map_err(|_| backward());
        if self.take("NEXT") {
            return Ok(FetchCount::Rows(1));
        }
        if self.take("ALL") {
            return Ok(FetchCount::All);
        }
        if self.take("FIRST") {
            return Ok(FetchCount::Absolute(1));
        }
        if self.take("PRIOR") || self.take("LAST") || self.take("BACKWARD") {
            return Err(backward());
        }
        if self.take("ABSOLUTE") {
            return self.integer()?.map_or(Err(backward()), |n| unsigned(n).map(FetchCount::Absolute));
        }
        if self.take("RELATIVE") {
            return self.integer()?.map_or(Err(backward()), |n| unsigned(n).map(FetchCount::Relative));
        }
        if self.take("FORWARD") {
            if self.take("ALL") {
                return Ok(FetchCount::All);
            }
            return self.integer()?.map_or(Ok(FetchCount::Rows(1)), |n| unsigned(n).map(FetchCount::Rows));
        }
        self.integer()?.map_or(Ok(FetchCount::Rows(1)), |n| unsigned(n).map(FetchCount::Rows))
    }

    /// Takes a whole number if one comes next; a count beyond 64 bits is out of range, not a fault of syntax.
    fn integer(&mut self) -> Result<Option<i64>> {
        let negative = self.take_symbol("-");
        let Some(token) = self.tokens.next_if(|token| token.kind == TokenKind::Number) else {
            return if negative { Err(self.unexpected(None)) } else { Ok(None) };
        };
        let value: i64 =
            token.text.parse().map_err(|_| match token.text.bytes().all(|byte| byte.is_ascii_digit()) {
                true => Error::bad_input(format!("row count {} is out of range", token.text)).with_sqlstate("22003"),
                false => self.unexpected(Some(token)),
            })?;
        Ok(Some(if negative { -value } else { value }))
    }

    fn prepare(&mut self) -> Result<Command> {
        let name = self.name("a prepared statement")?;
        let mut types = Vec::new();
        if self.take_symbol("(") {
            types = self.list_until_close()?;
        }
        self.require("AS")?;
        let (query, query_offset_chars) = self.rest()?;
        Ok(Command::Prepare { name, types, query, query_offset_chars })
    }

    fn execute(&mut self) -> Result<Command> {
        let name = self.name("a prepared statement")?;
        let mut arguments = Vec::new();
        if self.take_symbol("(") {
            arguments = self.list_until_close()?;
        }
        self.require_end()?;
        Ok(Command::Execute { name, arguments })
    }

    /// Reads comma-separated texts up to the bracket that closes the list; the opening one is taken.
    fn list_until_close(&mut self) -> Result<Vec<String>> {
        let mut items = Vec::new();
        let mut depth = 0usize;
        let mut start: Option<usize> = None;
        let mut end = 0;
        loop {
            let Some(token) = self.next() else { return Err(self.unexpected(None)) };
            let closes = depth == 0 && token.is_symbol(")");
            if closes || (depth == 0 && token.is_symbol(",")) {
                match start.take() {
                    Some(start) => items.push(self.text[start..end].to_owned()),
                    None if closes && items.is_empty() => {}
                    None => return Err(self.unexpected(Some(token))),
                }
                if closes {
                    return Ok(items);
                }
                continue;
            }
            match token.text {
                "(" | "[" if token.kind == TokenKind::Symbol => depth += 1,
                ")" | "]" if token.kind == TokenKind::Symbol => depth = depth.saturating_sub(1),
                _ => {}
            }
            start.get_or_insert(token.start);
            end = token.end();
        }
    }

    fn discard(&mut self) -> Result<Command> {
        let token = self.next();
        let tag = match token {
            Some(token) if token.is("ALL") => "DISCARD ALL",
            Some(token) if token.is("PLANS") => "DISCARD PLANS",
            Some(token) if token.is("SEQUENCES") => "DISCARD SEQUENCES",
            Some(token) if token.is("TEMP") || token.is("TEMPORARY") => "DISCARD TEMP",
            other => return Err(self.unexpected(other)),
        };
        self.require_end()?;
        Ok(Command::Discard(tag))
    }

    fn copy(&mut self) -> Result<Command> {
        let binary = self.take("BINARY");
        let source = if self.take_symbol("(") { self.copied_query()? } else { self.copied_table()? };
        let direction = self.next();
        if direction.is_some_and(|token| token.is("FROM")) {
            return Err(refused("COPY FROM is not allowed: spans come in over OTLP"));
        }
        if !direction.is_some_and(|token| token.is("TO")) {
            return Err(self.unexpected(direction));
        }
        let target = self.next();
        if target.is_some_and(|token| token.kind == TokenKind::Text || token.is("PROGRAM")) {
            return Err(refused("COPY to a file or program of the server is not allowed")
                .with_hint("COPY … TO STDOUT, or \\copy in psql, writes on the client's side."));
        }
        if !target.is_some_and(|token| token.is("STDOUT") || token.is("STDIN")) {
            return Err(self.unexpected(target));
        }
        let options = CopyOptions::parse(self, binary)?;
        Ok(Command::CopyOut { source, options })
    }

    fn copied_query(&mut self) -> Result<CopySource> {
        let Some(first) = self.peek() else { return Err(self.unexpected(None)) };
        let mut depth = 0usize;
        loop {
            let Some(token) = self.next() else { return Err(self.unexpected(None)) };
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                if depth == 0 {
                    let query = self.text[first.start..token.start].to_owned();
                    return Ok(CopySource {
                        query,
                        query_offset_chars: Some(self.text[..first.start].chars().count()),
                    });
                }
                depth -= 1;
            }
        }
    }

    fn copied_table(&mut self) -> Result<CopySource> {
        let start = self.peek();
        self.name("a relation")?;
        while self.take_symbol(".") {
            self.name("a relation")?;
        }
        let (from, until) =
            (start.map_or(0, |token| token.start), self.peek().map_or(self.text.len(), |token| token.start));
        let relation = self.text[from..until].trim_end();
        let mut columns = "*".to_owned();
        if self.take_symbol("(") {
            columns = self.list_until_close()?.join(", ");
        }
        Ok(CopySource { query: format!("SELECT {columns} FROM {relation}"), query_offset_chars: None })
    }

    /// Takes an option's value: a word, a number or a literal.
    pub(super) fn option_value(&mut self) -> Option<String> {
        let token = self.tokens.next_if(|token| token.kind != TokenKind::Symbol)?;
        token.literal().or_else(|| token.name()).or_else(|| Some(token.text.to_owned()))
    }

    /// Reads a list of column names in brackets, or `*` as an empty one.
    pub(super) fn column_list(&mut self) -> Result<Vec<String>> {
        if self.take_symbol("*") {
            return Ok(Vec::new());
        }
        let bracket = self.take_symbol("(");
        let mut names = vec![self.name("a column")?];
        while self.take_symbol(",") {
            names.push(self.name("a column")?);
        }
        if bracket {
            self.require_symbol(")")?;
        }
        Ok(names)
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(crate::error::Kind::Denied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Command {
        Command::parse(text).expect(text)
    }

    #[test]
    fn what_is_not_ours_goes_to_the_engine() {
        for text in
            ["select 1", "SET x = 1", "with a as (select 1) table a", "(select 1)", "explain select 1", "values (1)"]
        {
            assert_eq!(parse(text), Command::Engine);
        }
    }

    #[test]
    fn transactions_in_all_spellings() {
        for (text, expected) in [
            ("begin isolation level serializable, read only", Transaction::Begin),
            ("START TRANSACTION READ ONLY", Transaction::Begin),
            ("end work", Transaction::Commit),
            ("commit and no chain", Transaction::Commit),
            ("abort", Transaction::Rollback),
            ("rollback to savepoint \"A\"\"b\"", Transaction::RollbackTo("A\"b".into())),
            ("release S1", Transaction::Release("s1".into())),
        ] {
            assert_eq!(parse(text), Command::Transaction(expected), "{text}");
        }
    }

    #[test]
    fn cursors() {
        assert_eq!(
            parse("DECLARE \"c 1\" NO SCROLL CURSOR WITH HOLD FOR select 'x;' from t"),
            Command::Declare(CursorDeclaration {
                name: "c 1".into(),
                hold: true,
                binary: false,
                query: "select 'x;' from t".into(),
                query_offset_chars: 45,
            })
        );
        for (text, count) in [
            ("fetch c", FetchCount::Rows(1)),
            ("fetch forward 10 from c", FetchCount::Rows(10)),
            ("fetch all in c", FetchCount::All),
            ("fetch forward all from c", FetchCount::All),
            ("fetch 5 c", FetchCount::Rows(5)),
            ("fetch 4000000000 from c", FetchCount::Rows(4_000_000_000)),
            ("fetch first from c", FetchCount::Absolute(1)),
            ("fetch relative 3 from c", FetchCount::Relative(3)),
        ] {
            assert_eq!(parse(text), Command::Fetch { cursor: "c".into(), count, rows_shown: true }, "{text}");
        }
        for text in ["fetch prior from c", "fetch -1 from c", "fetch backward 3 from c"] {
            assert_eq!(Command::parse(text).expect_err(text).sqlstate(), "55000");
        }
        for (text, state) in [
            ("fetch -4000000000 from c", "55000"),
            ("fetch 99999999999999999999 from c", "22003"),
            ("fetch -99999999999999999999 from c", "22003"),
            ("fetch 1.5 from c", "42601"),
        ] {
            assert_eq!(Command::parse(text).expect_err(text).sqlstate(), state, "{text}");
        }
    }

    #[test]
    fn prepared_statements() {
        assert_eq!(
            parse("execute q(1, 'a,b', array[1,2], (select 1))"),
            Command::Execute {
                name: "q".into(),
                arguments: ["1", "'a,b'", "array[1,2]", "(select 1)"].map(String::from).to_vec()
            }
        );
        let Command::Prepare { types, query, .. } = parse("prepare q(int, double precision) as select $1") else {
            panic!("prepare")
        };
        assert_eq!((types, query.as_str()), (vec!["int".to_owned(), "double precision".into()], "select $1"));
    }

    #[test]
    fn copy_reads_queries_and_tables_and_refuses_files() {
        let query = |text| match parse(text) {
            Command::CopyOut { source, .. } => source.query,
            other => panic!("{other:?}"),
        };
        assert_eq!(query("copy (select ')' from (values (1)) t) to stdout"), "select ')' from (values (1)) t");
        assert_eq!(
            query("COPY traces.spans (a, \"B\") TO STDOUT WITH (FORMAT csv)"),
            "SELECT a, \"B\" FROM traces.spans"
        );
        for text in
            ["copy t from stdin", "copy t to '/tmp/x'", "copy (select 1) to program 'sh'", "copy t from '/etc/passwd'"]
        {
            assert_eq!(Command::parse(text).expect_err(text).sqlstate(), "42501", "{text}");
        }
    }
}
