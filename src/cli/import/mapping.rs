//! What the user says of a table's columns: pairs on the command line, or a file of them.

use std::path::Path;

use clap::Args;

use crate::cli::exit;
use crate::error::{Error, Result};
use crate::formats::columns::Mapping;

/// The flags that name columns.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct MapFlags {
    /// What the columns of a table are: COLUMN=FIELD, several with commas between them; a * ends both for all that begin so
    #[arg(long, value_name = "COLUMN=FIELD", value_delimiter = ',', conflicts_with = "map_file")]
    map: Vec<String>,
    /// The same as a TOML file of lines such as trace = "trace_id"
    #[arg(long, value_name = "FILE")]
    map_file: Option<std::path::PathBuf>,
}

impl MapFlags {
    /// The mapping that was given, if one was.
    pub(in crate::cli) fn mapping(&self) -> Result<Option<Mapping>> {
        if let Some(path) = &self.map_file {
            let named = |error: Error| exit::usage(Error::bad_input(format!("{}: {error}", path.display())));
            return read(path)?.map_err(named).map(Some);
        }
        if self.map.is_empty() {
            return Ok(None);
        }
        let pair = |text: &String| match text.rsplit_once('=') {
            Some((column, field)) => Ok((column.trim().to_owned(), field.trim().to_owned())),
            None => Err(exit::usage(Error::bad_input(format!("--map {text}: write COLUMN=FIELD")))),
        };
        let pairs = self.map.iter().map(pair).collect::<Result<Vec<_>>>()?;
        Mapping::given(pairs).map_err(exit::usage).map(Some)
    }
}

/// Reads the file; the inner error is one of what it says.
fn read(path: &Path) -> Result<Result<Mapping>> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
    let table: toml::Table = match toml::from_str(&text) {
        Ok(table) => table,
        Err(error) => return Ok(Err(Error::bad_input(error.to_string()))),
    };
    let pairs: Result<Vec<(String, String)>> = table
        .into_iter()
        .map(|(column, field)| match field {
            toml::Value::String(field) => Ok((column, field)),
            other => Err(Error::bad_input(format!("{column} = {other}: write what of a span it is, in quotes"))),
        })
        .collect();
    Ok(pairs.and_then(Mapping::given))
}
