//! `user`, `token` and `tenant`: who may come in, and whose spans they come to.
//!
//! All change one file of the data directory, which a running server reads again within a second or two.

mod password;
mod rights;
mod tenant;
mod token;
mod user;

pub(super) use password::asked_once;
pub(super) use tenant::{Arguments as TenantArguments, run as run_tenant};
pub(super) use token::{Arguments as TokenArguments, run as run_token};
pub(super) use user::{Arguments as UserArguments, run as run_user};

use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::audit;
use super::data::{self, DataDir};
use super::settings::Settings;
use crate::access::{AccessFile, TenantName, not_there};
use crate::error::{Error, Result};

/// The data directory of a command.
struct House(Settings);

impl House {
    /// Notes in the audit log what the command has changed.
    fn note(&self, what: &str, detail: &str) {
        audit::note(&self.0, what, detail);
    }
}

impl Deref for House {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0.data_dir
    }
}

/// That of a command that adds somebody; it may come before the first server.
fn made(data_dir: &DataDir) -> Result<House> {
    let house = House(data_dir.flags().settings()?);
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&*house);
    made.map_err(|error| Error::io(format!("cannot make {}", house.display()), error))?;
    Ok(house)
}

/// That of a command that changes somebody.
fn found(data_dir: &DataDir) -> Result<House> {
    let house = House(data_dir.flags().settings()?);
    data::must_exist(&house)?;
    Ok(house)
}

/// Refuses a tenant that is not there, for one who is to belong to it.
fn must_be_there(file: &AccessFile, tenant: Option<&TenantName>) -> Result<()> {
    match tenant {
        Some(name) if !file.tenants.contains_key(name) => {
            Err(not_there("tenant", name.as_str()).with_hint("`spanhouse tenant add` makes it"))
        }
        _ => Ok(()),
    }
}

/// Whose user or token it is, as a person reads it.
fn of_tenant(tenant: Option<&TenantName>) -> String {
    tenant.map(|name| format!(", of the tenant {name}")).unwrap_or_default()
}

/// Reads a file that holds one secret; `-` is standard input. A line's end after it is not part of it.
pub(super) fn read_secret(path: &Path) -> Result<String> {
    let read = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = read.map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
}
