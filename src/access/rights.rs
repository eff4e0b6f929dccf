//! What a user sees and how much it may take, where that is not everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

/// What a user sees: spans that meet all of it. The default sees everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// The services whose spans it sees; those of all services without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<String>>,
    /// Resource attributes, each with the values of which a span's resource has to have one.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, BTreeSet<String>>,
    /// Keys of attributes whose values it does not see, with `*` and `?` for any letters.
    #[serde(default, rename = "mask", skip_serializing_if = "BTreeSet::is_empty")]
    pub masks: BTreeSet<String>,
}

/// How much a user may take. The default may take what the server's settings allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most memory of a statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The longest that a statement may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout_ms: Option<u64>,
    /// The most sessions at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
}

/// What somebody who has come in may do by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Whether it may see what others do, and stop it.
    pub is_admin: bool,
    pub rights: Rights,
    pub limits: Limits,
}

impl Granted {
    /// Everything: nobody has to log in.
    pub(super) fn everything() -> Arc<Self> {
        static EVERYTHING: LazyLock<Arc<Granted>> = LazyLock::new(|| {
            Arc::new(Granted { is_admin: true, rights: Rights::default(), limits: Limits::default() })
        });
        EVERYTHING.clone()
    }
}

/// A resource attribute with the values of which a span's resource has to have one, as `KEY=VALUE,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub key: String,
    pub values: BTreeSet<String>,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed =
            || format!("\"{text}\" is no condition: write KEY=VALUE, or KEY=VALUE,VALUE for one of several");
        let (key, values) = text.split_once('=').ok_or_else(malformed)?;
        let values: BTreeSet<String> = values.split(',').map(str::to_owned).collect();
        if key.is_empty() || values.contains("") {
            return Err(malformed());
        }
        Ok(Self { key: key.to_owned(), values })
    }
}

impl Rights {
    /// Whether it sees everything.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Lets it see these services (as well, where it saw some only), spans of such resources only, and no values of such keys.
    pub fn add(&mut self, services: Vec<String>, conditions: Vec<Condition>, masks: Vec<String>) {
        if !services.is_empty() {
            self.services.get_or_insert_default().extend(services);
        }
        for Condition { key, values } in conditions {
            self.resources.entry(key).or_default().extend(values);
        }
        self.masks.extend(masks);
    }

    /// Takes back what [`Self::add`] gave. The last service or value of a condition stays: without it everything would be seen.
    ///
    /// # Errors
    /// What it is that is not there, or has to stay.
    pub fn take_back(&mut self, services: &[String], conditions: &[Condition], masks: &[String]) -> Result<(), String> {
        for service in services {
            take(self.services.as_mut().unwrap_or(&mut BTreeSet::new()), service, "service")?;
        }
        for Condition { key, values } in conditions {
            let of_key = self.resources.get_mut(key).ok_or_else(|| format!("there is no condition on {key}"))?;
            for value in values {
                take(of_key, value, &format!("value of {key}"))?;
            }
        }
        for mask in masks {
            if !self.masks.remove(mask) {
                return Err(format!("{mask} is not masked"));
            }
        }
        Ok(())
    }

    /// Finds a mistake.
    pub(super) fn check(&self) -> Result<(), String> {
        let empty = |values: &BTreeSet<String>| values.is_empty() || values.contains("");
        if self.services.as_ref().is_some_and(empty) {
            return Err("services must name some: leave it out for all of them".to_owned());
        }
        if let Some((key, _)) = self.resources.iter().find(|(key, values)| key.is_empty() || empty(values)) {
            return Err(format!("where must give values for a key, and has none for \"{}\"", key.escape_default()));
        }
        match self.masks.contains("") {
            true => Err("mask must name keys: an empty one is none".to_owned()),
            false => Ok(()),
        }
    }
}

/// Takes one of several away.
fn take(from: &mut BTreeSet<String>, one: &String, what: &str) -> Result<(), String> {
    match (from.contains(one), from.len()) {
        (false, _) => Err(format!("{one} is no {what} that was granted")),
        (true, 1) => Err(format!("{one} is the last {what}: --all-spans lets the user see all of them")),
        (true, _) => {
            from.remove(one);
            Ok(())
        }
    }
}

impl Limits {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Finds a mistake.
    pub(super) fn check(&self) -> Result<(), String> {
        let zero = [self.memory_bytes, self.statement_timeout_ms, self.connections.map(|most| most as u64)];
        match zero.contains(&Some(0)) {
            true => Err("limits must be above zero: leave one out for none".to_owned()),
            false => Ok(()),
        }
    }
}

/// As a person reads it.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        parts.extend(self.services.iter().map(|services| format!("sees the services {}", listed(services))));
        let of_key = |(key, values): (&String, &BTreeSet<String>)| format!("sees where {key} is {}", listed(values));
        parts.extend(self.resources.iter().map(of_key));
        if !self.masks.is_empty() {
            parts.push(format!("does not see the values of {}", listed(&self.masks)));
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_granted_is_taken_back_but_never_the_last_of_it() {
        let mut rights = Rights::default();
        let prod: Condition = "env=prod,stage".parse().expect("a condition");
        rights.add(texts(&["cart", "shop"]), vec![prod.clone()], texts(&["user.*"]));
        assert_eq!(
            rights.to_string(),
            "sees the services cart, shop; sees where env is prod, stage; does not see the values of user.*"
        );
        rights.take_back(&texts(&["cart"]), &["env=stage".parse().expect("one")], &texts(&["user.*"])).expect("taken");
        for (services, conditions, masks, why) in [
            (texts(&["shop"]), vec![], vec![], "shop is the last service"),
            (texts(&["cart"]), vec![], vec![], "cart is no service that was granted"),
            (vec![], vec!["env=prod".parse().expect("one")], vec![], "prod is the last value of env"),
            (vec![], vec!["region=eu".parse().expect("one")], vec![], "there is no condition on region"),
            (vec![], vec![], texts(&["user.*"]), "user.* is not masked"),
        ] {
            let error = rights.clone().take_back(&services, &conditions, &masks).expect_err(why);
            assert!(error.starts_with(why), "{error}");
        }
        assert!(!rights.is_everything() && rights.check().is_ok());
        let mut everything = Rights::default();
        let error = everything.take_back(&texts(&["cart"]), &[], &[]).expect_err("it sees all services");
        assert!(error.contains("no service that was granted") && everything.is_everything());
    }

    #[test]
    fn an_empty_list_is_a_mistake_and_not_everything() {
        for bad in [
            r#"{"services": []}"#,
            r#"{"services": [""]}"#,
            r#"{"where": {"env": []}}"#,
            r#"{"where": {"": ["x"]}}"#,
            r#"{"mask": [""]}"#,
        ] {
            let rights: Rights = serde_json::from_str(bad).expect(bad);
            assert!(rights.check().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Rights>(r#"{"servces": ["cart"]}"#).is_err());
        for bad in ["env", "=prod", "env=", "env=prod,"] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
        let with_equals: Condition = "k=a=b".parse().expect("a condition");
        assert_eq!((with_equals.key.as_str(), with_equals.values), ("k", BTreeSet::from(["a=b".to_owned()])));
    }
}
