use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, ListArray, ListBuilder, NullArray, RecordBatch, StringArray,
    StringBuilder, StructArray, TimestampNanosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::arrow::util::pretty::pretty_format_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::manifest::{MANIFEST, Manifest, RecordedRun};
use super::merge::MOST_SMALL;
use super::{TablesFolder, keep, prepare, redact};
use crate::engine::RecordedTables;
use crate::error::{Error, Kind};
use crate::report::deadline::Deadline;
use crate::report::definition::{Record, RecordMode, RowsKept};
use crate::report::frame::Frame;
use crate::report::home::ReportsHome;

const HOUR_MS: i64 = 3_600_000;

struct Kept {
    tables: TablesFolder,
    dir: TempDir,
}

impl Kept {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { tables: TablesFolder::of(&ReportsHome::new(dir.path())), dir }
    }

    fn append(&self, columns: Vec<(&str, ArrayRef)>) -> Result<u64, Error> {
        let record = Record { table: "t".to_owned(), mode: RecordMode::Append, keep: None };
        keep(&self.tables, &record, &frame(columns), None)
    }

    /// Replaces the rows of an hour.
    fn replace(&self, hour: i64, columns: Vec<(&str, ArrayRef)>) -> Result<u64, Error> {
        let mode = RecordMode::ReplaceWindow { column: "time".to_owned() };
        let record = Record { table: "t".to_owned(), mode, keep: None };
        keep(&self.tables, &record, &frame(columns), Some((hour * HOUR_MS, (hour + 1) * HOUR_MS)))
    }

    fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("reports/tables/t")
    }

    /// A column of all rows as a reader sees it, NULL where a file lacks it; sorted.
    fn numbers(&self, column: &str) -> Vec<Option<i64>> {
        let version = self.tables.open("t").expect("readable").expect("a table");
        assert!(version.schema.field_with_name(column).is_ok(), "{column} in {:?}", version.schema);
        let mut numbers = Vec::new();
        for file in version.files {
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(file.file.try_clone().expect("open")).expect("Parquet");
            for batch in reader.build().expect("rows") {
                let batch = batch.expect("rows");
                match batch.column_by_name(column) {
                    Some(values) => numbers
                        .extend(cast(values, &DataType::Int64).expect("numbers").as_primitive::<Int64Type>().iter()),
                    None => numbers.extend(vec![None; batch.num_rows()]),
                }
            }
        }
        numbers.sort();
        numbers
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.folder()).expect("readable").expect("a manifest")
    }
}

fn frame(columns: Vec<(&str, ArrayRef)>) -> Frame {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, of)| (name, of, true)));
    let batch = batch.expect("a batch");
    Frame { schema: batch.schema(), rows: batch.num_rows() as u64, batches: vec![batch] }
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Int64Array>())
}

/// Minutes since 1970 as times.
fn minutes(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    let times: TimestampNanosecondArray = values.into_iter().map(|minute| Some(minute * 60_000_000_000)).collect();
    Arc::new(times.with_timezone("Europe/Berlin"))
}

#[test]
fn rows_are_appended_and_columns_are_added() {
    let kept = Kept::new();
    assert_eq!(kept.tables.names(), Vec::<String>::new());
    assert!(kept.tables.columns("t").expect("readable").is_none());
    assert_eq!(kept.append(vec![("n", ints([1, 2]))]).expect("kept"), 2);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    kept.append(vec![("name", texts), ("m", ints([7])), ("n", Arc::new(NullArray::new(1)))]).expect("kept");
    kept.append(vec![("n", ints([3]))]).expect("kept");
    assert_eq!(kept.numbers("n"), [None, Some(1), Some(2), Some(3)]);
    assert_eq!(kept.numbers("m"), [None, None, None, Some(7)]);
    assert_eq!(kept.tables.names(), ["t"]);
    let columns = kept.tables.columns("t").expect("readable").expect("a table");
    let names: Vec<&String> = columns.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["n", "name", "m"]);
    assert!(columns.fields().iter().all(|field| field.is_nullable()));
}

#[test]
fn a_result_that_does_not_fit_leaves_the_table_as_it_is() {
    let kept = Kept::new();
    kept.append(vec![("n", ints([1]))]).expect("kept");
    let before = (kept.manifest(), kept.files());
    let error = kept.append(vec![("n", Arc::new(Float64Array::from(vec![1.5])))]).expect_err("another type");
    assert_eq!(error.kind, Kind::BadInput);
    assert!(error.message.contains("column \"n\" is bigint there and double precision in the result"), "{error}");
    let error = kept.replace(0, vec![("n", ints([1]))]).expect_err("no time");
    assert!(error.message.contains("column \"time\" is not in the result"), "{error}");
    let error = kept.replace(0, vec![("time", minutes([59, 60]))]).expect_err("outside");
    assert!(error.message.contains("which is not in the window of the run"), "{error}");
    assert_eq!((kept.manifest(), kept.files()), before);
    for name in ["", "T", "a-b", "..", "a/b", "1a", &"a".repeat(101)] {
        let record = Record { table: name.to_owned(), mode: RecordMode::Append, keep: None };
        assert!(keep(&kept.tables, &record, &frame(vec![("n", ints([1]))]), None).is_err(), "{name}");
        assert!(kept.tables.open(name).expect("no table").is_none(), "{name}");
    }
}

#[test]
fn the_rows_of_a_window_are_replaced_and_others_stay() {
    let kept = Kept::new();
    // A file that a window takes part of, one that it takes all of, and one that it leaves alone.
    kept.append(vec![("time", minutes([0, 59, 60, 61, 120])), ("n", ints([0, 59, 60, 61, 120]))]).expect("kept");
    kept.append(vec![("time", minutes([62, 119])), ("n", ints([62, 119]))]).expect("kept");
    kept.append(vec![("n", ints([-1]))]).expect("kept");
    assert_eq!(kept.replace(1, vec![("time", minutes([60])), ("n", ints([1000]))]).expect("kept"), 1);
    let wanted = [Some(-1), Some(0), Some(59), Some(120), Some(1000)];
    assert_eq!(kept.numbers("n"), wanted);
    // Again is the same, whatever came out of it before.
    kept.replace(1, vec![("time", minutes([60])), ("n", ints([1000]))]).expect("kept");
    assert_eq!(kept.numbers("n"), wanted);
    kept.replace(1, vec![("time", minutes([])), ("n", ints([]))]).expect("kept");
    assert_eq!(kept.numbers("n"), [Some(-1), Some(0), Some(59), Some(120)]);
}

#[test]
fn columns_outlive_the_rows_that_had_them() {
    let kept = Kept::new();
    kept.append(vec![("time", minutes([0])), ("n", ints([1]))]).expect("kept");
    kept.replace(1, vec![("time", minutes([60])), ("m", ints([2]))]).expect("kept");
    kept.replace(1, vec![("time", minutes([]))]).expect("kept");
    assert_eq!(kept.numbers("m"), [None]);
    kept.replace(0, vec![("time", minutes([]))]).expect("kept");
    assert_eq!(kept.numbers("m"), []);
    let version = kept.manifest().version;
    kept.replace(0, vec![("time", minutes([]))]).expect("kept");
    assert_eq!(kept.manifest().version, version, "nothing changed");
}

#[test]
fn many_small_files_become_few() {
    let kept = Kept::new();
    for n in 0..100 {
        kept.append(vec![("n", ints([n]))]).expect("kept");
        // The manifest and the lock are there as well.
        assert!(kept.files().len() <= MOST_SMALL + 2, "{:?}", kept.files());
    }
    assert_eq!(kept.numbers("n"), (0..100).map(Some).collect::<Vec<_>>());
    let manifest = kept.manifest();
    assert_eq!(manifest.files.iter().map(|file| file.rows).sum::<u64>(), 100);
    let named: Vec<String> = manifest.files.iter().map(|file| file.name.clone()).collect();
    let there: Vec<String> = kept.files().into_iter().filter(|name| name.ends_with(".parquet")).collect();
    assert!(there.iter().all(|name| named.contains(name)) && there.len() == named.len(), "{there:?} {named:?}");
}

#[test]
fn what_a_run_left_that_died_is_removed_and_never_read() {
    let kept = Kept::new();
    kept.append(vec![("n", ints([1]))]).expect("kept");
    let (before, leftover) = (kept.files(), kept.manifest().next_file(0));
    // The next file was written, whole or not, and the manifest was about to be.
    fs::copy(kept.folder().join(&kept.manifest().files[0].name), kept.folder().join(&leftover)).expect("copied");
    fs::write(kept.folder().join("manifest.json.partial"), "{\"format\":1,").expect("written");
    assert_eq!(kept.numbers("n"), [Some(1)]);
    kept.append(vec![("n", ints([2]))]).expect("kept");
    assert_eq!(kept.numbers("n"), [Some(1), Some(2)]);
    assert_eq!(kept.files().len(), before.len() + 1);
    // A folder whose first run died is no table.
    fs::create_dir_all(kept.dir.path().join("reports/tables/dead")).expect("made");
    fs::write(kept.dir.path().join("reports/tables/dead/0000000001-000.parquet"), "PAR1").expect("written");
    assert_eq!(kept.tables.names(), ["t"]);
}

#[test]
fn rows_are_nobodys_until_they_are_committed_and_then_a_runs() {
    let kept = Kept::new();
    kept.append(vec![("n", ints([1]))]).expect("kept");
    let record = Record { table: "t".to_owned(), mode: RecordMode::Append, keep: None };
    let run = |id: &str| RecordedRun { report: "r".to_owned(), run: id.to_owned(), rows: 1 };
    let prepared = || {
        prepare(&kept.tables, &record, &frame(vec![("n", ints([2]))]), None, 0, &Deadline::never()).expect("prepared")
    };
    let (before, files) = (kept.manifest(), kept.files());
    drop(prepared());
    assert_eq!((kept.manifest(), kept.files()), (before, files), "what is not committed leaves nothing");
    let held = prepared();
    assert_eq!(kept.numbers("n"), [Some(1)]);
    held.commit(Some(run("r@1"))).expect("committed");
    assert_eq!(kept.numbers("n"), [Some(1), Some(2)]);
    assert_eq!(kept.tables.recorded("r@1", None).expect("readable"), Some(run("r@1")));
    assert_eq!(kept.tables.recorded("r@2", None).expect("readable"), None);
    kept.append(vec![("n", ints([3]))]).expect("kept");
    assert_eq!(kept.tables.recorded("r@1", None).expect("readable"), Some(run("r@1")), "another writer leaves it");
}

#[test]
fn rows_go_that_are_kept_no_longer() {
    const DAY_MINUTES: i64 = 24 * 60;
    let day = Duration::from_secs(86_400);
    let modes = [RecordMode::Append, RecordMode::ReplaceWindow { column: "time".to_owned() }];
    for mode in modes {
        let kept = Kept::new();
        let keep = Some(RowsKept { column: "time".to_owned(), length: 3 * day });
        let record = Record { table: "t".to_owned(), mode, keep };
        for number in 0..10 {
            let rows = frame(vec![("time", minutes([number * DAY_MINUTES + 60])), ("n", ints([number]))]);
            let window = (number * 24 * HOUR_MS, (number + 1) * 24 * HOUR_MS);
            prepare(&kept.tables, &record, &rows, Some(window), window.1, &Deadline::never())
                .expect("prepared")
                .commit(None)
                .expect("kept");
        }
        assert_eq!(kept.numbers("n"), [7, 8, 9].map(Some), "{record:?}");
        // A run over a window of long ago takes nothing away; its rows go with the next day.
        let rows = || frame(vec![("time", minutes([DAY_MINUTES + 60])), ("n", ints([1]))]);
        let window = (24 * HOUR_MS, 48 * HOUR_MS);
        prepare(&kept.tables, &record, &rows(), Some(window), window.1, &Deadline::never())
            .expect("prepared")
            .commit(None)
            .expect("kept");
        assert_eq!(kept.numbers("n"), [1, 7, 8, 9].map(Some), "{record:?}");
        let next = (10 * 24 * HOUR_MS, 11 * 24 * HOUR_MS);
        let none = frame(vec![("time", minutes([])), ("n", ints([]))]);
        prepare(&kept.tables, &record, &none, Some(next), next.1, &Deadline::never())
            .expect("prepared")
            .commit(None)
            .expect("kept");
        assert_eq!(kept.numbers("n"), [8, 9].map(Some), "{record:?}");
    }
}

#[test]
fn texts_go_wherever_in_a_row_they_stand() {
    let kept = Kept::new();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("secret"), Some("a secret b"), None, Some("other")]));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)]); 4]);
    let mut names = ListBuilder::new(StringBuilder::new());
    for name in ["secret", "x", "y", "z"] {
        names.append_value([Some(name), None]);
    }
    let inner = Arc::new(Field::new("name", DataType::Utf8, true));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(inner, texts.clone())]));
    let rows = || vec![("n", ints([1, 2, 3, 4])), ("text", texts.clone()), ("nested", nested.clone())];
    kept.append(rows()).expect("kept");
    kept.append(vec![("n", ints([5, 6, 7, 8])), ("names", Arc::new(names.finish())), ("lists", Arc::new(lists))])
        .expect("kept");
    let edit = |text: &str| text.contains("secret").then(|| text.replace("secret", "gone"));
    let before = kept.manifest();
    assert_eq!(redact(&kept.tables, &edit, true).expect("counted"), 5);
    assert_eq!(kept.manifest(), before, "a dry run changes nothing");
    assert_eq!(redact(&kept.tables, &edit, false).expect("redacted"), 5);
    assert_eq!(redact(&kept.tables, &edit, false).expect("redacted again"), 0);
    assert_eq!(kept.numbers("n"), (1..=8).map(Some).collect::<Vec<_>>());
    for name in kept.files() {
        let bytes = fs::read(kept.folder().join(&name)).expect("readable");
        assert!(!bytes.windows(6).any(|window| window == b"secret"), "{name}");
    }
    let version = kept.tables.open("t").expect("readable").expect("a table");
    let all: Vec<RecordBatch> = version.files.iter().flat_map(|file| batches(&file.file)).collect();
    let text = shown(&all);
    for part in ["gone", "a gone b", "other"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

fn batches(file: &fs::File) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.try_clone().expect("open")).expect("Parquet");
    reader.build().expect("rows").collect::<Result<_, _>>().expect("rows")
}

/// All rows as text, file by file: files need not have the same columns.
fn shown(batches: &[RecordBatch]) -> String {
    batches.iter().map(|batch| pretty_format_batches(std::slice::from_ref(batch)).expect("text").to_string()).collect()
}

#[test]
fn damage_is_named() {
    let kept = Kept::new();
    kept.append(vec![("n", ints([1]))]).expect("kept");
    let file = kept.folder().join(&kept.manifest().files[0].name);
    let bytes = fs::read(&file).expect("readable");
    let damage = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).expect("written");
        let error = kept.tables.open("t").expect_err("damaged");
        assert_eq!(error.kind, Kind::Corrupt, "{error}");
        assert!(error.message.contains(path.to_str().expect("a name")), "{error}");
    };
    damage(&file, &bytes[1..]);
    let mut wrong = bytes.clone();
    let footer = wrong.len() - 12;
    wrong[footer..].fill(0);
    damage(&file, &wrong);
    fs::remove_file(&file).expect("removed");
    assert_eq!(kept.tables.open("t").expect_err("missing").kind, Kind::Corrupt);
    fs::write(&file, &bytes).expect("written");
    assert_eq!(kept.numbers("n"), [Some(1)]);
    damage(&kept.folder().join(MANIFEST), b"{}");
    assert_eq!(kept.tables.names(), Vec::<String>::new());
}

#[test]
fn readers_see_one_version_while_writers_replace_it() {
    let kept = Kept::new();
    let rows = |n: i64| vec![("time", minutes([60, 61, 62])), ("n", ints([n; 3]))];
    kept.replace(1, rows(0)).expect("kept");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = [1, 2]
            .map(|writer| {
                let (kept, rows) = (&kept, &rows);
                scope.spawn(move || {
                    for n in 0..40 {
                        kept.replace(1, rows(n * 10 + writer)).expect("kept");
                    }
                })
            })
            .into();
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let numbers = kept.numbers("n");
                assert!(numbers.len() == 3 && numbers.iter().all(|n| *n == numbers[0]), "{numbers:?}");
            }
        });
        let failed = writers.into_iter().filter_map(|writer| writer.join().err()).count();
        done.store(true, Ordering::Relaxed);
        reader.join().expect("a reader");
        assert_eq!(failed, 0);
    });
    assert_eq!(kept.manifest().version, 81);
}
