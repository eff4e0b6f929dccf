//! `report init`: the ready-made reports, to begin with.

use std::path::Path;

use clap::Args;

use super::Place;
use crate::cli::exit::Exit;
use crate::cli::output::say;
use crate::error::Result;
use crate::render::count;
use crate::report::library::{READY_MADE, init};

const EXAMPLES: &str = "\
Examples:
  spanhouse report init --list
  spanhouse report init daily_service_health slo_burn
  spanhouse report init

What is copied is yours: change the schedule, add a delivery, take out what you do not need. A file that is \
there already is never overwritten.";

/// Copy ready-made reports into the folder of reports
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The reports to copy; all that are not there yet when none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only say which there are
    #[arg(long, conflicts_with = "names")]
    list: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    if arguments.list {
        return list();
    }
    let dir = arguments.place.settings()?.reports_dir;
    let names = match arguments.names.as_slice() {
        [] => missing(&dir),
        names => names.iter().map(String::as_str).collect(),
    };
    let written = init(&dir, &names)?;
    for path in &written {
        say!("{}", path.display())?;
    }
    match written.first().and_then(|path| path.file_stem()) {
        None => say!("All ready-made reports are in {} already.", dir.display())?,
        Some(first) => say!(
            "{} in {}. Try one with `spanhouse report run {}`; a running server runs those that have a schedule.",
            count(written.len() as u64, "new report"),
            dir.display(),
            first.display()
        )?,
    }
    Ok(Exit::Success)
}

/// The ready-made reports that the folder does not have.
fn missing(dir: &Path) -> Vec<&'static str> {
    let is_missing = |name: &&str| !dir.join(format!("{name}.sql")).exists();
    READY_MADE.iter().map(|report| report.name).filter(is_missing).collect()
}

fn list() -> Result<Exit> {
    let width = READY_MADE.iter().map(|report| report.name.len()).max().unwrap_or(0);
    for report in READY_MADE {
        say!("{:width$}  {}", report.name, report.title())?;
    }
    Ok(Exit::Success)
}
