//! A data file that is missing or damaged gives an error that names it, and never a partial answer.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::error::Result;

use crate::store_support::{append, open, request};

#[tokio::test(flavor = "multi_thread")]
async fn row_30_a_missing_or_damaged_data_file_is_named_and_nothing_partial_is_answered() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path()).await;
    append(&store, request(1..2001)).await.expect("kept");
    store.seal().await.expect("sealed");
    let sum = async || -> Result<usize> {
        // An engine that has read the file before may answer from memory.
        let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
        let session = engine.session();
        let statement = session.prepare("SELECT sum(duration_ns) FROM spans").await?.remove(0);
        let Outcome::Rows(rows) = session.execute(&statement, &[]).await? else { panic!("no rows") };
        let batches: Vec<_> =
            rows.stream.try_collect().await.map_err(|error| spanhouse::error::Error::internal(error.to_string()))?;
        Ok(batches.iter().map(|batch| batch.num_rows()).sum())
    };
    assert_eq!(sum().await.expect("an answer"), 1);

    let file = a_data_file(&dir.path().join("table"));
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let bytes = std::fs::read(&file).expect("bytes");
    std::fs::remove_file(&file).expect("removed");
    let error = sum().await.expect_err("a file is missing");
    assert!(error.to_string().contains(&name), "{error}");

    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("cut");
    let error = sum().await.expect_err("a file is cut");
    assert!(error.to_string().contains(&name), "{error}");

    std::fs::write(&file, &bytes).expect("restored");
    assert_eq!(sum().await.expect("an answer"), 1);
}

fn a_data_file(table: &Path) -> PathBuf {
    let files = |dir: &Path| {
        std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let dates = files(table).into_iter().filter(|path| path.to_string_lossy().contains("date="));
    dates.flat_map(|date| files(&date)).next().expect("a data file")
}
