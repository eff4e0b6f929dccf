//! The tokens of SQL text, line by line, as far as a shell must know them: where a statement ends and what to colour.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Space,
    Comment,
    /// A keyword or a name without quotes.
    Word,
    Number,
    /// Text in single quotes or dollar quotes.
    Text,
    /// A name in double quotes.
    QuotedName,
    /// Any other single character.
    Symbol,
    /// A `;` outside parentheses: the statement's end.
    Semicolon,
    /// `\g` or `\gx`: the statement's end too.
    Go,
    /// A backslash command, to the end of its line.
    Command,
}

/// A token's place in its line, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// The token's text, given the line that it was found in.
    pub fn text<'a>(&self, line: &'a str) -> &'a str {
        &line[self.start..self.end]
    }
}

/// What is still open where the text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    Nothing,
    SingleQuote,
    DoubleQuote,
    DollarQuote,
    Comment,
    Parenthesis,
}

/// The state that one line hands to the next.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    mode: Mode,
    parentheses: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Plain,
    SingleQuote {
        backslash_escapes: bool,
    },
    DoubleQuote,
    /// The whole delimiter, `$tag$`.
    DollarQuote(String),
    BlockComment {
        depth: usize,
    },
}

impl Scanner {
    /// What is open after the lines scanned so far.
    pub fn open(&self) -> Open {
        match self.mode {
            Mode::Plain if self.parentheses > 0 => Open::Parenthesis,
            Mode::Plain => Open::Nothing,
            Mode::SingleQuote { .. } => Open::SingleQuote,
            Mode::DoubleQuote => Open::DoubleQuote,
            Mode::DollarQuote(_) => Open::DollarQuote,
            Mode::BlockComment { .. } => Open::Comment,
        }
    }

    /// Cuts one line (it may hold line feeds, when it is a whole text) into tokens that cover it without gaps.
    pub fn scan(&mut self, line: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < line.len() {
            let (kind, len) = match self.mode.clone() {
                Mode::Plain => self.plain(&line[at..]),
                Mode::SingleQuote { backslash_escapes } => {
                    (TokenKind::Text, self.quoted(&line[at..], '\'', backslash_escapes))
                }
                Mode::DoubleQuote => (TokenKind::QuotedName, self.quoted(&line[at..], '"', false)),
                Mode::DollarQuote(delimiter) => (TokenKind::Text, self.dollar_quoted(&line[at..], &delimiter)),
                Mode::BlockComment { depth } => (TokenKind::Comment, self.block_comment(&line[at..], depth)),
            };
            tokens.push(Token { kind, start: at, end: at + len });
            at += len;
        }
        tokens
    }

    /// The token at the start of `rest`, outside quotes and comments, with its length.
    fn plain(&mut self, rest: &str) -> (TokenKind, usize) {
        let first = rest.chars().next().unwrap_or(' ');
        match first {
            c if c.is_whitespace() => (TokenKind::Space, length_while(rest, char::is_whitespace)),
            '-' if rest.starts_with("--") => (TokenKind::Comment, length_while(rest, |c| c != '\n')),
            '/' if rest.starts_with("/*") => {
                self.mode = Mode::BlockComment { depth: 1 };
                (TokenKind::Comment, 2 + self.block_comment(&rest[2..], 1))
            }
            '\'' => (TokenKind::Text, 1 + self.open_quote(&rest[1..], '\'', false)),
            '"' => (TokenKind::QuotedName, 1 + self.open_quote(&rest[1..], '"', false)),
            'e' | 'E' if rest[1..].starts_with('\'') => (TokenKind::Text, 2 + self.open_quote(&rest[2..], '\'', true)),
            '$' => self.dollar(rest),
            c if c.is_ascii_digit() => {
                (TokenKind::Number, length_while(rest, |c| c.is_ascii_alphanumeric() || c == '.'))
            }
            c if is_word(c) => (TokenKind::Word, length_while(rest, |c| is_word(c) || c == '$')),
            '\\' => backslash(rest),
            ';' if self.parentheses == 0 => (TokenKind::Semicolon, 1),
            c => {
                match c {
                    '(' => self.parentheses += 1,
                    ')' => self.parentheses = self.parentheses.saturating_sub(1),
                    _ => {}
                }
                (TokenKind::Symbol, c.len_utf8())
            }
        }
    }

    fn open_quote(&mut self, rest: &str, quote: char, backslash_escapes: bool) -> usize {
        self.mode = match quote {
            '"' => Mode::DoubleQuote,
            _ => Mode::SingleQuote { backslash_escapes },
        };
        self.quoted(rest, quote, backslash_escapes)
    }

    /// The length up to and with the closing quote, or of all when it does not close here.
    fn quoted(&mut self, rest: &str, quote: char, backslash_escapes: bool) -> usize {
        let mut chars = rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == '\\' && backslash_escapes {
                chars.next();
            } else if c == quote {
                if chars.peek().is_some_and(|&(_, next)| next == quote) {
                    chars.next();
                } else {
                    self.mode = Mode::Plain;
                    return at + 1;
                }
            }
        }
        rest.len()
    }

    /// A dollar quote, a parameter such as `$1`, or a lone `$`.
    fn dollar(&mut self, rest: &str) -> (TokenKind, usize) {
        let tag = length_while(&rest[1..], is_word);
        let is_quote = rest[1 + tag..].starts_with('$') && !rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if !is_quote {
            return (TokenKind::Symbol, 1 + tag);
        }
        let delimiter = rest[..tag + 2].to_owned();
        self.mode = Mode::DollarQuote(delimiter.clone());
        (TokenKind::Text, delimiter.len() + self.dollar_quoted(&rest[delimiter.len()..], &delimiter))
    }

    fn dollar_quoted(&mut self, rest: &str, delimiter: &str) -> usize {
        match rest.find(delimiter) {
            Some(at) => {
                self.mode = Mode::Plain;
                at + delimiter.len()
            }
            None => rest.len(),
        }
    }

    /// The length up to and with the comment's end; comments nest, as in PostgreSQL.
    fn block_comment(&mut self, rest: &str, mut depth: usize) -> usize {
        let bytes = rest.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match &bytes[at..] {
                [b'/', b'*', ..] => {
                    depth += 1;
                    at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        self.mode = Mode::Plain;
                        return at;
                    }
                }
                _ => at += 1,
            }
        }
        self.mode = Mode::BlockComment { depth };
        rest.len()
    }
}

/// Cuts a whole text into tokens.
pub fn tokens(text: &str) -> Vec<Token> {
    Scanner::default().scan(text)
}

fn backslash(rest: &str) -> (TokenKind, usize) {
    let word = length_while(&rest[1..], |c| !c.is_whitespace() && c != ';');
    match &rest[1..1 + word] {
        "g" | "gx" => (TokenKind::Go, 1 + word),
        _ => (TokenKind::Command, length_while(rest, |c| c != '\n')),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn length_while(text: &str, keep: impl Fn(char) -> bool) -> usize {
    text.find(|c| !keep(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        let tokens = tokens(text);
        tokens.iter().filter(|t| t.kind != TokenKind::Space).map(|t| (t.kind, t.text(text))).collect()
    }

    #[test]
    fn quotes_comments_and_numbers_are_single_tokens() {
        use TokenKind::*;
        assert_eq!(
            kinds(r#"a 'it''s;' "x"";" E'q\';' $$;$$ $t$ $$ ; $t$ 1.5e3 /* ; /* */ ; */ -- ;"#),
            [
                (Word, "a"),
                (Text, "'it''s;'"),
                (QuotedName, r#""x"";""#),
                (Text, r"E'q\';'"),
                (Text, "$$;$$"),
                (Text, "$t$ $$ ; $t$"),
                (Number, "1.5e3"),
                (Comment, "/* ; /* */ ; */"),
                (Comment, "-- ;"),
            ]
        );
    }

    #[test]
    fn a_semicolon_in_parentheses_and_a_parameter_are_symbols() {
        use TokenKind::*;
        assert_eq!(
            kinds("f(;$1);"),
            [(Word, "f"), (Symbol, "("), (Symbol, ";"), (Symbol, "$1"), (Symbol, ")"), (Semicolon, ";")]
        );
    }

    #[test]
    fn what_is_open_is_carried_over_lines() {
        let cases = [
            ("select 'a", Open::SingleQuote),
            ("select \"a", Open::DoubleQuote),
            ("select $x$ a", Open::DollarQuote),
            ("select /* a", Open::Comment),
            ("select /* /* */", Open::Comment),
            ("select (a", Open::Parenthesis),
            ("select a) -- '", Open::Nothing),
        ];
        for (text, open) in cases {
            let mut scanner = Scanner::default();
            scanner.scan(text);
            assert_eq!(scanner.open(), open, "{text}");
        }
        let mut scanner = Scanner::default();
        scanner.scan("'a");
        assert_eq!(scanner.scan("b' ;").last().map(|t| t.kind), Some(TokenKind::Semicolon));
    }

    #[test]
    fn tokens_cover_any_text_without_gaps() {
        for text in ["é'ü", "ж$я$ж", "\\", "$", "E'\\", "🦀;🦀\\gx", "a\\d b;c", "''''", "/**/*/", "$1$x$"] {
            let tokens = tokens(text);
            let joined: String = tokens.iter().map(|t| t.text(text)).collect();
            assert_eq!(joined, text);
            assert!(tokens.iter().all(|t| t.start < t.end), "{text}");
        }
    }
}
