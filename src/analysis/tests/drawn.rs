//! Trees, own times, critical paths and clocks of traces drawn by hand, one for each special case.

use super::*;

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

#[test]
fn childrens_time_counts_inside_their_parent_and_each_by_itself() {
    let trace = Trace::of(&[(1, 0, 10, 100), (2, 1, 0, 30), (3, 1, 20, 40), (4, 1, 90, 200), (5, 1, 300, 400)]);
    assert_eq!(child_ns(&trace.tree(), &trace.spans()), [20 + 20 + 10, 0, 0, 0, 0]);
    assert_eq!(trace.self_ns()[0], 90 - 30 - 10);
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
