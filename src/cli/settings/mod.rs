//! What a user may set, from four places: a flag, the environment, one TOML file, a default; the first that speaks wins.
//!
//! One table, [`KEYS`], names every setting once; flags, variables, file keys, help and checks all come from it, and a value is read
//! by the same parser wherever it stands. All mistakes are found at once.

mod effective;
mod file;
mod keys;
mod log_filter;
mod machine;
mod rules;
mod tenant;
mod valid;
mod values;
mod whole;

pub(super) use effective::{Effective, Mistake, Place, Sources, resolve};
pub(super) use file::FileText;
pub(super) use keys::{KEYS, Key};
pub(super) use log_filter::log_filter;
pub(super) use rules::parse_rules;
pub(super) use tenant::{MOST_WITH_CACHES, parse_retention, tenant_dir};
pub(super) use values::{Listen, LogFormat};
pub(super) use whole::Settings;

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::error::{Error, Result};

/// The settings file that is read when no other is named.
pub(super) const DEFAULT_FILE: &str = "spanhouse.toml";

/// The flags of all settings, and `--config`.
#[derive(Debug, Clone, Default)]
pub(super) struct SettingFlags {
    pub(super) given: Vec<(&'static str, String)>,
    pub(super) config: Option<PathBuf>,
}

impl SettingFlags {
    /// The effective settings, or every mistake in them.
    pub(super) fn resolve(&self) -> Result<std::result::Result<Effective, Vec<Mistake>>> {
        let file = match &self.config {
            Some(path) => Some(FileText::read(path)?),
            None => match std::env::var_os("SPANHOUSE_CONFIG") {
                Some(path) => Some(FileText::read(Path::new(&path))?),
                None if Path::new(DEFAULT_FILE).exists() => Some(FileText::read(Path::new(DEFAULT_FILE))?),
                None => None,
            },
        };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with("SPANHOUSE_"))
            .collect();
        Ok(resolve(&Sources { flags: self.given.clone(), environment, file }))
    }

    /// The effective settings; mistakes become one error that lists them.
    pub(super) fn settings(&self) -> Result<Settings> {
        self.resolve()?.map(|effective| effective.settings).map_err(|mistakes| listed(&mistakes))
    }
}

/// All mistakes as one error.
fn listed(mistakes: &[Mistake]) -> Error {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    let message = match &lines[..] {
        [one] => one.clone(),
        many => format!("{} settings are wrong:\n  {}", many.len(), many.join("\n  ")),
    };
    Error::bad_input(message).with_sqlstate(INVALID_SETTING)
}

/// The SQLSTATE of a wrong setting, by which the exit code is chosen.
pub(super) const INVALID_SETTING: &str = "22023";

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("Settings file [env: SPANHOUSE_CONFIG] [default: {DEFAULT_FILE} if it is there]"));
        command.arg(config).args(KEYS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flag of one setting.
fn flag(key: &'static Key) -> Arg {
    let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
    Arg::new(key.name)
        .long(key.flag)
        .value_name(key.value_name)
        .help(format!("{} [env: {}]{default}", key.help, key.variable()))
        .help_heading(key.heading)
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let given = KEYS.iter().filter_map(|key| {
            let value = matches.try_get_one::<String>(key.name).ok().flatten()?;
            Some((key.name, value.clone()))
        });
        Ok(Self { given: given.collect(), config: matches.get_one::<PathBuf>("config").cloned() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
