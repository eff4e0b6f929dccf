//! The tree of a trace.

use std::num::NonZeroU64;

use super::spans::Spans;

/// No row.
const NONE: u32 = u32::MAX;

/// Who is whose parent, and where each span stands.
///
/// | a span that | becomes |
/// |---|---|
/// | names no parent | the top of a tree; the earliest of them is the trace's root |
/// | names a parent that is not there | an orphan: the top of a tree of its own, below which all is as below any other |
/// | names itself, or a parent in whose circle it is | the top of a tree when it is the earliest of the circle; the others stand below it as they say |
/// | has the id of another span | a child of its own parent as any span; children of that id belong to the earliest that has it |
///
/// Siblings, and the tops among each other, are in the order of their start, and of their ids where they start together.
#[derive(Debug, Clone)]
pub struct Tree {
    parents: Vec<u32>,
    /// The children of row r are `children[child_starts[r]..child_starts[r + 1]]`.
    child_starts: Vec<u32>,
    children: Vec<u32>,
    tops: Vec<u32>,
    root: Option<u32>,
    is_orphan: Vec<bool>,
    /// Parents before their children.
    pre_order: Vec<u32>,
    depths: Vec<u32>,
    top_of: Vec<u32>,
    lefts: Vec<u32>,
    rights: Vec<u32>,
}

impl Tree {
    /// The most bytes of memory that a tree takes for each span while it is made.
    pub const BYTES_PER_SPAN: usize = 64;

    /// The tree of a trace.
    pub fn of(spans: &Spans<'_>) -> Self {
        let order = in_order(spans);
        let (mut parents, is_orphan) = linked(spans, &order);
        cut_circles(spans, &mut parents);
        let (child_starts, children) = children_of(&parents, &order);
        let tops: Vec<u32> = order.iter().copied().filter(|row| parents[*row as usize] == NONE).collect();
        let root = tops.iter().copied().find(|row| spans.parents[*row as usize].is_none());
        let mut tree = Self {
            pre_order: Vec::with_capacity(parents.len()),
            depths: vec![0; parents.len()],
            top_of: vec![0; parents.len()],
            lefts: vec![0; parents.len()],
            rights: vec![0; parents.len()],
            parents,
            child_starts,
            children,
            tops,
            root,
            is_orphan,
        };
        tree.number();
        tree
    }

    /// The parent's row; `None` for a top.
    pub fn parent(&self, row: usize) -> Option<usize> {
        some(self.parents[row])
    }

    /// The children's rows, the earlier first.
    pub fn children(&self, row: usize) -> &[u32] {
        &self.children[self.child_starts[row] as usize..self.child_starts[row + 1] as usize]
    }

    /// The rows without a parent in the tree, the earlier first.
    pub fn tops(&self) -> &[u32] {
        &self.tops
    }

    /// The earliest span that names no parent.
    pub fn root(&self) -> Option<usize> {
        self.root.map(|row| row as usize)
    }

    /// Whether the span names a parent that is not there.
    pub fn is_orphan(&self, row: usize) -> bool {
        self.is_orphan[row]
    }

    /// The steps up to the top; 0 for a top.
    pub fn depth(&self, row: usize) -> u32 {
        self.depths[row]
    }

    /// The top that the span stands below; a top is its own.
    pub fn top_of(&self, row: usize) -> usize {
        self.top_of[row] as usize
    }

    /// The left and the right number of the nested set, counted from 1 over all trees of the trace: the numbers of all spans below lie
    /// between those of a span, and no others do.
    pub fn nested_set(&self, row: usize) -> (u32, u32) {
        (self.lefts[row], self.rights[row])
    }

    /// All rows, tree by tree: parents before their children, and siblings in their order.
    pub fn pre_order(&self) -> &[u32] {
        &self.pre_order
    }

    /// Numbers the spans on one way around each tree.
    fn number(&mut self) {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        // The next child of each span on the way down.
        let mut open: Vec<(u32, u32)> = Vec::new();
        for top in &self.tops {
            let mut entered = Some(*top);
            while entered.is_some() || !open.is_empty() {
                if let Some(row) = entered.take() {
                    self.lefts[row as usize] = next();
                    self.depths[row as usize] = open.len() as u32;
                    self.top_of[row as usize] = *top;
                    self.pre_order.push(row);
                    open.push((row, self.child_starts[row as usize]));
                }
                let Some((row, child)) = open.last_mut() else { break };
                if *child < self.child_starts[*row as usize + 1] {
                    entered = Some(self.children[*child as usize]);
                    *child += 1;
                } else {
                    self.rights[*row as usize] = next();
                    open.pop();
                }
            }
        }
    }
}

fn some(row: u32) -> Option<usize> {
    (row != NONE).then_some(row as usize)
}

/// All rows in the order of siblings.
fn in_order(spans: &Spans<'_>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..spans.len() as u32).collect();
    // Files keep the spans of a trace by start, so that this mostly finds nothing to do.
    order.sort_unstable_by_key(|row| spans.rank(*row));
    order
}

/// The row of each span's parent, and whether it names one that is not there.
///
/// Ids are looked up in a sorted list and not in a hash table: whoever sends spans chooses their ids, and could choose them to collide.
fn linked(spans: &Spans<'_>, order: &[u32]) -> (Vec<u32>, Vec<bool>) {
    let mut places: Vec<(u64, u32)> =
        order.iter().zip(0..).map(|(row, place)| (spans.ids[*row as usize], place)).collect();
    places.sort_unstable();
    let find = |parent: NonZeroU64| {
        let at = places.partition_point(|(id, _)| *id < parent.get());
        let (id, place) = places.get(at)?;
        (*id == parent.get()).then(|| order[*place as usize])
    };
    let mut is_orphan = vec![false; spans.len()];
    let link = |(parent, is_orphan): (&Option<NonZeroU64>, &mut bool)| {
        let found = parent.map(find);
        *is_orphan = found == Some(None);
        found.flatten().unwrap_or(NONE)
    };
    let parents = spans.parents.iter().zip(&mut is_orphan).map(link).collect();
    (parents, is_orphan)
}

/// Takes its parent from the earliest span of each circle.
fn cut_circles(spans: &Spans<'_>, parents: &mut [u32]) {
    // The walk that came by first.
    let mut walks = vec![NONE; parents.len()];
    for from in 0..parents.len() as u32 {
        let mut at = from;
        while at != NONE && walks[at as usize] == NONE {
            walks[at as usize] = from;
            at = parents[at as usize];
        }
        if at == NONE || walks[at as usize] != from {
            continue;
        }
        // It came back to where it had been: what lies between is a circle.
        let (mut earliest, mut next) = (at, parents[at as usize]);
        while next != at {
            if spans.rank(next) < spans.rank(earliest) {
                earliest = next;
            }
            next = parents[next as usize];
        }
        parents[earliest as usize] = NONE;
    }
}

/// Where the children of each row begin, and all children, in order below each parent.
fn children_of(parents: &[u32], order: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0; parents.len() + 1];
    for parent in parents.iter().filter(|parent| **parent != NONE) {
        starts[*parent as usize + 1] += 1;
    }
    let mut below = 0;
    for start in &mut starts {
        below += *start;
        *start = below;
    }
    let mut next = starts.clone();
    let mut children = vec![0; below as usize];
    for row in order {
        if let Some(parent) = some(parents[*row as usize]) {
            children[next[parent] as usize] = *row;
            next[parent] += 1;
        }
    }
    (starts, children)
}
