//! What the writer of a data directory tells its readers about retention.

use std::fs;
use std::io::ErrorKind;
use std::path::Path as FsPath;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Retention, RetentionRule};
use crate::error::{Error, Result};
use crate::store::disk::{Disk, write_whole};

/// Holds the age in milliseconds as a number, or [`Announced`] as JSON when there are rules; not there when everything is kept.
const FILE: &str = "retention";

#[derive(Serialize, Deserialize)]
struct Announced {
    age_ms: Option<u64>,
    rules: Vec<RetentionRule>,
}

/// Makes the retention known to readers of the directory.
pub(crate) fn announce(disk: &dyn Disk, dir: &FsPath, retention: &Retention) -> Result<()> {
    let path = dir.join(FILE);
    let failed = |error| Error::io(path.display(), error);
    let Some(text) = to_text(retention)? else {
        return match disk.remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    };
    write_whole(disk, dir, FILE, &text).map_err(failed)
}

fn to_text(retention: &Retention) -> Result<Option<String>> {
    let age_ms = retention.age.map(|age| age.as_millis().try_into().unwrap_or(u64::MAX));
    if retention.rules.is_empty() {
        return Ok(age_ms.map(|age_ms| age_ms.to_string()));
    }
    let text = serde_json::to_string(&Announced { age_ms, rules: retention.rules.clone() });
    text.map(Some).map_err(|error| Error::internal(error.to_string()))
}

/// What the writer of a data directory announced.
pub fn announced(dir: &FsPath) -> Result<Retention> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Retention::default()),
        other => other.map_err(|error| Error::io(path.display(), error))?,
    };
    let Announced { age_ms, rules } = match text.trim().parse() {
        Ok(age_ms) => Announced { age_ms: Some(age_ms), rules: Vec::new() },
        Err(_) => serde_json::from_str(&text)
            .map_err(|error| Error::corrupt(format!("{} holds no retention: {error}", path.display())))?,
    };
    Ok(Retention { age: age_ms.map(Duration::from_millis), rules })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::OsDisk;

    #[test]
    fn what_is_announced_is_read_back() {
        let dir = tempfile::tempdir().expect("directory");
        let nothing = Retention::default();
        assert_eq!(announced(dir.path()).expect("nothing"), nothing);
        let rule = RetentionRule {
            service: Some("a \"b\"".into()),
            errors: true,
            slower_than: Some(Duration::from_millis(1500)),
            keep: Duration::from_secs(3600),
        };
        for age in [Some(Duration::from_secs(86_400)), Some(Duration::from_millis(7)), None] {
            for rules in [vec![], vec![rule.clone(), rule.clone()], vec![]] {
                let retention = Retention { age, rules };
                announce(&OsDisk, dir.path(), &retention).expect("announced");
                assert_eq!(announced(dir.path()).expect("read"), retention);
            }
        }
        assert!(!dir.path().join(FILE).exists(), "nothing to say");
        fs::write(dir.path().join(FILE), "86400000").expect("written");
        assert_eq!(announced(dir.path()).expect("read").age, Some(Duration::from_secs(86_400)));
        fs::write(dir.path().join(FILE), "soon").expect("written");
        announced(dir.path()).expect_err("no retention");
    }
}
