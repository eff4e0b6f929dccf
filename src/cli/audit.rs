//! `audit`: whether the audit log is whole. What it says is in `system.audit`.

use std::path::Path;

use clap::{Args, Subcommand};

use super::data::{self, DataDir};
use super::exit::Exit;
use super::os_user::os_user;
use super::output::{say, tell};
use super::settings::Settings;
use crate::audit::{Audit, Broken, Verified, Who, folder, verify};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse audit verify
  spanhouse audit verify --expect 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  spanhouse sql \"SELECT * FROM system.audit ORDER BY n DESC LIMIT 20\"

Each line of the log has the hash of the one before, so that the last hash stands for all of them. Keep it elsewhere from \
time to time: whoever can write the files could also make a new chain, but not one with that hash in it.";

/// Check the audit log
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Go through the chain of hashes, and tell the first line that breaks it; a server may run meanwhile
    Verify {
        /// A hash that was noted before, which must be that of a line of the log
        #[arg(long, value_name = "HASH")]
        expect: Option<String>,
        #[command(flatten)]
        data_dir: DataDir,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    let Command::Verify { expect, data_dir } = &arguments.command;
    let settings = data_dir.flags().settings()?;
    data::must_exist(&settings.data_dir)?;
    let Some(checked) = verify(&folder(&settings.data_dir), expect.as_deref())? else {
        say!("there is no audit log in {}", settings.data_dir.display())?;
        return Ok(if expect.is_some() { Exit::Failure } else { Exit::Success });
    };
    match checked {
        Ok(verified) => tell_whole(&verified, expect.is_some()),
        Err(Broken { file, line, why }) => {
            tell!("{}:{line}: {why}", file.display());
            Ok(Exit::Damaged)
        }
    }
}

fn tell_whole(verified: &Verified, is_expected: bool) -> Result<Exit> {
    let Verified { files, lines, first, last, hash, is_unfinished, has_expected } = verified;
    say!("{lines} lines in {files} files, {first} to {last}, are a whole chain; the last hash is {hash}")?;
    if *first > 1 {
        say!("lines before {first} were removed for their age")?;
    }
    if *is_unfinished {
        say!("a line is being written, or was when its process died; the next start cuts it off")?;
    }
    if is_expected && !has_expected {
        tell!("no line has the expected hash: it is of a line that was removed, or this is another chain");
        return Ok(Exit::Damaged);
    }
    Ok(Exit::Success)
}

/// Notes what a command did to a data directory, also beside a server. It is done by then: what cannot be noted is told.
pub(super) fn note(settings: &Settings, what: &str, detail: &str) {
    if let Err(error) = try_note(settings, what, detail) {
        tell!("the audit log has no line about this: {error}");
    }
}

fn try_note(settings: &Settings, what: &str, detail: &str) -> Result<(), Error> {
    let audit = Audit::open(settings.home(), settings.audit())?;
    audit.act(&Who { user: os_user(), tenant: settings.tenant(), ..Who::default() }, what, detail);
    Ok(())
}

/// Shows the audit log of a data directory in `system.audit`.
pub(super) fn show_in(engine: &crate::engine::Engine, data_dir: &Path) {
    engine.show_audit(folder(data_dir));
}
