//! `user`: who may log in, and what each may do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::password::new_password;
use super::rights::{LimitFlags, SeesFlags, told};
use super::{House, found, made, must_be_there, of_tenant};
use crate::access::{AccessFile, Rights, Role, TenantName, UserEntry, Verifier, not_there, user_name_is_good};
use crate::cli::data::DataDir;
use crate::cli::exit::{Exit, usage};
use crate::cli::output::{say, tell};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse user add ada --role reader
  spanhouse user add grafana --role reader --password-file /run/secrets/grafana
  spanhouse user grant ada ingest
  spanhouse user grant guest --services cart,checkout --where deployment.environment=prod --mask 'user.*'
  spanhouse user set guest --statement-timeout 30s --memory-limit 128MiB --max-connections 5
  psql \"host=spans.example.com port=5433 user=ada dbname=spanhouse sslmode=verify-full sslrootcert=system\"

Roles: reader asks statements, ingest sends spans (as basic authentication), admin may do both. The password is \
asked for, or comes from --password-file or SPANHOUSE_PASSWORD; kept is a SCRAM-SHA-256 verifier only.

A user sees all spans until it is granted some: of some services, of resources with some attributes (all conditions hold), \
without the values of some attributes. It then reads neither the schema system nor the schema reports.

As soon as there is one user, every PostgreSQL client has to log in. A running server knows of a change within \
two seconds, and holds sessions that are open to it from their next statement on.";

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
        /// The tenant whose spans it comes to; the default one's without it
        #[arg(long, value_name = "TENANT")]
        tenant: Option<TenantName>,
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
    /// Let a user do more, or see some spans only
    Grant {
        name: String,
        #[arg(value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        sees: SeesFlags,
        /// All spans again, and the values of all attributes
        #[arg(long, conflicts_with_all = ["services", "conditions", "masks"])]
        all_spans: bool,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Let a user do less, or take back what it was granted to see
    Revoke {
        name: String,
        #[arg(value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        sees: SeesFlags,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Limit what a user may take
    Set {
        name: String,
        #[command(flatten)]
        limits: LimitFlags,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Remove a user
    Drop {
        name: String,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// List users, their roles, and what they see and may take
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
        Command::Add { name, roles, tenant, password, data_dir } => {
            add(&made(&data_dir)?, &name, (roles.into_iter().collect(), tenant), &password)
        }
        Command::Passwd { name, password, data_dir } => passwd(&found(&data_dir)?, &name, &password),
        Command::Grant { name, roles, sees, all_spans, data_dir } => {
            some(!roles.is_empty() || !sees.is_empty() || all_spans, "a role, or what the user sees")?;
            change_standing(&found(&data_dir)?, ("user grant", &name), |user| {
                user.roles.extend(roles);
                if all_spans {
                    user.rights = Rights::default();
                }
                sees.grant(user)
            })
        }
        Command::Revoke { name, roles, sees, data_dir } => {
            some(!roles.is_empty() || !sees.is_empty(), "a role, or what the user sees")?;
            change_standing(&found(&data_dir)?, ("user revoke", &name), |user| {
                user.roles.retain(|role| !roles.contains(role));
                sees.revoke(user)
            })
        }
        Command::Set { name, limits, data_dir } => {
            some(!limits.is_empty(), "a limit")?;
            change_standing(&found(&data_dir)?, ("user set", &name), |user| limits.set(user))
        }
        Command::Drop { name, data_dir } => drop_user(&found(&data_dir)?, &name),
        Command::List { data_dir } => list(&found(&data_dir)?),
    }
}

fn add(
    house: &House,
    name: &str,
    (roles, tenant): (BTreeSet<Role>, Option<TenantName>),
    password: &PasswordFile,
) -> Result<Exit> {
    if !user_name_is_good(name) {
        let message =
            format!("\"{}\" cannot be a user's name: give up to 63 bytes, without \":\"", name.escape_default());
        return Err(usage(Error::bad_input(message)));
    }
    let exists = || {
        Error::bad_input(format!("there is a user \"{name}\" already; `spanhouse user passwd` changes the password"))
    };
    let before = AccessFile::read(house)?;
    if before.users.contains_key(name) {
        return Err(exists());
    }
    must_be_there(&before, tenant.as_ref())?;
    let verifier = Verifier::of_password(&new_password(name, password.password_file.as_deref())?);
    let with = names(&roles);
    let is_first = AccessFile::edit(house, |file| {
        must_be_there(file, tenant.as_ref())?;
        let is_first = file.users.is_empty();
        match file.users.insert(name.to_owned(), UserEntry { tenant, ..UserEntry::new(verifier, roles) }) {
            None => Ok(is_first),
            Some(_) => Err(exists()),
        }
    })?;
    house.note("user add", &format!("{name}, with {with}"));
    say!("{name} is a user now, with {with}")?;
    if is_first {
        tell!("From now on every PostgreSQL client has to log in.");
    }
    Ok(Exit::Success)
}

fn passwd(house: &House, name: &str, password: &PasswordFile) -> Result<Exit> {
    if !AccessFile::read(house)?.users.contains_key(name) {
        return Err(not_there("user", name));
    }
    let verifier = Verifier::of_password(&new_password(name, password.password_file.as_deref())?);
    change(house, name, |user| {
        user.verifier = verifier;
        Ok(())
    })?;
    house.note("user passwd", name);
    say!("{name} has a new password")?;
    Ok(Exit::Success)
}

/// Refuses a command that changes nothing.
fn some(is_given: bool, what: &str) -> Result<()> {
    match is_given {
        true => Ok(()),
        false => Err(usage(Error::bad_input(format!("nothing changes: give {what}")))),
    }
}

fn change_standing(
    house: &House,
    (what, name): (&str, &str),
    change_it: impl FnOnce(&mut UserEntry) -> Result<()>,
) -> Result<Exit> {
    let told = change(house, name, |user| {
        change_it(user)?;
        Ok(standing(user))
    })?;
    house.note(what, &format!("{name} has {told} now"));
    say!("{name} has {told} now")?;
    Ok(Exit::Success)
}

fn change<T>(data_dir: &Path, name: &str, change_it: impl FnOnce(&mut UserEntry) -> Result<T>) -> Result<T> {
    AccessFile::edit(data_dir, |file| match file.users.get_mut(name) {
        Some(user) => change_it(user),
        None => Err(not_there("user", name)),
    })
}

fn drop_user(house: &House, name: &str) -> Result<Exit> {
    let left = AccessFile::edit(house, |file| match file.users.remove(name) {
        Some(_) => Ok(file.users.len()),
        None => Err(not_there("user", name)),
    })?;
    house.note("user drop", name);
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
        say!("{name}: {}", standing(user))?;
    }
    Ok(Exit::Success)
}

/// What a user is, sees and may take, as a person reads it.
fn standing(user: &UserEntry) -> String {
    let tenant = of_tenant(user.tenant.as_ref());
    format!("{}{tenant}{}", names(&user.roles), told(&user.rights, &user.limits))
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
