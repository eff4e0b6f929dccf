//! The values of the columns that a trace's tree gives its spans.

use std::num::NonZeroU64;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch, StringViewArray,
    UInt32Array, UInt32Builder,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use super::tree_columns::TreeColumn::{self, *};
use crate::analysis::{
    Call, Hop, Part, Section, Spans, Step, Tree, calls, child_ns, clock_skew_ns, critical_ns, critical_path, outermost,
    self_ns,
};
use crate::model::SpanId;
use crate::model::schema::{
    DURATION_NS, PARENT_SPAN_ID, SERVICE_NAME, SPAN_ID, SPAN_KIND, SPAN_NAME, START_NS, is_unknown_service,
};

/// The most names of a path, more than a person reads: of a trace as deep as it has spans the paths of all would have half the square of them, and
/// what groups by paths keeps each. What lies deeper has the path of the span above it that is the last to be named.
pub(super) const MAX_PATH_NAMES: usize = 256;

/// The tree's columns of a batch of whole traces.
pub(super) struct Made {
    /// In the order in which they were asked for.
    pub columns: Vec<MadeColumn>,
    /// For each row its parent's, where paths are wanted.
    pub above: Vec<Option<u32>>,
    /// For each row the one that its path ends with, where paths are wanted: its own, or that of a span above it.
    pub path_ends: Vec<u32>,
    /// For each row how many names its path has, where paths are wanted.
    pub path_names: Vec<u32>,
}

/// A column that was made.
pub(super) enum MadeColumn {
    Values(ArrayRef),
    /// The values of a column of spans, in these rows of it.
    ValuesOf(UInt32Array, ArrayRef),
    /// Made when they are given: together they may be much longer than the trace.
    Paths,
}

impl MadeColumn {
    /// Some of its values; `None` of paths.
    pub fn slice(&self, from: usize, rows: usize) -> Result<Option<ArrayRef>> {
        Ok(match self {
            Self::Values(values) => Some(values.slice(from, rows)),
            Self::ValuesOf(places, texts) => Some(take(texts, &places.slice(from, rows), None)?),
            Self::Paths => None,
        })
    }
}

impl Made {
    /// The columns `wanted` of the rows of `batch`, in which each trace begins at one of `starts`.
    pub fn of(wanted: &[TreeColumn], batch: &RecordBatch, starts: &[u32]) -> Result<Self> {
        let columns = Columns::of(batch)?;
        let mut made: Vec<Values> = wanted.iter().map(|column| Values::for_column(*column)).collect();
        let rows = batch.num_rows();
        let (mut above, mut path_ends, mut path_names) = (Vec::new(), Vec::new(), Vec::new());
        let has_paths = wanted.iter().any(|column| column.along_path().is_some());
        let ends = starts.iter().skip(1).copied().chain([rows as u32]);
        for (first, end) in starts.iter().copied().zip(ends) {
            let trace = columns.trace(first as usize, end as usize);
            let tree = Tree::of(&trace);
            let path = match wanted.iter().any(|column| column.is_of_critical_path()) {
                true => critical_path(&tree, &trace),
                false => Vec::new(),
            };
            let mut of_trace = OfTrace {
                first,
                tree: &tree,
                spans: &trace,
                path: &path,
                calls: &[],
                outermost: &[],
                columns: &columns,
            };
            let calls = match wanted.iter().any(|column| column.is_of_calls()) {
                true => of_trace.calls()?,
                false => Vec::new(),
            };
            of_trace.calls = &calls;
            let outermost = match wanted.iter().any(|column| column.is_of_wrapped()) {
                true => of_trace.outermost()?,
                false => Vec::new(),
            };
            of_trace.outermost = &outermost;
            for (column, made) in wanted.iter().zip(&mut made) {
                of_trace.add(*column, made)?;
            }
            if has_paths {
                let rows = 0..trace.len();
                above.extend(rows.clone().map(|row| tree.parent(row).map(|parent| first + parent as u32)));
                path_names.extend(rows.map(|row| (tree.depth(row) + 1).min(MAX_PATH_NAMES as u32)));
                path_ends.extend(ends_of_paths(&tree, trace.len()).into_iter().map(|row| first + row));
            }
        }
        let finish = |(made, column): (Values, &TreeColumn)| made.finish(*column, batch);
        let columns = made.into_iter().zip(wanted).map(finish).collect::<Result<_>>()?;
        Ok(Self { columns, above, path_ends, path_names })
    }
}

/// For each row of a trace the lowest one at or above it that a path names.
fn ends_of_paths(tree: &Tree, rows: usize) -> Vec<u32> {
    let mut ends: Vec<u32> = (0..rows as u32).collect();
    for row in tree.pre_order().iter().map(|row| *row as usize) {
        if let Some(parent) = tree.parent(row).filter(|_| tree.depth(row) as usize >= MAX_PATH_NAMES) {
            ends[row] = ends[parent];
        }
    }
    ends
}

/// The columns of spans that trees are made of.
struct Columns<'a> {
    start_ns: &'a [i64],
    duration_ns: &'a [i64],
    ids: Vec<u64>,
    parents: Vec<Option<NonZeroU64>>,
    services: Option<&'a StringViewArray>,
    names: Option<&'a StringViewArray>,
    kinds: Option<&'a StringViewArray>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let number = |name| {
            let column = column(batch, name)?.as_primitive_opt::<Int64Type>();
            column.map(|column| column.values().as_ref()).ok_or_else(|| lacks(name))
        };
        let ids = |name| {
            let column = column(batch, name)?.as_fixed_size_binary_opt();
            column.filter(|ids| ids.value_length() == SpanId::LEN as i32).ok_or_else(|| lacks(name))
        };
        let text = |name| batch.column_by_name(name).and_then(|column| column.as_string_view_opt());
        let parents = ids(PARENT_SPAN_ID)?;
        let parent = |(row, id)| NonZeroU64::new(id).filter(|_| parents.is_valid(row));
        Ok(Self {
            start_ns: number(START_NS)?,
            duration_ns: number(DURATION_NS)?,
            ids: numbers(ids(SPAN_ID)?).collect(),
            parents: numbers(parents).enumerate().map(parent).collect(),
            services: text(SERVICE_NAME),
            names: text(SPAN_NAME),
            kinds: text(SPAN_KIND),
        })
    }

    fn services_and_kinds(&self) -> Result<(&StringViewArray, &StringViewArray)> {
        Ok((self.services.ok_or_else(|| lacks(SERVICE_NAME))?, self.kinds.ok_or_else(|| lacks(SPAN_KIND))?))
    }

    fn trace(&self, first: usize, end: usize) -> Spans<'_> {
        Spans {
            start_ns: &self.start_ns[first..end],
            duration_ns: &self.duration_ns[first..end],
            ids: &self.ids[first..end],
            parents: &self.parents[first..end],
        }
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| lacks(name))
}

fn lacks(name: &str) -> datafusion::error::DataFusionError {
    internal_datafusion_err!("a batch of spans lacks {name} for its trees")
}

fn numbers(ids: &FixedSizeBinaryArray) -> impl Iterator<Item = u64> {
    let (ids, _) = ids.value_data().as_chunks::<{ SpanId::LEN }>();
    ids.iter().map(|id| u64::from_be_bytes(*id))
}

/// Values of a column as they are added, trace by trace.
enum Values {
    Small(Vec<i32>),
    Large(Vec<i64>),
    MaybeLarge(Vec<Option<i64>>),
    Truth(Vec<bool>),
    /// The rows whose value it is.
    Rows(UInt32Builder),
    /// Made when they are given: together they may be much longer than the trace.
    Paths,
}

impl Values {
    fn for_column(column: TreeColumn) -> Self {
        match column {
            Depth | NsetLeft | NsetRight | ChildCount => Self::Small(Vec::new()),
            SelfNs | CriticalNs | ClockSkewNs | ChildNs | TraceStartNs | TraceEndNs => Self::Large(Vec::new()),
            CriticalFromNs => Self::MaybeLarge(Vec::new()),
            IsOrphan | IsBetween | LacksCallee | LacksCaller | IsCopy => Self::Truth(Vec::new()),
            RootService | RootName | ParentService | ParentName | CallerService | AnswerService | AnswerName
            | CallingSpanId | CallingName => Self::Rows(UInt32Builder::new()),
            Path | PathServices => Self::Paths,
        }
    }

    fn finish(self, of: TreeColumn, batch: &RecordBatch) -> Result<MadeColumn> {
        Ok(MadeColumn::Values(match self {
            Self::Small(values) => Arc::new(Int32Array::from(values)),
            Self::Large(values) => Arc::new(Int64Array::from(values)),
            Self::MaybeLarge(values) => Arc::new(Int64Array::from(values)),
            Self::Truth(values) => Arc::new(BooleanArray::from(values)),
            Self::Rows(mut rows) => {
                let values = of.value_of().ok_or_else(|| internal_datafusion_err!("a value of no column"))?;
                return Ok(MadeColumn::ValuesOf(rows.finish(), column(batch, values)?.clone()));
            }
            Self::Paths => return Ok(MadeColumn::Paths),
        }))
    }
}

/// A trace, and what its columns are made of.
struct OfTrace<'a> {
    /// The batch's row of the first span.
    first: u32,
    tree: &'a Tree,
    spans: &'a Spans<'a>,
    path: &'a [Section],
    calls: &'a [Call],
    /// For each span the outermost around it that makes nothing but this one call.
    outermost: &'a [u32],
    columns: &'a Columns<'a>,
}

impl OfTrace<'_> {
    /// Adds the column's values.
    fn add(&self, column: TreeColumn, made: &mut Values) -> Result<()> {
        let (tree, rows) = (self.tree, 0..self.spans.len());
        match made {
            Values::Small(values) => values.extend(rows.map(|row| match column {
                NsetLeft => tree.nested_set(row).0 as i32,
                NsetRight => tree.nested_set(row).1 as i32,
                ChildCount => tree.children(row).len() as i32,
                _ => tree.depth(row) as i32,
            })),
            Values::Large(values) => values.extend(match column {
                SelfNs => self_ns(tree, self.spans),
                CriticalNs => critical_ns(self.path, self.spans.len()),
                ChildNs => child_ns(tree, self.spans),
                TraceStartNs => self.each(self.spans.start_ns.iter().copied().min()),
                TraceEndNs => self.each(rows.map(|row| self.spans.end_ns(row)).max()),
                _ => self.clock_skew_ns()?,
            }),
            Values::MaybeLarge(values) => {
                let from = values.len();
                values.resize(from + self.spans.len(), None);
                for section in self.path.iter().rev() {
                    values[from + section.row] = Some(section.start_ns);
                }
            }
            Values::Truth(values) if column == IsCopy => self.add_copies(values)?,
            Values::Truth(values) => values.extend(rows.map(|row| match column {
                IsBetween => self.calls[row].is_between,
                LacksCallee => self.calls[row].lacks_callee,
                LacksCaller => self.calls[row].lacks_caller,
                _ => tree.is_orphan(row),
            })),
            Values::Rows(values) if matches!(column, AnswerService | AnswerName) => self.add_answers(values)?,
            Values::Rows(values) => {
                let of_batch = |row: Option<usize>| row.map(|row| self.first + row as u32);
                values.extend(rows.map(|row| match column {
                    ParentService | ParentName => of_batch(tree.parent(row)),
                    CallerService => of_batch(self.calls[row].caller.map(|caller| caller as usize)),
                    CallingSpanId => of_batch(Some(self.outermost[row] as usize)),
                    CallingName => of_batch(tree.parent(self.outermost[row] as usize)),
                    _ => of_batch(self.root_of(row)),
                }));
            }
            Values::Paths => {}
        }
        Ok(())
    }

    /// What all spans of the trace have; a trace has one at least.
    fn each(&self, value: Option<i64>) -> Vec<i64> {
        vec![value.unwrap_or_default(); self.spans.len()]
    }

    /// The span's own top, when that is a root; else the trace's root.
    fn root_of(&self, row: usize) -> Option<usize> {
        let top = self.tree.top_of(row);
        if self.spans.parents[top].is_none() { Some(top) } else { self.tree.root() }
    }

    /// Adds for each span the child that answers it.
    fn add_answers(&self, values: &mut UInt32Builder) -> Result<()> {
        let (services, kinds) = self.columns.services_and_kinds()?;
        let names = self.columns.names.ok_or_else(|| lacks(SPAN_NAME))?;
        let text = |row: &u32| [services.value(*row as usize), ": ", names.value(*row as usize)];
        let bytes = |row: &u32| text(row).into_iter().flat_map(str::bytes);
        values.extend((0..self.spans.len()).map(|row| {
            let children = self.tree.children(row).iter().map(|child| self.first + child);
            let servers = children.filter(|child| kinds.value(*child as usize) == "SERVER");
            servers.min_by(|one, other| bytes(one).cmp(bytes(other)))
        }));
        Ok(())
    }

    /// Adds for each span whether one before it is the same.
    fn add_copies(&self, values: &mut Vec<bool>) -> Result<()> {
        let services = self.columns.services.ok_or_else(|| lacks(SERVICE_NAME))?;
        let names = self.columns.names.ok_or_else(|| lacks(SPAN_NAME))?;
        let spans = self.spans;
        let span = |row: u32| {
            let (at, of_batch) = (row as usize, (self.first + row) as usize);
            let numbers = (spans.ids[at], spans.start_ns[at], spans.duration_ns[at], spans.parents[at]);
            (numbers, services.value(of_batch), names.value(of_batch))
        };
        let mut order: Vec<u32> = (0..spans.len() as u32).collect();
        order.sort_unstable_by(|one, other| span(*one).cmp(&span(*other)).then(one.cmp(other)));
        let from = values.len();
        values.resize(from + order.len(), false);
        for pair in order.windows(2).filter(|pair| span(pair[0]) == span(pair[1])) {
            values[from + pair[1] as usize] = true;
        }
        Ok(())
    }

    fn outermost(&self) -> Result<Vec<u32>> {
        let (services, kinds) = self.columns.services_and_kinds()?;
        let first = self.first as usize;
        let step = |row: usize| match kinds.value(first + row) {
            "CLIENT" => Step::Call,
            "INTERNAL" => Step::Inner,
            _ => Step::Other,
        };
        let same_service = |a: usize, b: usize| services.value(first + a) == services.value(first + b);
        Ok(outermost(self.tree, self.spans.len(), step, same_service))
    }

    fn calls(&self) -> Result<Vec<Call>> {
        let (services, kinds) = self.columns.services_and_kinds()?;
        let first = self.first as usize;
        let part = |row: usize| match kinds.value(first + row) {
            "CLIENT" | "PRODUCER" => Part::Caller,
            "SERVER" => Part::Server,
            "CONSUMER" => Part::Consumer,
            "INTERNAL" if is_unknown_service(services.value(first + row)) => Part::Between,
            _ => Part::Inside,
        };
        let same_service = |a: usize, b: usize| services.value(first + a) == services.value(first + b);
        Ok(calls(self.tree, self.spans.len(), part, same_service))
    }

    fn clock_skew_ns(&self) -> Result<Vec<i64>> {
        let (services, kinds) = self.columns.services_and_kinds()?;
        let first = self.first as usize;
        let hop = |child: usize, parent: usize| {
            if services.value(first + child) == services.value(first + parent) {
                Hop::Inside
            } else if kinds.value(first + child) == "CONSUMER" {
                Hop::Message
            } else {
                Hop::Call
            }
        };
        Ok(clock_skew_ns(self.tree, self.spans, hop))
    }
}
