//! The cache against the store behind it: the same bytes, whatever is kept, damaged, evicted or asked for at once.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::block::BLOCK_BYTES;
use super::{Blocks, CachedStore};
use crate::store::disk::{Disk, OsDisk};
use crate::store::faulty_store::{Call, Fault, FaultyStore};
use crate::store::table::FileName;
use crate::store::testing::{FaultyDisk, Op};

const PLENTY: u64 = 1 << 30;

struct Fixture {
    dir: TempDir,
    bucket: FaultyStore,
    location: Path,
    content: Bytes,
}

impl Fixture {
    /// A file of a few blocks, the last one short.
    async fn new() -> Self {
        let bucket = FaultyStore::default();
        let name = FileName::rewritten("0af", 0).to_unique_text();
        let location = Path::from_iter(["date=2026-01-01", name.as_str()]);
        let mut content = vec![0; 5 * BLOCK_BYTES as usize + 12_345];
        ChaCha8Rng::seed_from_u64(1).fill(&mut content[..]);
        let content = Bytes::from(content);
        bucket.inner.put(&location, content.clone().into()).await.expect("stored");
        Self { dir: tempfile::tempdir().expect("directory"), bucket, location, content }
    }

    fn blocks(&self, disk: Arc<dyn Disk>, budget_bytes: u64) -> Arc<Blocks> {
        Arc::new(Blocks::open(self.dir.path().to_owned(), disk, budget_bytes).expect("a cache"))
    }

    fn store(&self, blocks: &Arc<Blocks>) -> CachedStore {
        CachedStore::new("s3://bucket/table", Arc::new(self.bucket.clone()), Some(blocks.clone()))
    }

    fn expected(&self, range: &Range<u64>) -> Bytes {
        self.content.slice(range.start as usize..(range.end as usize).min(self.content.len()))
    }

    async fn check(&self, store: &CachedStore, ranges: &[Range<u64>]) {
        let read = store.get_ranges(&self.location, ranges).await.expect("bytes");
        for (range, read) in ranges.iter().zip(read) {
            assert!(read == self.expected(range), "{range:?}");
        }
        store.settled().await;
    }

    async fn check_one(&self, store: &CachedStore, range: Range<u64>) {
        self.check(store, &[range]).await;
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).expect("readable");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

#[tokio::test]
async fn random_ranges_read_the_same_while_blocks_come_and_go() {
    let fixture = Fixture::new().await;
    let len = fixture.content.len() as u64;
    for budget_bytes in [PLENTY, 3 * BLOCK_BYTES, 1] {
        let blocks = fixture.blocks(Arc::new(OsDisk), budget_bytes);
        let store = fixture.store(&blocks);
        let mut random = ChaCha8Rng::seed_from_u64(budget_bytes);
        for _ in 0..60 {
            let ranges: Vec<Range<u64>> = (0..random.random_range(1..4))
                .map(|_| {
                    let start = random.random_range(0..len);
                    start..random.random_range(start + 1..len + 10)
                })
                .collect();
            fixture.check(&store, &ranges).await;
            let one = store.get_range(&fixture.location, ranges[0].clone()).await.expect("bytes");
            assert!(one == fixture.expected(&ranges[0]), "{:?}", ranges[0]);
            store.settled().await;
            let kept: u64 = fixture.files().iter().map(|file| file.metadata().map_or(0, |meta| meta.len())).sum();
            assert!(kept <= budget_bytes, "{kept} bytes on disk");
        }
        let figures = blocks.figures();
        assert!(figures.bytes <= budget_bytes && (figures.hits > 0) == (budget_bytes > 1), "{figures:?}");
        if budget_bytes == PLENTY {
            assert_eq!((figures.misses, figures.fetched_bytes), (6, len), "each block was fetched once");
            assert_eq!(
                figures.bytes,
                fixture.files().iter().map(|file| file.metadata().expect("a file").len()).sum::<u64>()
            );
        }
    }
}

#[tokio::test]
async fn what_was_kept_is_found_again_after_a_restart_and_by_another_process() {
    let fixture = Fixture::new().await;
    let all = 0..fixture.content.len() as u64;
    fixture.check_one(&fixture.store(&fixture.blocks(Arc::new(OsDisk), PLENTY)), all.clone()).await;
    std::fs::write(fixture.dir.path().join("half.partial"), "half").expect("written");
    fixture.bucket.fail(Call::Any, "", Fault::Fail);
    let blocks = fixture.blocks(Arc::new(OsDisk), PLENTY);
    assert_eq!(fixture.files().len(), 6, "what was half written is gone");
    fixture.check_one(&fixture.store(&blocks), all.clone()).await;
    let looking = Arc::new(Blocks::look_at(fixture.dir.path().to_owned(), Arc::new(OsDisk)));
    fixture.check_one(&fixture.store(&looking), 5..BLOCK_BYTES + 5).await;
    blocks.forget(&fixture.location);
    assert_eq!((fixture.files().len(), blocks.figures().bytes), (0, 0));
    fixture.bucket.heal();
    fixture.check_one(&fixture.store(&looking), 5..BLOCK_BYTES + 5).await;
    assert_eq!(fixture.files().len(), 0, "one who looks keeps nothing");
}

#[tokio::test]
async fn a_block_is_fetched_once_for_all_who_ask_at_the_same_time() {
    let fixture = Fixture::new().await;
    let blocks = fixture.blocks(Arc::new(OsDisk), PLENTY);
    let store = fixture.store(&blocks);
    let readers = (0..32).map(|n| {
        let store = store.clone();
        let location = fixture.location.clone();
        tokio::spawn(async move { store.get_range(&location, n * 100..3 * BLOCK_BYTES + n + 1).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.expect("it ends").expect("bytes");
    }
    assert_eq!((blocks.figures().misses, fixture.bucket.calls()), (4, 1), "one request for four neighbours");
}

#[tokio::test]
async fn a_reader_that_goes_away_or_fails_holds_up_nobody() {
    let fixture = Fixture::new().await;
    let blocks = fixture.blocks(Arc::new(OsDisk), PLENTY);
    let store = fixture.store(&blocks);
    fixture.bucket.fail(Call::Get, "", Fault::Freeze);
    let spawn = || {
        let (store, location) = (store.clone(), fixture.location.clone());
        tokio::spawn(async move { store.get_range(&location, 0..10).await })
    };
    let first = spawn();
    while fixture.bucket.frozen() == 0 {
        tokio::task::yield_now().await;
    }
    let second = spawn();
    first.abort();
    fixture.bucket.heal();
    let error = second.await.expect("it ends");
    if let Err(error) = error {
        assert!(error.to_string().contains("s3://bucket/table"), "{error}");
    }
    fixture.check_one(&store, 0..10).await;

    fixture.bucket.fail(Call::Get, "", Fault::Fail);
    let error = store.get_range(&fixture.location, 2 * BLOCK_BYTES..2 * BLOCK_BYTES + 1).await.expect_err("away");
    assert!(error.to_string().contains("s3://bucket/table"), "{error}");
    fixture.check_one(&store, 5..20).await;
    fixture.bucket.heal();
    fixture.check_one(&store, 2 * BLOCK_BYTES..2 * BLOCK_BYTES + 1).await;
    let gone = Path::from_iter(["date=2026-01-01", FileName::rewritten("0af", 1).to_unique_text().as_str()]);
    let error = store.get_range(&gone, 0..10).await.expect_err("not there");
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_of_the_table_s_place_and_nothing_is_kept_of_it() {
    let fixture = Fixture::new().await;
    let blocks = fixture.blocks(Arc::new(OsDisk), PLENTY);
    let without = CachedStore::new("s3://bucket/table", Arc::new(fixture.bucket.clone()), None);
    let kept = fixture.store(&blocks);
    let ranges = [0..10_000, BLOCK_BYTES..BLOCK_BYTES + 10_000];
    for store in [&without, &kept.without_filling(), &kept] {
        fixture.bucket.fail(Call::Get, "", Fault::Half);
        let both = store.get_ranges(&fixture.location, &ranges).await.expect_err("it breaks off");
        let one = store.get_range(&fixture.location, ranges[0].clone()).await.expect_err("it breaks off");
        for error in [both, one] {
            // By this name statements tell it from a damaged file.
            assert!(matches!(error, StoreError::Generic { store: "object store", .. }), "{error:?}");
            assert!(error.to_string().contains("s3://bucket/table"), "{error}");
        }
        store.settled().await;
        fixture.bucket.heal();
        fixture.check(store, &ranges).await;
    }
}

#[test]
fn a_runtime_that_ends_half_way_holds_up_nobody() {
    let [first, second] = [(); 2].map(|()| tokio::runtime::Runtime::new().expect("a runtime"));
    let fixture = first.block_on(Fixture::new());
    let store = fixture.store(&fixture.blocks(Arc::new(OsDisk), PLENTY));
    fixture.bucket.fail(Call::Get, "", Fault::Freeze);
    let (reader, location) = (store.clone(), fixture.location.clone());
    first.spawn(async move { reader.get_range(&location, 0..10).await });
    while fixture.bucket.frozen() == 0 {
        std::thread::yield_now();
    }
    drop(first);
    fixture.bucket.heal();
    second.block_on(fixture.check_one(&store, 0..10));
}

#[tokio::test]
async fn damaged_and_torn_blocks_are_fetched_again() {
    let fixture = Fixture::new().await;
    let blocks = fixture.blocks(Arc::new(OsDisk), PLENTY);
    let store = fixture.store(&blocks);
    let all = 0..fixture.content.len() as u64;
    fixture.check_one(&store, all.clone()).await;
    for (n, file) in fixture.files().into_iter().enumerate() {
        let mut bytes = std::fs::read(&file).expect("a block");
        let middle = bytes.len() / 2;
        match n % 3 {
            0 => bytes[middle] ^= 1,
            1 => bytes.truncate(middle),
            _ => bytes.clear(),
        }
        std::fs::write(&file, bytes).expect("written");
    }
    fixture.check_one(&store, all.clone()).await;
    assert_eq!((blocks.figures().damaged, blocks.figures().misses), (6, 12));
    fixture.files().into_iter().for_each(|file| std::fs::remove_file(file).expect("removed"));
    fixture.check_one(&store, all.clone()).await;
    assert_eq!(blocks.figures().damaged, 6, "what is missing is not damaged");
}

#[tokio::test]
async fn a_full_disk_costs_the_cache_and_nothing_else() {
    let fixture = Fixture::new().await;
    let disk = FaultyDisk::default();
    let blocks = fixture.blocks(Arc::new(disk.clone()), PLENTY);
    let store = fixture.store(&blocks);
    for op in [Op::Create, Op::Write] {
        disk.fail(op, "", ErrorKind::StorageFull);
        fixture.check_one(&store, 7..2 * BLOCK_BYTES).await;
        assert_eq!((blocks.figures().bytes, fixture.files().len()), (0, 0), "{op:?}");
        disk.heal();
    }
    fixture.check_one(&store, 7..2 * BLOCK_BYTES).await;
    assert_eq!(fixture.files().len(), 2);
}

#[tokio::test]
async fn what_may_change_and_what_is_to_be_replaced_is_not_kept() {
    let fixture = Fixture::new().await;
    let blocks = fixture.blocks(Arc::new(OsDisk), PLENTY);
    let store = fixture.store(&blocks);
    let log = Path::from("_delta_log/_last_checkpoint");
    for content in ["old", "new"] {
        fixture.bucket.inner.put(&log, content.into()).await.expect("stored");
        assert_eq!(store.get_range(&log, 0..3).await.expect("bytes"), content);
    }
    fixture.check_one(&store.without_filling(), 0..10).await;
    assert_eq!(fixture.files().len(), 0);
    fixture.check_one(&store, 0..10).await;
    fixture.bucket.fail(Call::Any, "", Fault::Fail);
    fixture.check_one(&store.without_filling(), 0..10).await;
    store.without_filling().get_range(&fixture.location, 0..BLOCK_BYTES + 1).await.expect_err("half of it is here");
}
