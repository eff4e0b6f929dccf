//! What a command shows and trusts that sends spans to a server.

use std::path::PathBuf;

use clap::Args;

use super::access::read_secret;
use super::exit::usage;
use crate::access::TenantName;
use crate::error::Result;
use crate::ingest::ClientSettings;

/// Holds the token itself; a file would otherwise be needed where secrets come as variables.
const VARIABLE: &str = "SPANHOUSE_TOKEN";

/// The flags of a command that sends spans.
#[derive(Debug, Clone, Args)]
pub(super) struct SenderFlags {
    /// Send the token in this file, for a server that asks for one; - is standard input [env: SPANHOUSE_TOKEN holds the token itself]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Send the spans of this tenant, in the header X-Scope-OrgID
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantName>,
    /// The authority of an https:// server's certificate, in PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

impl SenderFlags {
    /// The tenant whose spans are sent, if one is named.
    pub(super) fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// How to send.
    pub(super) fn settings(&self) -> Result<ClientSettings> {
        let (tls_ca, tenant) = (self.tls_ca.clone(), self.tenant.clone());
        let settings = ClientSettings { tls_ca, tenant, ..ClientSettings::default() };
        let token = match (&self.token_file, std::env::var(VARIABLE)) {
            (Some(file), _) => Some(read_secret(file)?),
            (None, token) => token.ok().filter(|token| !token.is_empty()),
        };
        match token {
            Some(token) => settings.with_token(token.trim()).map_err(usage),
            None => Ok(settings),
        }
    }
}
