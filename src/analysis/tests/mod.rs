//! Traces for tests, by their spans, and what is worked out of them.

mod calls;
mod drawn;
mod properties;
mod wrapped;

use std::num::NonZeroU64;

use super::*;

/// A trace's columns.
#[derive(Debug, Clone, Default)]
struct Trace {
    start_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    ids: Vec<u64>,
    parents: Vec<Option<NonZeroU64>>,
}

impl Trace {
    /// Of (id, parent's id or 0, start, end).
    fn of(drawn: &[(u64, u64, i64, i64)]) -> Self {
        let mut trace = Self::default();
        for (id, parent, start_ns, end_ns) in drawn {
            trace.ids.push(*id);
            trace.parents.push(NonZeroU64::new(*parent));
            trace.start_ns.push(*start_ns);
            trace.duration_ns.push(end_ns - start_ns);
        }
        trace
    }

    fn spans(&self) -> Spans<'_> {
        Spans { start_ns: &self.start_ns, duration_ns: &self.duration_ns, ids: &self.ids, parents: &self.parents }
    }

    fn tree(&self) -> Tree {
        Tree::of(&self.spans())
    }

    /// (id, start, end) of each section.
    fn path(&self) -> Vec<(u64, i64, i64)> {
        let path = critical_path(&self.tree(), &self.spans());
        path.into_iter().map(|section| (self.ids[section.row], section.start_ns, section.end_ns)).collect()
    }

    fn self_ns(&self) -> Vec<i64> {
        self_ns(&self.tree(), &self.spans())
    }

    fn depths(&self) -> Vec<u32> {
        let tree = self.tree();
        (0..self.ids.len()).map(|row| tree.depth(row)).collect()
    }

    fn nested_sets(&self) -> Vec<(u32, u32)> {
        let tree = self.tree();
        (0..self.ids.len()).map(|row| tree.nested_set(row)).collect()
    }

    fn parents(&self) -> Vec<Option<usize>> {
        let tree = self.tree();
        (0..self.ids.len()).map(|row| tree.parent(row)).collect()
    }

    fn orphans(&self) -> Vec<usize> {
        let tree = self.tree();
        (0..self.ids.len()).filter(|row| tree.is_orphan(*row)).collect()
    }

    fn skew(&self, hop: impl Fn(usize, usize) -> Hop) -> Vec<i64> {
        clock_skew_ns(&self.tree(), &self.spans(), hop)
    }

    /// The calls of spans that are drawn as a letter for the service and one for the part.
    fn calls(&self, drawn: &[&str]) -> Vec<Call> {
        let letter = |row: usize, at: usize| drawn[row].as_bytes()[at];
        let part = |row: usize| match letter(row, 1) {
            b'c' => Part::Caller,
            b's' => Part::Server,
            b't' => Part::Consumer,
            b'-' => Part::Between,
            _ => Part::Inside,
        };
        super::calls(&self.tree(), self.ids.len(), part, |a, b| letter(a, 0) == letter(b, 0))
    }
}
