//! A data file that is not where a snapshot has it: most often another process has deleted it, because it left the table.

use std::error::Error as StdError;

use datafusion::object_store::Error as StoreError;
use parquet::errors::ParquetError;

use super::DataFile;

/// Where a data file was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile<'a>(&'a str);

/// The data file that an error is about, when it is that there is no such file.
pub fn missing_file<'a>(error: &'a (dyn StdError + 'static)) -> Option<MissingFile<'a>> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(path) = path_of(error) {
            return Some(MissingFile(path));
        }
        cause = error.source();
    }
    None
}

fn path_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a str> {
    if let Some(StoreError::NotFound { path, .. }) = error.downcast_ref() {
        return Some(path);
    }
    // DataFusion makes a text of what keeps it from a file's footer.
    let Some(ParquetError::General(text)) = error.downcast_ref() else { return None };
    let (_, rest) = text.split_once("Object at location ")?;
    rest.split_once(" not found").map(|(path, _)| path)
}

impl MissingFile<'_> {
    /// The same as an error of its own, in which it is found again.
    pub fn to_error(&self) -> StoreError {
        StoreError::NotFound { path: self.0.to_owned(), source: "it is not there".into() }
    }

    /// Whether it is this one: object stores tell a path or a whole URL, and a name is given once only.
    pub fn is(&self, file: &DataFile) -> bool {
        file.location.filename().is_some_and(|name| self.0.ends_with(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn a_missing_file_is_found_below_whatever_lies_around_it() {
        let missing = || StoreError::NotFound { path: "/a/b/spans-1.parquet".into(), source: "gone".into() };
        let wrapped = Error::new(Kind::Io, "x").with_source(ParquetError::External(Box::new(missing())));
        assert_eq!(missing_file(&wrapped), Some(MissingFile("/a/b/spans-1.parquet")));
        assert_eq!(missing_file(&missing()), Some(MissingFile("/a/b/spans-1.parquet")));
        let footer =
            ParquetError::General(format!("Failed to fetch metadata for file x: Object Store error: {}", missing()));
        assert_eq!(missing_file(&footer), Some(MissingFile("/a/b/spans-1.parquet")));
        assert_eq!(missing_file(&ParquetError::General("no magic".into())), None);
        assert_eq!(missing_file(&Error::new(Kind::NotFound, "no such thing")), None);
    }
}
