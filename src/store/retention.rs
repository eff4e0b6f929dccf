//! Retention by age: which spans no statement sees any more, and which files nobody needs.
//!
//! A span has expired when its start is older than the retention at the moment the statement's snapshot is taken. Files lie within one day,
//! so a file is dropped whole, a day after its first span expired at the latest.

use std::fs;
use std::io::ErrorKind;
use std::path::Path as FsPath;
use std::time::Duration;

use datafusion::object_store::path::Path;

use super::DataFile;
use super::disk::Disk;
use crate::error::{Error, Result};

/// Tells readers of the data directory what the writer's retention is, in milliseconds; not there without one.
const FILE: &str = "retention";

/// The start before which spans have expired.
pub(crate) fn expired_before_ns(retention: Duration, now_unix_ms: i64) -> i64 {
    let before_ns = i128::from(now_unix_ms) * 1_000_000 - retention.as_nanos() as i128;
    before_ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// The files all of whose spans have expired.
pub(crate) fn expired_files(files: &[DataFile], before_ns: i64) -> Vec<Path> {
    files.iter().filter(|file| file.max_start_ns < before_ns).map(|file| file.location.clone()).collect()
}

/// Makes the retention known to readers of the directory.
pub(crate) fn announce(disk: &dyn Disk, dir: &FsPath, retention: Option<Duration>) -> Result<()> {
    let path = dir.join(FILE);
    let failed = |error| Error::io(path.display(), error);
    let Some(retention) = retention else {
        return match disk.remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    };
    let temporary = dir.join(".retention.tmp");
    // What an earlier crash left there is no longer of use.
    let _ = disk.remove_file(&temporary);
    let mut file = disk.create_new(&temporary).map_err(failed)?;
    let text = retention.as_millis().to_string();
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
    disk.rename(&temporary, &path).and_then(|()| disk.sync_dir(dir)).map_err(failed)
}

/// What the writer of a data directory announced.
pub fn announced(dir: &FsPath) -> Result<Option<Duration>> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| Error::io(path.display(), error))?,
    };
    let millis = text.trim().parse().map_err(|_| Error::corrupt(format!("{} holds no number", path.display())))?;
    Ok(Some(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::OsDisk;

    #[test]
    fn the_cutoff_is_exact_and_never_wraps() {
        for (retention_s, now_ms, before_ns) in [
            (1, 1_000, 0),
            (1, 1_500, 500_000_000),
            (0, 7, 7_000_000),
            (u64::MAX, 0, i64::MIN),
            (0, i64::MAX, i64::MAX),
        ] {
            assert_eq!(
                expired_before_ns(Duration::from_secs(retention_s), now_ms),
                before_ns,
                "{retention_s} {now_ms}"
            );
        }
    }

    #[test]
    fn what_is_announced_is_read_back() {
        let dir = tempfile::tempdir().expect("directory");
        assert_eq!(announced(dir.path()).expect("nothing"), None);
        for retention in [Some(Duration::from_secs(86_400)), Some(Duration::from_millis(7)), None, None] {
            announce(&OsDisk, dir.path(), retention).expect("announced");
            assert_eq!(announced(dir.path()).expect("read"), retention);
        }
    }
}
