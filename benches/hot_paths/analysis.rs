//! Trees of traces, and what is worked out on them without the reading of spans; relations and functions that analyse traces, over fresh spans.

use std::hint::black_box;
use std::num::NonZeroU64;

use criterion::{BenchmarkId, Criterion, Throughput};
use spanhouse::analysis::{Spans, Tree, critical_ns, critical_path, self_ns};

use crate::queries::Bed;

/// What is asked of all fresh spans.
const QUESTIONS: [(&str, &str); 7] = [
    ("span_tree", "SELECT max(depth), max(nset_right), sum(self_ms), sum(critical_ms) FROM span_tree"),
    ("critical_path", "SELECT * FROM critical_path()"),
    ("service_map", "SELECT * FROM service_map()"),
    ("service_nodes", "SELECT * FROM service_nodes()"),
    ("n_plus_one", "SELECT * FROM n_plus_one()"),
    ("compare", "SELECT * FROM compare(status_code = 'ERROR')"),
    ("anomalies", "SELECT * FROM anomalies(true, true)"),
];

/// Spans in all traces of a measurement together.
const SPANS: usize = 1 << 18;

/// A trace in which each span calls up to four others, one after the other and side by side.
struct Trace {
    start_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    ids: Vec<u64>,
    parents: Vec<Option<NonZeroU64>>,
}

impl Trace {
    fn of(spans: usize) -> Self {
        let id = |number: usize| (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut trace = Self { start_ns: vec![0], duration_ns: vec![1 << 40], ids: vec![id(0)], parents: vec![None] };
        for number in 1..spans {
            let parent = (number - 1) / 4;
            let quarter_ns = trace.duration_ns[parent] / 4;
            // Every other child begins while the one before still runs.
            let from_ns = trace.start_ns[parent] + quarter_ns * ((number - 1) % 4) as i64;
            trace.start_ns.push(from_ns - (number % 2) as i64 * quarter_ns / 8);
            trace.duration_ns.push(quarter_ns);
            trace.ids.push(id(number));
            trace.parents.push(NonZeroU64::new(id(parent)));
        }
        trace
    }

    fn spans(&self) -> Spans<'_> {
        let Self { start_ns, duration_ns, ids, parents } = self;
        Spans { start_ns, duration_ns, ids, parents }
    }
}

/// Spans a second, for traces of a few spans, of an ordinary number, and of very many.
pub fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trees");
    group.throughput(Throughput::Elements(SPANS as u64)).sample_size(10);
    for spans in [8, 64, SPANS] {
        let trace = Trace::of(spans);
        let traces = SPANS / spans;
        group.bench_with_input(BenchmarkId::new("tree", spans), &trace, |bencher, trace| {
            bencher.iter(|| (0..traces).for_each(|_| drop(black_box(Tree::of(&trace.spans())))));
        });
        let tree = Tree::of(&trace.spans());
        group.bench_with_input(BenchmarkId::new("self_ns", spans), &trace, |bencher, trace| {
            bencher.iter(|| (0..traces).for_each(|_| drop(black_box(self_ns(&tree, &trace.spans())))));
        });
        group.bench_with_input(BenchmarkId::new("critical_ns", spans), &trace, |bencher, trace| {
            let on_path = || critical_ns(&critical_path(&tree, &trace.spans()), spans);
            bencher.iter(|| (0..traces).for_each(|_| drop(black_box(on_path()))));
        });
    }
    group.finish();
}

/// The functions in FROM that go over all traces.
pub fn functions(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut group = criterion.benchmark_group("analysis");
    group.sample_size(10);
    for (name, sql) in QUESTIONS {
        group.bench_function(name, |bencher| bencher.iter(|| bed.run(sql)));
    }
    group.finish();
}
