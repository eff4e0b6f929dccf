//! Traces made at random against plain models.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;

fn drawn() -> impl Strategy<Value = Trace> {
    let span = (1..14_u64, 0..16_u64, 0..60_i64, 0..40_i64);
    prop::collection::vec(span, 0..24)
        .prop_map(|drawn| Trace::of(&drawn.into_iter().map(|(id, p, s, d)| (id, p, s, s + d)).collect::<Vec<_>>()))
}

/// A tree in which every span has its own time, children lie inside their parents, and siblings do not meet.
fn sequential() -> impl Strategy<Value = Trace> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..4_i64), 1..40).prop_map(|steps| {
        // Walks a call tree on one clock: a step ends some spans and begins one.
        let (mut clock_ns, mut drawn, mut open) = (0, Vec::<(u64, u64, i64, i64)>::new(), Vec::<usize>::new());
        for (ends, waits_ns) in steps {
            let kept = if open.is_empty() { 0 } else { 1 + ends.index(open.len()) };
            for ended in open.split_off(kept) {
                drawn[ended].3 = clock_ns;
            }
            clock_ns += waits_ns;
            let parent = open.last().map_or(0, |parent| drawn[*parent].0);
            open.push(drawn.len());
            drawn.push((drawn.len() as u64 + 1, parent, clock_ns, clock_ns));
            clock_ns += 1;
        }
        for ended in open {
            drawn[ended].3 = clock_ns + 1;
        }
        Trace::of(&drawn)
    })
}

/// For each moment, what is said of it by walking the tree from the top as the definition has it.
fn own_moments(trace: &Trace, tree: &Tree, row: usize) -> i64 {
    let spans = trace.spans();
    let runs = |row: usize, at: i64| spans.start_ns[row] <= at && at < spans.end_ns(row);
    let is_own = |at: &i64| !tree.children(row).iter().any(|child| runs(*child as usize, *at));
    (spans.start_ns[row]..spans.end_ns(row)).filter(is_own).count() as i64
}

/// The path by recursion, each step looking at all children.
fn plain_path(trace: &Trace, tree: &Tree, row: usize, window: (i64, i64), path: &mut Vec<(usize, i64, i64)>) {
    let spans = trace.spans();
    let mut at = window.1;
    let clipped = |child: usize| (spans.start_ns[child].max(window.0), spans.end_ns(child).min(window.1));
    let mut left: HashSet<usize> = tree.children(row).iter().map(|child| *child as usize).collect();
    loop {
        let fits = |child: &usize| clipped(*child).0 < clipped(*child).1 && clipped(*child).1 <= at;
        let last = left.iter().copied().filter(fits).max_by_key(|child| {
            let start = spans.start_ns[*child];
            (spans.end_ns(*child), -start, std::cmp::Reverse((spans.ids[*child], *child)))
        });
        let Some(child) = last else { break };
        left.remove(&child);
        path.push((row, clipped(child).1, at));
        plain_path(trace, tree, child, clipped(child), path);
        at = clipped(child).0;
    }
    path.push((row, window.0, at));
}

proptest! {
    #[test]
    fn every_span_is_in_the_tree_once_and_nested_sets_nest(trace in drawn()) {
        let (tree, count) = (trace.tree(), trace.ids.len());
        let mut rows: Vec<u32> = tree.pre_order().to_vec();
        rows.sort_unstable();
        prop_assert_eq!(rows, (0..count as u32).collect::<Vec<_>>());
        let numbers: HashSet<u32> = trace.nested_sets().into_iter().flat_map(|(left, right)| [left, right]).collect();
        prop_assert_eq!(numbers, (1..=2 * count as u32).collect::<HashSet<_>>());
        let up = |row: usize| std::iter::successors(tree.parent(row), |row| tree.parent(*row));
        for row in 0..count {
            prop_assert_eq!(up(row).count() as u32, tree.depth(row));
            prop_assert_eq!(up(row).last().unwrap_or(row), tree.top_of(row));
            let (left, right) = tree.nested_set(row);
            for other in 0..count {
                let (l, r) = tree.nested_set(other);
                prop_assert_eq!(left < l && r < right, up(other).any(|above| above == row));
            }
        }
    }

    #[test]
    fn a_parent_is_one_that_is_named(trace in drawn()) {
        let tree = trace.tree();
        let ids: HashSet<u64> = trace.ids.iter().copied().collect();
        for row in 0..trace.ids.len() {
            let named = trace.parents[row].map(NonZeroU64::get);
            prop_assert_eq!(tree.is_orphan(row), named.is_some_and(|id| !ids.contains(&id)));
            if let Some(parent) = tree.parent(row) {
                prop_assert_eq!(Some(trace.ids[parent]), named);
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(trace in drawn(), seed in any::<u64>()) {
        // Spans that are equal in all that siblings are ordered by are told apart by their rows.
        let mut seen = HashMap::new();
        let distinct: Vec<_> = (0..trace.ids.len()).filter(|row| {
            seen.insert((trace.ids[*row], trace.start_ns[*row], trace.duration_ns[*row]), ()).is_none()
        }).collect();
        let mut turned = distinct.clone();
        turned.sort_by_key(|row| (*row as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        let facts = |rows: &[usize]| {
            let drawn: Vec<_> = rows.iter().map(|row| {
                let (start, parent) = (trace.start_ns[*row], trace.parents[*row].map_or(0, NonZeroU64::get));
                (trace.ids[*row], parent, start, start + trace.duration_ns[*row])
            }).collect();
            let part = Trace::of(&drawn);
            let mut facts: Vec<_> = rows.iter().zip(part.nested_sets()).zip(part.self_ns())
                .map(|((row, nested), own)| (*row, nested, own)).collect();
            facts.sort_unstable();
            (facts, part.path())
        };
        prop_assert_eq!(facts(&distinct), facts(&turned));
    }

    #[test]
    fn own_time_is_what_no_child_covers(trace in drawn()) {
        let tree = trace.tree();
        let own = trace.self_ns();
        for (row, own_ns) in own.into_iter().enumerate() {
            prop_assert_eq!(own_ns, own_moments(&trace, &tree, row));
        }
    }

    #[test]
    fn own_times_of_calls_on_one_clock_sum_to_the_covered_time(trace in sequential()) {
        let (tree, spans) = (trace.tree(), trace.spans());
        let covered: i64 = tree.tops().iter().map(|top| spans.duration_ns[*top as usize]).sum();
        prop_assert_eq!(trace.self_ns().into_iter().sum::<i64>(), covered);
        // Who does nothing beside anything else is on the path with all own time.
        let path = critical_path(&tree, &spans);
        prop_assert_eq!(critical_ns(&path, spans.len()), trace.self_ns());
    }

    #[test]
    fn the_path_covers_the_root_without_a_gap(trace in drawn()) {
        let (tree, spans) = (trace.tree(), trace.spans());
        let path = critical_path(&tree, &spans);
        for section in &path {
            prop_assert!(section.start_ns < section.end_ns);
            prop_assert!(spans.start_ns[section.row] <= section.start_ns && section.end_ns <= spans.end_ns(section.row));
        }
        for pair in path.windows(2) {
            prop_assert!(pair[0].end_ns <= pair[1].start_ns);
        }
        let roots = trace.parents.iter().filter(|parent| parent.is_none()).count();
        if let (1, Some(root)) = (roots, tree.root()) {
            prop_assert_eq!(critical_ns(&path, spans.len()).into_iter().sum::<i64>(), spans.duration_ns[root]);
            let mut plain = Vec::new();
            plain_path(&trace, &tree, root, (spans.start_ns[root], spans.end_ns(root)), &mut plain);
            let plain: Vec<_> = plain.into_iter().rev().filter(|(_, start, end)| start < end).collect();
            let path: Vec<_> = path.iter().map(|section| (section.row, section.start_ns, section.end_ns)).collect();
            prop_assert_eq!(path, plain);
        }
    }

    #[test]
    fn corrected_children_that_are_called_lie_inside_or_begin_with_their_parents(trace in drawn()) {
        let (tree, spans) = (trace.tree(), trace.spans());
        let skew = clock_skew_ns(&tree, &spans, |_, _| Hop::Call);
        for row in 0..spans.len() {
            let Some(parent) = tree.parent(row) else { continue };
            let start = |row: usize| spans.start_ns[row] + skew[row];
            prop_assert!(start(row) >= start(parent));
            if spans.duration_ns[row] <= spans.duration_ns[parent] {
                prop_assert!(start(row) + spans.duration_ns[row] <= start(parent) + spans.duration_ns[parent]);
            }
        }
    }
}
