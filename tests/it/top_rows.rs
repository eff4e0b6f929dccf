//! The best rows of stored and fresh spans that a filter leaves, and the counts of ranges, are those that a plain list of the same spans has.

use bytes::Bytes;
use datafusion::arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Outcome, Session};

use crate::store_support::{append, open_uncompacted};

/// Noon of a day, in nanoseconds: all spans are in one partition.
const NOON_NS: u64 = 1_767_268_800_000_000_000;
/// The last spans of each file, and of what stays fresh; a row group has 131,072 rows.
const FILES_END: [u64; 3] = [150_000, 190_000, 200_000];
const SPANS: u64 = 203_000;
const SPANS_OF_REQUEST: usize = 50_000;

/// A span as a number makes it.
#[derive(Debug, Clone)]
struct Made {
    id: u64,
    start_ns: u64,
    duration_ns: u64,
    name: String,
    /// Frequent: a column of the files.
    route: String,
    size: u64,
    /// Which of the files has the span.
    part: usize,
    /// Rare: a value in the map.
    note: Option<String>,
}

impl Made {
    fn new(id: u64) -> Self {
        Self {
            id,
            start_ns: NOON_NS + id * 7_919 % 200_003 * 1_000_000,
            // Many spans share a duration, so that ties are decided by the second key.
            duration_ns: id * 104_729 % 50_021 * 1_000,
            name: format!("operation {}", id % 5),
            route: format!("/route/{}", id * 31 % 97),
            size: id * 17 % 1_009,
            part: FILES_END.iter().filter(|end| id > **end).count(),
            note: (id % 1_000 == 7).then(|| format!("note {}", id % 13)),
        }
    }

    fn span(&self) -> Span {
        let attribute = |key: &str, value| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(value) }),
            ..Default::default()
        };
        let note = self.note.iter().map(|note| attribute("note", Value::StringValue(note.clone())));
        let frequent = [
            attribute("http.route", Value::StringValue(self.route.clone())),
            attribute("size", Value::IntValue(self.size as i64)),
            attribute("part", Value::IntValue(self.part as i64)),
        ];
        Span {
            trace_id: u128::from(1 + self.id % 5_003).to_be_bytes().to_vec(),
            span_id: self.id.to_be_bytes().to_vec(),
            name: self.name.clone(),
            start_time_unix_nano: self.start_ns,
            end_time_unix_nano: self.start_ns + self.duration_ns,
            attributes: frequent.into_iter().chain(note).collect(),
            ..Default::default()
        }
    }
}

/// A condition in SQL, and of a span as it was made.
type Condition = (&'static str, fn(&Made) -> bool);

const CONDITIONS: &[Condition] = &[
    ("true", |_| true),
    ("span_name = 'operation 3'", |made| made.name == "operation 3"),
    ("attributes['http.route'] = '/route/13'", |made| made.route == "/route/13"),
    ("attributes['http.route'] LIKE '%/9_' AND span_name <> 'operation 1'", |made| {
        made.route.len() == 9 && made.route.starts_with("/route/9") && made.name != "operation 1"
    }),
    ("attributes['note'] = 'note 5'", |made| made.note.as_deref() == Some("note 5")),
    ("attributes['note'] ~ 'note [12]$' OR attributes['size'] > 1006", |made| {
        matches!(made.note.as_deref(), Some("note 1" | "note 2")) || made.size > 1006
    }),
    ("upper(attributes['http.route']) = '/ROUTE/7' AND attributes['size'] < 100", |made| {
        made.route == "/route/7" && made.size < 100
    }),
    ("duration_ns BETWEEN 1000000 AND 1100000 AND attributes['http.route'] IN ('/route/1', '/route/2')", |made| {
        (1_000_000..=1_100_000).contains(&made.duration_ns) && ["/route/1", "/route/2"].contains(&made.route.as_str())
    }),
    ("attributes['note'] = 'nobody wrote this'", |_| false),
    ("attributes['part'] > 1.5 AND attributes['size'] IN (1, 2.5, 3, 4, 5)", |made| {
        made.part >= 2 && [1, 3, 4, 5].contains(&made.size)
    }),
    ("attributes['part']::int = 1 AND attributes['size']::bigint < 20", |made| made.part == 1 && made.size < 20),
];

/// An order in SQL, and the key that it rises with.
type Order = (&'static str, fn(&Made) -> (i64, u64));

const ORDERS: &[Order] = &[
    ("duration_ms DESC, span_id", |made| (-(made.duration_ns as i64), made.id)),
    ("duration_ns, span_id DESC", |made| (made.duration_ns as i64, u64::MAX - made.id)),
    ("timestamp DESC, span_id", |made| (-(made.start_ns as i64), made.id)),
    ("timestamp, span_id", |made| (made.start_ns as i64, made.id)),
];

const LIMIT: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn the_best_rows_that_a_filter_leaves_are_those_of_a_plain_list() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_uncompacted(dir.path()).await;
    let spans: Vec<Made> = (1..=SPANS).map(Made::new).collect();
    for (first, end) in [0].into_iter().chain(FILES_END).zip(FILES_END.into_iter().chain([SPANS])) {
        for request in spans[first as usize..end as usize].chunks(SPANS_OF_REQUEST) {
            append(&store, export(request)).await.expect("kept");
        }
        if end < SPANS {
            store.seal().await.expect("sealed");
        }
    }
    let session = Engine::new(store, EngineSettings::default()).expect("an engine").session();
    for (condition, holds) in CONDITIONS {
        let mut found: Vec<&Made> = spans.iter().filter(|made| holds(made)).collect();
        for (order, key) in ORDERS {
            found.sort_by_key(|made| key(made));
            let best: Vec<String> = found.iter().take(LIMIT).map(|made| format!("{:016x}", made.id)).collect();
            let sql = format!("SELECT span_id FROM spans WHERE {condition} ORDER BY {order} LIMIT {LIMIT}");
            assert_eq!(column(&session, &sql, 0).await, best, "{sql}");
            let all = format!("SELECT * FROM spans WHERE {condition} ORDER BY {order} LIMIT {LIMIT}");
            assert_eq!(column(&session, &all, 3).await, best, "{all}");
            let plan = column(&session, &format!("EXPLAIN {sql}"), 1).await.join("\n");
            assert!(plan.contains("TopRowsExec"), "{plan}");
        }
    }
    assert_eq!(column(&session, "SELECT path FROM system.files", 0).await.len(), FILES_END.len());
    pages_of_others_are_not_read(&session).await;
    counts_of_numbers_are_those_of_the_list(&session, &spans).await;
    counts_of_ranges_are_those_of_the_list(&session, &spans).await;
}

/// The least and the most value of an attribute's column leave out two files of three: of 26 pages of starts there are two in the last.
async fn pages_of_others_are_not_read(session: &Session) {
    let pages = |plan: String| {
        let (_, after) = plan.split_once("pages_read=").expect("pages");
        after.split([',', ']']).next().expect("a number").parse::<usize>().expect("a number")
    };
    for (condition, most) in [
        ("attributes['part'] = 2", 2),
        ("attributes['part'] >= 1.5", 2),
        ("attributes['part'] = '2'", 2),
        ("attributes['part'] > 2", 0),
        ("attributes['http.route'] > '/s'", 0),
        ("attributes['part'] < 1000", 26),
    ] {
        let sql = format!("EXPLAIN ANALYZE SELECT span_id FROM spans WHERE {condition} ORDER BY timestamp LIMIT 900");
        let read = pages(column(session, &sql, 1).await.join("\n"));
        assert!(read <= most, "{read} pages for {condition}");
    }
}

/// What is counted by numbers, the first time and out of memory.
async fn counts_of_numbers_are_those_of_the_list(session: &Session, spans: &[Made]) {
    for (condition, holds) in CONDITIONS {
        let of_part = |part: usize| spans.iter().filter(move |made| made.part == part && holds(made));
        let expected = (0..=FILES_END.len()).filter_map(|part| {
            let longest_ns = of_part(part).map(|made| made.duration_ns).max()?;
            Some(format!("{part} {} {longest_ns}", of_part(part).count()))
        });
        let expected: Vec<String> = expected.collect();
        let sql = format!(
            "SELECT attributes['part'] || ' ' || count(*)::text || ' ' || max(duration_ns)::text FROM spans WHERE {condition}
             GROUP BY attributes['part'] ORDER BY attributes['part']"
        );
        for time in ["first", "second"] {
            assert_eq!(column(session, &sql, 0).await, expected, "{time}: {sql}");
        }
    }
}

/// Ranges of a column that is in order and of one that is not: nothing, one value, the ends of files and groups, all.
async fn counts_of_ranges_are_those_of_the_list(session: &Session, spans: &[Made]) {
    type Column = (&'static str, fn(&Made) -> i64, fn(i64) -> String);
    let columns: [Column; 2] = [
        ("timestamp", |made| made.start_ns as i64, |start_ns| format!("to_timestamp_nanos({start_ns})")),
        ("duration_ns", |made| made.duration_ns as i64, |duration_ns| duration_ns.to_string()),
    ];
    for (column_name, value, written) in columns {
        let mut values: Vec<i64> = spans.iter().map(value).collect();
        values.sort_unstable();
        let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
        let ends = [at(0.0) - 1, at(0.0), at(0.1), at(0.37) + 1, at(0.5), at(0.93), at(1.0), at(1.0) + 1];
        for from in ends {
            for to in ends {
                let within = |range: std::ops::Range<i64>| values.iter().filter(|value| range.contains(value)).count();
                for (condition, expected) in [
                    (
                        format!("{column_name} >= {} AND {column_name} < {}", written(from), written(to)),
                        within(from..to),
                    ),
                    (
                        format!("{column_name} > {} AND {column_name} <= {}", written(from), written(to)),
                        within(from + 1..to + 1),
                    ),
                ] {
                    let sql = format!("SELECT count(*) FROM spans WHERE {condition}");
                    assert_eq!(column(session, &sql, 0).await, [expected.to_string()], "{sql}");
                }
            }
        }
        let sql = format!("EXPLAIN SELECT count(*) FROM spans WHERE {column_name} >= {}", written(at(0.3)));
        let plan = column(session, &sql, 1).await.join("\n");
        assert!(plan.contains("CountedRowsExec"), "{plan}");
    }
}

fn export(spans: &[Made]) -> Bytes {
    let spans = spans.iter().map(Made::span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

async fn column(session: &Session, sql: &str, at: usize) -> Vec<String> {
    let statement = session.prepare(sql).await.expect(sql).remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect(sql) else { panic!("no rows") };
    let batches: Vec<_> = rows.stream.try_collect().await.expect(sql);
    let cells = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch.column(at), row)));
    cells.map(|(column, row)| array_value_to_string(column, row).expect("text")).collect()
}
