//! Lookups in files that the store wrote, against what the rows of those files say.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::AsArray;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use proptest::prelude::*;

use super::{FileIndex, Head, IndexBuilder, IndexMemory, Place, TraceSet};
use crate::model::promoted::Promotion;
use crate::model::schema::TRACE_ID;
use crate::store::disk::OsDisk;
use crate::store::table::{Effort, write_data_file};
use crate::store::testing::{START, TestSpan, decode, payload};

type Runs = BTreeMap<Vec<u8>, Vec<Range<u32>>>;

fn id(trace: u64) -> Vec<u8> {
    [trace.to_be_bytes(), trace.to_be_bytes()].concat()
}

/// A file whose rows have these traces, in an object store, and the runs that its rows say it has.
struct File {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size_bytes: u64,
    runs: Runs,
    memory: Arc<IndexMemory>,
}

impl File {
    async fn of(traces: &[u64]) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("file.parquet");
        let batches = traces.chunks(1000.max(traces.len() / 3)).map(|traces| {
            let spans: Vec<TestSpan> =
                traces.iter().map(|trace| TestSpan { trace: *trace, span: 1, start_ns: START }).collect();
            decode(&payload(&spans))
        });
        write_data_file(&OsDisk, &path, &Promotion::default(), Effort::Quick, batches).expect("written");
        Self::read(&path, traces.len()).await
    }

    async fn read(path: &FsPath, rows: usize) -> Self {
        let bytes = std::fs::read(path).expect("the file");
        let mut runs = Runs::new();
        let mut row = 0;
        for batch in ParquetRecordBatchReader::try_new(Bytes::from(bytes.clone()), 1000).expect("parquet") {
            let batch = batch.expect("rows");
            for id in batch.column_by_name(TRACE_ID).expect("ids").as_fixed_size_binary().iter().flatten() {
                let of_trace = runs.entry(id.to_vec()).or_default();
                match of_trace.last_mut() {
                    Some(run) if run.end == row => run.end += 1,
                    _ => of_trace.push(row..row + 1),
                }
                row += 1;
            }
        }
        assert_eq!(row as usize, rows);
        let file = Self {
            store: Arc::new(InMemory::new()),
            location: Path::from("file.parquet"),
            size_bytes: bytes.len() as u64,
            runs,
            memory: Arc::default(),
        };
        file.put(bytes).await;
        file
    }

    async fn put(&self, bytes: Vec<u8>) {
        self.store.put(&self.location, PutPayload::from(bytes)).await.expect("stored");
    }

    async fn bytes(&self) -> Vec<u8> {
        self.store.get(&self.location).await.expect("the file").bytes().await.expect("its bytes").to_vec()
    }

    fn index(&self) -> FileIndex {
        FileIndex::unread(self.memory.clone())
    }

    async fn find(&self, index: &FileIndex, ids: &[Vec<u8>]) -> Option<Vec<Range<u32>>> {
        let traces = TraceSet::new(ids.iter().map(Vec::as_slice));
        index.find(&self.store, &self.location, self.size_bytes, &traces).await
    }

    /// Every trace alone, all of them together, and some that are not there.
    async fn check(&self) {
        let index = self.index();
        let mut all = Vec::new();
        for (id, runs) in &self.runs {
            assert_eq!(self.find(&index, std::slice::from_ref(id)).await.as_ref(), Some(runs));
            all.extend(runs.iter().cloned());
        }
        all.sort_unstable_by_key(|run| run.start);
        let ids: Vec<Vec<u8>> = self.runs.keys().cloned().chain((900_000..900_100).map(id)).collect();
        assert_eq!(self.find(&index, &ids).await, Some(all.clone()));
        assert_eq!(self.find(&index, &ids[self.runs.len()..]).await, Some(Vec::new()));
        let may_have = |ids: &[Vec<u8>]| index.may_have(&TraceSet::new(ids.iter().map(Vec::as_slice)));
        assert!(self.runs.keys().all(|id| may_have(std::slice::from_ref(id))));
        assert!(ids[self.runs.len()..].iter().filter(|id| may_have(std::slice::from_ref(id))).count() < 20);
        let runs = index.runs(&self.store, &self.location, self.size_bytes).await.expect("an index");
        assert_eq!(runs.into_iter().map(|run| run.rows).collect::<Vec<_>>(), all);
        let figures = index.figures().expect("a head in memory");
        assert_eq!((figures.traces, figures.runs), (self.runs.len() as u64, all.len() as u64));
        assert_eq!(figures.split_traces, self.runs.values().filter(|runs| runs.len() > 1).count() as u64);
        assert_eq!(self.memory.resident_bytes(), figures.memory_bytes);
        drop(index);
        assert_eq!((self.memory.resident_bytes(), self.memory.failures()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_trace_is_found_where_it_is_and_no_other(
        runs in prop::collection::vec((0_u64..3_000, 1_usize..20), 0..1_500),
    ) {
        let traces: Vec<u64> = runs.into_iter().flat_map(|(trace, rows)| std::iter::repeat_n(trace, rows)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async { File::of(&traces).await.check().await });
    }
}

/// Buckets of time: the same traces again and again, more rows than a row group has.
#[tokio::test]
async fn traces_of_several_runs_in_several_row_groups_are_found() {
    let traces: Vec<u64> = (0..4).flat_map(|_| (0..6_000).flat_map(|trace| std::iter::repeat_n(trace, 6))).collect();
    File::of(&traces).await.check().await;
}

#[tokio::test]
async fn at_ten_spans_a_trace_the_index_takes_less_than_a_byte_a_span() {
    let mut index = IndexBuilder::default();
    for first in (0..200_000_u64).step_by(10_000) {
        let spans: Vec<TestSpan> =
            (first..first + 10_000).map(|row| TestSpan { trace: row / 10, span: row, start_ns: START }).collect();
        let batch = decode(&payload(&spans)).expect("a batch");
        index.push(batch.trace_ids().expect("ids")).expect("room");
    }
    let built = index.finish().expect("an index");
    let (bytes, resident) = (built.bytes.len() as f64 / 2e5, built.head.size_bytes() as f64 / 2e5);
    assert!((0.6..0.9).contains(&bytes), "{bytes} bytes a span in the file");
    assert!((0.1..0.15).contains(&resident), "{resident} bytes a span in memory");
}

#[tokio::test]
async fn without_memory_for_its_head_an_index_is_read_for_each_lookup() {
    let file = File { memory: Arc::new(IndexMemory::of(0)), ..File::of(&[1, 1, 2, 3, 3, 1]).await };
    let index = file.index();
    assert_eq!(file.find(&index, &[id(1)]).await, Some(vec![0..2, 5..6]));
    assert_eq!(file.find(&index, &[id(4)]).await, Some(vec![]));
    assert_eq!(index.figures(), None);
    drop(index);
    assert_eq!((file.memory.resident_bytes(), file.memory.failures()), (0, 0));
}

#[tokio::test]
async fn when_memory_is_full_new_heads_are_kept_and_the_oldest_are_read_until_there_is_room() {
    let file = File::of(&[1, 1, 2, 3, 3, 1]).await;
    let place = place(&file).await;
    let bytes = file.bytes().await;
    let head = Arc::new(Head::parse(&bytes[place.head.start as usize..place.head.end as usize]).expect("a head"));
    let budget_bytes = 2 * head.size_bytes() as u64 + 1;
    let file = File { memory: Arc::new(IndexMemory::of(budget_bytes)), ..file };
    let new = || FileIndex::written(file.memory.clone(), place.clone(), head.clone());
    let mut indexes: Vec<FileIndex> = (0..5).map(|_| new()).collect();
    let kept = |indexes: &[FileIndex]| indexes.iter().map(|index| index.figures().is_some()).collect::<Vec<_>>();
    assert_eq!(kept(&indexes), [false, false, false, true, true]);
    for index in &indexes {
        assert_eq!(file.find(index, &[id(1)]).await, Some(vec![0..2, 5..6]));
    }
    assert_eq!(kept(&indexes), [false, false, false, true, true], "what is read takes no other's place");
    indexes.pop();
    assert_eq!(file.find(&indexes[0], &[id(1)]).await, Some(vec![0..2, 5..6]));
    assert_eq!(kept(&indexes), [true, false, false, true]);
    assert_eq!(file.memory.resident_bytes(), 2 * head.size_bytes() as u64);
    drop(indexes);
    assert_eq!((file.memory.resident_bytes(), file.memory.failures()), (0, 0));
}

/// The file's place for its index, as its footer has it.
async fn place(file: &File) -> Place {
    let place = Place::of_file(file.store.as_ref(), &file.location, file.size_bytes).await.expect("a footer");
    place.expect("an index").0
}

#[tokio::test]
async fn a_damaged_index_is_left_aside_and_counted_and_never_invents_or_hides() {
    let traces: Vec<u64> = (0..2_000).flat_map(|trace| [trace; 3]).collect();
    let file = File::of(&traces).await;
    let (whole, place) = (file.bytes().await, place(&file).await);
    let wanted = [id(1_234)];
    for at in (place.blocks.start..place.head.end).step_by(101) {
        let mut bad = whole.clone();
        bad[at as usize] ^= 0x40;
        file.put(bad).await;
        let index = file.index();
        // A lookup that does not read the damaged block is right.
        let found = file.find(&index, &wanted).await;
        assert!(found.is_none() || found.as_ref() == file.runs.get(&wanted[0]), "byte {at}: {found:?}");
        if at >= place.head.start {
            assert_eq!(found, None, "byte {at}");
        }
        assert_eq!(index.runs(&file.store, &file.location, file.size_bytes).await, None);
        let failures = file.memory.failures();
        assert_eq!(file.find(&index, &wanted).await, None, "a damaged index is not asked again");
        assert_eq!(file.memory.failures(), failures);
    }
    assert!(file.memory.failures() > 100);
}

#[tokio::test]
async fn a_file_without_an_index_or_one_that_is_gone_cannot_tell() {
    let file = File::of(&[1, 2, 2]).await;
    let mut foreign = file.bytes().await;
    let key = foreign.windows(super::KEY.len()).position(|bytes| bytes == super::KEY.as_bytes()).expect("the key");
    foreign[key] ^= 1;
    file.put(foreign).await;
    let index = file.index();
    assert_eq!((file.find(&index, &[id(1)]).await, file.memory.failures()), (None, 0));
    file.store.delete(&file.location).await.expect("deleted");
    let index = file.index();
    assert_eq!((file.find(&index, &[id(1)]).await, file.memory.failures()), (None, 1));
}
