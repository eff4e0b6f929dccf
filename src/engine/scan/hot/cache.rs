//! The decoded columns, least recently used first out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef};
use lru::LruCache;

/// A column of a row group. Files never change, so that a name stands for its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ColumnKey {
    pub file: Arc<str>,
    pub row_group: usize,
    /// The name, not the place: tables grow columns.
    pub column: Arc<str>,
}

/// Decoded columns that all statements share, bounded by their bytes.
#[derive(Debug)]
pub(in crate::engine) struct ColumnCache {
    budget_bytes: usize,
    columns: Mutex<Columns>,
}

#[derive(Debug)]
struct Columns {
    by_key: LruCache<ColumnKey, ArrayRef>,
    bytes: usize,
}

impl ColumnCache {
    /// A cache of so many bytes; 0 keeps nothing.
    pub fn new(budget_bytes: usize) -> Self {
        let columns = Columns { by_key: LruCache::unbounded(), bytes: 0 };
        Self { budget_bytes, columns: Mutex::new(columns) }
    }

    pub(super) fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    pub(super) fn get(&self, key: &ColumnKey) -> Option<ArrayRef> {
        self.lock().by_key.get(key).cloned()
    }

    /// Whether the column is there; it does not count as a use.
    pub(super) fn contains(&self, key: &ColumnKey) -> bool {
        self.lock().by_key.contains(key)
    }

    /// Keeps a column, and lets go of others for it.
    pub(super) fn insert(&self, key: ColumnKey, column: ArrayRef) {
        let bytes = column.get_array_memory_size();
        if bytes > self.budget_bytes {
            return;
        }
        let mut columns = self.lock();
        if let Some(before) = columns.by_key.put(key, column) {
            columns.bytes -= before.get_array_memory_size();
        }
        columns.bytes += bytes;
        while columns.bytes > self.budget_bytes {
            let Some((_, oldest)) = columns.by_key.pop_lru() else { break };
            columns.bytes -= oldest.get_array_memory_size();
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
        ColumnKey { file: "a".into(), row_group, column: "c".into() }
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
    fn what_is_larger_than_the_budget_is_not_kept() {
        let cache = ColumnCache::new(100);
        cache.insert(key(0), Arc::new(Int64Array::from(vec![1; 1000])));
        assert!(!cache.contains(&key(0)));
        assert_eq!(cache.lock().bytes, 0);
    }
}
