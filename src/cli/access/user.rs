//! `user`: who may log in, and what each may do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::password::new_password;
use super::{found, made};
use crate::access::{AccessFile, Role, UserEntry, Verifier, not_there, user_name_is_good};
use crate::cli::data::DataDir;
use crate::cli::exit::{Exit, usage};
use crate::cli::output::{say, tell};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse user add ada --role reader
  spanhouse user add grafana --role reader --password-file /run/secrets/grafana
  spanhouse user grant ada ingest
  psql \"host=spans.example.com port=5433 user=ada dbname=spanhouse sslmode=verify-full sslrootcert=system\"

Roles: reader asks statements, ingest sends spans (as basic authentication), admin may do both. The password is \
asked for, or comes from --password-file or SPANHOUSE_PASSWORD; kept is a SCRAM-SHA-256 verifier only.

As soon as there is one user, every PostgreSQL client has to log in. A running server knows of a change within \
two seconds; sessions that are open stay so.";

/// Let people log in: add, change and list users
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a user
    Add {
        name: String,
        /// What it may do: reader, ingest or admin; may be given more than once
        #[arg(long = "role", value_name = "ROLE", default_value = "reader")]
        roles: Vec<Role>,
        #[command(flatten)]
        password: PasswordFile,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Give a user another password
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordFile,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Let a user do more
    Grant {
        name: String,
        #[arg(required = true, value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Let a user do less
    Revoke {
        name: String,
        #[arg(required = true, value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Remove a user
    Drop {
        name: String,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// List users and their roles
    List {
        #[command(flatten)]
        data_dir: DataDir,
    },
}

/// Where a new password comes from.
#[derive(Debug, Args)]
struct PasswordFile {
    /// Take the password from this file; - is standard input [env: SPANHOUSE_PASSWORD holds the password itself]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(in crate::cli) fn run(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::Add { name, roles, password, data_dir } => {
            add(&made(&data_dir)?, &name, roles.into_iter().collect(), &password)
        }
        Command::Passwd { name, password, data_dir } => passwd(&found(&data_dir)?, &name, &password),
        Command::Grant { name, roles, data_dir } => {
            change_roles(&found(&data_dir)?, &name, |has| has.extend(roles.iter().copied()))
        }
        Command::Revoke { name, roles, data_dir } => {
            change_roles(&found(&data_dir)?, &name, |has| has.retain(|role| !roles.contains(role)))
        }
        Command::Drop { name, data_dir } => drop_user(&found(&data_dir)?, &name),
        Command::List { data_dir } => list(&found(&data_dir)?),
    }
}

fn add(data_dir: &Path, name: &str, roles: BTreeSet<Role>, password: &PasswordFile) -> Result<Exit> {
    if !user_name_is_good(name) {
        let message =
            format!("\"{}\" cannot be a user's name: give up to 63 bytes, without \":\"", name.escape_default());
        return Err(usage(Error::bad_input(message)));
    }
    let exists = || {
        Error::bad_input(format!("there is a user \"{name}\" already; `spanhouse user passwd` changes the password"))
    };
    if AccessFile::read(data_dir)?.users.contains_key(name) {
        return Err(exists());
    }
    let verifier = Verifier::of_password(&new_password(name, password.password_file.as_deref())?);
    let told = names(&roles);
    let is_first = AccessFile::edit(data_dir, |file| {
        let is_first = file.users.is_empty();
        match file.users.insert(name.to_owned(), UserEntry::new(verifier, roles)) {
            None => Ok(is_first),
            Some(_) => Err(exists()),
        }
    })?;
    say!("{name} is a user now, with {told}")?;
    if is_first {
        tell!("From now on every PostgreSQL client has to log in.");
    }
    Ok(Exit::Success)
}

fn passwd(data_dir: &Path, name: &str, password: &PasswordFile) -> Result<Exit> {
    if !AccessFile::read(data_dir)?.users.contains_key(name) {
        return Err(not_there("user", name));
    }
    let verifier = Verifier::of_password(&new_password(name, password.password_file.as_deref())?);
    change(data_dir, name, |user| user.verifier = verifier)?;
    say!("{name} has a new password")?;
    Ok(Exit::Success)
}

fn change_roles(data_dir: &Path, name: &str, change_them: impl FnOnce(&mut BTreeSet<Role>)) -> Result<Exit> {
    let roles = change(data_dir, name, |user| {
        change_them(&mut user.roles);
        user.roles.clone()
    })?;
    say!("{name} has {} now", names(&roles))?;
    Ok(Exit::Success)
}

fn change<T>(data_dir: &Path, name: &str, change_it: impl FnOnce(&mut UserEntry) -> T) -> Result<T> {
    AccessFile::edit(data_dir, |file| match file.users.get_mut(name) {
        Some(user) => Ok(change_it(user)),
        None => Err(not_there("user", name)),
    })
}

fn drop_user(data_dir: &Path, name: &str) -> Result<Exit> {
    let left = AccessFile::edit(data_dir, |file| match file.users.remove(name) {
        Some(_) => Ok(file.users.len()),
        None => Err(not_there("user", name)),
    })?;
    say!("{name} is no user any more")?;
    if left == 0 {
        tell!("There is no user left: every PostgreSQL client of this machine is let in without a password.");
    }
    Ok(Exit::Success)
}

fn list(data_dir: &Path) -> Result<Exit> {
    let file = AccessFile::read(data_dir)?;
    if file.users.is_empty() {
        tell!("There are no users: PostgreSQL clients of this machine are let in without a password.");
    }
    for (name, user) in &file.users {
        say!("{name}: {}", names(&user.roles))?;
    }
    Ok(Exit::Success)
}

/// Roles as a person reads them.
fn names(roles: &BTreeSet<Role>) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    match &names[..] {
        [] => "no role".to_owned(),
        [one] => format!("the role {one}"),
        many => format!("the roles {}", many.join(", ")),
    }
}
