//! `doctor`: what may be wrong with a server and around it, and why a trace or a service is not seen.
//!
//! [`Seen`] is gathered once and changes nothing; each check is a file that makes notes of it. What judges is apart from what looks, so that
//! tests can show it what no test machine has.

mod access;
mod ask;
mod clock;
mod disk;
mod files;
mod holders;
mod limits;
mod lost;
mod mounts;
mod ports;
mod reports;
mod seen;
mod senders;
mod tls;

use std::io::IsTerminal;

use clap::Args;
use serde_json::{Value, json};

use self::clock::Run;
use self::seen::Seen;
use super::exit::Exit;
use super::note::{Level, Note, any_is_bad};
use super::output::say;
use super::settings::{Mistake, SettingFlags};
use super::tenant_flag::TenantFlag;
use super::terminal;
use crate::error::Result;
use crate::render::{count, sanitize};

const EXAMPLES: &str = "\
Examples:
  spanhouse doctor
  spanhouse doctor --config /etc/spanhouse/spanhouse.toml
  spanhouse doctor --trace 4bf92f3577b34da6a3ce929d0e0e4736
  spanhouse doctor --service checkout

Give it the settings of the server: the same flags, variables and file. It asks a server that runs, reads the data directory, and \
changes nothing in either.

--trace tells why a trace is not seen: whether it is there, waits for the table, is stored, has expired, may have been refused or \
sampled away, lies outside of the time that was asked for, belongs to another tenant, or is hidden from a user. The id may be \
written in any way: upper case, dashes, base64, decimal, a traceparent header, the id of one of its spans. --service does the same \
for a service. Of the rest, only what is not well is told then.

Exit codes: 0 when all is well or worth a look (!), 1 when something is wrong (✗), which a trace is that is not to be seen, 2 when the \
settings are wrong.";

/// Find out what is wrong, and why a trace is not seen
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Why is this trace not seen?
    #[arg(long, value_name = "ID", conflicts_with = "service")]
    trace: Option<String>,
    /// Why are spans of this service not seen?
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    #[command(flatten)]
    tenant: TenantFlag,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let run = Run::begin();
    let effective = match arguments.flags.resolve()? {
        Ok(effective) => effective,
        Err(mistakes) => {
            tell(&mistakes.iter().map(mistaken).collect::<Vec<_>>(), arguments.json, None)?;
            return Ok(Exit::Usage);
        }
    };
    let readings = arguments.trace.as_deref().map(lost::readings).transpose()?;
    let settings = arguments.tenant.of(effective.settings.clone())?;
    let seen = Seen::gather(settings, &effective).await;
    let answer = match (&readings, &arguments.service) {
        (Some(readings), _) => Some(lost::trace(&seen, readings).await),
        (None, Some(service)) => Some(lost::service(&seen, service).await),
        (None, None) => None,
    };
    let notes = house(&seen, &run).await;
    tell(&notes, arguments.json, answer.as_deref())?;
    let is_bad = any_is_bad(answer.as_deref().unwrap_or(&notes));
    Ok(if is_bad { Exit::Failure } else { Exit::Success })
}

/// All checks of the server and what is around it.
async fn house(seen: &Seen, run: &Run) -> Vec<Note> {
    let mut notes = seen.notes.clone();
    notes.extend(senders::check(seen));
    notes.extend(ports::check(seen).await);
    notes.extend(access::check(seen));
    notes.extend(tls::check(seen));
    notes.extend(files::check(seen).await);
    notes.extend(disk::check(seen));
    notes.extend(limits::check(seen));
    notes.extend(reports::check(seen).await);
    notes.push(clock::check(seen, run));
    notes
}

/// A mistake in the settings, which keeps a server from its start.
fn mistaken(mistake: &Mistake) -> Note {
    Note::bad("settings", mistake.to_string(), "mend it: the server does not start before")
}

/// Tells the answer to what was asked for, and all notes; beside an answer only those that are not well.
fn tell(notes: &[Note], as_json: bool, answer: Option<&[Note]>) -> Result<()> {
    if as_json {
        let list = |notes: &[Note]| notes.iter().map(Note::as_json).collect::<Vec<Value>>();
        let is_ok = !any_is_bad(answer.unwrap_or(notes));
        return say!("{}", json!({ "ok": is_ok, "answer": answer.map(list), "notes": list(notes) }));
    }
    let color = terminal::color(std::io::stdout().is_terminal());
    let Some(answer) = answer else {
        notes.iter().try_for_each(|note| tell_note(note, color))?;
        return say!("\n{}", summary(notes));
    };
    answer.iter().try_for_each(|note| tell_note(note, color))?;
    let mut unwell = notes.iter().filter(|note| note.level != Level::Ok).peekable();
    if unwell.peek().is_some() {
        say!("\nBesides:")?;
    }
    unwell.try_for_each(|note| tell_note(note, color))
}

fn tell_note(note: &Note, color: bool) -> Result<()> {
    let (mark, paint) = match note.level {
        Level::Ok => ('✓', "\x1b[32m"),
        Level::Warn => ('!', "\x1b[1;33m"),
        Level::Bad => ('✗', "\x1b[1;31m"),
    };
    let (paint, plain) = if color { (paint, "\x1b[0m") } else { ("", "") };
    // Services and messages of errors may hold anything.
    say!("{paint}{mark}{plain} {:13} {}", note.subject, sanitize(&note.text))?;
    let mut lines = note.advice.iter().flat_map(|advice| advice.lines());
    lines.try_for_each(|line| say!("{:16}{}", "", sanitize(line)))
}

fn summary(notes: &[Note]) -> String {
    let number = |level| notes.iter().filter(|note| note.level == level).count() as u64;
    match (number(Level::Bad), number(Level::Warn)) {
        (0, 0) => "All is well.".to_owned(),
        (0, looks) => format!("Nothing is wrong; {} worth a look (!).", thing(looks)),
        (wrong, 0) => format!("{} wrong (✗).", thing(wrong)),
        (wrong, looks) => format!("{} wrong (✗), {looks} worth a look (!).", thing(wrong)),
    }
}

fn thing(number: u64) -> String {
    format!("{} {}", count(number, "thing"), if number == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let of = |levels: &[Level]| {
            let note = |level: &Level| Note { level: *level, ..Note::ok("x", "y") };
            summary(&levels.iter().map(note).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Level::Ok]), "All is well.");
        assert_eq!(of(&[Level::Ok, Level::Warn]), "Nothing is wrong; 1 thing is worth a look (!).");
        assert_eq!(of(&[Level::Bad, Level::Bad]), "2 things are wrong (✗).");
        assert_eq!(of(&[Level::Bad, Level::Warn, Level::Warn]), "1 thing is wrong (✗), 2 worth a look (!).");
    }
}
