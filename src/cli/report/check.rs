//! `report check`: every mistake, by file and line.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tempfile::TempDir;

use super::Place;
use crate::cli::exit::Exit;
use crate::cli::output::{say, tell};
use crate::cli::settings::Settings;
use crate::cli::sql::open_engine;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::render::count;
use crate::report::{Definition, Folder, Mistake, SILENCES_FILE, check, doubts, parse_silences};
use crate::store::{Store, StoreSettings};

const EXAMPLES: &str = "\
Examples:
  spanhouse report check
  spanhouse report check daily_service_health slo_burn
  spanhouse report check --reports-dir /etc/spanhouse/reports     in CI, before they are deployed

Reads the headers, binds the parameters, plans the statements against the schema and looks for the columns \
that charts, alerts and recorded tables name. Nothing is run. Without a data directory the schema of an empty \
one is taken.";

/// Tell every mistake in the reports, each with its file and line
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The reports to check instead of all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.place.settings()?;
    let folder = super::folder(&settings)?;
    let (definitions, mut mistakes) = chosen(&folder, &arguments.names)?;
    if arguments.names.is_empty() {
        mistakes.extend(silences(folder.dir())?);
    }
    let schema = Schema::open(&settings).await?;
    let (wrong, mut doubtful) = planned(&folder, &definitions, &schema.engine).await?;
    mistakes.extend(wrong);
    doubtful.extend(definitions.iter().flat_map(doubts));
    schema.close().await?;
    mistakes.sort();
    for doubt in doubtful {
        tell!("warning: {doubt}");
    }
    for mistake in &mistakes {
        tell!("{mistake}");
    }
    match mistakes.len() as u64 {
        0 if definitions.is_empty() => say!("There are no reports in {}.", folder.dir().display())?,
        0 => say!("{} checked: no mistakes.", count(definitions.len() as u64, "report"))?,
        wrong => {
            tell!("{}.", count(wrong, "mistake"));
            return Ok(Exit::Failure);
        }
    }
    Ok(Exit::Success)
}

/// What is wrong with all that is in a folder.
pub(in crate::cli) async fn mistakes_on(folder: &Folder, engine: &Arc<Engine>) -> Result<Vec<Mistake>> {
    let (wrong, _) = planned(folder, &folder.definitions(), engine).await?;
    let mut mistakes = folder.mistakes();
    mistakes.extend(silences(folder.dir())?);
    mistakes.extend(wrong);
    mistakes.sort();
    Ok(mistakes)
}

/// What is wrong with the statements of reports, and what is not there yet but will be.
async fn planned(
    folder: &Folder,
    definitions: &[Definition],
    engine: &Arc<Engine>,
) -> Result<(Vec<Mistake>, Vec<Mistake>)> {
    let (mut mistakes, mut waiting) = (Vec::new(), Vec::new());
    let kept = folder.reports();
    let kept: Vec<&str> = kept.iter().filter_map(|report| Some(report.record.as_ref()?.table.as_str())).collect();
    for definition in definitions {
        let found = check(engine, definition).await?;
        let (later, wrong): (Vec<_>, Vec<_>) = found.into_iter().partition(|mistake| is_kept_later(mistake, &kept));
        mistakes.extend(wrong);
        waiting.extend(later);
    }
    Ok((mistakes, waiting))
}

/// The reports that are to be checked, and what is wrong with them before their statements are looked at.
fn chosen(folder: &Folder, names: &[String]) -> Result<(Vec<Definition>, Vec<Mistake>)> {
    let (all, mistakes) = (folder.definitions(), folder.mistakes());
    if names.is_empty() {
        return Ok((all, mistakes));
    }
    let (mut definitions, mut own) = (Vec::new(), Vec::new());
    for name in names {
        let of_name = |mistake: &&Mistake| mistake.path.file_stem().is_some_and(|stem| stem.to_string_lossy() == *name);
        let wrong: Vec<Mistake> = mistakes.iter().filter(of_name).cloned().collect();
        if wrong.is_empty() {
            definitions.push(folder.find(name)?);
        }
        own.extend(wrong);
    }
    Ok((definitions, own))
}

/// Whether a table is missing that another report will keep once it has run.
fn is_kept_later(mistake: &Mistake, kept: &[&str]) -> bool {
    kept.iter().any(|table| mistake.why.contains(&format!("relation \"reports.{table}\" does not exist")))
}

/// What is wrong with the file of silences, if there is one.
fn silences(dir: &Path) -> Result<Vec<Mistake>> {
    let path = dir.join(SILENCES_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(parse_silences(&path, &text).err().unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::new(Kind::Io, format!("cannot read {}: {error}", path.display()))),
    }
}

/// An engine over the data directory, or over an empty one that goes away again.
struct Schema {
    engine: Arc<Engine>,
    empty: Option<(Arc<Store>, TempDir)>,
}

impl Schema {
    async fn open(settings: &Settings) -> Result<Self> {
        if settings.data_dir.is_dir() {
            return Ok(Self { engine: open_engine(settings).await?, empty: None });
        }
        let dir = tempfile::tempdir().map_err(|error| Error::io("cannot make a temporary folder", error))?;
        let store = Store::open(dir.path(), StoreSettings::default()).await?;
        let engine = Engine::new(store.clone(), settings.engine())?;
        Ok(Self { engine, empty: Some((store, dir)) })
    }

    async fn close(self) -> Result<()> {
        match self.empty {
            Some((store, _dir)) => store.close().await,
            None => Ok(()),
        }
    }
}
