//! Where the table lies when that is not the data directory: the URL a user gives, and the record of it in the directory.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use datafusion::object_store::ObjectStoreScheme;
use url::Url;

use super::disk::{Disk, write_whole};
use crate::error::{Error, Kind, Result};

/// The file of a data directory that holds the URL of its table; not there when the table lies in the directory.
const FILE: &str = "table-url";
const FORMS: &str = "write s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX or file:///DIRECTORY";

/// The URL of a table: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix` or `file:///directory`, and their kin. Holds no
/// secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUrl {
    url: Url,
    scheme: ObjectStoreScheme,
}

impl TableUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Kind::BadInput`] that says which forms there are.
    pub fn parse(text: &str) -> Result<Self> {
        // The text is not repeated before it is known to hold no password.
        let wrong = |why: &str| Error::bad_input(format!("the table's URL {why}: {FORMS}"));
        let mut url = Url::parse(text).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
        let is_azure = matches!(url.scheme(), "az" | "azure" | "adl" | "abfs" | "abfss");
        if url.password().is_some() || (!url.username().is_empty() && !is_azure) || url.query().is_some() {
            return Err(wrong("may not hold credentials, which are taken from the environment"));
        }
        if url.fragment().is_some() {
            return Err(wrong("ends in a fragment"));
        }
        if url.scheme() == "file" && url.host_str().is_some() {
            return Err(wrong("names a directory on another machine"));
        }
        let is_bucket = is_azure || matches!(url.scheme(), "s3" | "s3a" | "gs");
        if is_bucket && url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("names no bucket"));
        }
        if !is_bucket && url.scheme() != "file" {
            return Err(wrong(&format!("has the scheme {}, which is not known", url.scheme())));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let (scheme, _) = ObjectStoreScheme::parse(&url).map_err(|error| wrong(&format!("is wrong ({error})")))?;
        if scheme == ObjectStoreScheme::Local && path.is_empty() {
            return Err(wrong("names no directory"));
        }
        Ok(Self { url, scheme })
    }

    /// The directory, when the URL names one.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        (self.scheme == ObjectStoreScheme::Local).then(|| self.url.to_file_path().ok()).flatten()
    }

    pub(crate) fn scheme(&self) -> &ObjectStoreScheme {
        &self.scheme
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for TableUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// The URL of the table of `dir`, as it was first opened; `None` when it lies in the directory.
pub(crate) fn recorded(dir: &Path) -> Result<Option<TableUrl>> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => TableUrl::parse(text.trim())
            .map(Some)
            .map_err(|error| Error::corrupt(format!("{} does not hold the URL of a table: {error}", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path.display(), error)),
    }
}

/// The URL of the table of `dir`: the given one for a directory that was never opened, and otherwise the one that it was opened with.
///
/// # Errors
/// [`Kind::Denied`] when the directory has its table elsewhere: its log continues that table and no other.
pub(crate) fn choose(dir: &Path, given: Option<&TableUrl>, is_new: bool) -> Result<Option<TableUrl>> {
    if is_new {
        return Ok(given.cloned());
    }
    let recorded = recorded(dir)?;
    match given {
        Some(given) if recorded.as_ref() != Some(given) => {
            let has = recorded.map_or_else(|| "in the directory itself".to_owned(), |url| format!("at {url}"));
            let text = format!("the data directory {} has its table {has}, not at {given}", dir.display());
            Err(Error::new(Kind::Denied, text)
                .with_sqlstate("55000")
                .with_hint("leave the table's URL out, or give another --data-dir: a new one opens any table"))
        }
        _ => Ok(recorded),
    }
}

/// Records where a new directory has its table.
pub(crate) fn record(disk: &dyn Disk, dir: &Path, url: Option<&TableUrl>) -> Result<()> {
    match url {
        Some(url) => write_whole(disk, dir, FILE, format!("{url}\n")).map_err(|error| Error::io(dir.display(), error)),
        // An attempt with a URL may have come as far as to record it.
        None => match disk.remove_file(&dir.join(FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(dir.display(), error)),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::OsDisk;

    #[test]
    fn urls_of_tables_are_read_and_others_refused_without_their_secrets() {
        for (text, shown) in [
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("s3a://bucket", "s3a://bucket"),
            ("gs://bucket/a", "gs://bucket/a"),
            ("az://container/a", "az://container/a"),
            ("abfss://files@account.dfs.core.windows.net/a", "abfss://files@account.dfs.core.windows.net/a"),
            ("file:///var/lib/table", "file:///var/lib/table"),
        ] {
            assert_eq!(TableUrl::parse(text).expect(text).to_string(), shown);
        }
        let directory = TableUrl::parse("file:///var/my%20table").expect("a directory").directory();
        assert_eq!(directory.as_deref(), Some(Path::new("/var/my table")));
        for (text, why) in [
            ("bucket/prefix", "cannot be read"),
            ("s3:///prefix", "names no bucket"),
            ("ftp://host/a", "scheme ftp"),
            ("https://host/a", "scheme https"),
            ("memory:///", "scheme memory"),
            ("file:///", "names no directory"),
            ("file://host/a", "another machine"),
            ("s3://key:hush@bucket/a", "credentials"),
            ("s3://hush@bucket/a", "credentials"),
            ("az://bucket/a?sig=hush", "credentials"),
            ("s3://bucket/a#b", "fragment"),
        ] {
            let error = TableUrl::parse(text).expect_err(text).to_string();
            assert!(error.contains(why) && error.contains("s3://BUCKET"), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_directory_keeps_the_table_that_it_was_made_with() {
        let dir = tempfile::tempdir().expect("directory");
        let choose = |given: Option<&TableUrl>, is_new| choose(dir.path(), given, is_new);
        let (a, b) = (TableUrl::parse("s3://bucket/a").expect("a"), TableUrl::parse("s3://bucket/b").expect("b"));
        assert_eq!(choose(None, true).expect("local"), None);
        assert_eq!(choose(Some(&a), false).expect_err("it has a local table").kind, Kind::Denied);
        record(&OsDisk, dir.path(), Some(&b)).expect("recorded");
        assert_eq!(choose(Some(&a), true).expect("never opened with b"), Some(a.clone()));
        record(&OsDisk, dir.path(), None).expect("recorded");
        assert_eq!(choose(None, false).expect("local"), None);
        record(&OsDisk, dir.path(), Some(&a)).expect("recorded");
        for given in [None, Some(&a)] {
            assert_eq!(choose(given, false).expect("the same"), Some(a.clone()));
        }
        let error = choose(Some(&b), false).expect_err("another");
        assert!(error.message.contains("has its table at s3://bucket/a, not at s3://bucket/b"), "{error}");
    }
}
