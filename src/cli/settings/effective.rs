//! Which value counts: a pure function from the sources to the settings, or to every mistake.

use std::fmt;
use std::path::PathBuf;

use super::file::FileText;
use super::keys::KEYS;
use super::valid::Wrong;
use super::whole::Settings;
use crate::typed::nearest;

/// Variables that begin like a setting's and are not one.
const OTHER_VARIABLES: [&str; 5] =
    ["SPANHOUSE_CONFIG", "SPANHOUSE_SHARED_DATA", "SPANHOUSE_FAILPOINT", "SPANHOUSE_PASSWORD", "SPANHOUSE_TOKEN"];

/// What the user gave.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Sources {
    pub(in crate::cli) flags: Vec<(&'static str, String)>,
    /// The variables that begin with `SPANHOUSE_`.
    pub(in crate::cli) environment: Vec<(String, String)>,
    pub(in crate::cli) file: Option<FileText>,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    Flag(String),
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => write!(f, "{name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => write!(f, "default"),
        }
    }
}

/// One mistake: where, which key, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Mistake {
    pub(in crate::cli) place: Place,
    pub(in crate::cli) key: Option<&'static str>,
    pub(in crate::cli) why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.key) {
            (Place::File { .. } | Place::Default, Some(key)) => write!(f, "{}: {key}: {}", self.place, self.why),
            _ => write!(f, "{}: {}", self.place, self.why),
        }
    }
}

/// The settings, with each value's text and place in the order of [`KEYS`].
#[derive(Debug)]
pub(in crate::cli) struct Effective {
    pub(in crate::cli) settings: Settings,
    pub(in crate::cli) values: Vec<(&'static str, String, Place)>,
}

/// Picks each setting's value by flag, environment, file, default, and checks all of them.
pub(in crate::cli) fn resolve(sources: &Sources) -> Result<Effective, Vec<Mistake>> {
    let (file_values, mut mistakes) = sources.file.as_ref().map(FileText::values).unwrap_or_default();
    mistakes.extend(sources.environment.iter().filter_map(|(name, _)| misspelt_variable(name)));
    let mut settings = Settings::default();
    let mut values = Vec::new();
    for key in &KEYS {
        // Values that a stronger source hides are checked too: they will count one day.
        let flag = sources.flags.iter().find(|(name, _)| *name == key.name);
        let variable = sources.environment.iter().find(|(name, _)| *name == key.variable());
        let in_file = file_values.iter().find(|(name, ..)| *name == key.name);
        let candidates = [
            flag.map(|(_, text)| (text.clone(), Place::Flag(key.flag.to_owned()))),
            variable.map(|(name, text)| (text.clone(), Place::Variable(name.clone()))),
            in_file.map(|(_, text, place)| (text.clone(), place.clone())),
            Some((key.default.to_owned(), Place::Default)),
        ];
        let candidates: Vec<_> = candidates.into_iter().flatten().collect();
        for (text, place) in candidates.iter().rev() {
            if let Err(why) = (key.set)(&mut settings, text) {
                mistakes.push(Mistake { place: place.clone(), key: Some(key.name), why });
            }
        }
        if let Some((text, place)) = candidates.into_iter().next() {
            values.push((key.name, text, place));
        }
    }
    let unread: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.key).collect();
    let is_read = |wrong: &Wrong| !unread.contains(&wrong.key) && wrong.with.is_none_or(|with| !unread.contains(&with));
    let wrong: Vec<Wrong> = settings.validate().into_iter().filter(is_read).collect();
    mistakes.extend(wrong.into_iter().map(|wrong| misplaced(wrong, &values)));
    if mistakes.is_empty() { Ok(Effective { settings, values }) } else { Err(mistakes) }
}

/// The mistake with its place; of two keys the one that the user gave is at fault.
fn misplaced(wrong: Wrong, values: &[(&'static str, String, Place)]) -> Mistake {
    let place_of = |name| values.iter().find(|(key, ..)| *key == name).map_or(Place::Default, |value| value.2.clone());
    let key = match wrong.with {
        Some(with) if place_of(wrong.key) == Place::Default => with,
        _ => wrong.key,
    };
    Mistake { place: place_of(key), key: Some(key), why: wrong.why }
}

/// A variable's name without what all of them begin with.
fn own(variable: &str) -> &str {
    variable.strip_prefix("SPANHOUSE_").unwrap_or(variable)
}

/// A variable that is nearly a setting's; one that is nothing like it is left to others.
fn misspelt_variable(name: &str) -> Option<Mistake> {
    let known: Vec<String> = KEYS.iter().map(super::Key::variable).collect();
    if known.iter().any(|variable| variable == name) || OTHER_VARIABLES.contains(&name) {
        return None;
    }
    let near = nearest(name, known.iter().map(String::as_str))?;
    // What all names begin with makes none of them like another.
    let why = match nearest(own(name), std::iter::once(own(near))) {
        Some(_) => format!("there is no such setting: did you mean {near}?"),
        None => "there is no such setting; `spanhouse config show` lists those that there are".to_owned(),
    };
    Some(Mistake { place: Place::Variable(name.to_owned()), key: None, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::Listen;

    fn file(text: &str) -> Option<FileText> {
        Some(FileText { path: "spanhouse.toml".into(), text: text.to_owned() })
    }

    fn mistakes(sources: &Sources) -> Vec<String> {
        resolve(sources).expect_err("mistakes").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_strongest_source_wins_and_is_named() {
        let sources = Sources {
            flags: vec![("postgres", "127.0.0.1:1".into())],
            environment: vec![
                ("SPANHOUSE_POSTGRES".into(), "127.0.0.1:2".into()),
                ("SPANHOUSE_LOG".into(), "warn".into()),
            ],
            file: file("postgres = \"127.0.0.1:3\"\nlog = \"debug\"\nlog_format = \"json\"\n"),
        };
        let effective = resolve(&sources).expect("right");
        assert_eq!(effective.settings.postgres, Listen::At { host: "127.0.0.1".into(), port: 1 });
        let shown = |name| {
            let (_, text, place) = effective.values.iter().find(|value| value.0 == name).expect("a setting");
            format!("{text} {place}")
        };
        assert_eq!(shown("postgres"), "127.0.0.1:1 --postgres");
        assert_eq!(shown("log"), "warn SPANHOUSE_LOG");
        assert_eq!(shown("log_format"), "json spanhouse.toml:3");
        assert_eq!(shown("data_dir"), "./spanhouse-data default");
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let sources = Sources {
            flags: vec![],
            environment: vec![
                ("SPANHOUSE_POSTGRESS".into(), "x".into()),
                ("SPANHOUSE_OTLP_HTTP".into(), "nowhere".into()),
            ],
            file: file("postgras = \"127.0.0.1:3\"\n\nseal_after = 60\nquery_memory = [1]\n"),
        };
        let told = mistakes(&sources);
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(told[0], "spanhouse.toml:1: there is no setting postgras: did you mean postgres?");
        assert!(told[1].starts_with("spanhouse.toml:4: query_memory: its value must be text"), "{told:?}");
        assert_eq!(told[2], "SPANHOUSE_POSTGRESS: there is no such setting: did you mean SPANHOUSE_POSTGRES?");
        assert!(told[3].starts_with("SPANHOUSE_OTLP_HTTP: \"nowhere\" is not an address"), "{told:?}");
        assert!(told[4].starts_with("spanhouse.toml:3: seal_after: \"60\" is not a duration"), "{told:?}");
    }

    #[test]
    fn values_are_checked_together_too() {
        let sources = Sources {
            flags: vec![("postgres", "0.0.0.0:5433".into()), ("otlp_http", "127.0.0.1:4317".into())],
            ..Sources::default()
        };
        let told = mistakes(&sources);
        assert_eq!(told[0], "--otlp-http: otlp_http has the same address as otlp_grpc");
        assert!(told[1].starts_with("--postgres: other machines reach it"), "{told:?}");
    }

    #[test]
    fn what_other_machines_reach_is_encrypted_unless_that_is_not_meant() {
        let told = |flags: &[(&'static str, &str)]| {
            let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
            let resolved = resolve(&Sources { flags, ..Sources::default() });
            resolved.err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let (cert, key) = (("tls_cert", "a.crt"), ("tls_key", "a.key"));
        let open = ("otlp_grpc", "0.0.0.0:4317");
        for right in [
            &[open, cert, key][..],
            &[open, ("plaintext", "anywhere")],
            &[("plaintext", "never"), cert, key],
            &[cert, key, ("tls_client_ca", "ca.crt")],
        ] {
            assert_eq!(told(right), "", "{right:?}");
        }
        for (wrong, why) in [
            (&[open][..], "--otlp-grpc: other machines reach it"),
            (&[("postgres", "[::]:5433")], "--postgres: other machines reach it"),
            (&[cert], "--tls-cert: tls_cert needs tls_key"),
            (&[key], "--tls-key: tls_key needs tls_cert"),
            (&[("tls_client_ca", "ca.crt")], "--tls-client-ca: tls_client_ca needs tls_cert"),
            (&[("plaintext", "never")], "--plaintext: with plaintext never, nobody could come in"),
            (&[("plaintext", "yes")], "--plaintext: \"yes\" is none of never, loopback and anywhere"),
        ] {
            let told = told(wrong);
            assert!(told.starts_with(why) && told.lines().count() == 1, "{wrong:?}: {told}");
        }
    }

    #[test]
    fn retention_rules_are_text_or_tables_and_are_shown_as_text_that_gives_the_same() {
        let tables = "retention = \"30d\"\n[[retention_rules]]\nerrors = true\nkeep = \"90d\"\n[[retention_rules]]\nservice = 'a \"b; c'\nslower_than = \"2s\"\nkeep = \"1h\"\n";
        let effective = resolve(&Sources { file: file(tables), ..Sources::default() }).expect("right");
        let rules = effective.settings.store().retention.rules;
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[1].service.as_deref(), Some("a \"b; c"));
        let (_, text, place) = effective.values.iter().find(|value| value.0 == "retention_rules").expect("a setting");
        assert_eq!(place.to_string(), "spanhouse.toml:2");
        let again = Sources { flags: vec![("retention_rules", text.clone())], ..Sources::default() };
        assert_eq!(resolve(&again).expect("right").settings.store().retention.rules, rules);

        for (table, why) in [
            ("keep = 5\nerrors = true", "rule 1: keep: \"5\" is not a duration"),
            ("keep = \"1d\"\nerors = true", "rule 1: there is no condition \"erors\": did you mean errors?"),
            ("keep = [1]", "its value must be text"),
        ] {
            let told =
                mistakes(&Sources { file: file(&format!("[[retention_rules]]\n{table}\n")), ..Sources::default() });
            assert!(told[0].starts_with(&format!("spanhouse.toml:1: retention_rules: {why}")), "{told:?}");
        }
    }

    #[test]
    fn a_number_is_no_directory() {
        let told = mistakes(&Sources { file: file("data_dir = 5\nlog = \"info\"\n"), ..Sources::default() });
        assert_eq!(told, ["spanhouse.toml:1: data_dir: its value must be text in quotes"]);
    }

    #[test]
    fn one_mistake_hides_no_other() {
        let flags = [
            ("data_dir", ""),
            ("fresh_memory", "1KiB"),
            ("log_size", "1B"),
            ("otlp_http", "127.0.0.1:9"),
            ("postgres", "127.0.0.1:9"),
        ];
        let flags = flags.map(|(name, text)| (name, text.to_owned())).to_vec();
        let told = mistakes(&Sources { flags, ..Sources::default() });
        let wanted = [
            "--data-dir: a data directory needs a name",
            "--fresh-memory: 1KiB is too little: give at least 16MiB",
            "--log-size: 1B is too little: give at least 128MiB",
            "--postgres: postgres has the same address as otlp_http",
            "--fresh-memory: max_request_size (64MiB) is more than fresh_memory (1KiB), so the largest requests would never be taken",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_compared() {
        let flags = vec![("otlp_http", "127.0.0.1:4317".to_owned()), ("otlp_grpc", "nowhere".to_owned())];
        assert_eq!(mistakes(&Sources { flags, ..Sources::default() }).len(), 1);
        let file = file("max_request_size = \"1GiB\"\n");
        let told = mistakes(&Sources { file, ..Sources::default() });
        assert!(told[0].starts_with("spanhouse.toml:1: max_request_size: max_request_size (1GiB) is more"), "{told:?}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_told_by_line() {
        let told = mistakes(&Sources { file: file("log = \"info\"\npostgres = 127.0.0.1:5\n"), ..Sources::default() });
        assert!(told[0].starts_with("spanhouse.toml:2: this is not TOML"), "{told:?}");
    }
}
