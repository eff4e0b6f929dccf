//! Tables as Arrow has them; those that other programs write are in `tests/it/formats`.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder, UInt64Array,
};
use datafusion::arrow::datatypes::{Field, Schema};

use super::*;

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("rows")
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn map(entries: &[(&str, &str)]) -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in entries {
        map.keys().append_value(key);
        map.values().append_value(value);
    }
    map.append(true).expect("an entry");
    Arc::new(map.finish())
}

fn given(pairs: &[(&str, &str)]) -> crate::error::Result<Mapping> {
    Mapping::given(pairs.iter().map(|(column, field)| ((*column).to_owned(), (*field).to_owned())))
}

#[test]
fn columns_that_the_user_names_become_spans() {
    let batch = table(vec![
        ("trace", texts(&[Some("ab"), Some("ab"), Some("no hex")])),
        ("id", Arc::new(BinaryArray::from(vec![&[0xff_u8; 8][..], b"00000000000000cd", b"01"]))),
        ("start", texts(&[Some("2026-01-05 09:00:00.000000001"), None, Some("2026-01-05T09:00:00Z")])),
        ("us", Arc::new(UInt64Array::from(vec![5, 6, 7]))),
        ("kind", texts(&[Some("Server"), Some(""), None])),
        ("tag.user", Arc::new(Int64Array::from(vec![Some(7), None, None]))),
        ("tag.page", texts(&[Some("/"), None, None])),
    ]);
    let mapping = given(&[
        ("trace", "trace_id"),
        ("id", "span_id"),
        ("start", "timestamp"),
        ("us", "duration_us"),
        ("kind", "span_kind"),
        ("tag.*", "attributes.*"),
    ])
    .expect("a mapping");
    let converted =
        SpanTable::new(&mapping, batch.schema_ref()).expect("known").convert(&batch, 11).expect("converted");
    let spans = &converted.request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].span_id.clone(), spans[0].kind), (vec![0xff; 8], 2));
    assert_eq!(spans[0].start_time_unix_nano, 1_767_603_600_000_000_001);
    assert_eq!(spans[0].end_time_unix_nano - spans[0].start_time_unix_nano, 5_000);
    let keys: Vec<&str> = spans[0].attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys, ["user", "page"]);
    let refused: Vec<String> =
        converted.refused.iter().map(|refused| format!("{}: {}", refused.place, refused.why)).collect();
    assert_eq!(refused, ["row 12: it has no timestamp", "row 13: trace_id \"no hex\" is no id of up to 32 hex digits"]);
}

#[test]
fn a_mapping_that_does_not_fit_is_told_with_what_is_near() {
    let told = |pairs: &[(&str, &str)], columns: &[&str]| {
        let fields: Vec<Field> =
            columns.iter().map(|name| Field::new(*name, datafusion::arrow::datatypes::DataType::Utf8, true)).collect();
        let error = given(pairs).and_then(|mapping| SpanTable::new(&mapping, &Schema::new(fields))).expect_err("wrong");
        format!("{error}; {}", error.hint.as_deref().unwrap_or_default())
    };
    assert!(told(&[("a", "trace_ids")], &["a"]).starts_with("a span has no \"trace_ids\": did you mean trace_id?"));
    assert_eq!(told(&[("trace", "trace_id")], &["traces"]), "there is no column \"trace\"; did you mean traces?");
    assert_eq!(
        told(&[("a", "trace_id"), ("b", "span_id")], &["a", "b"]),
        "no column is the timestamp of its spans; its columns are a, b"
    );
    assert!(told(&[("a", "trace_id"), ("b", "trace_id")], &["a", "b"]).starts_with("the column \"b\" would be"));
    assert!(told(&[("a*", "attributes.k")], &["a"]).starts_with("a*=attributes.k: a * belongs at the end of both"));
}

#[test]
fn known_tables_are_told_by_their_columns() {
    let batch = table(vec![
        ("Timestamp", Arc::new(Int64Array::from(vec![1_000]))),
        ("TraceId", texts(&[Some("1e223ff1f80f1c69")])),
        ("SpanId", texts(&[Some("02")])),
        ("SpanAttributes", map(&[("k", "v")])),
        ("ResourceAttributes", map(&[])),
        ("ServiceName", texts(&[Some("shop")])),
        ("Duration", Arc::new(UInt64Array::from(vec![9]))),
        ("StatusCode", texts(&[Some("STATUS_CODE_ERROR")])),
    ]);
    let (mapping, what) = known_mapping(batch.schema_ref()).expect("known");
    assert_eq!(what, "an otel_traces table of ClickHouse");
    let converted = SpanTable::new(&mapping, batch.schema_ref()).expect("known").convert(&batch, 1).expect("converted");
    let resource = &converted.request.resource_spans[0];
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!(
        crate::formats::build::find_text(&resource.resource.clone().expect("one").attributes, "service.name"),
        Some("shop")
    );
    assert_eq!((span.end_time_unix_nano, span.status.clone().map(|status| status.code)), (1_009, Some(2)));
    assert_eq!(span.attributes.len(), 1);
}
