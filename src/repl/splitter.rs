//! Gathers lines into statements and backslash commands.

use super::lexer::{Open, Scanner, TokenKind};

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Statement(Script),
    /// A backslash command with its arguments, as typed.
    Command {
        text: String,
        line: usize,
    },
}

/// A statement's own text, from its first word and without its end mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub text: String,
    /// The line of its first word, from 1.
    pub line: usize,
    /// Whether it ended in `\gx`: its result is to be shown expanded.
    pub expanded: bool,
}

/// A statement in the making.
#[derive(Debug, Default)]
pub struct Splitter {
    scanner: Scanner,
    pending: String,
    has_code: bool,
    pending_line: usize,
    lines: usize,
}

impl Splitter {
    /// Takes the next line, without its line feed, and gives what is complete now.
    pub fn push_line(&mut self, line: &str) -> Vec<Item> {
        self.lines += 1;
        let first_line = self.lines;
        self.lines += line.matches('\n').count();
        let mut items = Vec::new();
        for token in self.scanner.scan(line) {
            let text = token.text(line);
            let at = first_line + line[..token.start].matches('\n').count();
            match token.kind {
                TokenKind::Semicolon | TokenKind::Go => {
                    items.extend(self.take(text == "\\gx").map(Item::Statement));
                }
                TokenKind::Command => items.push(Item::Command { text: text.trim_end().to_owned(), line: at }),
                kind => self.keep(kind, text, at),
            }
        }
        // Here so that a quoted text keeps its line feeds, and a comment before a statement does not count as its start.
        match self.has_code || self.scanner.open() != Open::Nothing {
            true => self.pending.push('\n'),
            false => self.pending.clear(),
        }
        items
    }

    /// Gives what the input's end leaves: a statement without its `;`.
    pub fn finish(&mut self) -> Option<Script> {
        let script = self.take(false);
        self.reset();
        script
    }

    /// Forgets the statement in the making.
    pub fn reset(&mut self) {
        self.scanner = Scanner::default();
        self.pending.clear();
        self.has_code = false;
    }

    /// The statement in the making, with a line feed at the end of each line.
    pub fn pending(&self) -> &str {
        &self.pending
    }

    /// The state at the end of [`Self::pending`].
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// What the statement in the making waits for; `None` when there is none.
    pub fn waits_for(&self) -> Option<Open> {
        let open = self.scanner.open();
        (self.has_code || open != Open::Nothing).then_some(open)
    }

    fn keep(&mut self, kind: TokenKind, text: &str, line: usize) {
        let is_code = !matches!(kind, TokenKind::Space | TokenKind::Comment);
        if is_code && !self.has_code {
            self.has_code = true;
            self.pending.clear();
            self.pending_line = line;
        }
        if self.has_code || kind != TokenKind::Space {
            self.pending.push_str(text);
        }
    }

    fn take(&mut self, expanded: bool) -> Option<Script> {
        let text = std::mem::take(&mut self.pending);
        let had_code = std::mem::take(&mut self.has_code);
        had_code.then(|| Script { text: text.trim_end().to_owned(), line: self.pending_line, expanded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the lines through a splitter and writes its items one a line, the leftover last.
    fn split(input: &str) -> String {
        let mut splitter = Splitter::default();
        let mut items: Vec<Item> = input.lines().flat_map(|line| splitter.push_line(line)).collect();
        items.extend(splitter.finish().map(Item::Statement));
        let shown = items.into_iter().map(|item| match item {
            Item::Statement(script) => {
                format!("{}{}:{}", script.line, if script.expanded { "x" } else { "" }, script.text.replace('\n', "⏎"))
            }
            Item::Command { text, line } => format!("{line}{text}"),
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn statements_end_at_a_semicolon_that_is_one() {
        let cases = [
            ("select 1;", "1:select 1"),
            ("select 1; select\n2;", "1:select 1 | 1:select⏎2"),
            ("select ';' , \";\" -- ;\n;", "1:select ';' , \";\" -- ;"),
            ("select $$;\n;$$;", "1:select $$;⏎;$$"),
            ("select (1;\n2);", "1:select (1;⏎2)"),
            ("-- a comment\n\n/* and ; another */ ;;\n select 1", "4:select 1"),
            ("/* c */ select 'a\n\nb';", "1:select 'a⏎⏎b'"),
            ("/* c\n select 1; */ select 2;", "2:select 2"),
            ("  \n ; ", ""),
            ("select 1\\gx select 2 \\g", "1x:select 1 | 1:select 2"),
            ("select 1; select 'a\n;';", "1:select 1 | 1:select 'a⏎;'"),
            ("select E'\\';';", "1:select E'\\';'"),
            ("select '\\';", "1:select '\\'"),
        ];
        for (input, expected) in cases {
            assert_eq!(split(input), expected, "{input}");
        }
    }

    #[test]
    fn a_command_takes_its_line_and_leaves_the_pending_statement() {
        assert_eq!(split("\\d spans"), "1\\d spans");
        assert_eq!(split("select 1; \\x on"), "1:select 1 | 1\\x on");
        assert_eq!(split("select\n\\timing 'x\n2;"), "2\\timing 'x | 1:select⏎⏎2");
        assert_eq!(split("select '\n\\d\n';"), "1:select '⏎\\d⏎'");
    }

    #[test]
    fn the_prompt_knows_what_is_waited_for() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.waits_for(), None);
        splitter.push_line("-- nothing yet");
        assert_eq!(splitter.waits_for(), None);
        splitter.push_line("select (");
        assert_eq!(splitter.waits_for(), Some(Open::Parenthesis));
        splitter.push_line(")");
        assert_eq!(splitter.waits_for(), Some(Open::Nothing));
        splitter.reset();
        assert_eq!(splitter.waits_for(), None);
        splitter.push_line("/*");
        assert_eq!(splitter.waits_for(), Some(Open::Comment));
    }
}
