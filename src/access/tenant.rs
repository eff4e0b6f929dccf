//! Tenants: they share a server and nothing that it keeps. Each has a store of its own; here is decided only whose store somebody comes to.
//!
//! Users and tokens belong to a tenant, or to none: then to the default one, whose store is the data directory itself. What somebody asks
//! for (the header `X-Scope-OrgID`, the database of a session) can only say the same again, but for those whom nothing binds: an admin of no
//! tenant, and anybody where nobody has to show anything. Who asks for another's is told the same as who asks for what is not there.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Kind, Result};

/// What the default tenant is called where a name has to be given; it is the name of its database.
pub const DEFAULT_TENANT: &str = "spanhouse";
/// The database that PostgreSQL's tools ask for when they want any: it is everybody's own.
const ANY_DATABASE: &str = "postgres";
/// PostgreSQL's names have at most these.
const MOST_BYTES: usize = 63;
/// Names of databases that mean something else.
const TAKEN: [&str; 4] = [DEFAULT_TENANT, ANY_DATABASE, "template0", "template1"];

/// A tenant's name: `[a-z0-9][a-z0-9_-]{0,62}`, so that it can be a directory, a database, a header and a label as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(Arc<str>);

impl TenantName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let wrong = match text.as_bytes() {
            [] => "it is empty",
            bytes if bytes.len() > MOST_BYTES => "it has more than 63 bytes",
            [first, ..] if !is_first(*first) => "it must begin with a lower-case letter or a digit",
            bytes if !bytes.iter().all(|c| is_first(*c) || matches!(c, b'-' | b'_')) => {
                "it may have lower-case letters, digits, - and _ only"
            }
            _ if TAKEN.contains(&text) => "it is a database's name already",
            _ => return Ok(Self(text.into())),
        };
        let shown: String = text.chars().take(MOST_BYTES).flat_map(char::escape_default).collect();
        Err(format!("\"{shown}\" cannot be a tenant's name: {wrong}"))
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TenantName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for TenantName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What is set for a tenant; without a value, what the server has for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantEntry {
    /// How long spans are kept, as it was typed: `30d`, or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// Rules of retention, as they were typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_rules: Option<String>,
    /// Spans that all its senders together may send a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans_per_second: Option<u64>,
    /// Memory for spans that are not in its table yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_memory_bytes: Option<u64>,
    /// Disk for its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_size_bytes: Option<u64>,
    /// Memory that its running statements share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_memory_bytes: Option<u64>,
}

/// Whose spans somebody may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound<'a> {
    /// Those of this one, or of the default one.
    To(Option<&'a TenantName>),
    /// Everybody's: the default one's unless another is asked for.
    Free,
}

impl<'a> Bound<'a> {
    /// How a user or a token of `tenant` is bound.
    pub fn of(tenant: Option<&'a TenantName>, is_admin: bool) -> Self {
        match tenant {
            None if is_admin => Self::Free,
            tenant => Self::To(tenant),
        }
    }

    /// The tenant whose spans an export is, where `asked` is what its header names.
    ///
    /// # Errors
    /// [`Kind::Denied`] for a tenant that is not the sender's, and for one that is not there.
    pub fn of_export(self, asked: Option<&str>, is_there: impl Fn(&str) -> bool) -> Result<Option<TenantName>> {
        let denied = |message| Err(Error::new(Kind::Denied, message));
        let chosen = match (self, asked) {
            (Self::To(own), None) => own.cloned(),
            (Self::Free, None) => None,
            (Self::To(None) | Self::Free, Some(DEFAULT_TENANT)) => None,
            (Self::To(Some(own)), Some(asked)) if own.as_str() == asked => Some(own.clone()),
            (Self::Free, Some(asked)) if is_there(asked) => asked.parse().ok(),
            (_, Some(_)) => return denied("X-Scope-OrgID names a tenant that this sender may not send spans of"),
        };
        match &chosen {
            Some(name) if !is_there(name.as_str()) => denied("the sender's tenant is not there any more"),
            _ => Ok(chosen),
        }
    }

    /// The tenant whose spans a session of `user` is about, where `database` is what its client asks for. As long as there are no tenants,
    /// any name is that of the default one.
    ///
    /// # Errors
    /// 3D000 for a database that is not the user's, and for one that is not there.
    pub fn of_session(
        self,
        user: &str,
        database: &str,
        is_there: impl Fn(&str) -> bool,
        has_tenants: bool,
    ) -> Result<Option<TenantName>> {
        // Clients that are told no database ask for one of their user's name.
        let is_any = database.is_empty() || database == user || database == ANY_DATABASE;
        let chosen = match self {
            Self::To(Some(own)) if is_any || database == own.as_str() => Some(Some(own.clone())),
            Self::To(Some(_)) => None,
            Self::Free if is_there(database) => Some(database.parse().ok()),
            Self::To(None) if is_there(database) => None,
            Self::To(None) | Self::Free => (is_any || database == DEFAULT_TENANT || !has_tenants).then_some(None),
        };
        let missing = |name: &str| {
            Error::new(Kind::NotFound, format!("database \"{name}\" does not exist")).with_sqlstate("3D000")
        };
        match chosen {
            Some(Some(name)) if !is_there(name.as_str()) => Err(missing(name.as_str())),
            Some(chosen) => Ok(chosen),
            None => Err(missing(database)),
        }
    }

    /// Whether a session may go on that is about the spans of `tenant`.
    ///
    /// # Errors
    /// 42501 for one who was moved meanwhile.
    pub fn may_stay(self, tenant: Option<&TenantName>, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let is_own = match self {
            Self::To(own) => own == tenant,
            Self::Free => true,
        };
        match is_own && tenant.is_none_or(|name| is_there(name.as_str())) {
            true => Ok(()),
            false => {
                let database = tenant.map_or(DEFAULT_TENANT, TenantName::as_str);
                let message = format!("permission denied for database \"{database}\"");
                Err(Error::new(Kind::Denied, message).with_sqlstate("42501"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_moved_does_not_stay() {
        let (acme, zeta, gone) = (name("acme"), name("zeta"), name("gone"));
        for (bound, tenant, may) in [
            (Bound::To(None), None, true),
            (Bound::To(None), Some(&acme), false),
            (Bound::To(Some(&acme)), Some(&acme), true),
            (Bound::To(Some(&acme)), Some(&zeta), false),
            (Bound::To(Some(&acme)), None, false),
            (Bound::To(Some(&gone)), Some(&gone), false),
            (Bound::Free, None, true),
            (Bound::Free, Some(&zeta), true),
            (Bound::Free, Some(&gone), false),
        ] {
            let stays = bound.may_stay(tenant, is_there).map_err(|error| error.sqlstate());
            assert_eq!(stays, if may { Ok(()) } else { Err("42501") }, "{bound:?} {tenant:?}");
        }
    }

    fn name(text: &str) -> TenantName {
        text.parse().expect("a name")
    }

    fn is_there(name: &str) -> bool {
        ["acme", "zeta"].contains(&name)
    }

    #[test]
    fn names_are_plain_and_a_hostile_one_is_told_why() {
        for good in ["a", "0", "acme", "a-b_c", "7up", &"x".repeat(63)] {
            assert_eq!(name(good).as_str(), good);
        }
        for (bad, why) in [
            ("", "it is empty"),
            (&"x".repeat(64), "more than 63 bytes"),
            ("Acme", "must begin"),
            ("-a", "must begin"),
            ("_a", "must begin"),
            ("..", "must begin"),
            ("../../etc", "must begin"),
            ("a/b", "may have"),
            ("a b", "may have"),
            ("a.b", "may have"),
            ("aé", "may have"),
            ("a\0", "may have"),
            ("a\n\u{1b}[31m", "may have"),
            ("a\u{202e}", "may have"),
            ("spanhouse", "a database's name"),
            ("postgres", "a database's name"),
        ] {
            let told = bad.parse::<TenantName>().expect_err(bad);
            assert!(told.contains(why) && told.is_ascii() && !told.contains(char::is_control), "{told}");
        }
        assert!(serde_json::from_str::<TenantName>("\"../x\"").is_err());
        assert_eq!(serde_json::from_str::<TenantName>("\"acme\"").expect("a name"), name("acme"));
    }

    #[test]
    fn row_15_an_export_is_of_the_senders_tenant_or_of_none() {
        let (acme, gone) = (name("acme"), name("gone"));
        let denied = Err(Kind::Denied);
        for (bound, asked, wanted) in [
            (Bound::To(None), None, Ok(None)),
            (Bound::To(None), Some("spanhouse"), Ok(None)),
            (Bound::To(None), Some("acme"), denied),
            (Bound::To(None), Some("nobody"), denied),
            (Bound::To(None), Some(""), denied),
            (Bound::To(Some(&acme)), None, Ok(Some("acme"))),
            (Bound::To(Some(&acme)), Some("acme"), Ok(Some("acme"))),
            (Bound::To(Some(&acme)), Some("zeta"), denied),
            (Bound::To(Some(&acme)), Some("spanhouse"), denied),
            (Bound::To(Some(&acme)), Some("ACME"), denied),
            (Bound::To(Some(&acme)), Some(" acme"), denied),
            (Bound::To(Some(&acme)), Some("acme|zeta"), denied),
            (Bound::To(Some(&gone)), None, denied),
            (Bound::To(Some(&gone)), Some("gone"), denied),
            (Bound::Free, None, Ok(None)),
            (Bound::Free, Some("spanhouse"), Ok(None)),
            (Bound::Free, Some("zeta"), Ok(Some("zeta"))),
            (Bound::Free, Some("nobody"), denied),
            (Bound::Free, Some("../acme"), denied),
        ] {
            let chosen = bound.of_export(asked, is_there).map_err(|error| error.kind);
            assert_eq!(chosen, wanted.map(|wanted| wanted.map(name)), "{bound:?} {asked:?}");
        }
    }

    #[test]
    fn a_session_is_about_the_users_tenant_and_no_other() {
        let (acme, gone) = (name("acme"), name("gone"));
        let missing = Err("3D000");
        for (bound, database, wanted) in [
            (Bound::To(None), "spanhouse", Ok(None)),
            (Bound::To(None), "ada", Ok(None)),
            (Bound::To(None), "postgres", Ok(None)),
            (Bound::To(None), "", Ok(None)),
            (Bound::To(None), "acme", missing),
            (Bound::To(None), "nobody", missing),
            (Bound::To(Some(&acme)), "acme", Ok(Some("acme"))),
            (Bound::To(Some(&acme)), "ada", Ok(Some("acme"))),
            (Bound::To(Some(&acme)), "", Ok(Some("acme"))),
            (Bound::To(Some(&acme)), "postgres", Ok(Some("acme"))),
            (Bound::To(Some(&acme)), "spanhouse", missing),
            (Bound::To(Some(&acme)), "zeta", missing),
            (Bound::To(Some(&acme)), "nobody", missing),
            (Bound::To(Some(&gone)), "gone", missing),
            (Bound::To(Some(&gone)), "ada", missing),
            (Bound::Free, "spanhouse", Ok(None)),
            (Bound::Free, "ada", Ok(None)),
            (Bound::Free, "acme", Ok(Some("acme"))),
            (Bound::Free, "zeta", Ok(Some("zeta"))),
            (Bound::Free, "nobody", missing),
        ] {
            let chosen = bound.of_session("ada", database, is_there, true).map_err(|error| error.sqlstate());
            assert_eq!(chosen, wanted.map(|wanted| wanted.map(name)), "{bound:?} {database}");
        }
        for bound in [Bound::To(None), Bound::Free] {
            assert_eq!(bound.of_session("ada", "grafana", |_| false, false).expect("any name"), None);
        }
        // A user who is called as another's tenant does not come to that one's spans.
        assert!(Bound::To(None).of_session("acme", "acme", is_there, true).is_err());
        assert_eq!(Bound::To(Some(&acme)).of_session("zeta", "zeta", is_there, true).expect("own"), Some(acme.clone()));
    }

    #[test]
    fn only_an_admin_of_no_tenant_is_free() {
        let acme = name("acme");
        assert_eq!(Bound::of(None, true), Bound::Free);
        assert_eq!(Bound::of(None, false), Bound::To(None));
        assert_eq!(Bound::of(Some(&acme), true), Bound::To(Some(&acme)));
    }
}
