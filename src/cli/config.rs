//! `config`: check and show the settings.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::output::{say, tell};
use super::settings::{Effective, KEYS, Mistake, SettingFlags};
use crate::error::Result;
use crate::render::count;

/// Check or show the settings
///
/// A setting comes from its flag, else its environment variable, else the
/// settings file, else its default. The file is spanhouse.toml in the working
/// directory unless --config or SPANHOUSE_CONFIG names another; it is TOML with
/// one key a setting:
///
///   data_dir = "/var/lib/spanhouse"
///   otlp_grpc = "127.0.0.1:4317"
///   seal_after = "60s"
///
/// Rules of retention may be tables, [[retention_rules]], with service, errors,
/// slower_than and keep.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell every mistake in the settings, each with its file and line, variable or flag
    Check {
        /// The settings file to check instead of the one that serve would read
        file: Option<PathBuf>,
        #[command(flatten)]
        flags: SettingFlags,
    },
    /// Print every setting with its value and where it comes from
    Show {
        #[command(flatten)]
        flags: SettingFlags,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    let (flags, show) = match &arguments.command {
        Command::Check { file: Some(file), flags } => {
            (SettingFlags { config: Some(file.clone()), ..flags.clone() }, false)
        }
        Command::Check { file: None, flags } => (flags.clone(), false),
        Command::Show { flags } => (flags.clone(), true),
    };
    match flags.resolve()? {
        Err(mistakes) => {
            report(&mistakes);
            Ok(Exit::Usage)
        }
        Ok(effective) => {
            match show {
                true => print(&effective)?,
                false => say!("The settings are right.")?,
            }
            Ok(Exit::Success)
        }
    }
}

fn report(mistakes: &[Mistake]) {
    for mistake in mistakes {
        tell!("{mistake}");
    }
    tell!("{}.", count(mistakes.len() as u64, "mistake"));
}

/// Prints the settings as a file that would give them, each line with its origin.
fn print(effective: &Effective) -> Result<()> {
    let line = |(name, text, _): &(&str, String, _)| format!("{name} = \"{}\"", text.escape_default());
    let width = effective.values.iter().map(|value| line(value).len()).max().unwrap_or(0);
    for value in &effective.values {
        say!("{:width$}  # {}", line(value), value.2)?;
    }
    debug_assert_eq!(effective.values.len(), KEYS.len(), "each setting has a value");
    Ok(())
}
