//! Files into an object store: `URL/REPORT/RUN/FILE`, the summary last.

use std::sync::Arc;

use datafusion::object_store::path::Path;
use datafusion::object_store::{Attribute, Attributes, Error, ObjectStore, PutOptions, PutPayload};
use tokio::runtime::Handle;

use super::attempt::Failure;
use super::files::Named;
use super::http::causes;
use super::secrets::Secrets;
use crate::store::{TableUrl, connect_object_store};

/// Puts the files below the URL, with credentials from the usual environment variables. What is there from an earlier attempt is replaced.
pub(super) async fn put(
    url: &TableUrl,
    folder: &[String; 2],
    files: &[Named],
    secrets: &mut Secrets<'_>,
) -> Result<(), Failure> {
    secrets.hide_credentials_of_stores();
    let store = connect_object_store(url, &Handle::current()).map_err(|error| {
        let hint = error.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::never(secrets.masked(&format!("{error}{hint}")))
    })?;
    put_all(&store, folder, files).await.map_err(|error| {
        let why = format!("cannot write to {url}: {}", secrets.masked(&causes(&error)));
        match is_lasting(&error) {
            true => Failure::never(why),
            false => Failure::later(why),
        }
    })
}

async fn put_all(store: &Arc<dyn ObjectStore>, [report, run]: &[String; 2], files: &[Named]) -> Result<(), Error> {
    for file in files {
        let path = Path::from_iter([report.as_str(), run.as_str(), file.name.as_str()]);
        // A browser that opens the object shows it as what it is.
        let attributes = Attributes::from_iter([(Attribute::ContentType, file.media_type)]);
        let options = PutOptions { attributes, ..PutOptions::default() };
        store.put_opts(&path, PutPayload::from(file.bytes.clone()), options).await?;
    }
    Ok(())
}

/// Whether the same would be refused again.
fn is_lasting(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. }
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use datafusion::object_store::ObjectStoreExt as _;
    use datafusion::object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn files_lie_below_their_run_with_their_types() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let file =
            |name: &str, media_type| Named { name: name.to_owned(), media_type, bytes: Bytes::from_static(b"x") };
        let files = [file("health.html", "text/html; charset=utf-8"), file("summary.txt", "text/markdown")];
        let folder = ["health".to_owned(), "2026-03-29T050000Z".to_owned()];
        for _ in 0..2 {
            put_all(&store, &folder, &files).await.expect("put");
        }
        let got = store.get(&Path::from("health/2026-03-29T050000Z/health.html")).await.expect("there");
        assert_eq!(
            got.attributes.get(&Attribute::ContentType).map(|kind| kind.as_ref()),
            Some("text/html; charset=utf-8")
        );
        assert!(store.get(&Path::from("health/2026-03-29T050000Z/summary.txt")).await.is_ok());
    }
}
