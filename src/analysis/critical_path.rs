//! The critical path: of each moment of a trace, the one span that it waited for.
//!
//! It is walked backwards from the end. At a moment of a span, the path goes on in the child that finished last up to then; between that
//! child's end and the moment, the span itself is on the path. The child is walked in the same way from its end to its start, where the
//! path comes back to the span; a child that was still running then ran beside the one that was waited for, and is passed over. Where no
//! child is left, the span is on the path down to its own start.
//!
//! This is the walk of CRISP (Zhang et al., "CRISP: Critical Path Analysis of Large-Scale Microservice Architectures", USENIX ATC 2022) and
//! of Jaeger's interface (`CriticalPath/index.tsx` in jaeger-ui). As there, what of a child lies outside its parent is cut off first, so that one that
//! outlives its parent counts up to the parent's end, and times are taken as they are. Other than there, a child that ends in the very nanosecond in which
//! the next one begins was waited for.

use std::cmp::Reverse;

use super::spans::Spans;
use super::tree::Tree;

/// A stretch of the path that lies in one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    pub row: usize,
    pub start_ns: i64,
    /// After the start.
    pub end_ns: i64,
}

/// The critical path of a trace, from its start to its end.
///
/// It begins where the root ends and covers the root's duration without a gap. Several spans without a parent are walked as if they
/// were children of one that covers them all, and so are the tops of the trace's trees when every span names a parent: the path goes through the last
/// that ended, then through the last that ended before that one started, and what lies between is in no section.
pub fn critical_path(tree: &Tree, spans: &Spans<'_>) -> Vec<Section> {
    let has_root = tree.root().is_some();
    let tops = tree.tops().iter().copied();
    let mut walk = Walk { tree, spans, frames: Vec::new(), coming: Vec::new(), sections: Vec::new() };
    walk.open(None, i64::MIN, i64::MAX, tops.filter(|row| !has_root || spans.parents[*row as usize].is_none()));
    while walk.step() {}
    walk.sections.reverse();
    walk.sections
}

/// For each of `count` spans, the nanoseconds that `path` lies in it.
pub fn critical_ns(path: &[Section], count: usize) -> Vec<i64> {
    let mut critical_ns = vec![0; count];
    for section in path {
        critical_ns[section.row] += section.end_ns - section.start_ns;
    }
    critical_ns
}

struct Walk<'a> {
    tree: &'a Tree,
    spans: &'a Spans<'a>,
    /// The spans that are being walked, each below the one before.
    frames: Vec<Frame>,
    /// The children of each of these that the walk may come to, the last that ended first.
    coming: Vec<u32>,
    /// The last first.
    sections: Vec<Section>,
}

struct Frame {
    /// `None` above the tops.
    row: Option<usize>,
    /// What of the span lies inside those around it.
    start_ns: i64,
    end_ns: i64,
    /// Where the walk is.
    at_ns: i64,
    /// The next child in `coming`, of which those from `first` on are this frame's.
    next: usize,
    first: usize,
}

impl Walk<'_> {
    /// Begins with a span at its end.
    fn open(&mut self, row: Option<usize>, start_ns: i64, end_ns: i64, children: impl Iterator<Item = u32>) {
        let first = self.coming.len();
        self.coming.extend(children);
        let spans = self.spans;
        let last_first = |row: &u32| (Reverse(spans.end_ns(*row as usize)), spans.rank(*row));
        self.coming[first..].sort_unstable_by_key(last_first);
        self.frames.push(Frame { row, start_ns, end_ns, at_ns: end_ns, next: first, first });
    }

    /// Goes down into the next child that was waited for, or back up where there is none; says whether it went.
    fn step(&mut self) -> bool {
        let (tree, spans) = (self.tree, self.spans);
        let Some(frame) = self.frames.last_mut() else { return false };
        while let Some(child) = self.coming.get(frame.next).map(|child| *child as usize) {
            frame.next += 1;
            let (start_ns, end_ns) = (spans.start_ns[child].max(frame.start_ns), spans.end_ns(child).min(frame.end_ns));
            if end_ns > frame.at_ns || end_ns <= start_ns {
                continue;
            }
            section(&mut self.sections, frame.row, end_ns, frame.at_ns);
            frame.at_ns = start_ns;
            self.open(Some(child), start_ns, end_ns, tree.children(child).iter().copied());
            return true;
        }
        section(&mut self.sections, frame.row, frame.start_ns, frame.at_ns);
        self.coming.truncate(frame.first);
        self.frames.pop();
        true
    }
}

fn section(sections: &mut Vec<Section>, row: Option<usize>, start_ns: i64, end_ns: i64) {
    if let Some(row) = row.filter(|_| start_ns < end_ns) {
        sections.push(Section { row, start_ns, end_ns });
    }
}
