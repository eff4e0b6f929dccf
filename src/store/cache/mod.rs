//! Parts of a remote table's data files on local disk.
//!
//! Whole blocks of immutable files only, checked when they are read again: what is damaged or missing is fetched anew, so that losing the cache,
//! or a part of it, loses time and nothing else. Knows object stores and the disk; knows nothing of the table's log.

mod block;
mod blocks;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use blocks::Blocks;
pub use blocks::CacheFigures;
pub(crate) use store::CachedStore;
