//! The line in colours as it is typed.

use super::catalog::{Catalog, SEARCH_PATH};
use super::commands::sql_after;
use super::keywords;
use super::lexer::{Scanner, Token, TokenKind};
use super::text::{Palette, Style};

/// The line with colours; `scanner` knows what is open before it. A function or relation has a colour only when there is one of that name.
pub fn highlight(line: &str, scanner: &mut Scanner, catalog: &Catalog, palette: Palette) -> String {
    let mut out = String::with_capacity(2 * line.len());
    push(line, scanner, catalog, palette, &mut out);
    out
}

fn push(line: &str, scanner: &mut Scanner, catalog: &Catalog, palette: Palette, out: &mut String) {
    let tokens = scanner.scan(line);
    let code: Vec<&Token> =
        tokens.iter().filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment)).collect();
    for token in &tokens {
        let text = token.text(line);
        if token.kind == TokenKind::Command {
            // What follows some commands is SQL.
            let (name, rest) = text.split_at(sql_after(text).unwrap_or(text.len()));
            Style::Bold.paint(name, palette, out);
            if !rest.is_empty() {
                push(rest, &mut Scanner::default(), catalog, palette, out);
            }
            continue;
        }
        let at = code.iter().position(|other| other.start == token.start);
        let near = |offset: isize| {
            let place = at.and_then(|at| at.checked_add_signed(offset));
            place.and_then(|place| code.get(place)).map_or("", |token| token.text(line))
        };
        style(token.kind, text, near(-1), near(1), catalog).paint(text, palette, out);
    }
}

/// The style of a token between two others.
fn style(kind: TokenKind, text: &str, before: &str, after: &str, catalog: &Catalog) -> Style {
    match kind {
        TokenKind::Comment => Style::Dim,
        TokenKind::Text => Style::Text,
        TokenKind::Number => Style::Number,
        TokenKind::Command | TokenKind::Go => Style::Bold,
        TokenKind::Word if after == "(" && is_function(text, catalog) => Style::Function,
        TokenKind::Word if is_relation(text, before, after, catalog) => Style::Relation,
        TokenKind::Word if before != "." && keywords::is_keyword(text) => Style::Keyword,
        _ => Style::Plain,
    }
}

fn is_function(name: &str, catalog: &Catalog) -> bool {
    let in_from = catalog.table_functions.iter().map(|function| &function.name);
    catalog.functions.iter().chain(in_from).any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a word is a relation's name where one may stand, or a schema's before one.
fn is_relation(name: &str, before: &str, after: &str, catalog: &Catalog) -> bool {
    let follows = |word: &str| before.eq_ignore_ascii_case(word);
    let stands = after == "." || [",", ".", "from", "join"].into_iter().any(follows);
    let is_name = |known: &str| known.eq_ignore_ascii_case(name);
    let mut relations = catalog.relations.iter();
    match before {
        _ if !stands => false,
        "." => relations.any(|relation| is_name(&relation.name)),
        "," => relations.any(|relation| relation.schema == SEARCH_PATH && is_name(&relation.name)),
        _ => relations.any(|relation| is_name(&relation.name) || is_name(&relation.schema)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::catalog::Relation;

    fn catalog() -> Catalog {
        let relation = Relation { schema: "traces".to_owned(), name: "spans".to_owned(), columns: Vec::new() };
        Catalog { relations: vec![relation], functions: vec!["count".to_owned()], ..Catalog::default() }
    }

    fn dark(line: &str, scanner: &mut Scanner) -> String {
        highlight(line, scanner, &catalog(), Palette::Dark)
    }

    #[test]
    fn each_part_has_its_colour() {
        let coloured = dark("select 'a', 1, count(name) from traces.spans -- done", &mut Scanner::default());
        let expected = "\x1b[1;94mselect\x1b[0m \x1b[32m'a'\x1b[0m, \x1b[36m1\x1b[0m, \x1b[33mcount\x1b[0m(name) \x1b[1;94mfrom\x1b[0m \
                        \x1b[95mtraces\x1b[0m.\x1b[95mspans\x1b[0m \x1b[2m-- done\x1b[0m";
        assert_eq!(coloured, expected);
        let light = highlight("select 1", &mut Scanner::default(), &catalog(), Palette::Light);
        assert_eq!(light, "\x1b[1;34mselect\x1b[0m \x1b[35m1\x1b[0m");
    }

    #[test]
    fn what_is_open_goes_on_and_what_is_unknown_is_plain() {
        let mut open = Scanner::default();
        open.scan("select 'a");
        assert_eq!(dark("from' from", &mut open), "\x1b[32mfrom'\x1b[0m \x1b[1;94mfrom\x1b[0m");
        assert_eq!(dark("cuont(spans) from spns", &mut Scanner::default()), "cuont(spans) \x1b[1;94mfrom\x1b[0m spns");
        assert_eq!(dark("\\flame a = 1", &mut Scanner::default()), "\x1b[1m\\flame \x1b[0ma = \x1b[36m1\x1b[0m");
        assert_eq!(dark("\\d 1", &mut Scanner::default()), "\x1b[1m\\d 1\x1b[0m");
    }

    #[test]
    fn without_colours_the_line_is_as_it_is_and_with_them_its_text_is() {
        for line in ["é'ü", "\\", "$$", "a.b.c(", "\\hist x 'y", "/* 日", "select \"a"] {
            assert_eq!(highlight(line, &mut Scanner::default(), &catalog(), Palette::Plain), line);
            let coloured = dark(line, &mut Scanner::default());
            let pieces = coloured.split('\x1b').enumerate();
            let text: String = pieces
                .map(|(at, piece)| if at == 0 { piece } else { piece.split_once('m').map_or("", |it| it.1) })
                .collect();
            assert_eq!(text, line);
        }
    }
}
