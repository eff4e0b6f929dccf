//! `--tenant`: which tenant's data directory a command works on.

use clap::Args;

use super::data;
use super::settings::Settings;
use crate::access::{AccessFile, TenantName, not_there};
use crate::error::Result;

/// The tenant that a command is about.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TenantFlag {
    /// Work on the spans of this tenant, and not on those of the default one
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantName>,
}

impl TenantFlag {
    /// The settings for the tenant's data directory.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] for a tenant that is not there.
    pub(super) fn of(&self, settings: Settings) -> Result<Settings> {
        of_tenant(self.tenant.as_ref(), settings)
    }
}

/// The settings for a tenant's data directory; those of the default one without a name.
pub(super) fn of_tenant(tenant: Option<&TenantName>, settings: Settings) -> Result<Settings> {
    let Some(name) = tenant else { return Ok(settings) };
    data::must_exist(&settings.data_dir)?;
    let file = AccessFile::read(&settings.data_dir)?;
    let entry = file
        .tenants
        .get(name)
        .ok_or_else(|| not_there("tenant", name.as_str()).with_hint("`spanhouse tenant list` tells which there are"))?;
    settings.of_tenant(name, entry)
}
