//! What accumulators of many groups share.

use datafusion::arrow::array::{Array, BooleanArray};
use datafusion::logical_expr::EmitTo;

/// What a group has gathered.
pub(super) trait Gathered: Default {
    /// The memory that it holds beside itself.
    fn heap_bytes(&self) -> usize;
}

/// What each group has gathered, with the memory of all.
#[derive(Debug, Default)]
pub(super) struct Held<G> {
    groups: Vec<G>,
    heap_bytes: usize,
}

impl<G: Gathered> Held<G> {
    pub fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, G::default);
    }

    pub fn change(&mut self, group: usize, change: impl FnOnce(&mut G)) {
        let gathered = &mut self.groups[group];
        let before = gathered.heap_bytes();
        change(gathered);
        self.heap_bytes = self.heap_bytes + gathered.heap_bytes() - before;
    }

    /// Takes groups out.
    pub fn take(&mut self, emit_to: EmitTo) -> Vec<G> {
        let taken = emit_to.take_needed(&mut self.groups);
        self.heap_bytes -= taken.iter().map(G::heap_bytes).sum::<usize>();
        taken
    }

    /// The memory that all hold beside themselves.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// All memory.
    pub fn bytes(&self) -> usize {
        size_of_val(self) + self.groups.capacity() * size_of::<G>() + self.heap_bytes()
    }
}

/// Whether an aggregate's FILTER lets this row in.
pub(super) fn wanted(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
