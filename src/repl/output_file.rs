//! `\o FILE`: results in a file, whose ending says in which format.
//!
//! Each result is written whole or not at all. A format whose files hold one result takes one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use datafusion::arrow::datatypes::SchemaRef;
use tempfile::NamedTempFile;

use crate::engine::RowStream;
use crate::error::{Error, Result};
use crate::render::{Format, RenderOptions, write_all};

/// The endings and what they stand for.
const ENDINGS: [(&str, Format); 10] = [
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("ndjson", Format::Ndjson),
    ("jsonl", Format::Ndjson),
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("parquet", Format::Parquet),
    ("txt", Format::Table),
];

/// A file that results go to.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    format: Format,
    results: usize,
}

impl OutputFile {
    /// The file of that name; nothing is written yet.
    pub fn named(name: &str) -> Result<Self> {
        let path = in_home(name);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let Some((_, format)) = ENDINGS.iter().find(|(known, _)| *known == ending) else {
            let known = ENDINGS.map(|(ending, _)| format!(".{ending}")).join(", ");
            return Err(Error::bad_input(format!("\"{name}\" does not say what to write"))
                .with_hint(format!("the name ends in one of {known}")));
        };
        let folder = folder_of(&path);
        if !folder.is_dir() {
            return Err(Error::bad_input(format!("there is no folder {}", folder.display())));
        }
        if path.is_dir() {
            return Err(Error::bad_input(format!("{} is a folder", path.display())));
        }
        Ok(Self { path, format: *format, results: 0 })
    }

    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Writes a result and gives its number of rows.
    pub async fn put(&mut self, schema: SchemaRef, rows: RowStream, options: &RenderOptions) -> Result<u64> {
        let holds_one = matches!(self.format, Format::Json | Format::Parquet | Format::Html);
        if holds_one && self.results > 0 {
            return Err(Error::bad_input(format!("{} holds a result already", self.path.display()))
                .with_hint("\\o names another file, \\o alone shows results here again"));
        }
        let failed = |error: io::Error| Error::io(format!("cannot write {}", self.path.display()), error);
        let beside = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(&self.path))
            .map_err(failed)?;
        let (rows, out) = write_all(self.format, schema, rows, options, BufWriter::new(beside)).await?;
        let beside = out.into_inner().map_err(|error| failed(error.into_error()))?;
        match self.results {
            0 => drop(beside.persist(&self.path).map_err(|error| failed(error.error))?),
            _ => self.append(&beside).map_err(failed)?,
        }
        self.results += 1;
        Ok(rows)
    }

    fn append(&self, beside: &NamedTempFile) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        if self.format == Format::Markdown {
            // Without it two tables are one.
            io::Write::write_all(&mut file, b"\n")?;
        }
        io::copy(&mut File::open(beside.path())?, &mut file).map(drop)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path of a name; `~/` is the user's folder, as in a command line.
pub fn in_home(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (name.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(name),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use futures::stream;

    use super::*;

    async fn put(file: &mut OutputFile, numbers: &[i64]) -> Result<u64> {
        let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let batch = RecordBatch::try_from_iter([("n", column)]).expect("a batch");
        let rows = Box::pin(stream::iter([Ok(batch.clone())]));
        file.put(batch.schema(), rows, &RenderOptions::default()).await
    }

    #[tokio::test]
    async fn results_follow_each_other_where_the_format_allows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("a.csv"), "old").expect("written");
        let mut csv = OutputFile::named(&path("a.csv")).expect("a file");
        assert_eq!(std::fs::read_to_string(path("a.csv")).expect("text"), "old", "nothing is written yet");
        assert_eq!(put(&mut csv, &[1, 2]).await.expect("written"), 2);
        put(&mut csv, &[3]).await.expect("written");
        assert_eq!(std::fs::read_to_string(path("a.csv")).expect("text"), "n\n1\n2\nn\n3\n");
        let mut json = OutputFile::named(&path("a.JSON")).expect("a file");
        put(&mut json, &[1]).await.expect("written");
        assert!(put(&mut json, &[2]).await.expect_err("one only").to_string().ends_with("holds a result already"));
        assert_eq!(std::fs::read_to_string(path("a.JSON")).expect("text").matches('1').count(), 1);
        let mut html = OutputFile::named(&path("a.html")).expect("a file");
        put(&mut html, &[7]).await.expect("written");
        assert!(std::fs::read_to_string(path("a.html")).expect("text").contains(">7<"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3, "nothing is left beside them");
    }

    #[test]
    fn a_name_has_to_say_what_and_where() {
        for name in ["a.xlsx", "a", "", "/no/such/folder/a.csv"] {
            assert!(OutputFile::named(name).is_err(), "{name}");
        }
    }
}
