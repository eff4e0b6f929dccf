//! Gathering rows of many batches, in any order, into one: column by column, over plain buffers.
//!
//! Arrow's `interleave` does the same for any type. Over some hundred batches of a few hundred rows it spends more on finding
//! its way and on nested types than on the values, which was the largest part of sealing.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, MapArray, NullBufferBuilder, PrimitiveArray,
    StringArray, StructArray, new_null_array,
};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef, Int32Type, Int64Type};
use datafusion::arrow::error::ArrowError;

use super::owners::Owners;
use crate::error::{Error, Result};
use crate::model::schema::physical_schema;
use crate::model::{SpanBatch, SpanId, TraceId, is_of_owner};

/// The most rows that are gathered at once: what sealing needs of memory beside the fresh spans and the writer's encoded pages,
/// and few enough that their columns stay in a core's cache until they are encoded.
pub(crate) const GATHER_ROWS: usize = 8 * 1024;

/// A row of one of several batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowAt {
    pub batch: u32,
    pub row: u32,
}

/// Gathers rows of the batches that it was made for.
pub(crate) struct Gatherer<'a> {
    /// How many rows may be gathered at once.
    pub(crate) most_rows: usize,
    columns: Vec<Column>,
    owners: Owners<'a>,
}

enum Column {
    /// The same in every row.
    Default,
    OfOwner(Source),
    OfSpan(Source),
}

/// A column of all batches; `None` for a batch that has nothing there.
enum Source {
    Int32(Vec<Option<ScalarBuffer<i32>>>),
    Int64(Vec<Option<ScalarBuffer<i64>>>),
    Bytes(Vec<Option<FixedSizeBinaryArray>>, usize),
    /// Of a batch that has nothing there, a single NULL stands for it.
    View(Vec<ArrayRef>, Vec<bool>),
    Text(Vec<Option<StringArray>>),
    Map(Vec<Option<MapArray>>),
    /// With the columns of the elements.
    List(Vec<Option<OffsetBuffer<i32>>>, FieldRef, Vec<Source>),
}

impl<'a> Gatherer<'a> {
    pub(crate) fn new(batches: &[&'a SpanBatch]) -> Result<Self> {
        let most_rows = batches.iter().map(|batch| batch.expandable_rows()).min().unwrap_or(GATHER_ROWS);
        let schema = physical_schema();
        let fields = schema.fields().iter().enumerate();
        let columns = fields.map(|(place, field)| Column::of(batches, place, field)).collect::<Result<_>>()?;
        Ok(Self { most_rows: most_rows.min(GATHER_ROWS), columns, owners: Owners::of(batches) })
    }

    /// The rows, at most `most_rows`; owners that say the same are one.
    pub(crate) fn gather(&self, rows: &[RowAt]) -> Result<SpanBatch> {
        let (owner_of, owners) = self.owners.of_rows(rows);
        let columns = self.columns.iter().map(|column| match column {
            Column::Default => Ok(None),
            Column::OfOwner(source) => source.gather(&owners).map(Some),
            Column::OfSpan(source) => source.gather(rows).map(Some),
        });
        SpanBatch::try_new(columns.collect::<Result<_>>()?, owner_of, owners.len())
    }
}

impl Column {
    fn of(batches: &[&SpanBatch], place: usize, field: &Field) -> Result<Self> {
        let kept: Vec<Option<ArrayRef>> = batches.iter().map(|batch| batch.kept(place).cloned()).collect();
        if kept.iter().all(Option::is_none) {
            return Ok(Self::Default);
        }
        let source = Source::of(&kept, field.data_type())?;
        Ok(if is_of_owner(place) { Self::OfOwner(source) } else { Self::OfSpan(source) })
    }
}

impl Source {
    fn of(columns: &[Option<ArrayRef>], data_type: &DataType) -> Result<Self> {
        fn each<T>(columns: &[Option<ArrayRef>], of: impl Fn(&ArrayRef) -> T) -> Vec<Option<T>> {
            columns.iter().map(|column| column.as_ref().map(&of)).collect()
        }
        Ok(match data_type {
            DataType::Int32 => Self::Int32(each(columns, |column| column.as_primitive::<Int32Type>().values().clone())),
            DataType::Int64 => Self::Int64(each(columns, |column| column.as_primitive::<Int64Type>().values().clone())),
            DataType::FixedSizeBinary(len) => {
                Self::Bytes(each(columns, |column| column.as_fixed_size_binary().clone()), *len as usize)
            }
            DataType::Utf8View => {
                let null = new_null_array(data_type, 1);
                let is_there = columns.iter().map(Option::is_some).collect();
                Self::View(columns.iter().map(|column| column.as_ref().unwrap_or(&null).clone()).collect(), is_there)
            }
            DataType::Utf8 => Self::Text(each(columns, |column| column.as_string().clone())),
            DataType::Map(..) => Self::Map(each(columns, |column| column.as_map().clone())),
            DataType::List(element) => {
                let DataType::Struct(fields) = element.data_type() else {
                    return Err(Error::internal("the elements of a list of spans are no structs"));
                };
                let parts = fields.iter().enumerate().map(|(part, field)| {
                    let part =
                        each(columns, |column| column.as_list::<i32>().values().as_struct().column(part).clone());
                    Self::of(&part, field.data_type())
                });
                let parts = parts.collect::<Result<_>>()?;
                let ends = each(columns, |column| column.as_list::<i32>().offsets().clone());
                Self::List(ends, element.clone(), parts)
            }
            other => return Err(Error::internal(format!("cannot gather a column of type {other}"))),
        })
    }

    fn gather(&self, rows: &[RowAt]) -> Result<ArrayRef> {
        match self {
            Self::Int32(columns) => Ok(gather_numbers::<Int32Type>(columns, rows)),
            Self::Int64(columns) => Ok(gather_numbers::<Int64Type>(columns, rows)),
            Self::Bytes(columns, TraceId::LEN) => gather_bytes::<{ TraceId::LEN }>(columns, rows),
            Self::Bytes(columns, SpanId::LEN) => gather_bytes::<{ SpanId::LEN }>(columns, rows),
            Self::Bytes(_, len) => Err(Error::internal(format!("cannot gather ids of {len} bytes"))),
            Self::View(columns, is_there) => gather_views(columns, is_there, rows),
            Self::Text(columns) => gather_texts(columns, rows),
            Self::Map(columns) => gather_maps(columns, rows),
            Self::List(columns, element, parts) => gather_lists(columns, element, parts, rows),
        }
    }
}

fn gather_numbers<T: ArrowPrimitiveType>(columns: &[Option<ScalarBuffer<T::Native>>], rows: &[RowAt]) -> ArrayRef {
    let columns: Vec<Option<&[T::Native]>> = columns.iter().map(|column| column.as_deref()).collect();
    let value = |at: &RowAt| columns[at.batch as usize].map_or_else(Default::default, |column| column[at.row as usize]);
    Arc::new(PrimitiveArray::<T>::from_iter_values(rows.iter().map(value)))
}

fn gather_bytes<const LEN: usize>(columns: &[Option<FixedSizeBinaryArray>], rows: &[RowAt]) -> Result<ArrayRef> {
    let values: Vec<&[[u8; LEN]]> = columns
        .iter()
        .map(|column| column.as_ref().map_or(&[][..], |column| column.value_data().as_chunks().0))
        .collect();
    let value = |at: &RowAt| values[at.batch as usize].get(at.row as usize).copied().unwrap_or([0; LEN]);
    let bytes: Vec<[u8; LEN]> = rows.iter().map(value).collect();
    let nulls: Vec<Option<&NullBuffer>> =
        columns.iter().map(|column| column.as_ref().and_then(|column| column.nulls())).collect();
    let is_valid = |at: &RowAt| match nulls[at.batch as usize] {
        Some(nulls) => nulls.is_valid(at.row as usize),
        None => columns[at.batch as usize].is_some(),
    };
    let valid = BooleanBuffer::collect_bool(rows.len(), |row| is_valid(&rows[row]));
    let nulls = Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0);
    let column = FixedSizeBinaryArray::try_new(LEN as i32, Buffer::from_vec(bytes.into_flattened()), nulls);
    Ok(Arc::new(column.map_err(internal)?))
}

/// Long texts stay where they lie.
fn gather_views(columns: &[ArrayRef], is_there: &[bool], rows: &[RowAt]) -> Result<ArrayRef> {
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let place = |at: &RowAt| (at.batch as usize, if is_there[at.batch as usize] { at.row as usize } else { 0 });
    let places: Vec<(usize, usize)> = rows.iter().map(place).collect();
    if columns.is_empty() {
        return Err(Error::internal("a column of texts that no batch has"));
    }
    interleave(&columns, &places).map_err(internal)
}

/// Texts that are being gathered.
struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    /// Which of them are there; `None` as long as all are.
    valid: Option<NullBufferBuilder>,
}

impl Texts {
    fn with_capacity(texts: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(texts + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets, valid: None }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Copies the texts from `start` to `end`, which lie one behind the other.
    #[inline]
    fn extend(&mut self, from: &StringArray, start: usize, end: usize) -> Result<()> {
        let ends = from.value_offsets();
        let (first, last) = (ends[start], ends[end]);
        if self.bytes.len() + (last - first) as usize > i32::MAX as usize {
            return Err(Error::internal("the texts of some thousand spans take more than 2 GiB"));
        }
        match (from.nulls().filter(|nulls| nulls.null_count() > 0), &mut self.valid) {
            (None, None) => {}
            (None, Some(valid)) => valid.append_n_non_nulls(end - start),
            (Some(nulls), _) => (start..end).for_each(|place| self.valid().append(nulls.is_valid(place))),
        }
        let shift = self.bytes.len() as i32 - first;
        self.offsets.extend(ends[start + 1..=end].iter().map(|text_end| text_end + shift));
        self.bytes.extend_from_slice(&from.value_data()[first as usize..last as usize]);
        Ok(())
    }

    fn push_null(&mut self) {
        self.valid().append_null();
        self.offsets.push(self.bytes.len() as i32);
    }

    fn valid(&mut self) -> &mut NullBufferBuilder {
        let texts = self.len();
        self.valid.get_or_insert_with(|| {
            let mut valid = NullBufferBuilder::new(texts);
            valid.append_n_non_nulls(texts);
            valid
        })
    }

    fn finish(self) -> Result<ArrayRef> {
        let nulls = self.valid.and_then(|mut valid| valid.finish());
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let texts = StringArray::try_new(offsets, Buffer::from_vec(self.bytes), nulls);
        Ok(Arc::new(texts.map_err(internal)?))
    }
}

fn gather_texts(columns: &[Option<StringArray>], rows: &[RowAt]) -> Result<ArrayRef> {
    let mut texts = Texts::with_capacity(rows.len(), 0);
    for at in rows {
        match &columns[at.batch as usize] {
            Some(column) => texts.extend(column, at.row as usize, at.row as usize + 1)?,
            None => texts.push_null(),
        }
    }
    texts.finish()
}

fn gather_maps(columns: &[Option<MapArray>], rows: &[RowAt]) -> Result<ArrayRef> {
    let Some(kept) = columns.iter().flatten().next() else {
        return Err(Error::internal("a column of maps that no batch has"));
    };
    let DataType::Map(field, sorted) = kept.data_type() else {
        return Err(Error::internal("the type of a map is no map"));
    };
    let texts = |map: &MapArray| (map.keys().as_string::<i32>().clone(), map.values().as_string::<i32>().clone());
    let parts: Vec<_> = columns.iter().map(|map| map.as_ref().map(|map| (map.value_offsets(), texts(map)))).collect();
    let entries = |at: &RowAt| {
        let (rows, (keys, values)) = parts[at.batch as usize].as_ref()?;
        Some((keys, values, rows[at.row as usize] as usize, rows[at.row as usize + 1] as usize))
    };
    // Summed up first: buffers that double as they fill cost more than the texts.
    let (mut count, mut keys_bytes, mut values_bytes) = (0, 0, 0);
    for (keys, values, start, end) in rows.iter().filter_map(entries) {
        let bytes = |texts: &StringArray| (texts.value_offsets()[end] - texts.value_offsets()[start]) as usize;
        (count, keys_bytes, values_bytes) =
            (count + end - start, keys_bytes + bytes(keys), values_bytes + bytes(values));
    }
    let mut offsets: Vec<i32> = Vec::with_capacity(rows.len() + 1);
    offsets.push(0);
    let mut keys = Texts::with_capacity(count, keys_bytes);
    let mut values = Texts::with_capacity(count, values_bytes);
    for at in rows {
        if let Some((from_keys, from_values, start, end)) = entries(at) {
            keys.extend(from_keys, start, end)?;
            values.extend(from_values, start, end)?;
        }
        offsets.push(keys.len() as i32);
    }
    let fields = kept.entries().fields().clone();
    let entries = StructArray::try_new(fields, vec![keys.finish()?, values.finish()?], None).map_err(internal)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, None, *sorted).map_err(internal)?))
}

/// The elements of the rows are rows themselves.
fn gather_lists(
    columns: &[Option<OffsetBuffer<i32>>],
    element: &FieldRef,
    parts: &[Source],
    rows: &[RowAt],
) -> Result<ArrayRef> {
    let mut elements = Vec::new();
    let mut offsets: Vec<i32> = Vec::with_capacity(rows.len() + 1);
    offsets.push(0);
    for at in rows {
        if let Some(ends) = &columns[at.batch as usize] {
            let (start, end) = (ends[at.row as usize] as u32, ends[at.row as usize + 1] as u32);
            elements.extend((start..end).map(|row| RowAt { batch: at.batch, row }));
        }
        offsets.push(elements.len() as i32);
    }
    let DataType::Struct(fields) = element.data_type() else {
        return Err(Error::internal("the elements of a list of spans are no structs"));
    };
    let parts = parts.iter().map(|part| part.gather(&elements)).collect::<Result<Vec<_>>>()?;
    let elements = StructArray::try_new(fields.clone(), parts, None).map_err(internal)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(element.clone(), offsets, Arc::new(elements), None).map_err(internal)?))
}

fn internal(error: ArrowError) -> Error {
    Error::internal(format!("cannot order spans: {error}"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::compute::interleave_record_batch;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
    use prost::Message;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::otlp::decode_export;

    fn attribute(key: &str, value: Option<Value>) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value }), key_strindex: 0 }
    }

    fn span(random: &mut ChaCha8Rng) -> Span {
        let attributes = |random: &mut ChaCha8Rng| {
            let value = |random: &mut ChaCha8Rng| match random.random_range(0..4) {
                0 => None,
                1 => Some(Value::IntValue(random.random())),
                _ => Some(Value::StringValue("x".repeat(random.random_range(0..30)))),
            };
            (0..random.random_range(0..4)).map(|key| attribute(&format!("key {key}"), value(random))).collect()
        };
        let is_rich = random.random_bool(0.5);
        let id =
            |len: usize, random: &mut ChaCha8Rng| (0..len).map(|_| random.random_range(1..=255)).collect::<Vec<u8>>();
        Span {
            trace_id: id(16, random),
            span_id: id(8, random),
            parent_span_id: if is_rich { id(8, random) } else { Vec::new() },
            name: "n".repeat(random.random_range(0..30)),
            start_time_unix_nano: random.random_range(1..1_000_000),
            end_time_unix_nano: 2_000_000,
            trace_state: if is_rich { "state=of a trace".into() } else { String::new() },
            flags: u32::from(is_rich),
            attributes: attributes(random),
            events: vec![
                Event { name: "e".into(), attributes: attributes(random), ..Event::default() };
                usize::from(is_rich)
            ],
            links: vec![
                Link { trace_id: id(16, random), span_id: id(8, random), ..Link::default() };
                usize::from(is_rich)
            ],
            status: Some(Status { code: random.random_range(0..3), message: "m".repeat(usize::from(is_rich)) }),
            ..Span::default()
        }
    }

    fn batch(number: usize, random: &mut ChaCha8Rng) -> SpanBatch {
        // Every other batch is poor: whole columns of it are not kept.
        let poor = |span: Span| Span {
            trace_id: span.trace_id,
            span_id: span.span_id,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            ..Span::default()
        };
        let resource_spans = (0..random.random_range(1..4)).map(|resource| {
            let spans = (0..random.random_range(1..6)).map(|_| span(random));
            let spans = spans.map(|span| if number.is_multiple_of(2) { span } else { poor(span) }).collect();
            let name = Some(Value::StringValue(format!("service {number} {resource}")));
            let attributes = [attribute("service.name", name), attribute("empty", None)];
            let resource = Resource { attributes: attributes[..number % 3].to_vec(), ..Resource::default() };
            ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        decode_export(&request.encode_to_vec()).expect("decodable").batch
    }

    #[test]
    fn gathered_rows_are_those_that_arrow_interleaves() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for batches in [1, 2, 7] {
            let batches: Vec<SpanBatch> = (0..batches).map(|number| batch(number, &mut random)).collect();
            let expanded: Vec<RecordBatch> =
                batches.iter().map(|batch| batch.to_record_batch().expect("expanded")).collect();
            let mut rows: Vec<(usize, usize)> = expanded
                .iter()
                .enumerate()
                .flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)))
                .collect();
            rows.shuffle(&mut random);
            let gatherer = Gatherer::new(&batches.iter().collect::<Vec<_>>()).expect("a gatherer");
            for rows in [&rows[..], &rows[..1], &rows[..0]] {
                let at = rows.iter().map(|(batch, row)| RowAt { batch: *batch as u32, row: *row as u32 });
                let gathered = gatherer.gather(&at.collect::<Vec<_>>()).expect("gathered");
                let gathered = gathered.to_record_batch().expect("expanded");
                let interleaved =
                    interleave_record_batch(&expanded.iter().collect::<Vec<_>>(), rows).expect("interleaved");
                assert_eq!(gathered, interleaved);
            }
        }
    }
}
