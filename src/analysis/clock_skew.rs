//! By how much clocks differ.

use super::spans::Spans;
use super::tree::Tree;

/// How a span came to be below its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// By the same clock.
    Inside,
    /// By another clock, and the parent waited: the child lies inside it.
    Call,
    /// By another clock, and the parent went on: the child does not begin before it.
    Message,
}

/// For each span, the nanoseconds that have to be added to its times so that it lies inside its parent.
///
/// Who follows its parent by the same clock is moved with it. Over a call, a child that lies inside its moved parent stays as it is; one that does
/// not, and is no longer than the parent, is put into its middle, as if request and answer took the same time on their way; a longer one, as one over a
/// message, is moved to its parent's start where it begins before that. A top stays.
///
/// This is Jaeger's adjustment (`cmd/query/app/querysvc/adjuster/clockskew.go`), which knows no messages and adds up nothing either: the correction is from the
/// span's own clock to that of the top.
pub fn clock_skew_ns(tree: &Tree, spans: &Spans<'_>, hop: impl Fn(usize, usize) -> Hop) -> Vec<i64> {
    let mut skew_ns = vec![0_i64; spans.len()];
    for row in tree.pre_order() {
        let row = *row as usize;
        let Some(parent) = tree.parent(row) else { continue };
        let moved_start_ns = spans.start_ns[parent].saturating_add(skew_ns[parent]);
        skew_ns[row] = match hop(row, parent) {
            Hop::Inside => skew_ns[parent],
            Hop::Call => {
                correction(moved_start_ns, spans.duration_ns[parent], spans.start_ns[row], spans.duration_ns[row])
            }
            Hop::Message => moved_start_ns.saturating_sub(spans.start_ns[row]).max(0),
        };
    }
    skew_ns
}

fn correction(parent_start_ns: i64, parent_duration_ns: i64, start_ns: i64, duration_ns: i64) -> i64 {
    let late_ns = start_ns.saturating_sub(parent_start_ns);
    let spare_ns = parent_duration_ns - duration_ns;
    match spare_ns {
        ..0 => late_ns.saturating_neg().max(0),
        _ if (0..=spare_ns).contains(&late_ns) => 0,
        _ => (spare_ns / 2).saturating_sub(late_ns),
    }
}
