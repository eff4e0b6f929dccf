//! The object store that a table's URL names, with credentials and endpoint from the usual environment variables.

use std::sync::Arc;
use std::time::Duration;

use datafusion::object_store::aws::AmazonS3Builder;
use datafusion::object_store::azure::MicrosoftAzureBuilder;
use datafusion::object_store::client::SpawnedReqwestConnector;
use datafusion::object_store::gcp::GoogleCloudStorageBuilder;
use datafusion::object_store::path::Path;
use datafusion::object_store::prefix::PrefixStore;
use datafusion::object_store::{BackoffConfig, ObjectStore, ObjectStoreScheme, Result as StoreResult, RetryConfig};
use tokio::runtime::Handle;

use crate::error::{Error, Kind, Result};
use crate::store::TableUrl;

/// How a request is tried again: six times, with pauses of some 12 s in all when a store refuses at once, and until 30 s are over when it answers
/// slowly. A statement that meets a store that is away fails soon; what runs in the background begins anew by itself.
const RETRY: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2. },
    max_retries: 6,
    retry_timeout: Duration::from_secs(30),
};

/// Connects to the table's place; its root is that of the table. Requests run on `runtime`, whoever makes them.
///
/// # Errors
/// [`Kind::BadInput`], with what to set, when the environment lacks something. Nothing is sent yet.
pub(crate) fn connect(url: &TableUrl, runtime: &Handle) -> Result<Arc<dyn ObjectStore>> {
    let connected = ObjectStoreScheme::parse(url.url())
        .map_err(datafusion::object_store::Error::from)
        .and_then(|(scheme, prefix)| rooted(&scheme, url.url().as_str(), prefix, runtime));
    connected.map_err(|error| {
        Error::bad_input(format!("cannot use {url}: {error}"))
            .with_sqlstate("22023")
            .with_hint(needs(url))
            .with_source(error)
    })
}

/// Adds to an error of the first use of a table's place what the environment must hold.
pub(crate) fn with_needs(url: Option<&TableUrl>, error: Error) -> Error {
    match url.filter(|_| error.kind == Kind::Io) {
        Some(url) => error.with_hint(needs(url)),
        None => error,
    }
}

fn rooted(scheme: &ObjectStoreScheme, url: &str, prefix: Path, runtime: &Handle) -> StoreResult<Arc<dyn ObjectStore>> {
    // Connections belong to the runtime that made them: this one lives as long as the store.
    let connector = SpawnedReqwestConnector::new(runtime.clone());
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::from_env().with_url(url).with_retry(RETRY).with_http_connector(connector);
            Arc::new(PrefixStore::new(builder.build()?, prefix))
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(RETRY);
            Arc::new(PrefixStore::new(builder.with_http_connector(connector).build()?, prefix))
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(RETRY);
            Arc::new(PrefixStore::new(builder.with_http_connector(connector).build()?, prefix))
        }
        other => {
            let source = format!("{other:?} is no object store");
            return Err(datafusion::object_store::Error::NotSupported { source: source.into() });
        }
    })
}

/// What the environment must hold for a kind of store.
fn needs(url: &TableUrl) -> &'static str {
    match url.scheme() {
        ObjectStoreScheme::AmazonS3 => {
            "see that the bucket is there and that AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION are set; for another \
             service than Amazon's also AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true when that is http"
        }
        ObjectStoreScheme::MicrosoftAzure => {
            "see that the container is there and that AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or \
             AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID) are set"
        }
        _ => "see that the bucket is there and that GOOGLE_SERVICE_ACCOUNT names a file of credentials",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_environment_lacks_is_said() {
        let url = TableUrl::parse("az://container/table").expect("a URL");
        // No other test sets these, and a developer's own account would make this pass for another reason.
        if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("AZURE_")) {
            return;
        }
        let error = connect(&url, &Handle::current()).expect_err("no account");
        let hint = error.hint.as_deref().unwrap_or_default();
        assert!(
            error.message.contains("az://container/table") && hint.contains("AZURE_STORAGE_ACCOUNT_NAME"),
            "{error}"
        );
    }
}
