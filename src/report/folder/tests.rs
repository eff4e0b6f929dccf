//! Folders as people and their programs leave them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::*;
use crate::engine::{Engine, EngineSettings, RecordedTables, RecordedVersion};
use crate::store::{Store, StoreSettings};

fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<Folder>) {
    let dir = tempfile::tempdir().expect("directory");
    write(dir.path(), files);
    let folder = Arc::new(Folder::open(dir.path()));
    (dir, folder)
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("written");
    }
}

fn names(folder: &Folder) -> Vec<String> {
    folder.reports().iter().map(|report| report.name.clone()).collect()
}

fn sql_of(folder: &Folder, name: &str) -> String {
    folder.find(name).expect("known").report.sql.trim().to_owned()
}

/// The mistakes without the folder's name.
fn told(folder: &Folder) -> Vec<String> {
    let prefix = format!("{}/", folder.dir().display());
    folder.mistakes().iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
}

#[test]
fn a_folder_that_is_not_there_has_no_reports() {
    let folder = Folder::open(Path::new("/nowhere/at/all"));
    assert!(folder.reports().is_empty() && folder.mistakes().is_empty());
    assert!(folder.find("x").expect_err("none").hint.expect("a hint").contains("report init"));
}

#[test]
fn files_are_reports_by_name_and_what_is_none_is_told() {
    let (_dir, folder) = folder(&[
        ("b.sql", "-- title = \"B\"\nSELECT 1"),
        ("a.sql", "SELECT 2"),
        ("a.toml", "title = \"A\""),
        (".hidden.sql", "nonsense"),
        ("a.sql~", "nonsense"),
        ("README.md", "text"),
        ("silences.toml", "[[silences]]"),
        ("silences.sql", "SELECT 1"),
        ("Bad Name.sql", "SELECT 1"),
        ("alone.toml", "title = \"x\""),
        ("wrong.sql", "-- titel = \"x\"\nSELECT 1"),
    ]);
    assert_eq!(names(&folder), ["a", "b"]);
    assert_eq!(folder.find("a").expect("known").report.title, "A");
    let told = told(&folder);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("Bad Name.sql: a report is named by its file"), "{told:?}");
    assert_eq!(told[1], "alone.toml: there is no alone.sql beside it");
    assert!(told[2].starts_with("silences.sql: this name is taken"), "{told:?}");
    assert_eq!(told[3], "wrong.sql:1: there is no key titel: did you mean title?");
    assert!(folder.find("wrong").expect_err("wrong").to_string().contains("did you mean title?"));
    assert_eq!(folder.find("bb").expect_err("unknown").hint.as_deref(), Some("there are a, b"));
}

#[test]
fn hostile_files_are_refused_by_name() {
    let (dir, _) = folder(&[("good.sql", "SELECT 1")]);
    let path = |name: &str| dir.path().join(name);
    fs::write(path("huge.sql"), vec![b' '; (1 << 20) + 1]).expect("written");
    fs::write(path("binary.sql"), b"SELECT 1\0").expect("written");
    fs::write(path("latin.sql"), b"SELECT 1;\n-- caf\xe9").expect("written");
    fs::create_dir(path("folder.sql")).expect("made");
    symlink(path("loop.sql"), path("loop.sql")).expect("linked");
    symlink(path("gone"), path("dangling.sql")).expect("linked");
    symlink(path("good.sql"), path("link.sql")).expect("linked");
    let made = std::process::Command::new("mkfifo").arg(path("pipe.sql")).status().expect("mkfifo runs");
    assert!(made.success());
    fs::write(path("bell\u{7}.sql"), "SELECT 1").expect("written");
    let folder = Folder::open(dir.path());
    assert_eq!(names(&folder), ["good", "link"], "a link to a file is a file");
    let told = told(&folder);
    for (name, why) in [
        ("binary.sql", "it is not text"),
        ("dangling.sql", "it cannot be read"),
        ("folder.sql", "it is no file"),
        ("huge.sql", "it has 1048577 bytes, at most 1048576 are read"),
        ("latin.sql", "it is not UTF-8 text: see line 2"),
        ("loop.sql", "it cannot be read"),
        ("pipe.sql", "it is no file"),
    ] {
        assert!(told.iter().any(|told| told.starts_with(&format!("{name}: {why}"))), "{name}: {told:?}");
    }
    assert!(told.iter().all(|told| !told.contains('\u{7}')), "{told:?}");
}

#[tokio::test]
async fn edits_are_taken_once_they_are_still() {
    let (dir, folder) = folder(&[("a.sql", "SELECT 1")]);
    folder.refresh(None).await;
    write(dir.path(), &[("a.sql", "SELECT 22"), ("b.sql", "SELECT 3")]);
    assert_eq!(folder.refresh(None).await, []);
    assert_eq!((sql_of(&folder, "a").as_str(), names(&folder).len()), ("SELECT 1", 1), "someone may still be writing");
    let news = folder.refresh(None).await;
    assert_eq!(news, ["a", "b"].map(|name| News::Taken(name.to_owned())));
    assert_eq!(sql_of(&folder, "a"), "SELECT 22");

    // Of the same length within the same tick.
    write(dir.path(), &[("a.sql", "SELECT 44")]);
    folder.refresh(None).await;
    folder.refresh(None).await;
    assert_eq!(sql_of(&folder, "a"), "SELECT 44");

    write(dir.path(), &[("a.sql", "-- titel = \"x\"\nSELECT 5")]);
    folder.refresh(None).await;
    let news = folder.refresh(None).await;
    assert!(matches!(&news[..], [News::Wrong { goes_on: true, .. }]), "{news:?}");
    assert_eq!((sql_of(&folder, "a").as_str(), told(&folder).len()), ("SELECT 44", 1), "the last good version goes on");

    fs::remove_file(dir.path().join("b.sql")).expect("removed");
    assert_eq!(folder.refresh(None).await, []);
    assert_eq!(folder.refresh(None).await, [News::Gone("b".to_owned())]);
    write(dir.path(), &[("a.sql", "SELECT 6")]);
    folder.refresh(None).await;
    folder.refresh(None).await;
    assert_eq!((names(&folder), told(&folder).len()), (vec!["a".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_cannot_be_planned_is_a_mistake_too() {
    let (dir, folder) = folder(&[("a.sql", "SELECT count(*) FROM spans"), ("b.sql", "SELECT nope FROM spans")]);
    let data = tempfile::tempdir().expect("directory");
    let store = Store::open(data.path(), StoreSettings::default()).await.expect("store");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("engine");
    let news = folder.plan(&engine).await;
    assert_eq!(news[0], News::Taken("a".to_owned()));
    assert!(matches!(&news[1], News::Wrong { name, goes_on: false, .. } if name == "b"), "{news:?}");
    assert_eq!(names(&folder), ["a"]);
    write(dir.path(), &[("a.sql", "SELECT nope FROM spans"), ("b.sql", "SELECT 1 AS n")]);
    folder.refresh(Some(&engine)).await;
    let news = folder.refresh(Some(&engine)).await;
    assert!(matches!(&news[..], [News::Wrong { goes_on: true, .. }, News::Taken(_)]), "{news:?}");
    assert_eq!(
        (sql_of(&folder, "a").as_str(), sql_of(&folder, "b").as_str()),
        ("SELECT count(*) FROM spans", "SELECT 1 AS n")
    );
    assert_eq!(told(&folder).len(), 1, "{:?}", told(&folder));
    assert_eq!(folder.refresh(Some(&engine)).await, [], "it is told once");
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_known_once_it_is_planned_whatever_becomes_of_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let slow = ("slow.sql", "SELECT n FROM reports.slow");
    write(dir.path(), &[("a.sql", "SELECT 1 AS n"), slow, ("wrong.sql", "SELECT nope")]);
    let data = tempfile::tempdir().expect("directory");
    let store = Store::open(data.path(), StoreSettings::default()).await.expect("store");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("engine");
    let tables = Arc::new(SlowTables::default());
    engine.show_recorded(tables.clone());
    let folder = Arc::new(Folder::open_to_plan(dir.path(), &ReportsHome::new(data.path())));
    let standings = |folder: &Folder| ["a", "slow", "wrong"].map(|name| folder.defined().standing(name));
    assert_eq!(standings(&folder), [Standing::Unknown, Standing::Unknown, Standing::Unknown]);
    let planning = tokio::spawn({
        let (folder, engine) = (folder.clone(), engine.clone());
        async move { folder.plan(&engine).await }
    });
    while !matches!(&standings(&folder), [Standing::There(_), Standing::Unknown, Standing::Unknown]) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!planning.is_finished(), "a table keeps one waiting");
    tables.may_go_on.store(true, Ordering::Relaxed);
    let news = planning.await.expect("planned");
    assert_eq!(news.len(), 3, "{news:?}");
    assert!(matches!(&standings(&folder), [Standing::There(_), Standing::There(_), Standing::Unknown]), "{news:?}");
    drop(engine);
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_goes_on_with_the_last_good_version() {
    let (dir, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let home = ReportsHome::new(data.path());
    let right = [
        ("a.sql", "SELECT 1 AS n"),
        ("b.sql", "SELECT 2 AS n"),
        ("c.sql", "SELECT 3 AS n"),
        ("d.sql", "SELECT 4 AS n"),
    ];
    write(dir.path(), &right);
    let store = Store::open(data.path(), StoreSettings::default()).await.expect("store");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("engine");
    let started = || Arc::new(Folder::open_to_plan(dir.path(), &home));
    started().plan(&engine).await;
    // One gets a mistake in its header, one a statement that cannot be planned, one another statement, and one goes, while no server runs.
    write(dir.path(), &[("a.sql", "-- titel = 1\nSELECT 9"), ("b.sql", "SELECT nope"), ("c.sql", "SELECT 33 AS n")]);
    fs::remove_file(dir.path().join("d.sql")).expect("removed");
    for _ in 0..2 {
        let folder = started();
        assert_eq!(sql_of(&folder, "a"), "SELECT 1 AS n", "nothing is to be planned of it");
        let news = folder.plan(&engine).await;
        let is_wrong = |new: &News| matches!(new, News::Wrong { goes_on: true, mistakes, .. } if mistakes.len() == 1);
        assert_eq!((news.len(), news.iter().filter(|new| is_wrong(new)).count()), (3, 2), "{news:?}");
        assert!(news[0].to_string().starts_with("report a is wrong, the version before it goes on: "), "{news:?}");
        let goes_on = ["a", "b", "c"].map(|name| sql_of(&folder, name));
        assert_eq!(goes_on, ["SELECT 1 AS n", "SELECT 2 AS n", "SELECT 33 AS n"]);
        assert_eq!((names(&folder).len(), told(&folder).len()), (3, 2), "{:?}", told(&folder));
    }
    // Nobody goes on with what had gone, and what is mended is taken.
    write(dir.path(), &[("a.sql", "SELECT 9 AS n"), ("d.sql", "-- titel = 1\nSELECT 4")]);
    let folder = started();
    folder.plan(&engine).await;
    assert_eq!((sql_of(&folder, "a").as_str(), sql_of(&folder, "b").as_str()), ("SELECT 9 AS n", "SELECT 2 AS n"));
    assert!(folder.find("d").expect_err("wrong").to_string().contains("cannot be read"));
    drop(engine);
    store.close().await.expect("closed");
}

/// A recorded table whose disk answers once it may.
#[derive(Debug, Default)]
struct SlowTables {
    may_go_on: AtomicBool,
}

impl RecordedTables for SlowTables {
    fn names(&self) -> Vec<String> {
        vec!["slow".to_owned()]
    }

    fn columns(&self, name: &str) -> Result<Option<SchemaRef>> {
        while !self.may_go_on.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let schema = || Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        Ok((name == "slow").then(schema))
    }

    fn open(&self, _: &str) -> Result<Option<RecordedVersion>> {
        Ok(None)
    }
}

#[tokio::test]
async fn an_empty_folder_in_the_place_of_the_one_with_reports_takes_none_away() {
    let (dir, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let home = ReportsHome::new(data.path());
    write(dir.path(), &[("a.sql", "SELECT 1")]);
    let folder = Arc::new(Folder::open_to_plan(dir.path(), &home));
    assert_eq!(folder.defined().standing("a"), Standing::Unknown, "it is not planned yet");
    folder.state().planning.clear();
    // The volume goes: its mount point is there, and empty.
    let volume = dir.path().with_extension("volume");
    fs::rename(dir.path(), &volume).expect("unmounted");
    fs::create_dir(dir.path()).expect("a mount point");
    for _ in 0..2 * place::LOOKS_TO_BELIEVE {
        folder.refresh(None).await;
        assert!(matches!(folder.defined().standing("a"), Standing::There(_)));
        assert_eq!(folder.defined().standing("other"), Standing::Unknown);
        assert_eq!(told(&folder).len(), 1, "{:?}", told(&folder));
        assert!(told(&folder)[0].contains("as where a volume is not mounted"), "{:?}", told(&folder));
    }
    // Nor does a server that starts then think that they are gone.
    let next = Folder::open_to_plan(dir.path(), &home);
    assert_eq!((next.defined().standing("a"), told(&next).len()), (Standing::Unknown, 0));
    fs::remove_dir(dir.path()).expect("mounted");
    fs::rename(&volume, dir.path()).expect("mounted");
    folder.refresh(None).await;
    assert!(told(&folder).is_empty() && folder.defined().standing("other") == Standing::Gone);

    // Emptied in place it has no reports, once that is sure: also for a server that starts then.
    fs::remove_file(dir.path().join("a.sql")).expect("removed");
    let next = Arc::new(Folder::open_to_plan(dir.path(), &home));
    for folder in [folder, next] {
        for _ in 0..place::LOOKS_TO_BELIEVE - 1 {
            folder.refresh(None).await;
            assert_ne!(folder.defined().standing("a"), Standing::Gone);
        }
        for _ in 0..3 {
            folder.refresh(None).await;
        }
        assert_eq!((folder.defined().standing("a"), told(&folder).len()), (Standing::Gone, 0));
    }
}

#[tokio::test]
async fn a_report_is_gone_when_its_folder_is_there_without_it() {
    let (dir, folder) = folder(&[("good.sql", "SELECT 1"), ("wrong.sql", "-- titel = \"x\"\nSELECT 1")]);
    let standing = |folder: &Folder| ["good", "wrong", "other"].map(|name| folder.defined().standing(name));
    let good = folder.find("good").expect("known").report;
    assert_eq!(standing(&folder), [Standing::There(good.clone()), Standing::Unknown, Standing::Gone]);
    let elsewhere = dir.path().with_extension("away");
    fs::rename(dir.path(), &elsewhere).expect("moved");
    for _ in 0..3 {
        folder.refresh(None).await;
        assert_eq!(standing(&folder), [Standing::There(good.clone()), Standing::Unknown, Standing::Unknown]);
    }
    assert!(told(&folder).iter().any(|told| told.contains("what was read before goes on")), "{:?}", told(&folder));
    assert_eq!(standing(&Folder::open(dir.path())), [Standing::Unknown, Standing::Unknown, Standing::Unknown]);
    fs::rename(&elsewhere, dir.path()).expect("moved back");
    fs::remove_file(dir.path().join("good.sql")).expect("removed");
    folder.refresh(None).await;
    folder.refresh(None).await;
    assert_eq!(standing(&folder), [Standing::Gone, Standing::Unknown, Standing::Gone]);
}
