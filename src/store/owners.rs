//! The distinct resources with their scopes of some batches: most requests come from the same few.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::Int32Type;
use xxhash_rust::xxh3::xxh3_64;

use super::gather::RowAt;
use crate::model::schema::physical_schema;
use crate::model::{SpanBatch, is_of_owner};

/// The owners of some batches, numbered so that those that say the same are one.
#[derive(Debug)]
pub(crate) struct Owners<'a> {
    /// By batch: where its owners begin in `numbers`, and the owner of each of its spans.
    spans: Vec<(usize, &'a [u32])>,
    /// By owner of a batch, all batches one behind the other.
    numbers: Vec<u32>,
    /// By number: where the first owner lies that says this.
    distinct: Vec<RowAt>,
}

impl<'a> Owners<'a> {
    pub(crate) fn of(batches: &[&'a SpanBatch]) -> Self {
        let mut owners = Self { spans: Vec::with_capacity(batches.len()), numbers: Vec::new(), distinct: Vec::new() };
        let contents: Vec<Contents<'_>> = batches.iter().map(|batch| Contents::of(batch)).collect();
        let mut known: HashMap<u64, u32> = HashMap::new();
        let (mut said, mut said_before) = (Vec::new(), Vec::new());
        for (batch, content) in contents.iter().enumerate() {
            owners.spans.push((owners.numbers.len(), batches[batch].owner_of()));
            for row in 0..batches[batch].owners() {
                content.write(row, &mut said);
                let next = owners.distinct.len() as u32;
                let number = *known.entry(xxh3_64(&said)).or_insert(next);
                // Another owner with the same hash stays one of its own.
                let is_known = owners.distinct.get(number as usize).is_some_and(|at| {
                    contents[at.batch as usize].write(at.row as usize, &mut said_before);
                    said == said_before
                });
                if !is_known {
                    owners.distinct.push(RowAt { batch: batch as u32, row: row as u32 });
                }
                owners.numbers.push(if is_known { number } else { next });
            }
        }
        owners
    }

    /// The owners of `rows`, each once, and for each row the place of its owner among them.
    pub(crate) fn of_rows(&self, rows: &[RowAt]) -> (Vec<u32>, Vec<RowAt>) {
        let mut places = vec![None; self.distinct.len()];
        let mut owners = Vec::new();
        let place = |at: &RowAt| {
            let (first, owner_of) = &self.spans[at.batch as usize];
            let number = self.numbers[first + owner_of[at.row as usize] as usize] as usize;
            *places[number].get_or_insert_with(|| {
                owners.push(self.distinct[number]);
                owners.len() as u32 - 1
            })
        };
        let owner_of = rows.iter().map(place).collect();
        (owner_of, owners)
    }
}

/// The columns of a batch that its owners say something in, by place in the schema.
struct Contents<'a>(Vec<(u8, &'a ArrayRef)>);

impl<'a> Contents<'a> {
    fn of(batch: &'a SpanBatch) -> Self {
        let places = (0..physical_schema().fields().len()).filter(|place| is_of_owner(*place));
        Self(places.filter_map(|place| Some((place as u8, batch.kept(place)?))).collect())
    }

    /// Writes what the owner at `row` says, so that other bytes say something else. Nothing is said where a column has its default.
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        for (place, column) in &self.0 {
            if column.is_null(row) {
                continue;
            }
            let before = out.len();
            out.push(*place);
            let says_something = write_value(column, row, out);
            if !says_something {
                out.truncate(before);
            }
        }
    }
}

/// Writes a value that tells its own length; `false` for the default.
fn write_value(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> bool {
    if let Some(texts) = column.as_string_view_opt() {
        write_text(texts.value(row), out);
        return true;
    }
    if let Some(maps) = column.as_map_opt() {
        let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
        let (start, end) = (maps.value_offsets()[row] as usize, maps.value_offsets()[row + 1] as usize);
        out.extend_from_slice(&(end - start).to_le_bytes());
        for entry in start..end {
            write_text(keys.value(entry), out);
            out.push(u8::from(values.is_valid(entry)));
            if values.is_valid(entry) {
                write_text(values.value(entry), out);
            }
        }
        return end > start;
    }
    let count = column.as_primitive::<Int32Type>().value(row);
    out.extend_from_slice(&count.to_le_bytes());
    count != 0
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&text.len().to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;
    use crate::otlp::decode_export;

    /// Two spans for each resource and scope.
    fn batch(owners: &[(Resource, InstrumentationScope)]) -> SpanBatch {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            start_time_unix_nano: 1,
            end_time_unix_nano: 1,
            ..Span::default()
        };
        let resource_spans = owners.iter().map(|(resource, scope)| ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope.clone()),
                spans: vec![span.clone(); 2],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        decode_export(&request.encode_to_vec()).expect("decodable").batch
    }

    fn attribute(key: &str, value: Option<Value>) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value }), key_strindex: 0 }
    }

    #[test]
    fn owners_that_say_the_same_are_one_and_others_are_not() {
        let text = |text: &str| Some(Value::StringValue(text.into()));
        let resource = |attributes: Vec<KeyValue>| Resource { attributes, ..Resource::default() };
        let scope = |name: &str| InstrumentationScope { name: name.into(), ..InstrumentationScope::default() };
        let different = [
            (resource(vec![]), scope("")),
            (resource(vec![]), scope("a")),
            (resource(vec![attribute("a", text("bc"))]), scope("")),
            (resource(vec![attribute("ab", text("c"))]), scope("")),
            (resource(vec![attribute("a", None)]), scope("")),
            (resource(vec![attribute("a", text(""))]), scope("")),
            (resource(vec![attribute("a", text("1"))]), scope("")),
            (resource(vec![attribute("a", Some(Value::IntValue(1)))]), scope("")),
            (resource(vec![attribute("a", text("1")), attribute("b", text("2"))]), scope("")),
            (resource(vec![attribute("b", text("2")), attribute("a", text("1"))]), scope("")),
            (Resource { dropped_attributes_count: 1, ..Resource::default() }, scope("")),
        ];
        // The last batch keeps no columns for most of this, and the first one all.
        let batches = [batch(&different), batch(&different), batch(&different[..1])];
        let owners = Owners::of(&batches.iter().collect::<Vec<_>>());
        assert_eq!(owners.distinct.len(), different.len());
        let rows: Vec<RowAt> = [(2, 1), (0, 4), (1, 5), (0, 0)].map(|(batch, row)| RowAt { batch, row }).to_vec();
        let (owner_of, of_rows) = owners.of_rows(&rows);
        assert_eq!(owner_of, [0, 1, 1, 0]);
        assert_eq!(of_rows, [RowAt { batch: 0, row: 0 }, RowAt { batch: 0, row: 2 }]);
    }
}
