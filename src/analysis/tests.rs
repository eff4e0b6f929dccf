//! Traces drawn by hand, one for each special case, and drawn traces against plain models.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;

use proptest::prelude::*;

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

/// ```text
/// 1 |--------------------|     0..100
/// 2   |-----|                 10..40
/// 3     |-|                   20..30
/// 4           |------|        50..90
/// ```
fn calls() -> Trace {
    Trace::of(&[(1, 0, 0, 100), (2, 1, 10, 40), (3, 2, 20, 30), (4, 1, 50, 90)])
}

#[test]
fn calls_one_after_the_other() {
    let trace = calls();
    assert_eq!(trace.parents(), [None, Some(0), Some(1), Some(0)]);
    assert_eq!(trace.depths(), [0, 1, 2, 1]);
    assert_eq!(trace.nested_sets(), [(1, 8), (2, 5), (3, 4), (6, 7)]);
    assert_eq!(trace.self_ns(), [30, 20, 10, 40]);
    assert_eq!(
        trace.path(),
        [(1, 0, 10), (2, 10, 20), (3, 20, 30), (2, 30, 40), (1, 40, 50), (4, 50, 90), (1, 90, 100)]
    );
    let path = critical_path(&trace.tree(), &trace.spans());
    assert_eq!(critical_ns(&path, 4), [30, 20, 10, 40]);
    assert_eq!(trace.tree().pre_order(), [0, 1, 2, 3]);
    assert_eq!(trace.tree().children(0), [1, 3]);
    assert_eq!(trace.tree().root(), Some(0));
}

#[test]
fn nothing_is_a_trace_too() {
    let trace = Trace::of(&[]);
    assert_eq!((trace.tree().root(), trace.path(), trace.self_ns()), (None, vec![], vec![]));
}

#[test]
fn of_children_beside_each_other_the_last_to_end_is_waited_for() {
    // Both begin at 10; 3 ends last. 4 ended before 3 began, and 5 while it ran.
    let trace = Trace::of(&[(1, 0, 0, 100), (2, 1, 10, 50), (3, 1, 10, 80), (4, 1, 2, 6), (5, 1, 4, 12)]);
    assert_eq!(trace.path(), [(1, 0, 2), (4, 2, 6), (1, 6, 10), (3, 10, 80), (1, 80, 100)]);
    assert_eq!(trace.self_ns()[0], 2 + 20);
}

#[test]
fn a_child_that_ends_as_the_next_begins_was_waited_for() {
    let trace = Trace::of(&[(1, 0, 0, 30), (2, 1, 0, 10), (3, 1, 10, 30)]);
    assert_eq!(trace.path(), [(2, 0, 10), (3, 10, 30)]);
}

#[test]
fn an_async_child_counts_up_to_its_parents_end() {
    // 2 begins inside 1 and outlives it, as does 3 below it; 4 begins after 1 has ended.
    let trace = Trace::of(&[(1, 0, 0, 100), (2, 1, 60, 300), (3, 2, 200, 290), (4, 1, 150, 250)]);
    assert_eq!(trace.self_ns(), [60, 150, 90, 100]);
    assert_eq!(trace.path(), [(1, 0, 60), (2, 60, 100)]);
    assert_eq!(trace.depths(), [0, 1, 2, 1]);
}

#[test]
fn a_child_that_seems_to_begin_early_counts_from_its_parents_start() {
    let trace = Trace::of(&[(1, 0, 100, 200), (2, 1, 50, 120), (3, 1, 10, 90)]);
    assert_eq!(trace.self_ns(), [80, 70, 80]);
    assert_eq!(trace.path(), [(2, 100, 120), (1, 120, 200)]);
}

#[test]
fn zero_durations_are_on_no_path() {
    let trace = Trace::of(&[(1, 0, 0, 10), (2, 1, 4, 4), (3, 1, 6, 6), (4, 2, 4, 9)]);
    assert_eq!(trace.path(), [(1, 0, 10)]);
    assert_eq!(trace.self_ns(), [10, 0, 0, 5]);
    let point = Trace::of(&[(1, 0, 7, 7)]);
    assert_eq!((point.path(), point.self_ns()), (vec![], vec![0]));
}

#[test]
fn without_a_root_orphans_have_their_own_trees() {
    // 2 and 5 name the missing 1; 7 names the missing 6.
    let trace = Trace::of(&[(2, 1, 10, 40), (3, 2, 20, 30), (5, 1, 60, 80), (7, 6, 15, 70)]);
    assert_eq!(trace.orphans(), [0, 2, 3]);
    assert_eq!(trace.tree().root(), None);
    assert_eq!(trace.tree().tops(), [0, 3, 2]);
    assert_eq!(trace.depths(), [0, 1, 0, 0]);
    assert_eq!(trace.nested_sets(), [(1, 4), (2, 3), (7, 8), (5, 6)]);
    assert_eq!(trace.tree().top_of(1), 0);
    // 7 ran when 5 began, so that it is passed over.
    assert_eq!(trace.path(), [(2, 10, 20), (3, 20, 30), (2, 30, 40), (5, 60, 80)]);
}

#[test]
fn orphans_beside_a_root_are_not_on_its_path() {
    let trace = Trace::of(&[(1, 0, 0, 100), (3, 2, 50, 101)]);
    assert_eq!(trace.orphans(), [1]);
    assert_eq!(trace.path(), [(1, 0, 100)]);
    assert_eq!(trace.self_ns(), [100, 51]);
}

#[test]
fn two_roots_are_walked_as_if_one_had_called_both() {
    let apart = Trace::of(&[(1, 0, 0, 10), (2, 0, 30, 50)]);
    assert_eq!(apart.path(), [(1, 0, 10), (2, 30, 50)]);
    assert_eq!((apart.tree().root(), apart.tree().tops()), (Some(0), &[0, 1][..]));
    let beside = Trace::of(&[(1, 0, 0, 40), (2, 0, 30, 50)]);
    assert_eq!(beside.path(), [(2, 30, 50)]);
}

#[test]
fn a_late_parent_takes_its_orphans() {
    let mut drawn = vec![(3, 2, 20, 30), (1, 0, 0, 100)];
    assert_eq!(Trace::of(&drawn).orphans(), [0]);
    drawn.push((2, 1, 10, 40));
    let trace = Trace::of(&drawn);
    assert_eq!((trace.orphans(), trace.depths()), (vec![], vec![2, 0, 1]));
}

#[test]
fn a_circle_is_cut_above_its_earliest_span() {
    // 1 → 2 → 3 → 1, with 4 below it, and a root apart.
    let trace = Trace::of(&[(1, 3, 20, 30), (2, 1, 10, 40), (3, 2, 15, 16), (4, 3, 15, 16), (9, 0, 0, 1)]);
    assert_eq!(trace.parents(), [Some(2), None, Some(1), Some(2), None]);
    assert_eq!((trace.orphans(), trace.depths()), (vec![], vec![2, 0, 1, 2, 0]));
    let turned = Trace::of(&[(9, 0, 0, 1), (4, 3, 15, 16), (3, 2, 15, 16), (1, 3, 20, 30), (2, 1, 10, 40)]);
    assert_eq!(turned.depths(), [0, 2, 1, 2, 0]);
}

#[test]
fn who_names_itself_is_a_top() {
    let trace = Trace::of(&[(1, 1, 0, 10), (2, 1, 3, 4)]);
    assert_eq!((trace.parents(), trace.orphans()), (vec![None, Some(0)], vec![]));
    assert_eq!(trace.tree().root(), None);
    assert_eq!(trace.path(), [(1, 0, 3), (2, 3, 4), (1, 4, 10)]);
}

#[test]
fn children_of_an_id_that_came_twice_belong_to_the_earliest() {
    let trace = Trace::of(&[(1, 0, 0, 100), (2, 1, 30, 40), (2, 1, 10, 50), (3, 2, 32, 33)]);
    assert_eq!(trace.parents(), [None, Some(0), Some(0), Some(2)]);
    // Of two that are the same, each is there once.
    let twice = Trace::of(&[(1, 0, 0, 100), (1, 0, 0, 100), (2, 1, 5, 6)]);
    assert_eq!((twice.depths(), twice.tree().tops()), (vec![0, 0, 1], &[0, 1][..]));
}

#[test]
fn what_a_clock_is_wrong_by_is_corrected_across_processes() {
    // 2 is called across clocks and lies 5 before its parent; 3 follows it in the same process; 4 fits; 5 is longer than its parent.
    let trace = Trace::of(&[
        (1, 0, 100, 200),
        (2, 1, 95, 155),
        (3, 2, 100, 110),
        (4, 1, 120, 200),
        (5, 4, 110, 250),
        (6, 4, 130, 300),
    ]);
    let call = |row: usize, _| if row == 2 { Hop::Inside } else { Hop::Call };
    assert_eq!(trace.skew(call), [0, 25, 25, 0, 10, 0]);
    // Over a message only what comes before its cause is moved.
    assert_eq!(trace.skew(|_, _| Hop::Message), [0, 5, 0, 0, 10, 0]);
    assert_eq!(trace.skew(|_, _| Hop::Inside), [0; 6]);
    // A correction is measured against a parent that was moved itself.
    let chain = Trace::of(&[(1, 0, 0, 100), (2, 1, 1000, 1080), (3, 2, 1010, 1070), (4, 3, 0, 10)]);
    assert_eq!(chain.skew(|_, _| Hop::Call), [0, -990, -990, 45]);
}

/// The spans by id, from 1, each below the one that is named, as (service and part, parent).
fn called(drawn: &[(&str, u64)]) -> Vec<String> {
    let spans: Vec<_> =
        drawn.iter().zip(1..).map(|((_, parent), id)| (id, *parent, id as i64, id as i64 + 1)).collect();
    let parts: Vec<&str> = drawn.iter().map(|(part, _)| *part).collect();
    let shown = |call: Call| match call {
        Call { caller: Some(caller), lacks_callee, .. } => {
            format!("of {}{}", caller + 1, if lacks_callee { " out" } else { "" })
        }
        Call { is_between: true, .. } => "between".into(),
        Call { lacks_callee: true, .. } => "out".into(),
        Call { lacks_caller: true, .. } => "in".into(),
        _ => String::new(),
    };
    Trace::of(&spans).calls(&parts).into_iter().map(shown).collect()
}

#[test]
fn a_call_is_where_the_service_changes() {
    // Service a calls b by way of a span inside of a; b calls a database.
    assert_eq!(
        called(&[("as", 0), ("ac", 1), ("ai", 2), ("bs", 3), ("bi", 4), ("bc", 5)]),
        ["", "", "", "of 3", "", "out"]
    );
    // An orphan of b is called by nobody who has come, and neither is what names itself.
    assert_eq!(called(&[("as", 0), ("bs", 9), ("cs", 3)]), ["", "", ""]);
    // Who is called by another service may itself call out.
    assert_eq!(called(&[("as", 0), ("bc", 1)]), ["", "of 1 out"]);
}

#[test]
fn what_has_no_service_of_its_own_is_counted_as_what_is_around_it() {
    // Between a and b, and within a: the call is a's, and is answered.
    assert_eq!(
        called(&[("ac", 0), ("?-", 1), ("?-", 2), ("bs", 3), ("ac", 3)]),
        ["", "between", "between", "of 1", "out"]
    );
    // At the top it stands for itself.
    assert_eq!(called(&[("?-", 0), ("bs", 1)]), ["", "of 1"]);
}

#[test]
fn callers_whose_call_is_answered_somewhere_below_lack_nobody() {
    // By another service further down, and by a server of the same service.
    assert_eq!(called(&[("ac", 0), ("ac", 1), ("bs", 2)]), ["", "", "of 2"]);
    assert_eq!(called(&[("ac", 0), ("as", 1), ("ac", 0), ("ai", 3)]), ["", "", "out", ""]);
    // Of a database's client and the request by HTTP below it, the client is the call; one beside it is another.
    assert_eq!(called(&[("as", 0), ("ac", 1), ("ai", 2), ("ac", 3), ("ac", 1)]), ["", "out", "", "", "out"]);
    // A server in between begins anew.
    assert_eq!(called(&[("ac", 0), ("as", 1), ("ac", 2)]), ["", "", "out"]);
}

#[test]
fn consumers_lack_who_sent_unless_it_is_above_them() {
    assert_eq!(called(&[("at", 0), ("bt", 9)]), ["in", "in"]);
    assert_eq!(called(&[("ac", 0), ("bt", 1), ("ac", 0), ("at", 3)]), ["", "of 1", "", ""]);
    // What was received is processed.
    assert_eq!(called(&[("at", 0), ("ai", 1), ("at", 2), ("ai", 0), ("at", 4)]), ["in", "", "", "", "in"]);
}

#[test]
fn childrens_time_counts_inside_their_parent_and_each_by_itself() {
    let trace = Trace::of(&[(1, 0, 10, 100), (2, 1, 0, 30), (3, 1, 20, 40), (4, 1, 90, 200), (5, 1, 300, 400)]);
    assert_eq!(child_ns(&trace.tree(), &trace.spans()), [20 + 20 + 10, 0, 0, 0, 0]);
    assert_eq!(trace.self_ns()[0], 90 - 30 - 10);
}

#[test]
fn who_stands_between_is_on_the_shortest_paths() {
    // 0 → 1 → 2 → 3, a way around 1, an edge twice, one from a node to itself, and a node apart.
    let graph = Graph::new(6, vec![(0, 1), (1, 2), (2, 3), (0, 4), (4, 2), (0, 1), (3, 3)]);
    let degrees: Vec<_> = (0..6).map(|node| (graph.in_degree(node), graph.out_degree(node))).collect();
    assert_eq!(degrees, [(0, 2), (1, 1), (2, 1), (1, 0), (1, 1), (0, 0)]);
    // 1 and 4 have half of the ways 0 → 2 and 0 → 3, and all or none of the others; 2 has all that lead to 3.
    let scale = 20.0;
    assert_eq!(graph.betweenness(), Some(vec![0.0, 1.0 / scale, 3.0 / scale, 0.0, 1.0 / scale, 0.0]));
    for few in 0..3 {
        assert_eq!(Graph::new(few, Vec::new()).betweenness(), Some(vec![0.0; few]));
    }
    // Too many steps: 20,000 nodes, each with an edge to the next and to one of them.
    let many: Vec<_> = (0..20_000).flat_map(|node| [(node, (node + 1) % 20_000), (node, 0)]).collect();
    assert_eq!(Graph::new(20_000, many).betweenness(), None);
    // A star may be as large as it is: only its middle leads anywhere.
    let star = Graph::new(1_000_000, (1..1_000_000).map(|node| (0, node)).collect());
    assert_eq!(star.betweenness().map(|shares| shares[0]), Some(0.0));
}

/// A chain a million deep, a star, and a circle of as many, each within the default stack.
#[test]
fn a_trace_may_have_a_million_spans() {
    const SPANS: u64 = 1_000_000;
    let chain: Vec<_> = (1..=SPANS).map(|id| (id, id - 1, id as i64, 3_000_000 - id as i64)).collect();
    let chain = Trace::of(&chain);
    assert_eq!(chain.depths().into_iter().max(), Some(SPANS as u32 - 1));
    assert_eq!(chain.path().len(), 2 * SPANS as usize - 1);
    assert_eq!(chain.self_ns()[..2], [2, 2]);
    let star: Vec<_> = (1..=SPANS).map(|id| (id, u64::from(id > 1), id as i64, id as i64 + 5)).collect();
    let star = Trace::of(&star);
    assert_eq!(star.tree().children(0).len(), SPANS as usize - 1);
    assert_eq!(star.path().len(), 2);
    let circle: Vec<_> = (1..=SPANS).map(|id| (id, id % SPANS + 1, id as i64, id as i64 + 5)).collect();
    assert_eq!(Trace::of(&circle).tree().tops(), [0]);
}

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
