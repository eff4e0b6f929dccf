//! Own time, and that of children.

use super::spans::Spans;
use super::tree::Tree;

/// For each span, the nanoseconds of its duration in which no child of it ran. What several children cover is taken off once, and what
/// lies outside the span not at all.
pub fn self_ns(tree: &Tree, spans: &Spans<'_>) -> Vec<i64> {
    let own = |row: usize| {
        let end_ns = spans.end_ns(row);
        let (mut own_ns, mut covered_to_ns) = (0, spans.start_ns[row]);
        // Children come by start, so that nothing is free before where the next one begins.
        for child in tree.children(row) {
            let child = *child as usize;
            let from_ns = spans.start_ns[child].min(end_ns);
            own_ns += (from_ns - covered_to_ns).max(0);
            covered_to_ns = covered_to_ns.max(spans.end_ns(child).min(end_ns));
        }
        own_ns + (end_ns - covered_to_ns).max(0)
    };
    (0..spans.len()).map(own).collect()
}

/// For each span, the nanoseconds that its children ran inside it, each counted by itself: where two ran beside each other, twice.
pub fn child_ns(tree: &Tree, spans: &Spans<'_>) -> Vec<i64> {
    let inside = |row: usize| {
        let (start_ns, end_ns) = (spans.start_ns[row], spans.end_ns(row));
        let of_child = |child: &u32| {
            let child = *child as usize;
            (spans.end_ns(child).min(end_ns) - spans.start_ns[child].max(start_ns)).max(0)
        };
        tree.children(row).iter().map(of_child).fold(0_i64, i64::saturating_add)
    };
    (0..spans.len()).map(inside).collect()
}
