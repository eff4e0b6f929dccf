//! What the model says of every image that a crash or a power cut leaves: at each call of a disk or an object store that changes something, as
//! if that call never returned.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, stream};
use xxhash_rust::xxh3::Xxh3;

use super::faults::{IMAGES_AT_A_TIME, Image, failing};
use super::recorder::{Left, Moment, Recorder};
use super::{Ground, Model, Run, Step, open_on, runtime};
use crate::store::disk::OsDisk;
use crate::store::faulty_store::FaultyStore;
use crate::store::testing::ManualClock;

/// One of so many images is also compacted, which takes longer than all else.
const COMPACTED: usize = 6;

/// What was recorded of some steps.
struct Film {
    moments: Vec<Moment>,
    recorder: Recorder,
    /// The model before the first step, and after each.
    models: Vec<(Model, i64)>,
}

/// Takes steps in a directory that is opened for that, which is the first step.
async fn film(image: &Image, steps: &[Step]) -> Film {
    let (dir, bucket) = image.copy();
    let recorder = Recorder::new(dir.path(), bucket.clone());
    let ground = Ground { bucket, ..Ground::local(recorder.clone()) };
    let clock = Arc::new(ManualClock(image.now_ms.into()));
    let mut models = vec![(image.model.clone(), image.now_ms); 2];
    let house = open_on(dir.path(), &ground, clock).await.expect("a store");
    let mut run = Run { house, model: image.model.clone(), next_span: image.next_span };
    for (number, step) in steps.iter().enumerate() {
        recorder.step(number + 1);
        run.take(step, dir.path(), &ground).await.expect("a step");
        models.push((run.model.clone(), run.house.now_ms()));
    }
    assert_eq!(run.house.seen().await, run.model.seen(run.house.now_ms()));
    run.house.store.close().await.expect("closed");
    let moments = recorder.moments();
    assert_eq!(recorder.names(), names(dir.path()), "something is written or removed past the disk");
    Film { moments, recorder, models }
}

/// The names of the files of a directory, in order.
fn names(dir: &Path) -> Vec<PathBuf> {
    fn find(dir: &Path, below: &Path, names: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry")) {
            match entry.path().is_dir() {
                true => find(&entry.path(), below, names),
                false => names.push(entry.path().strip_prefix(below).expect("below").to_owned()),
            }
        }
    }
    let mut names = Vec::new();
    find(dir, dir, &mut names);
    names.sort();
    names
}

type Files = BTreeMap<PathBuf, Arc<Vec<u8>>>;

/// Looks at what is left of each moment, each image once; gives the number of images.
async fn look_at_all(what: &'static str, film: Film, left: Left) -> usize {
    let mut known = HashSet::new();
    let mut images = Vec::new();
    for moment in &film.moments {
        let files = moment.files(left, &film.recorder);
        let objects = match &moment.bucket {
            Some(bucket) => FaultyStore::of(bucket.clone()).names().await,
            None => Vec::new(),
        };
        if known.insert((moment.step, digest(&files), objects)) {
            let expected: Vec<_> = film.models[moment.step..=moment.step + 1].to_vec();
            let bucket = moment.bucket.as_ref().map(|bucket| FaultyStore::of(Arc::new(bucket.fork())));
            images.push((format!("{what}, {left:?} at {}", moment.call), files, bucket, expected));
        }
    }
    let count = images.len();
    let looking = images.into_iter().enumerate().map(|(number, (what, files, bucket, expected))| {
        let compacts = number % COMPACTED == 0;
        tokio::spawn(async move { look_at(&what, &files, bucket, &expected, compacts).await })
    });
    stream::iter(looking)
        .buffer_unordered(IMAGES_AT_A_TIME)
        .for_each(|looked| async { looked.expect("no panic") })
        .await;
    count
}

fn digest(files: &Files) -> u64 {
    let mut digest = Xxh3::new();
    for (path, content) in files {
        digest.update(path.to_string_lossy().as_bytes());
        digest.update(&content.len().to_le_bytes());
        digest.update(content);
    }
    digest.digest()
}

/// A directory that holds these files.
fn written(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    for (path, content) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content.as_slice()).expect("written");
    }
    dir
}

/// Opens an image, which must show what one of the models says, and go on to do so.
async fn look_at(what: &str, files: &Files, bucket: Option<FaultyStore>, expected: &[(Model, i64)], compacts: bool) {
    let dir = written(files);
    let now_ms = expected.iter().map(|(_, now_ms)| *now_ms).max().expect("models");
    let expected: Vec<Vec<u64>> = expected.iter().map(|(model, _)| model.seen(now_ms)).collect();
    let ground = Ground { bucket, ..Ground::local(OsDisk) };
    let clock = Arc::new(ManualClock(now_ms.into()));
    let house = open_on(dir.path(), &ground, clock.clone()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let seen = house.seen().await;
    assert!(expected.contains(&seen), "{what}: {seen:?} and not {expected:?}");
    if compacts {
        house.store.compact().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(house.seen().await, seen, "{what}, compacted");
    }
    house.store.close().await.unwrap_or_else(|error| panic!("{what}: {error}"));
}

fn look_at_everything(is_remote: bool, left: Left, least: usize) {
    runtime().block_on(async {
        let image = Image::new(is_remote).await;
        for (what, steps) in failing() {
            let images = look_at_all(what, film(&image, &steps).await, left).await;
            assert!(images > least, "{what}, {left:?}: only {images} images");
        }
    });
}

#[test]
fn a_process_that_dies_at_any_call_leaves_what_was_acknowledged() {
    look_at_everything(false, Left::ByACrash, 25);
}

#[test]
fn a_power_cut_at_any_call_leaves_what_was_acknowledged() {
    look_at_everything(false, Left::ByAPowerCut, 5);
}

#[test]
fn a_power_cut_that_leaves_names_without_bytes_leaves_what_was_acknowledged() {
    look_at_everything(false, Left::Torn, 5);
}

#[test]
fn a_node_that_dies_at_any_call_leaves_what_was_acknowledged_on_the_object_store_and_in_its_log() {
    look_at_everything(true, Left::ByACrash, 20);
    look_at_everything(true, Left::ByAPowerCut, 5);
}

#[test]
fn a_process_that_dies_while_it_recovers_leaves_what_was_acknowledged() {
    runtime().block_on(async {
        let image = Image::new(false).await;
        let mut images = 0;
        for (what, steps) in failing().into_iter().filter(|(what, _)| ["compaction", "closing"].contains(what)) {
            let died = film(&image, &steps).await;
            // Spans lie in the log, and files that no commit names beside the table's.
            for moment in died.moments.iter().filter(|moment| moment.step == steps.len()).step_by(7) {
                let (model, now_ms) = died.models[moment.step].clone();
                let dir = written(&moment.files(Left::ByACrash, &died.recorder));
                let left = Image { dir, bucket: None, model, now_ms, next_span: image.next_span + 100 };
                for how in [Left::ByACrash, Left::ByAPowerCut] {
                    images += look_at_all(what, film(&left, &[]).await, how).await;
                }
            }
        }
        assert!(images > 60, "only {images} images");
    });
}
