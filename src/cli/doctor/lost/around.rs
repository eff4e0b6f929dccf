//! What is around a trace or a service that is looked for: retention, refusals, other tenants, and users who see some spans only.

use std::sync::Arc;

use super::super::ask::ask;
use super::super::seen::{Seen, Stored};
use crate::access::{DEFAULT_TENANT, Rights as Granted, TenantName};
use crate::cli::settings::Settings;
use crate::cli::status::labelled;
use crate::engine::{Rights, Sight};
use crate::error::Result;
use crate::store::{Retention, announced_retention};

/// What a question counts.
pub(super) struct Counted<'a> {
    pub question: &'static str,
    pub of: &'a str,
}

/// What surrounds spans that are looked for.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub retention: Retention,
    /// Since the start of the server, by reason; `None` where no server tells.
    pub refused: Option<Refused>,
    /// Other tenants that have such spans, with the number of them.
    pub elsewhere: Vec<(String, u64)>,
    /// Other tenants of which nobody knows, and why.
    pub unread: Vec<(String, String)>,
    /// Users who see fewer of them than there are.
    pub blind: Vec<Blind>,
    pub quarantined_files: u64,
}

/// What the server has refused.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub up_seconds: f64,
    pub requests: Vec<(String, u64)>,
    pub spans: Vec<(String, u64)>,
}

/// A user who does not see all spans that are looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blind {
    pub user: String,
    pub sees: u64,
    /// What it may see, in words.
    pub rights: String,
}

/// Looks around for spans of which `here` are seen in this tenant.
pub(super) async fn around(seen: &Seen, counted: &Counted<'_>, here: u64) -> Around {
    let (elsewhere, unread) = others(seen, counted).await;
    Around {
        // What the writer of the directory announced counts; a server that has these settings would announce them.
        retention: announced_retention(&seen.settings.data_dir).unwrap_or_else(|_| seen.settings.store().retention),
        refused: refused(seen),
        elsewhere,
        unread,
        blind: blind(seen, counted, here).await,
        quarantined_files: seen.stored.as_ref().map_or(0, |stored| stored.snapshot.quarantined_files),
    }
}

fn refused(seen: &Seen) -> Option<Refused> {
    let figures = &seen.vitals.as_ref()?.figures;
    Some(Refused {
        up_seconds: seen.up_seconds()?,
        requests: labelled(figures, "spanhouse_ingest_refused_requests_total"),
        spans: labelled(figures, "spanhouse_ingest_refused_spans_total"),
    })
}

/// The tenants beside this one that have such spans, and those that could not be looked into.
async fn others(seen: &Seen, counted: &Counted<'_>) -> (Vec<(String, u64)>, Vec<(String, String)>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let Ok(file) = &seen.access else { return (found, unread) };
    let own = seen.settings.tenant();
    let others = file.tenants.iter().filter(|(name, _)| Some(name.as_str()) != own.as_deref());
    let mut places: Vec<(String, Result<Settings>)> =
        others.map(|(name, entry): (&TenantName, _)| (name.to_string(), seen.home.of_tenant(name, entry))).collect();
    if own.is_some() {
        places.push((DEFAULT_TENANT.to_owned(), Ok(seen.home.clone())));
    }
    for (name, settings) in places {
        let counted = match settings {
            // A tenant to whom nothing was ever sent has no directory yet.
            Ok(settings) if !settings.data_dir.is_dir() => Ok(0),
            Ok(settings) => count_in(&settings, counted).await,
            Err(error) => Err(error),
        };
        match counted {
            Ok(0) => {}
            Ok(spans) => found.push((name, spans)),
            Err(error) => unread.push((name, error.to_string())),
        }
    }
    (found, unread)
}

async fn count_in(settings: &Settings, counted: &Counted<'_>) -> Result<u64> {
    let stored = Stored::open(settings).await?;
    count(&stored, counted, Rights::default()).await
}

/// How many of the spans one with such rights sees.
async fn count(stored: &Stored, counted: &Counted<'_>, rights: Rights) -> Result<u64> {
    let session = stored.engine.session();
    session.set_rights(rights);
    let answer = ask(&session, counted.question, Some(counted.of)).await?;
    Ok(answer.number("spans", 0).unwrap_or(0).unsigned_abs())
}

/// The users of this tenant who see fewer of the spans than there are.
async fn blind(seen: &Seen, counted: &Counted<'_>, here: u64) -> Vec<Blind> {
    let (Some(stored), Ok(file)) = (&seen.stored, &seen.access) else { return Vec::new() };
    let mut blind = Vec::new();
    let own = seen.settings.tenant();
    let of_tenant =
        file.users.iter().filter(|(_, user)| user.tenant.as_ref().map(TenantName::as_str) == own.as_deref());
    for (name, user) in of_tenant.filter(|(_, user)| here > 0 && !user.rights.is_everything()) {
        // Who may be refused the question altogether sees nothing either.
        let sees = count(stored, counted, rights_of(&user.rights)).await.unwrap_or(0);
        if sees < here {
            blind.push(Blind { user: name.clone(), sees, rights: user.rights.to_string() });
        }
    }
    blind
}

/// The same rights in the engine's words; what is masked makes no span invisible.
fn rights_of(granted: &Granted) -> Rights {
    let sight = Sight { services: granted.services.clone(), resources: granted.resources.clone(), ..Sight::default() };
    Rights { is_admin: false, sight: Some(Arc::new(sight)), ..Rights::default() }
}
