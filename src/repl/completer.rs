//! What the Tab key offers, from the text around the cursor and the names there are. Which of these are in sight, the scope tells.

use super::catalog::{Catalog, Relation, SEARCH_PATH};
use super::commands::{self, HELP};
use super::files;
use super::keywords;
use super::lexer::{Open, Scanner, Token, TokenKind};
use super::scope::{Scope, call_around, code, wants_relation};
use super::settings::SETTINGS;
use super::theme::Theme;

/// What may stand at the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where in the line the text begins that a candidate replaces, in bytes.
    pub start: usize,
    pub candidates: Vec<String>,
}

/// Completes `line` at byte `at`; `pending` are the statement's earlier lines.
pub fn complete(catalog: &Catalog, pending: &str, line: &str, at: usize) -> Completion {
    let before = format!("{pending}{}", &line[..at]);
    let mut scanner = Scanner::default();
    let tokens = scanner.scan(&before);
    let from = tokens.iter().rposition(|t| matches!(t.kind, TokenKind::Semicolon | TokenKind::Go)).map_or(0, |i| i + 1);
    let tokens = &tokens[from..];
    if let Some(command) = tokens.last().filter(|token| token.kind == TokenKind::Command) {
        return complete_command(catalog, command.text(&before), at);
    }
    if tokens.last().is_some_and(|token| token.kind == TokenKind::Comment) {
        return Completion { start: at, ..Completion::default() };
    }
    let (prefix, candidates) = match scanner.open() {
        Open::SingleQuote => attribute_keys(catalog, &before, tokens),
        Open::Nothing | Open::Parenthesis => {
            let whole = format!("{before}{}", &line[at..]);
            names(catalog, &before, tokens, &whole)
        }
        Open::DoubleQuote | Open::DollarQuote | Open::Comment => {
            return Completion { start: at, ..Completion::default() };
        }
    };
    Completion { start: at - prefix.len().min(at), candidates: sorted(candidates) }
}

fn sorted(mut candidates: Vec<String>) -> Vec<String> {
    candidates.sort_by_cached_key(|candidate| candidate.to_lowercase());
    candidates.dedup();
    candidates
}

/// Completes a backslash command or its last argument.
fn complete_command(catalog: &Catalog, text: &str, at: usize) -> Completion {
    let prefix_start =
        text.rfind(char::is_whitespace).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    let prefix = &text[prefix_start..];
    let words: Vec<&str> = text[..prefix_start].split_whitespace().collect();
    let offered: Vec<String> = match words.as_slice() {
        [] => {
            let name = |(name, arguments, _): &(&str, &str, &str)| match arguments.is_empty() {
                true => (*name).to_owned(),
                false => format!("{name} "),
            };
            HELP.iter().map(name).collect()
        }
        ["\\d" | "\\d+" | "\\dt" | "\\dt+"] => relation_names(catalog),
        ["\\df"] => {
            let in_from = catalog.table_functions.iter().map(|function| &function.name);
            catalog.functions.iter().chain(in_from).cloned().collect()
        }
        ["\\format"] => commands::formats().map(|format| format.name().to_owned()).collect(),
        ["\\x"] => ["auto", "off", "on"].map(str::to_owned).to_vec(),
        ["\\timing"] => ["off", "on"].map(str::to_owned).to_vec(),
        ["\\trace", _] => vec!["all".to_owned()],
        ["\\o" | "\\out" | "\\i" | "\\include" | "\\e" | "\\edit"] => files::starting_with(prefix),
        ["\\pset"] => SETTINGS.map(str::to_owned).to_vec(),
        ["\\pset", "format"] => commands::formats().map(|format| format.name().to_owned()).collect(),
        ["\\pset", "theme"] => Theme::NAMES.map(str::to_owned).to_vec(),
        ["\\pset", "pager" | "timing"] => ["off", "on"].map(str::to_owned).to_vec(),
        ["\\pset", "x"] => ["auto", "off", "on"].map(str::to_owned).to_vec(),
        ["\\c" | "\\connect"] => ["local", "postgres://"].map(str::to_owned).to_vec(),
        ["\\map"] | ["\\map", _] => ["1h", "1d", "today", "yesterday"].map(str::to_owned).to_vec(),
        ["\\watch", ..] => ["c="].map(str::to_owned).to_vec(),
        ["\\run"] => catalog.questions.iter().map(|question| question.name.clone()).collect(),
        ["\\report"] => catalog.reports.iter().map(|report| report.name.clone()).collect(),
        [command @ ("\\run" | "\\report"), name, given @ ..] => {
            let questions = if *command == "\\run" { &catalog.questions } else { &catalog.reports };
            let question = questions.iter().find(|question| question.name == *name);
            let parameters = question.into_iter().flat_map(|question| &question.parameters);
            let open =
                parameters.filter(|name| !given.iter().any(|text| text.split('=').next() == Some(name.as_str())));
            open.map(|name| format!("{name}=")).collect()
        }
        _ => Vec::new(),
    };
    let candidates = offered.into_iter().filter(|name| starts_with(name, prefix)).collect();
    Completion { start: at - prefix.len(), candidates: sorted(candidates) }
}

/// Completes the key in `attributes['…`.
fn attribute_keys<'a>(catalog: &Catalog, before: &'a str, tokens: &[Token]) -> (&'a str, Vec<String>) {
    let Some((text, earlier)) = tokens.split_last() else { return ("", Vec::new()) };
    let prefix = text.text(before).trim_start_matches('\'');
    let words: Vec<&str> = code(earlier, before).collect();
    let (map, end) = match words.as_slice() {
        [.., map, "["] if map.to_ascii_lowercase().ends_with("attributes") => (*map, "']"),
        [.., map, "-", ">"] | [.., map, "-", ">", ">"] => (*map, "'"),
        _ => return ("", Vec::new()),
    };
    // What is no map of this name may be one by another.
    let is_named = catalog.attribute_keys.iter().any(|key| key.map.eq_ignore_ascii_case(map));
    let keys = catalog.attribute_keys.iter().filter(|key| !is_named || key.map.eq_ignore_ascii_case(map));
    let keys = keys.map(|key| &key.key).filter(|key| key.starts_with(prefix));
    (prefix, keys.map(|key| format!("{key}{end}")).collect())
}

/// Completes a word of SQL.
fn names<'a>(catalog: &Catalog, before: &'a str, tokens: &[Token], whole: &str) -> (&'a str, Vec<String>) {
    let (prefix, earlier) = match tokens.split_last() {
        Some((last, earlier)) if last.kind == TokenKind::Word => (last.text(before), earlier),
        _ => ("", tokens),
    };
    let words: Vec<&str> = code(earlier, before).collect();
    let scope = match call_around(catalog, &words) {
        Some(function) => Scope::within(catalog, function),
        None => Scope::of(catalog, whole),
    };
    let offered = match words.as_slice() {
        [before @ .., qualifier, "."] if wants_relation(before) => scope.relations_of(qualifier),
        [.., qualifier, "."] => scope.below(qualifier),
        [] => keywords::STATEMENTS.iter().map(|word| in_case_of(word, prefix)).collect(),
        [.., "::"] => Vec::new(),
        [word] if ["set", "show", "reset"].iter().any(|known| word.eq_ignore_ascii_case(known)) => {
            catalog.settings.iter().cloned().chain([in_case_of("ALL", prefix)]).collect()
        }
        words if !scope.is_in_call && wants_relation(words) => {
            let schemas = catalog.relations.iter().map(|relation| format!("{}.", relation.schema));
            let functions = catalog.table_functions.iter().map(|function| format!("{}(", function.name));
            let relations = relation_names(catalog).into_iter().chain(schemas);
            relations.chain(functions).chain(scope.ctes.iter().cloned()).collect()
        }
        _ if prefix.is_empty() => scope.columns(),
        _ => {
            let functions = catalog.functions.iter().map(|function| format!("{function}("));
            let words = keywords::all().map(|word| in_case_of(word, prefix));
            scope
                .columns()
                .into_iter()
                .chain(scope.names().filter(|name| name != prefix))
                .chain(functions)
                .chain(words)
                .collect()
        }
    };
    (prefix, offered.into_iter().filter(|name| starts_with(name, prefix)).collect())
}

fn relation_names(catalog: &Catalog) -> Vec<String> {
    let name = |relation: &Relation| match relation.schema == SEARCH_PATH {
        true => relation.name.clone(),
        false => format!("{}.{}", relation.schema, relation.name),
    };
    catalog.relations.iter().map(name).collect()
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A keyword as its user writes keywords: small when the prefix has a small letter.
fn in_case_of(word: &str, prefix: &str) -> String {
    match prefix.contains(|c: char| c.is_ascii_lowercase()) {
        true => word.to_ascii_lowercase(),
        false => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::catalog::{Key, Question, TableFunction};

    fn catalog() -> Catalog {
        let relation = |schema: &str, name: &str, columns: &[&str]| Relation {
            schema: schema.to_owned(),
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let function = |name: &str, parameter: &str, takes_text: bool, columns: &[&str]| TableFunction {
            name: name.to_owned(),
            parameters: vec![parameter.to_owned(), "since".to_owned()],
            takes_text,
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        Catalog {
            relations: vec![
                relation("traces", "spans", &["span_id", "span_name", "service_name", "timestamp"]),
                relation("traces", "events", &["event_name", "span_id"]),
                relation("traces", "traces", &["trace_id", "root_service"]),
                relation("traces", "span_tree", &["span_id", "depth"]),
                relation("information_schema", "tables", &["table_name"]),
            ],
            functions: vec!["quantile".to_owned(), "quantiles".to_owned(), "sum".to_owned()],
            table_functions: vec![
                function("anomalies", "training", false, &["score"]),
                function("critical_path", "id", true, &["service_name", "from_ms"]),
                function("critical_path", "predicate", false, &["service_name", "share"]),
                function("trace_tree", "id", true, &["span"]),
            ],
            questions: vec![Question {
                name: "slow_queries".to_owned(),
                parameters: vec!["since".to_owned(), "top".to_owned()],
            }],
            reports: vec![Question { name: "daily".to_owned(), parameters: vec!["from".to_owned(), "to".to_owned()] }],
            settings: vec!["statement_timeout".to_owned(), "timezone".to_owned()],
            attribute_keys: [
                ("attributes", "http.route"),
                ("attributes", "http.status_code"),
                ("attributes", "db.name"),
                ("resource_attributes", "http.host"),
            ]
            .map(|(map, key)| Key { map: map.to_owned(), key: key.to_owned() })
            .to_vec(),
        }
    }

    /// Completes at the `^` and joins the candidates.
    fn at_caret(pending: &str, line: &str) -> String {
        let at = line.find('^').expect("a caret");
        let line = line.replace('^', "");
        complete(&catalog(), pending, &line, at).candidates.join(" ")
    }

    #[test]
    fn what_fits_the_place_is_offered() {
        let cases = [
            ("sel^", "select"),
            ("SEL^", "SELECT"),
            ("select 1; sho^", "show"),
            (
                "select * from ^",
                "anomalies( critical_path( events information_schema. information_schema.tables span_tree spans trace_tree( traces traces.",
            ),
            ("select * from sp^", "span_tree spans"),
            ("select * from spans s join trace_^", "trace_tree("),
            ("select * from traces.^", "events span_tree spans traces"),
            ("select count(*) from spans s join traces.^", "events span_tree spans traces"),
            ("select traces.r^ from traces", "root_service"),
            ("select s.serv^", "service_name"),
            ("set time^", "timezone"),
            ("show statement_^", "statement_timeout"),
            ("select * from spans s, ev^", "events"),
            ("select * from spans join e^", "events"),
            ("select span_n^ from spans", "span_name"),
            ("select event_n^ from spans", ""),
            ("select event_n^ from spans s join events e on e.x = s.y", "event_name"),
            ("select e.^ from spans s join traces.events as e on true", "event_name span_id"),
            ("select S.sp^ from spans s", "span_id span_name"),
            ("select spans.ti^", "timestamp"),
            ("select information_schema.tables.t^ from information_schema.tables", "table_name"),
            ("select quan^", "quantile( quantiles("),
            ("select * from spans where ^", "service_name span_id span_name timestamp"),
            ("select * from spans whe^", "when where"),
            ("select service_name, ^ from spans", "service_name span_id span_name timestamp"),
            ("with slow as (select 1) select * from sl^", "slow"),
            ("select attributes['http.^'] from spans", "http.route'] http.status_code']"),
            ("select s.resource_attributes['http.^'] from spans s", "http.host']"),
            ("select other_attributes['http.^']", "http.host'] http.route'] http.status_code']"),
            ("select attributes->>'d^", "db.name'"),
            ("select attributes -> 'd^", "db.name'"),
            ("select 1 > 'd^", ""),
            ("select 'sel^", ""),
            ("select 1 -- sel^", ""),
            ("\\t^", "\\tail  \\timing  \\trace "),
            ("select se^ from critical_path(status_code = 'ERROR' and f(1))", "select service_name set"),
            ("select ^ from traces.critical_path(depth = 0)", "service_name share"),
            ("select ^ from critical_path('0af7') where share > 1", "from_ms service_name"),
            ("select fr^ from critical_path($1)", "from from_ms"),
            ("select p.^ from critical_path(a = 'b' or c) as p, spans s", "service_name share"),
            ("select s.ti^ from critical_path(a = 'b' or c) as p, spans s", "timestamp"),
            ("select critical_path.^ from critical_path('a')", "from_ms service_name"),
            ("select * from trace_tree('a') where ^", "span"),
            ("select * from critical_path(^", "depth predicate => since => span_id"),
            ("select * from critical_path(depth = 0, sin^", "since =>"),
            ("select * from spans, traces.critical_path(coalesce(de^", "depth desc"),
            ("select * from anomalies(root_^", "root_service"),
            ("select * from critical_path(depth = 0) where sh^", "share show"),
            ("select count(^ from critical_path(depth = 0)", "service_name share"),
            ("\\df cr^", "critical_path"),
            ("\\d sp^", "span_tree spans"),
            ("\\format n^", "ndjson"),
            ("\\run s^", "slow_queries"),
            ("\\run slow_queries since=1h ^", "top="),
            ("\\report ^", "daily"),
            ("\\report daily f^", "from="),
            ("\\x a^", "auto"),
            ("\\pset t^", "theme timing"),
            ("\\pset theme ^", "auto dark light none"),
            ("\\pset pager o^", "off on"),
            ("\\c l^", "local"),
            ("\\map y^", "yesterday"),
            ("\\fl^", "\\flame "),
        ];
        for (line, expected) in cases {
            assert_eq!(at_caret("", line), expected, "{line}");
        }
    }

    #[test]
    fn earlier_lines_count_and_the_start_is_in_the_line() {
        assert_eq!(at_caret("select *\nfrom spans x\n", "where x.ser^"), "service_name");
        assert_eq!(at_caret("select '\n", "\\d sp^"), "");
        assert_eq!(complete(&catalog(), "select *\n", "from ev", 7).start, 5);
        assert_eq!(complete(&catalog(), "", "é.sp", 5).start, 3);
        assert_eq!(complete(&catalog(), "", "select attributes['http.r", 25).start, 19);
    }
}
