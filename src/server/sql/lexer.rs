//! PostgreSQL's lexical rules: comments nest, quotes double, `$tag$` quotes, and `E''` has escapes.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or a plain identifier.
    Word,
    /// An identifier in double quotes.
    QuotedName,
    /// A string literal of any kind.
    Text,
    Number,
    /// One character of anything else.
    Symbol,
}

/// A token with its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// Byte where it starts.
    pub(super) start: usize,
}

impl<'a> Token<'a> {
    /// Returns the byte after its last.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this character.
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// Returns the name that an identifier stands for: plain ones fold to lower case.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_lowercase()),
            TokenKind::QuotedName => Some(unquote(self.text, '"')),
            _ => None,
        }
    }

    /// Returns the value of a string literal.
    pub(super) fn literal(&self) -> Option<String> {
        if self.kind != TokenKind::Text {
            return None;
        }
        if let Some(rest) = self.text.strip_prefix(['e', 'E']) {
            return Some(unescape(&unquote(rest, '\'')));
        }
        if self.text.starts_with('$') {
            let tag = self.text[1..].find('$')? + 2;
            return self.text.get(tag..self.text.len().checked_sub(tag)?).map(str::to_owned);
        }
        Some(unquote(self.text, '\''))
    }
}

fn unquote(text: &str, quote: char) -> String {
    let inner = text.strip_prefix(quote).unwrap_or(text);
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// Undoes the escapes of `E''` that matter for a delimiter or a name.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// The tokens of a text, without white space and comments. An unclosed quote or comment runs to the end of the text: the
/// engine's parser will say so with the position.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the first byte of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    fn skip_blank(&mut self) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            if bytes[self.at].is_ascii_whitespace() || bytes[self.at] == 0x0b {
                self.at += 1;
            } else if bytes[self.at..].starts_with(b"--") {
                self.at += bytes[self.at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - self.at);
            } else if bytes[self.at..].starts_with(b"/*") {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    fn skip_comment(&mut self) {
        let bytes = self.text.as_bytes();
        let mut depth = 0usize;
        while self.at < bytes.len() {
            if bytes[self.at..].starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else if bytes[self.at..].starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
    }

    /// Returns the byte after the quoted stretch that opens at `open`.
    fn end_of_quote(&self, open: usize, escapes: bool) -> usize {
        let bytes = self.text.as_bytes();
        let quote = bytes[open];
        let mut at = open + 1;
        while at < bytes.len() {
            if escapes && bytes[at] == b'\\' {
                at += 2;
            } else if bytes[at] == quote {
                if self.byte(at + 1) != quote {
                    return at + 1;
                }
                at += 2;
            } else {
                at += 1;
            }
        }
        bytes.len()
    }

    /// Returns the byte after a `$tag$ … $tag$` that opens at `open`, if one opens there.
    fn end_of_dollar_quote(&self, open: usize) -> Option<usize> {
        let rest = &self.text[open + 1..];
        let tag_len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
        if !rest[tag_len..].starts_with('$') || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let tag = &self.text[open..open + tag_len + 2];
        let body = open + tag.len();
        Some(self.text[body..].find(tag).map_or(self.text.len(), |found| body + found + tag.len()))
    }

    fn end_of_word(&self, from: usize) -> usize {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        self.text[from..].find(|c: char| !is_part(c)).map_or(self.text.len(), |found| from + found)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let start = self.at;
        let first = self.text[start..].chars().next()?;
        let second = self.byte(start + 1);
        let (kind, end) = match first {
            '\'' => (TokenKind::Text, self.end_of_quote(start, false)),
            'e' | 'E' if second == b'\'' => (TokenKind::Text, self.end_of_quote(start + 1, true)),
            '"' => (TokenKind::QuotedName, self.end_of_quote(start, false)),
            '$' => match self.end_of_dollar_quote(start) {
                Some(end) => (TokenKind::Text, end),
                None => (TokenKind::Symbol, start + 1),
            },
            c if c.is_alphabetic() || c == '_' || !c.is_ascii() => (TokenKind::Word, self.end_of_word(start)),
            c if c.is_ascii_digit() => (TokenKind::Number, self.end_of_word(start)),
            c => (TokenKind::Symbol, start + c.len_utf8()),
        };
        // An escape at the very end must not carry past it.
        let end = end.min(self.text.len());
        self.at = end;
        Some(Token { kind, text: &self.text[start..end], start })
    }
}
