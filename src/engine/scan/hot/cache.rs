//! The decoded columns and unpacked pages, least recently used first out.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use lru::LruCache;

use super::constants::Constants;
use super::plain::PlainFile;

/// A column of a row group. Files never change, so that a name stands for its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ColumnKey {
    pub file: Arc<str>,
    pub row_group: usize,
    /// The name, not the place: tables grow columns.
    pub column: Arc<str>,
    pub of: Values,
}

/// Which of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Values {
    /// That of each row.
    Rows,
    /// That of each row, by its place in a small dictionary where there is one.
    Codes,
    /// Each value once, in any order.
    Distinct,
    /// That of each run of equal ones.
    Runs,
}

/// Where a page lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub file: Arc<str>,
    /// The first byte of its head.
    pub start: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Column(ColumnKey),
    Page(PageKey),
}

#[derive(Debug)]
enum Kept {
    Column(ArrayRef),
    Page(Bytes),
}

impl Kept {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Column(column) => column.get_array_memory_size(),
            Self::Page(page) => page.len() + size_of::<Key>(),
        }
    }
}

/// Decoded columns and unpacked pages that all statements share, bounded by their bytes.
#[derive(Debug)]
pub(in crate::engine) struct ColumnCache {
    budget_bytes: usize,
    columns: Mutex<Columns>,
}

#[derive(Debug)]
struct Columns {
    by_key: LruCache<Key, Kept>,
    bytes: usize,
    /// Columns that were not there when some of their rows were wanted, and how often.
    missed: LruCache<ColumnKey, usize>,
    /// The columns of files that have one value only, by the files' names.
    constants: LruCache<Arc<str>, Arc<Constants>>,
    /// Footers with the columns as plans have them, by the files' names.
    footers: LruCache<Arc<str>, ArrowReaderMetadata>,
    /// What reading a few rows of a file takes, by the files' names.
    plain: LruCache<Arc<str>, Arc<PlainFile>>,
}

/// So often a few rows of a column are read from its file before it is decoded whole: what is asked again and again should be in memory.
const MISSES: usize = 2;
/// The most columns of which misses are counted.
const MOST_MISSED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16 * 1024 - 1);
/// The most files of which is kept which columns have one value only.
const MOST_FILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4 * 1024 - 1);
/// The most footers, which stay in memory with their page indexes, some hundred KiB each.
const MOST_FOOTERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(256 - 1);

impl ColumnCache {
    /// A cache of so many bytes; 0 keeps nothing.
    pub fn new(budget_bytes: usize) -> Self {
        let columns = Columns {
            by_key: LruCache::unbounded(),
            bytes: 0,
            missed: LruCache::new(MOST_MISSED),
            constants: LruCache::new(MOST_FILES),
            footers: LruCache::new(MOST_FOOTERS),
            plain: LruCache::new(MOST_FOOTERS),
        };
        Self { budget_bytes, columns: Mutex::new(columns) }
    }

    /// What columns and pages take now.
    pub fn used_bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(super) fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    pub(super) fn get(&self, key: &ColumnKey) -> Option<ArrayRef> {
        match self.lock().by_key.get(&Key::Column(key.clone())) {
            Some(Kept::Column(column)) => Some(column.clone()),
            _ => None,
        }
    }

    /// Those of a file's pages that are there.
    pub(super) fn pages(&self, file: &Arc<str>, starts: impl Iterator<Item = u64>) -> Vec<Option<Bytes>> {
        let mut columns = self.lock();
        let page = |start| match columns.by_key.get(&Key::Page(PageKey { file: file.clone(), start })) {
            Some(Kept::Page(page)) => Some(page.clone()),
            _ => None,
        };
        starts.map(page).collect()
    }

    /// Whether the column is there; it does not count as a use.
    pub(super) fn contains(&self, key: &ColumnKey) -> bool {
        self.lock().by_key.contains(&Key::Column(key.clone()))
    }

    /// Counts one more time that some rows of these columns were wanted; whether that was often enough to decode them whole.
    pub(super) fn missed(&self, keys: Vec<ColumnKey>) -> bool {
        if self.budget_bytes == 0 {
            return false;
        }
        let mut columns = self.lock();
        let mut is_often = true;
        for key in keys {
            let times = columns.missed.get_or_insert_mut(key, || 0);
            is_often &= *times >= MISSES;
            *times += 1;
        }
        is_often
    }

    /// The columns of a file that have one value only, if that was looked up.
    pub(super) fn constants(&self, file: &str) -> Option<Arc<Constants>> {
        self.lock().constants.get(file).cloned()
    }

    /// Keeps which columns of a file have one value only.
    pub(super) fn insert_constants(&self, file: Arc<str>, known: Arc<Constants>) {
        self.lock().constants.put(file, known);
    }

    /// The footer of a file, if it was read before.
    pub(super) fn footer(&self, file: &str) -> Option<ArrowReaderMetadata> {
        self.lock().footers.get(file).cloned()
    }

    /// Keeps the footer of a file: its columns' types are worked out once, not for each statement.
    pub(super) fn insert_footer(&self, file: Arc<str>, footer: ArrowReaderMetadata) {
        if self.budget_bytes > 0 {
            self.lock().footers.put(file, footer);
        }
    }

    /// What reading a few rows of a file takes, if it was worked out before.
    pub(super) fn plain(&self, file: &str) -> Option<Arc<PlainFile>> {
        self.lock().plain.get(file).cloned()
    }

    /// Keeps what reading a few rows of a file takes.
    pub(super) fn insert_plain(&self, file: Arc<str>, plain: Arc<PlainFile>) {
        if self.budget_bytes > 0 {
            self.lock().plain.put(file, plain);
        }
    }

    /// Keeps a column, and lets go of others for it.
    pub(super) fn insert(&self, key: ColumnKey, column: ArrayRef) {
        self.keep(Key::Column(key), Kept::Column(column));
    }

    /// Keeps an unpacked page, and lets go of others for it.
    pub(super) fn insert_page(&self, key: PageKey, page: Bytes) {
        self.keep(Key::Page(key), Kept::Page(page));
    }

    fn keep(&self, key: Key, kept: Kept) {
        let bytes = kept.size_bytes();
        if bytes > self.budget_bytes {
            return;
        }
        let mut columns = self.lock();
        if let Some(before) = columns.by_key.put(key, kept) {
            columns.bytes -= before.size_bytes();
        }
        columns.bytes += bytes;
        while columns.bytes > self.budget_bytes {
            let Some((_, oldest)) = columns.by_key.pop_lru() else { break };
            columns.bytes -= oldest.size_bytes();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Columns> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;

    fn key(row_group: usize) -> ColumnKey {
        ColumnKey { file: "a".into(), row_group, column: "c".into(), of: Values::Rows }
    }

    #[test]
    fn the_least_recently_used_column_goes_first_and_the_budget_holds() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1; 1000]));
        let cache = ColumnCache::new(column.get_array_memory_size() * 2);
        cache.insert(key(0), column.clone());
        cache.insert(key(1), column.clone());
        assert!(cache.get(&key(0)).is_some());
        cache.insert(key(2), column.clone());
        let kept: Vec<bool> = (0..3).map(|group| cache.contains(&key(group))).collect();
        assert_eq!(kept, [true, false, true]);
        cache.insert(key(2), column.clone());
        assert_eq!(cache.lock().bytes, column.get_array_memory_size() * 2);
    }

    #[test]
    fn pages_and_columns_share_the_budget() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1; 1000]));
        let file: Arc<str> = "a".into();
        let page = Bytes::from(vec![7; 5000]);
        let bytes = Kept::Page(page.clone()).size_bytes();
        let cache = ColumnCache::new(column.get_array_memory_size() + bytes);
        cache.insert(key(0), column);
        cache.insert_page(PageKey { file: file.clone(), start: 4 }, page.clone());
        assert_eq!(cache.pages(&file, [4, 5].into_iter()), [Some(page.clone()), None]);
        assert_eq!(cache.pages(&"b".into(), [4].into_iter()), [None]);
        cache.insert_page(PageKey { file: file.clone(), start: 8 }, page.clone());
        assert!(!cache.contains(&key(0)), "the oldest went");
        assert_eq!(cache.pages(&file, [4, 8].into_iter()), [Some(page.clone()), Some(page)]);
        assert_eq!(cache.lock().bytes, 2 * bytes);
    }

    #[test]
    fn a_column_is_worth_decoding_once_it_was_missed_often() {
        let cache = ColumnCache::new(1000);
        let asked: Vec<bool> = (0..4).map(|_| cache.missed(vec![key(0)])).collect();
        assert_eq!(asked, [false, false, true, true]);
        assert!(!cache.missed(vec![key(0), key(1)]));
        assert!(!ColumnCache::new(0).missed(vec![key(0)]));
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_kept() {
        let cache = ColumnCache::new(100);
        cache.insert(key(0), Arc::new(Int64Array::from(vec![1; 1000])));
        assert!(!cache.contains(&key(0)));
        assert_eq!(cache.lock().bytes, 0);
    }
}
