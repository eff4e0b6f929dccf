//! The file of users and tokens, `access.json` in the data directory: written whole or not at all, and for its owner's eyes only.
//!
//! ```json
//! {
//!   "version": 2,
//!   "mock_key": "…",
//!   "users": { "ada": {
//!     "verifier": "SCRAM-SHA-256$4096:…", "roles": ["reader"],
//!     "rights": { "services": ["cart"], "where": { "deployment.environment": ["prod"] }, "mask": ["user.*"] },
//!     "limits": { "memory_bytes": 134217728, "statement_timeout_ms": 30000, "connections": 10 }
//!   } },
//!   "tokens": { "shop": { "sha256": "…", "role": "ingest", "spans_per_second": 1000 } },
//!   "tenants": { "acme": { "retention": "30d", "spans_per_second": 5000 } }
//! }
//! ```
//!
//! Version 1 had neither rights nor limits, and is read as it is. A program that knows version 1 only reads no other, so that it lets nobody see more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::rights::{Limits, Rights};
use super::role::Role;
use super::scram::{Key, Verifier};
use super::tenant::{TenantEntry, TenantName};
use super::token::Digest;
use crate::error::{Error, Kind, Result};

const FILE: &str = "access.json";
/// Held while a command reads, changes and writes the file.
const LOCK: &str = "access.lock";
const VERSION: u32 = 2;
/// The oldest that is read.
const FIRST_VERSION: u32 = 1;
/// More than this is no such file: some hundred thousand users and tokens.
const MAX_BYTES: u64 = 64 << 20;

/// Users and tokens, as they lie in the data directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessFile {
    version: u32,
    /// What makes the salts of users that are not there, in base64. PostgreSQL has it as `mock_authentication_nonce`.
    mock_key: String,
    #[serde(default)]
    pub users: BTreeMap<String, UserEntry>,
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<TenantName, TenantEntry>,
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    pub verifier: Verifier,
    pub roles: BTreeSet<Role>,
    /// Whose user it is; the default tenant's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// What it sees.
    #[serde(default, skip_serializing_if = "Rights::is_everything")]
    pub rights: Rights,
    /// How much it may take.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl UserEntry {
    /// A user of the default tenant who sees everything.
    pub fn new(verifier: Verifier, roles: BTreeSet<Role>) -> Self {
        Self { verifier, roles, tenant: None, rights: Rights::default(), limits: Limits::default() }
    }

    /// Finds a mistake.
    pub fn check(&self) -> Result<(), String> {
        if self.roles.contains(&Role::Admin) && !self.rights.is_everything() {
            return Err("an admin sees everything: take the role or what it may see".to_owned());
        }
        self.rights.check()?;
        self.limits.check()
    }
}

/// A token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    pub sha256: Digest,
    pub role: Role,
    /// Spans that it may send a second; any number without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans_per_second: Option<u64>,
    /// Whose spans it sends; the default tenant's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
}

impl Default for AccessFile {
    fn default() -> Self {
        let mock_key = BASE64.encode(rand::random::<Key>());
        Self { version: VERSION, mock_key, users: BTreeMap::new(), tokens: BTreeMap::new(), tenants: BTreeMap::new() }
    }
}

impl AccessFile {
    /// Where it lies.
    pub(super) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Reads the file; without one there are no users and no tokens.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] with file and line for what is no such file.
    pub fn read(data_dir: &Path) -> Result<Self> {
        Ok(Self::read_if_there(data_dir)?.unwrap_or_default())
    }

    /// The same, where no file is not one without users.
    pub(super) fn read_if_there(data_dir: &Path) -> Result<Option<Self>> {
        let path = Self::path(data_dir);
        let damaged = |why: String| Error::corrupt(format!("{}: {why}", path.display()));
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(damaged(format!("it is larger than {MAX_BYTES} bytes")));
            }
            _ => {}
        }
        let text = std::fs::read(&path).map_err(|error| Error::io(path.display(), error))?;
        let read: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        read.check().map_err(damaged)?;
        Ok(Some(read))
    }

    /// Changes the file, one command at a time; nothing is written when `change` fails.
    pub fn edit<T>(data_dir: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let lock_path = data_dir.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(|error| Error::io(lock_path.display(), error))?;
        lock.lock().map_err(|error| Error::io(lock_path.display(), error))?;
        let mut file = Self { version: VERSION, ..Self::read(data_dir)? };
        let done = change(&mut file)?;
        file.write(data_dir)?;
        Ok(done)
    }

    fn write(&self, data_dir: &Path) -> Result<()> {
        let path = Self::path(data_dir);
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| Error::internal(error.to_string()))?;
        text.push(b'\n');
        let write = || {
            // Such a file is its owner's alone from the beginning.
            let mut new = tempfile::NamedTempFile::new_in(data_dir)?;
            new.write_all(&text)?;
            new.as_file().sync_all()?;
            new.persist(&path)?;
            File::open(data_dir)?.sync_all()
        };
        write().map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
    }

    /// The key of [`Self::mock_key`].
    pub(super) fn mock_key(&self) -> Option<Key> {
        BASE64.decode(&self.mock_key).ok()?.try_into().ok()
    }

    fn check(&self) -> Result<(), String> {
        if !(FIRST_VERSION..=VERSION).contains(&self.version) {
            return Err(format!("it has version {}, and this program reads up to version {VERSION}", self.version));
        }
        for (name, user) in &self.users {
            user.check().map_err(|why| format!("user \"{name}\": {why}"))?;
        }
        match self.mock_key() {
            Some(_) => Ok(()),
            None => Err("its mock_key must be 32 bytes in base64".to_owned()),
        }
    }
}

/// Whether a user can have this name: clients send it in a header with `:` behind it, and in a message that ends with a NUL.
pub fn user_name_is_good(name: &str) -> bool {
    /// PostgreSQL's names have at most these.
    const MOST_BYTES: usize = 63;
    (1..=MOST_BYTES).contains(&name.len()) && !name.contains(|c: char| c == ':' || c.is_control())
}

/// The error for what is not there.
pub fn not_there(what: &str, name: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no {what} \"{name}\""))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::access::token::NewToken;

    fn user(password: &str) -> UserEntry {
        UserEntry::new(Verifier::of_password(password), BTreeSet::from([Role::Reader]))
    }

    #[test]
    fn what_is_written_is_read_and_only_its_owner_may() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(AccessFile::read(folder.path()).expect("none").users.is_empty());
        let token = NewToken::new("shop");
        AccessFile::edit(folder.path(), |file| {
            file.users.insert("ada".into(), user("secret"));
            let entry =
                TokenEntry { sha256: token.digest, role: Role::Ingest, spans_per_second: Some(5), tenant: None };
            file.tokens.insert("shop".into(), entry);
            Ok(())
        })
        .expect("written");
        let read = AccessFile::read(folder.path()).expect("read");
        assert!(read.users["ada"].verifier.fits("secret"));
        assert!(read.tokens["shop"].sha256.is(&token.digest) && read.tokens["shop"].spans_per_second == Some(5));
        let path = AccessFile::path(folder.path());
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let lock = std::fs::metadata(folder.path().join(LOCK)).expect("a file").permissions().mode();
        assert_eq!(lock & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(!text.contains("secret") && !text.contains(&token.text), "neither password nor token is at rest");
        let refused = AccessFile::edit(folder.path(), |file| {
            file.users.clear();
            Err::<(), _>(not_there("user", "eve"))
        });
        assert_eq!(refused.expect_err("refused").kind, Kind::NotFound);
        let again = AccessFile::read(folder.path()).expect("read");
        assert_eq!(again.users.len(), 1, "a change that fails changes nothing");
        assert_eq!(again.mock_key, read.mock_key, "those who are not there keep their salts");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 2, "no partial file is left: {left:?}");
    }

    #[test]
    fn damage_is_told_with_file_and_line() {
        let folder = tempfile::tempdir().expect("a folder");
        AccessFile::edit(folder.path(), |file| Ok(file.users.insert("ada".into(), user("x")))).expect("written");
        let path = AccessFile::path(folder.path());
        let good = std::fs::read_to_string(&path).expect("text");
        for (from, to, told) in [
            ("\"reader\"", "\"root\"", "unknown variant `root`"),
            ("SCRAM-SHA-256$", "md5", "a verifier must look like"),
            ("\"roles\"", "\"rolls\"", "unknown field `rolls`"),
            ("\"version\": 2", "\"version\": 3", "it has version 3"),
            ("\"roles\": [", "\"rights\": {\"services\": []}, \"roles\": [", "user \"ada\": services must name some"),
            (
                "\"roles\": [",
                "\"rights\": {\"mask\": [\"x\"]}, \"roles\": [\"admin\",",
                "user \"ada\": an admin sees everything",
            ),
            ("\"roles\": [", "\"limits\": {\"connections\": 0}, \"roles\": [", "limits must be above zero"),
            ("\"tokens\": {}", "\"tokens\": {", "EOF while parsing"),
            ("\"tokens\": {}", "\"tokens\": {}, \"tenants\": {\"../x\": {}}", "cannot be a tenant's name"),
            ("\"mock_key\": \"", "\"mock_key\": \"?", "its mock_key must be"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            std::fs::write(&path, bad).expect("written");
            let error = AccessFile::read(folder.path()).expect_err(to);
            assert_eq!(error.kind, Kind::Corrupt);
            assert!(error.message.contains("access.json: ") && error.message.contains(told), "{error}");
            assert!(!matches!(to, "\"root\"" | "md5") || error.message.contains(" line "), "{error}");
            AccessFile::edit(folder.path(), |_| Ok(())).expect_err("a damaged file is not replaced");
        }
    }

    #[test]
    fn names_go_over_every_wire() {
        for good in ["ada", "Ada Lovelace", "é", "a@b"] {
            assert!(user_name_is_good(good), "{good}");
        }
        for bad in ["", "a:b", "a\0", "a\n", &"x".repeat(64)] {
            assert!(!user_name_is_good(bad), "{bad:?}");
        }
    }
}
