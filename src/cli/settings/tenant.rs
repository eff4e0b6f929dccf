//! The settings of a tenant: those of the server, where nothing else is said of it.

use std::path::{Path, PathBuf};

use super::rules::parse_rules;
use super::valid::LEAST_RETENTION;
use super::values::parse_timeout;
use super::whole::Settings;
use crate::access::{TenantEntry, TenantName};
use crate::error::{Error, Result};
use crate::ingest::ShareLimits;
use crate::store::{StoreSettings, TableUrl};

/// The folder of a data directory that has a data directory for each tenant.
const FOLDER: &str = "tenants";
/// The same below the URL of a table. Programs that tidy Delta tables leave alone what begins so.
const BELOW_URL: &str = "_tenants";
/// So many tenants have caches, each this part of the server's: together they take as much again.
pub(in crate::cli) const MOST_WITH_CACHES: usize = 16;
/// What a tenant may take of the server's budgets when nothing is said.
const USUAL_SHARE: u64 = 2;

/// The data directory of a tenant.
pub(in crate::cli) fn tenant_dir(data_dir: &Path, name: &TenantName) -> PathBuf {
    data_dir.join(FOLDER).join(name.as_str())
}

impl Settings {
    /// The settings for one tenant's data directory.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] for an entry that no command has written.
    pub(in crate::cli) fn of_tenant(&self, name: &TenantName, entry: &TenantEntry) -> Result<Self> {
        let mut own = self.clone();
        own.data_dir = tenant_dir(&self.data_dir, name);
        own.of_tenant = Some((name.clone(), self.data_dir.clone()));
        let url = self.table_url.as_ref().map(|url| TableUrl::parse(&format!("{url}/{BELOW_URL}/{name}")));
        own.table_url = url.transpose()?;
        if entry.retention.is_some() || entry.retention_rules.is_some() {
            let wrong = |why| Error::corrupt(format!("the retention of the tenant {name} cannot be read: {why}"));
            own.retention = parse_retention(entry.retention.as_deref().unwrap_or("off")).map_err(wrong)?;
            own.retention_rules = parse_rules(entry.retention_rules.as_deref().unwrap_or_default()).map_err(wrong)?;
        }
        Ok(own)
    }

    /// The same in a server that has other tenants, where each has a part of what there is. One of many beyond some has no caches.
    pub(in crate::cli) fn with_part(mut self, entry: &TenantEntry, has_caches: bool) -> Self {
        let usual = self.query_memory_bytes / USUAL_SHARE;
        self.query_memory_bytes = entry.query_memory_bytes.unwrap_or(usual).min(self.query_memory_bytes);
        let part = |bytes: u64| if has_caches { bytes / MOST_WITH_CACHES as u64 } else { 0 };
        self.column_cache_bytes = part(self.column_cache_bytes);
        self.cache_bytes = match part(self.cache_bytes) {
            0 => 0,
            bytes => bytes.max(StoreSettings::LEAST_CACHE_BYTES),
        };
        self
    }

    /// What a tenant's senders may take.
    pub(in crate::cli) fn share(&self, entry: &TenantEntry) -> ShareLimits {
        let least_log = StoreSettings::LEAST_LOG_BUDGET_BYTES;
        ShareLimits {
            fresh_bytes: entry.fresh_memory_bytes.unwrap_or(self.fresh_memory_bytes / USUAL_SHARE),
            log_bytes: entry.log_size_bytes.unwrap_or((self.log_size_bytes / USUAL_SHARE).max(least_log)),
        }
    }

    /// The tenant whose data directory it is; the default one's without a name.
    pub(in crate::cli) fn tenant(&self) -> Option<String> {
        self.of_tenant.as_ref().map(|(name, _)| name.to_string())
    }

    /// The data directory that a server has: that of the default tenant, in which those of the others lie.
    pub(in crate::cli) fn home(&self) -> &Path {
        self.of_tenant.as_ref().map_or(&self.data_dir, |(_, home)| home)
    }
}

/// How long a tenant's spans are kept.
pub(in crate::cli) fn parse_retention(text: &str) -> Result<Option<std::time::Duration>, String> {
    match parse_timeout(text)? {
        Some(age) if age < LEAST_RETENTION => Err("it is too short: give at least 1h, or off".to_owned()),
        age => Ok(age),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::effective::{Sources, resolve};
    use super::*;

    fn settings(flags: &[(&'static str, &str)]) -> Settings {
        let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        resolve(&Sources { flags, ..Sources::default() }).expect("right").settings
    }

    #[test]
    fn a_tenant_has_a_place_of_its_own_and_the_servers_settings_where_it_has_none() {
        let server = settings(&[("data_dir", "/d"), ("table_url", "s3://bucket/prefix"), ("retention", "30d")]);
        let name: TenantName = "acme".parse().expect("a name");
        let own = server.of_tenant(&name, &TenantEntry::default()).expect("settings");
        assert_eq!((own.data_dir.to_str(), own.home().to_str()), (Some("/d/tenants/acme"), Some("/d")));
        assert_eq!(
            own.store().table_url.map(|url| url.to_string()).as_deref(),
            Some("s3://bucket/prefix/_tenants/acme")
        );
        assert_eq!(own.store().retention, server.store().retention);
        assert_eq!((own.tenant().as_deref(), own.engine().database.as_str()), (Some("acme"), "acme"));
        assert_eq!(
            (server.tenant(), server.home(), server.engine().database.as_str()),
            (None, Path::new("/d"), "spanhouse")
        );
        let entry = TenantEntry {
            retention: Some("7d".into()),
            retention_rules: Some("errors keep=90d".into()),
            query_memory_bytes: Some(64 << 20),
            ..TenantEntry::default()
        };
        let own = server.of_tenant(&name, &entry).expect("settings").with_part(&entry, true);
        let retention = own.store().retention;
        assert_eq!((retention.age, retention.rules.len()), (Some(Duration::from_secs(7 * 86_400)), 1));
        assert_eq!(own.engine().memory_bytes, 64 << 20);
        assert_eq!(own.engine().column_cache_bytes, server.engine().column_cache_bytes / MOST_WITH_CACHES);
        let rules_only = TenantEntry { retention: None, ..entry.clone() };
        assert_eq!(server.of_tenant(&name, &rules_only).expect("settings").store().retention.age, None);
        let wrong = TenantEntry { retention: Some("soon".into()), ..entry };
        assert_eq!(server.of_tenant(&name, &wrong).expect_err("wrong").kind, crate::error::Kind::Corrupt);
    }

    #[test]
    fn one_of_many_has_no_caches_and_none_has_more_than_the_server() {
        let server = settings(&[("query_memory", "64MiB")]);
        let greedy = TenantEntry { query_memory_bytes: Some(1 << 40), ..TenantEntry::default() };
        let own = server.clone().with_part(&greedy, false);
        assert_eq!((own.engine().memory_bytes, own.engine().column_cache_bytes), (64 << 20, 0));
        assert_eq!(own.store().cache_bytes, 0);
        let plain = server.clone().with_part(&TenantEntry::default(), true);
        assert_eq!((plain.engine().memory_bytes, plain.store().cache_bytes), (32 << 20, 640 << 20));
        let limits = server.share(&TenantEntry::default());
        assert_eq!(limits, ShareLimits { fresh_bytes: 128 << 20, log_bytes: 2 << 30 });
    }
}
