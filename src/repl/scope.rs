//! What names the text of a statement has in sight at the cursor: relations, aliases, names that WITH defines, a function's parameters.
//!
//! The text is seldom a whole statement, so that it is read as words and not parsed.

use super::catalog::{Catalog, SEARCH_PATH, TableFunction};
use super::keywords;
use super::lexer::{Token, TokenKind};

/// The relations that a statement names.
pub struct Scope<'a> {
    catalog: &'a Catalog,
    /// A name or alias with the columns of what it stands for.
    named: Vec<(String, &'a [String])>,
    /// Names that WITH defines.
    pub ctes: Vec<String>,
    /// Whether arguments of a function in FROM are being written, whose parameters are these.
    pub is_in_call: bool,
    parameters: &'a [String],
}

impl<'a> Scope<'a> {
    fn empty(catalog: &'a Catalog) -> Self {
        Self { catalog, named: Vec::new(), ctes: Vec::new(), is_in_call: false, parameters: &[] }
    }

    /// What may stand among the arguments of a function.
    pub fn within(catalog: &'a Catalog, function: &'a TableFunction) -> Self {
        let relation = catalog.relation(None, conditions_on(function));
        let named = relation.map(|relation| (relation.name.clone(), relation.columns.as_slice()));
        Self {
            named: named.into_iter().collect(),
            is_in_call: true,
            parameters: &function.parameters,
            ..Self::empty(catalog)
        }
    }

    pub fn of(catalog: &'a Catalog, text: &str) -> Self {
        let tokens = super::lexer::tokens(text);
        let words: Vec<&str> = code(&tokens, text).collect();
        let mut scope = Self::empty(catalog);
        let mut in_from = false;
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let lower = word.to_ascii_lowercase();
            at += 1;
            match lower.as_str() {
                "from" | "join" => {
                    in_from = true;
                    at += scope.add_relation(&words[at..]);
                }
                "," if in_from => at += scope.add_relation(&words[at..]),
                "as" if words.get(at) == Some(&"(") && at > 1 => scope.ctes.push(words[at - 2].to_owned()),
                "as" | "." | "," | "on" | "using" | "left" | "right" | "inner" | "full" | "cross" | "outer" => {}
                _ if keywords::is_keyword(&lower) => in_from = false,
                _ => {}
            }
        }
        scope
    }

    /// Reads `[schema.]name [[AS] alias]`, or a call of a function before the alias, at the start of `words`. Gives how many of these to pass
    /// over: the arguments of a call are no part of the statement's own list.
    fn add_relation(&mut self, words: &[&str]) -> usize {
        let (schema, name, rest) = match words {
            [schema, ".", name, rest @ ..] => (Some(*schema), *name, rest),
            [name, rest @ ..] => (None, *name, rest),
            [] => return 0,
        };
        let (columns, known, rest) = match rest {
            ["(", arguments @ ..] => {
                let Some(function) = called(self.catalog, name, arguments.first()) else { return 0 };
                (function.columns.as_slice(), function.name.as_str(), after_arguments(arguments))
            }
            _ => {
                let Some(relation) = self.catalog.relation(schema.map(unquoted), unquoted(name)) else { return 0 };
                (relation.columns.as_slice(), relation.name.as_str(), rest)
            }
        };
        let alias = match rest {
            [as_word, alias, ..] if as_word.eq_ignore_ascii_case("as") => Some(*alias),
            [alias, ..] if alias.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"') => Some(*alias),
            _ => None,
        };
        let alias = alias.filter(|alias| !keywords::is_keyword(alias)).map(unquoted);
        self.named.push((alias.unwrap_or(known).to_owned(), columns));
        words.len() - rest.len()
    }

    /// What may follow `qualifier.`: columns of a relation, or relations of a schema.
    pub fn below(&self, qualifier: &str) -> Vec<String> {
        let qualifier = unquoted(qualifier);
        if let Some((_, columns)) = self.named.iter().find(|(name, _)| name.eq_ignore_ascii_case(qualifier)) {
            return columns.to_vec();
        }
        let names = self.relations_of(qualifier);
        if !names.is_empty() {
            return names;
        }
        // Before FROM is written, an alias is likely one of the spans.
        let relation = self.catalog.relation(None, qualifier);
        let relation = relation.or_else(|| self.catalog.relation(None, "spans").filter(|_| self.named.is_empty()));
        relation.map(|relation| relation.columns.clone()).unwrap_or_default()
    }

    /// The relations of a schema.
    pub fn relations_of(&self, schema: &str) -> Vec<String> {
        let schema = unquoted(schema);
        let relations = self.catalog.relations.iter().filter(|relation| relation.schema.eq_ignore_ascii_case(schema));
        relations.map(|relation| relation.name.clone()).collect()
    }

    /// The columns of all named relations; before FROM is written, those of the spans. Among arguments, also the parameters that have not come.
    pub fn columns(&self) -> Vec<String> {
        let spans = self.catalog.relation(None, "spans").filter(|_| self.named.is_empty());
        let spans = spans.map(|relation| relation.columns.as_slice());
        let columns = self.named.iter().map(|(_, columns)| *columns).chain(spans).flatten().cloned();
        columns.chain(self.parameters.iter().map(|parameter| format!("{parameter} =>"))).collect()
    }

    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.named.iter().map(|(name, _)| name.clone()).chain(self.ctes.iter().cloned())
    }
}

/// Whether a relation's name comes next: after FROM or JOIN, or a comma in a list after FROM.
pub fn wants_relation(words: &[&str]) -> bool {
    let is = |word: &str, keyword: &str| word.eq_ignore_ascii_case(keyword);
    match words {
        [.., word] if is(word, "from") || is(word, "join") => true,
        [earlier @ .., ","] => {
            let last_clause = earlier.iter().rev().find(|word| keywords::is_keyword(word) && !is(word, "as"));
            last_clause.is_some_and(|word| is(word, "from"))
        }
        _ => false,
    }
}

/// The function in FROM whose arguments are being written.
pub fn call_around<'a>(catalog: &'a Catalog, words: &[&str]) -> Option<&'a TableFunction> {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate().rev() {
        match *word {
            ")" => depth += 1,
            "(" if depth > 0 => depth -= 1,
            "(" => {
                let (name, before) = words[..at].split_last()?;
                let before = match before {
                    [before @ .., schema, "."] if schema.eq_ignore_ascii_case(SEARCH_PATH) => before,
                    before => before,
                };
                if let Some(function) = called(catalog, name, words.get(at + 1)).filter(|_| wants_relation(before)) {
                    return Some(function);
                }
            }
            _ => {}
        }
    }
    None
}

/// The function of a name in FROM, by the first word of its arguments.
fn called<'a>(catalog: &'a Catalog, name: &str, argument: Option<&&str>) -> Option<&'a TableFunction> {
    let is_text = argument.is_some_and(|word| word.starts_with(['\'', '$']));
    let mut of_name = catalog.table_functions.iter().filter(|it| it.name.eq_ignore_ascii_case(unquoted(name)));
    let first = of_name.clone().next();
    of_name.find(|function| function.takes_text == is_text).or(first)
}

/// The relation whose columns the conditions of a function name.
fn conditions_on(function: &TableFunction) -> &'static str {
    if function.name == "anomalies" { "traces" } else { "span_tree" }
}

/// What follows the parenthesis that closes a list of arguments.
fn after_arguments<'a, 'b>(words: &'b [&'a str]) -> &'b [&'a str] {
    let mut depth = 1_usize;
    for (at, word) in words.iter().enumerate() {
        match *word {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &words[at + 1..];
        }
    }
    &[]
}

/// The texts of tokens that are neither space nor comment.
pub fn code<'a>(tokens: &[Token], text: &'a str) -> impl Iterator<Item = &'a str> {
    let code = tokens.iter().filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment));
    code.map(|token| token.text(text)).collect::<Vec<_>>().into_iter()
}

fn unquoted(name: &str) -> &str {
    name.trim_matches('"')
}
