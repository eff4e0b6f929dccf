//! What one may do.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a user or a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send spans.
    Ingest,
    /// Ask statements.
    Reader,
    /// Everything.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Reader, Self::Admin];

    /// The name that people write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Reader => "reader",
            Self::Admin => "admin",
        }
    }

    /// Whether one who has `roles` may do what this role may.
    pub fn is_in(self, roles: &BTreeSet<Self>) -> bool {
        roles.contains(&self) || roles.contains(&Self::Admin)
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("there is no role \"{text}\": write ingest, reader or admin"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_may_do_what_the_others_may_and_they_do_not_what_others_may() {
        let one = |role| BTreeSet::from([role]);
        for role in Role::ALL {
            assert!(role.is_in(&one(role)) && role.is_in(&one(Role::Admin)), "{role:?}");
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!(!Role::Reader.is_in(&one(Role::Ingest)) && !Role::Ingest.is_in(&one(Role::Reader)));
        assert!(!Role::Admin.is_in(&BTreeSet::from([Role::Reader, Role::Ingest])));
        assert!("root".parse::<Role>().is_err());
    }
}
