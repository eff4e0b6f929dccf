//! `tenant`: who shares the server and nothing that it keeps.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::{House, found, made};
use crate::access::{AccessFile, TenantEntry, TenantName, not_there};
use crate::cli::data::DataDir;
use crate::cli::exit::{Exit, usage};
use crate::cli::output::{say, tell};
use crate::cli::settings::{parse_retention, parse_rules, tenant_dir};
use crate::error::{Error, Kind, Result};
use crate::render::count;
use crate::store::{SnapshotSource, StoreReader, StoreSettings, holder};
use crate::typed::{parse_size, size_text};

const EXAMPLES: &str = "\
Examples:
  spanhouse tenant add acme --retention 30d --spans-per-second 5000
  spanhouse token add acme-collector --tenant acme
  spanhouse user add ada --role reader --tenant acme
  psql -h 127.0.0.1 -p 5433 -U ada acme
  spanhouse tenant drop acme --with-data

A tenant has spans, a log and a table of its own, in the directory tenants/NAME of the data directory; no statement \
sees those of another. What a tenant sends comes with a token or a user of its; the header X-Scope-OrgID may name it \
too. The data directory itself is that of the default tenant, whose database is called spanhouse.

A running server knows of a change within three seconds.";

/// What gives a tenant again what the server has for each.
const DEFAULT: &str = "default";
/// The smallest memory for statements.
const LEAST_QUERY_MEMORY_BYTES: u64 = 16 << 20;
/// How long a server may take to close a tenant's store: it moves the last spans into the table.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(120);

/// Keep the spans of several tenants apart: add, change, remove and list them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a tenant
    Add {
        /// What it is called: lower-case letters, digits, - and _
        name: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Change what is set for a tenant
    Set {
        name: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// List tenants and what is set for them
    List {
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Remove a tenant
    Drop {
        name: String,
        /// Remove its spans, too, for good
        #[arg(long)]
        with_data: bool,
        #[command(flatten)]
        data_dir: DataDir,
    },
}

/// What can be set for a tenant. Each may be `default`: what the server has for each.
#[derive(Debug, Args)]
struct Limits {
    /// How long spans are kept, such as 30d, or off; default is the server's retention with its rules
    #[arg(long, value_name = "DURATION")]
    retention: Option<String>,
    /// Traces that are kept longer or shorter, as in the setting retention_rules
    #[arg(long, value_name = "RULES")]
    retention_rules: Option<String>,
    /// Spans that all its senders together may send a second
    #[arg(long, value_name = "COUNT")]
    spans_per_second: Option<String>,
    /// Memory for spans that are not in its table yet; default is half of the server's
    #[arg(long, value_name = "SIZE")]
    fresh_memory: Option<String>,
    /// Disk for its log; default is half of the server's
    #[arg(long, value_name = "SIZE")]
    log_size: Option<String>,
    /// Memory that its statements share; default is half of the server's. Another value ends its sessions
    #[arg(long, value_name = "SIZE")]
    query_memory: Option<String>,
}

pub(in crate::cli) async fn run(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::Add { name, limits, data_dir } => add(&made(&data_dir)?, &named(&name)?, &limits),
        Command::Set { name, limits, data_dir } => set(&found(&data_dir)?, &named(&name)?, &limits),
        Command::List { data_dir } => list(&found(&data_dir)?),
        Command::Drop { name, with_data, data_dir } => drop_tenant(&found(&data_dir)?, &named(&name)?, with_data).await,
    }
}

fn named(text: &str) -> Result<TenantName> {
    text.parse().map_err(|why: String| usage(Error::bad_input(why)))
}

fn add(data_dir: &House, name: &TenantName, limits: &Limits) -> Result<Exit> {
    let mut entry = TenantEntry::default();
    limits.apply(&mut entry)?;
    let told = describe(&entry);
    AccessFile::edit(data_dir, |file| match file.tenants.insert(name.clone(), entry) {
        None => Ok(()),
        Some(_) => {
            Err(Error::bad_input(format!("there is a tenant {name} already; `spanhouse tenant set` changes it")))
        }
    })?;
    data_dir.note("tenant add", &format!("{name}{told}"));
    say!("{name} is a tenant now{told}")?;
    if tenant_dir(data_dir, name).exists() {
        tell!("Its directory {} is there already, with what is in it.", tenant_dir(data_dir, name).display());
    }
    Ok(Exit::Success)
}

fn set(data_dir: &House, name: &TenantName, limits: &Limits) -> Result<Exit> {
    if limits.is_empty() {
        return Err(usage(Error::bad_input("nothing changes: give what is to be set")));
    }
    let told = AccessFile::edit(data_dir, |file| {
        let entry = file.tenants.get_mut(name).ok_or_else(|| not_there("tenant", name.as_str()))?;
        limits.apply(entry)?;
        Ok(describe(entry))
    })?;
    data_dir.note("tenant set", &format!("{name}{told}"));
    say!("{name} has changed{told}")?;
    Ok(Exit::Success)
}

fn list(data_dir: &Path) -> Result<Exit> {
    let file = AccessFile::read(data_dir)?;
    if file.tenants.is_empty() {
        tell!("There are no tenants but the default one.");
    }
    for (name, entry) in &file.tenants {
        let (users, tokens) = bound(&file, name);
        let (users, tokens) = (count(users.len() as u64, "user"), count(tokens.len() as u64, "token"));
        say!("{name}: {users}, {tokens}{}", describe(entry))?;
    }
    Ok(Exit::Success)
}

async fn drop_tenant(data_dir: &House, name: &TenantName, with_data: bool) -> Result<Exit> {
    let dir = tenant_dir(data_dir, name);
    check_unbound(&AccessFile::read(data_dir)?, name)?;
    let spans = spans_in(&dir).await?;
    if spans != Some(0) && !with_data {
        let what = spans.map_or_else(|| "what cannot be read".to_owned(), |spans| count(spans, "span"));
        let message = format!("the tenant {name} has {what} in {}", dir.display());
        let hint = "give --with-data to remove that for good";
        return Err(Error::bad_input(message).with_hint(hint));
    }
    // Whoever bound somebody to it meanwhile is heard.
    AccessFile::edit(data_dir, |file| {
        check_unbound(file, name)?;
        file.tenants.remove(name);
        Ok(())
    })?;
    data_dir.note("tenant drop", name.as_str());
    say!("{name} is no tenant any more")?;
    if !dir.exists() {
        return Ok(Exit::Success);
    }
    wait_for_server(&dir).await?;
    let elsewhere = std::fs::read_to_string(dir.join("table-url")).ok();
    std::fs::remove_dir_all(&dir).map_err(|error| Error::io(format!("cannot remove {}", dir.display()), error))?;
    let spans = spans.map_or_else(|| "all that was in it".to_owned(), |spans| count(spans, "span"));
    data_dir.note("tenant drop", &format!("{name}: removed {} with {spans}", dir.display()));
    say!("removed {} with {spans}", dir.display())?;
    if let Some(url) = elsewhere {
        tell!("Its table lies elsewhere and is still there; remove it with the tools of its place: {}", url.trim());
    }
    Ok(Exit::Success)
}

/// Refuses to leave users and tokens without their tenant.
fn check_unbound(file: &AccessFile, name: &TenantName) -> Result<()> {
    if !file.tenants.contains_key(name) {
        return Err(not_there("tenant", name.as_str()));
    }
    let (users, tokens) = bound(file, name);
    if users.is_empty() && tokens.is_empty() {
        return Ok(());
    }
    let named = |what: &str, names: &[&str]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    let all: Vec<String> = [named("users", &users), named("tokens", &tokens)].into_iter().flatten().collect();
    let message = format!("the tenant {name} still has {}", all.join(" and "));
    Err(Error::bad_input(message).with_hint("drop these first: `spanhouse user drop`, `spanhouse token drop`"))
}

/// The users and tokens of a tenant.
fn bound<'a>(file: &'a AccessFile, name: &TenantName) -> (Vec<&'a str>, Vec<&'a str>) {
    let users = file.users.iter().filter(|(_, user)| user.tenant.as_ref() == Some(name));
    let tokens = file.tokens.iter().filter(|(_, token)| token.tenant.as_ref() == Some(name));
    (users.map(|(name, _)| name.as_str()).collect(), tokens.map(|(id, _)| id.as_str()).collect())
}

/// How many spans a tenant has; `None` when that cannot be told.
async fn spans_in(dir: &Path) -> Result<Option<u64>> {
    let reader = match StoreReader::open(dir).await {
        Err(error) if error.kind == Kind::NotFound => return Ok(Some(0)),
        Err(_) => return Ok(None),
        Ok(reader) => reader,
    };
    let Ok(snapshot) = reader.snapshot().await else { return Ok(None) };
    let fresh: u64 = snapshot.fresh.iter().map(|batch| batch.num_rows() as u64).sum();
    Ok(Some(fresh + snapshot.files.iter().map(|file| file.rows).sum::<u64>()))
}

/// Waits until a server has closed the tenant's store.
async fn wait_for_server(dir: &Path) -> Result<()> {
    let give_up = Instant::now() + LET_GO_TIMEOUT;
    while let Some(pid) = holder(dir) {
        if Instant::now() > give_up {
            let message = format!("process {pid} still has {}, which was not removed", dir.display());
            return Err(Error::new(Kind::Denied, message).with_hint("stop it, and remove the directory"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

impl Limits {
    fn is_empty(&self) -> bool {
        let texts = [&self.retention, &self.retention_rules, &self.spans_per_second];
        let sizes = [&self.fresh_memory, &self.log_size, &self.query_memory];
        texts.into_iter().chain(sizes).all(Option::is_none)
    }

    /// Puts what is given into an entry.
    fn apply(&self, entry: &mut TenantEntry) -> Result<()> {
        put(&self.retention, "retention", &mut entry.retention, |text| parse_retention(text).map(|_| text.to_owned()))?;
        put(&self.retention_rules, "retention-rules", &mut entry.retention_rules, |text| {
            parse_rules(text).map(|_| text.to_owned())
        })?;
        put(&self.spans_per_second, "spans-per-second", &mut entry.spans_per_second, |text| {
            let rate = text.parse::<u64>().ok().filter(|rate| (1..=1_000_000_000).contains(rate));
            rate.ok_or_else(|| format!("\"{}\" is no number from 1 to 1000000000", text.escape_default()))
        })?;
        let sizes = [
            (
                "fresh-memory",
                &self.fresh_memory,
                &mut entry.fresh_memory_bytes,
                StoreSettings::LEAST_FRESH_BUDGET_BYTES,
            ),
            ("log-size", &self.log_size, &mut entry.log_size_bytes, StoreSettings::LEAST_LOG_BUDGET_BYTES),
            ("query-memory", &self.query_memory, &mut entry.query_memory_bytes, LEAST_QUERY_MEMORY_BYTES),
        ];
        for (flag, given, to, least) in sizes {
            put(given, flag, to, |text| match parse_size(text)? {
                bytes if bytes < least => {
                    Err(format!("{} is too little: give at least {}", size_text(bytes), size_text(least)))
                }
                bytes => Ok(bytes),
            })?;
        }
        Ok(())
    }
}

fn put<T>(
    given: &Option<String>,
    flag: &str,
    to: &mut Option<T>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<()> {
    *to = match given.as_deref() {
        None => return Ok(()),
        Some(DEFAULT) => None,
        Some(text) => Some(read(text).map_err(|why| usage(Error::bad_input(format!("--{flag}: {why}"))))?),
    };
    Ok(())
}

/// What is set for a tenant, as a person reads it.
fn describe(entry: &TenantEntry) -> String {
    let sized = |what: &str, bytes: Option<u64>| bytes.map(|bytes| format!("{what} {}", size_text(bytes)));
    let parts = [
        entry.retention.as_ref().map(|age| format!("retention {age}")),
        entry.retention_rules.as_ref().map(|rules| format!("rules {rules}")),
        entry.spans_per_second.map(|rate| format!("{rate} spans a second")),
        sized("fresh memory", entry.fresh_memory_bytes),
        sized("log", entry.log_size_bytes),
        sized("query memory", entry.query_memory_bytes),
    ];
    parts.into_iter().flatten().map(|part| format!(", {part}")).collect()
}
