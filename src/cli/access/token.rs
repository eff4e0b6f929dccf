//! `token`: what lets senders of spans in.

use std::path::Path;

use clap::{Args, Subcommand};

use super::{House, found, made, must_be_there, of_tenant};
use crate::access::{AccessFile, NewToken, Role, TenantName, TokenEntry, not_there, token_id_is_good};
use crate::cli::data::DataDir;
use crate::cli::exit::{Exit, usage};
use crate::cli::output::{say, tell};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse token add checkout
  spanhouse token add batch-jobs --spans-per-second 5000
  spanhouse token add acme-collector --tenant acme
  OTEL_EXPORTER_OTLP_HEADERS=\"authorization=Bearer $TOKEN\"

The token is written to standard output once and kept nowhere, but for its SHA-256. As soon as there is one, \
exports need it, or the password of a user with the role ingest, or a client certificate (--tls-client-ca). \
A running server knows of a change within two seconds.";

/// Let exporters in: add, remove and list tokens
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it
    Add {
        /// What the token is called: letters, digits, - and _
        id: String,
        /// What it lets its bearer do
        #[arg(long, value_name = "ROLE", default_value = "ingest")]
        role: Role,
        /// Spans that it may send a second; any number without it
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        spans_per_second: Option<u64>,
        /// The tenant whose spans it sends; the default one's without it
        #[arg(long, value_name = "TENANT")]
        tenant: Option<TenantName>,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Remove a token
    Drop {
        id: String,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// List tokens, without what lets them in
    List {
        #[command(flatten)]
        data_dir: DataDir,
    },
}

pub(in crate::cli) fn run(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::Add { id, role, spans_per_second, tenant, data_dir } => {
            if !token_id_is_good(&id) {
                let message =
                    format!("\"{}\" cannot be a token's name: give letters, digits, - and _", id.escape_default());
                return Err(usage(Error::bad_input(message)));
            }
            add(&made(&data_dir)?, &id, Grant { role, spans_per_second, tenant })
        }
        Command::Drop { id, data_dir } => drop_token(&found(&data_dir)?, &id),
        Command::List { data_dir } => list(&found(&data_dir)?),
    }
}

/// What a token lets its bearer do.
struct Grant {
    role: Role,
    spans_per_second: Option<u64>,
    tenant: Option<TenantName>,
}

fn add(house: &House, id: &str, grant: Grant) -> Result<Exit> {
    let Grant { role, spans_per_second, tenant } = grant;
    let NewToken { text, digest } = NewToken::new(id);
    let told = format!("{id}: {}", described(role, spans_per_second, tenant.as_ref()));
    let is_first = AccessFile::edit(house, |file| {
        must_be_there(file, tenant.as_ref())?;
        let is_first = file.tokens.is_empty();
        match file.tokens.insert(id.to_owned(), TokenEntry { sha256: digest, role, spans_per_second, tenant }) {
            None => Ok(is_first),
            Some(_) => Err(Error::bad_input(format!("there is a token {id} already; drop it first"))),
        }
    })?;
    house.note("token add", &told);
    say!("{text}")?;
    tell!("This is shown once. Exporters send it in a header: authorization: Bearer TOKEN");
    if is_first {
        tell!("From now on exports without a token are refused.");
    }
    Ok(Exit::Success)
}

fn drop_token(house: &House, id: &str) -> Result<Exit> {
    let left = AccessFile::edit(house, |file| match file.tokens.remove(id) {
        Some(_) => Ok(file.tokens.len()),
        None => Err(not_there("token", id)),
    })?;
    house.note("token drop", id);
    say!("{id} lets nobody in any more")?;
    if left == 0 {
        tell!(
            "There is no token left: unless users or certificates may send spans, everybody may who reaches the listeners."
        );
    }
    Ok(Exit::Success)
}

fn list(data_dir: &Path) -> Result<Exit> {
    let file = AccessFile::read(data_dir)?;
    if file.tokens.is_empty() {
        tell!("There are no tokens.");
    }
    for (id, token) in &file.tokens {
        say!("{id}: {}", described(token.role, token.spans_per_second, token.tenant.as_ref()))?;
    }
    Ok(Exit::Success)
}

/// What a token lets its bearer do, as a person reads it.
fn described(role: Role, spans_per_second: Option<u64>, tenant: Option<&TenantName>) -> String {
    let rate = spans_per_second.map(|rate| format!(", {rate} spans a second")).unwrap_or_default();
    format!("{}{rate}{}", role.name(), of_tenant(tenant))
}
