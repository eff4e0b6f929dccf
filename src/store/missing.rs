//! A data file that is not where a snapshot has it: most often another process has deleted it, because it left the table.

use std::error::Error as StdError;

use datafusion::object_store::Error as StoreError;

use super::DataFile;

/// Where a data file was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile<'a>(&'a str);

/// The data file that an error is about, when it is that there is no such file.
pub fn missing_file<'a>(error: &'a (dyn StdError + 'static)) -> Option<MissingFile<'a>> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(StoreError::NotFound { path, .. }) = error.downcast_ref() {
            return Some(MissingFile(path));
        }
        cause = error.source();
    }
    None
}

impl MissingFile<'_> {
    /// Whether it is this one: object stores tell a path or a whole URL, and a name is given once only.
    pub fn is(&self, file: &DataFile) -> bool {
        file.location.filename().is_some_and(|name| self.0.ends_with(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use parquet::errors::ParquetError;

    #[test]
    fn a_missing_file_is_found_below_whatever_lies_around_it() {
        let missing = || StoreError::NotFound { path: "/a/b/spans-1.parquet".into(), source: "gone".into() };
        let wrapped = Error::new(Kind::Io, "x").with_source(ParquetError::External(Box::new(missing())));
        assert_eq!(missing_file(&wrapped), Some(MissingFile("/a/b/spans-1.parquet")));
        assert_eq!(missing_file(&missing()), Some(MissingFile("/a/b/spans-1.parquet")));
        assert_eq!(missing_file(&Error::new(Kind::NotFound, "no such thing")), None);
    }
}
