//! Spans in memory, where each thing is kept once.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, UInt32Array, new_empty_array, new_null_array,
};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::arrow::error::ArrowError;

use super::schema::{self, physical_schema};
use crate::error::{Error, Result};

/// Spans of one request, or of several, in the columns of [`physical_schema`].
///
/// What a resource and its scope say is kept once for all their spans: those columns have a row for each *owner*, and every span knows the
/// number of its owner. A column in which no span says anything is not kept at all. [`Self::project`] gives the columns as the schema has them.
#[derive(Debug, Clone)]
pub struct SpanBatch {
    /// By place in the schema, without those that hold nothing but [`default_column`].
    columns: Arc<[Option<ArrayRef>]>,
    /// The owner of each span.
    owner_of: ScalarBuffer<u32>,
    owners: usize,
}

/// The columns that come from the resource and the scope.
const OWNER_COLUMNS: [&str; 11] = [
    schema::SERVICE_NAME,
    schema::RESOURCE_ATTRIBUTES,
    schema::RESOURCE_ATTRIBUTE_TYPES,
    schema::RESOURCE_DROPPED_ATTRIBUTES_COUNT,
    schema::RESOURCE_SCHEMA_URL,
    schema::SCOPE_NAME,
    schema::SCOPE_VERSION,
    schema::SCOPE_ATTRIBUTES,
    schema::SCOPE_ATTRIBUTE_TYPES,
    schema::SCOPE_DROPPED_ATTRIBUTES_COUNT,
    schema::SCOPE_SCHEMA_URL,
];

/// The bytes that repeated resources and scopes may take where spans are expanded.
const EXPANDED_BYTES: usize = 32 << 20;

impl SpanBatch {
    /// Puts a batch together from its columns, by place in the schema; `None` stands for a [`default_column`].
    ///
    /// # Errors
    /// An internal error when a column has another type or length than it should, or an owner does not exist.
    pub fn try_new(columns: Vec<Option<ArrayRef>>, owner_of: Vec<u32>, owners: usize) -> Result<Self> {
        let schema = physical_schema();
        if columns.len() != schema.fields().len() {
            return Err(Error::internal("a batch of spans has another number of columns than the table"));
        }
        for (place, (field, column)) in schema.fields().iter().zip(&columns).enumerate() {
            let rows = if is_of_owner(place) { owners } else { owner_of.len() };
            let fits = match column {
                Some(column) => {
                    column.data_type() == field.data_type()
                        && column.len() == rows
                        && (field.is_nullable() || column.null_count() == 0)
                }
                None => rows == 0 || has_default(field),
            };
            if !fits {
                return Err(Error::internal(format!("the column {} of a batch of spans does not fit", field.name())));
            }
        }
        if owner_of.iter().any(|owner| *owner as usize >= owners) {
            return Err(Error::internal("a span of a batch has an owner that is not there"));
        }
        Ok(Self { columns: columns.into(), owner_of: owner_of.into(), owners })
    }

    pub fn num_rows(&self) -> usize {
        self.owner_of.len()
    }

    /// What the batch takes in memory.
    pub fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().flatten().map(|column| column.get_array_memory_size()).sum();
        columns + self.owner_of.inner().capacity()
    }

    /// The starts of the spans, in nanoseconds since 1970.
    pub fn starts(&self) -> Result<&Int64Array> {
        let starts = self.kept(START_PLACE).and_then(|column| column.as_primitive_opt::<Int64Type>());
        starts.ok_or_else(|| Error::internal("a batch of spans lacks its start times"))
    }

    pub fn trace_ids(&self) -> Result<&FixedSizeBinaryArray> {
        let ids = self.kept(TRACE_ID_PLACE).and_then(|column| column.as_fixed_size_binary_opt());
        ids.ok_or_else(|| Error::internal("a batch of spans lacks its trace ids"))
    }

    /// A column as it is kept: a row for each owner when it [`is_of_owner`], else a row for each span; `None` for a default column.
    pub fn kept(&self, place: usize) -> Option<&ArrayRef> {
        self.columns.get(place)?.as_ref()
    }

    /// [`Self::kept`] by the column's name.
    pub fn kept_by_name(&self, name: &str) -> Option<&ArrayRef> {
        self.kept(physical_schema().index_of(name).ok()?)
    }

    /// The owner of each span.
    pub fn owner_of(&self) -> &[u32] {
        &self.owner_of
    }

    pub fn owners(&self) -> usize {
        self.owners
    }

    /// The spans of `rows` with the columns at `places` of the schema.
    pub fn project(&self, places: &[usize], rows: Range<usize>) -> Result<RecordBatch> {
        let schema = Arc::new(physical_schema().project(places).map_err(internal)?);
        let columns = places.iter().map(|place| self.column(*place, rows.clone())).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(internal)
    }

    /// All spans in [`physical_schema`].
    pub fn to_record_batch(&self) -> Result<RecordBatch> {
        let places: Vec<usize> = (0..self.columns.len()).collect();
        self.project(&places, 0..self.num_rows())?.with_schema(physical_schema()).map_err(internal)
    }

    /// The column at `place` of the schema, a row for each span.
    pub fn expanded(&self, place: usize) -> Result<ArrayRef> {
        self.column(place, 0..self.num_rows())
    }

    /// Whether each span is its own owner, in order.
    pub fn shares_nothing(&self) -> bool {
        self.owners == self.num_rows() && self.owner_of.iter().enumerate().all(|(row, owner)| row == *owner as usize)
    }

    /// How many spans may be expanded at a time, so that repeating a large resource takes no more than [`EXPANDED_BYTES`].
    pub fn expandable_rows(&self) -> usize {
        let columns = (0..self.columns.len()).filter(|place| is_of_owner(*place)).filter_map(|place| self.kept(place));
        let largest: usize = columns.map(largest_row_bytes).sum();
        (EXPANDED_BYTES / largest.max(1)).max(1)
    }

    fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
        match self.kept(place) {
            None => default_column(physical_schema().field(place), rows.len()),
            Some(column) if is_of_owner(place) && !self.shares_nothing() => {
                let owners = UInt32Array::new(self.owner_of.slice(rows.start, rows.len()), None);
                take(column, &owners, None).map_err(internal)
            }
            Some(column) => Ok(column.slice(rows.start, rows.len())),
        }
    }

    /// Joins batches, in order.
    pub fn concat(batches: &[&Self]) -> Result<Self> {
        let places = 0..physical_schema().fields().len();
        let columns = places.map(|place| concat_kept(batches, place)).collect::<Result<Vec<_>>>()?;
        let mut owner_of = Vec::with_capacity(batches.iter().map(|batch| batch.num_rows()).sum());
        let mut owners = 0;
        for batch in batches {
            owner_of.extend(batch.owner_of.iter().map(|owner| owner + owners as u32));
            owners += batch.owners;
        }
        Ok(Self { columns: columns.into(), owner_of: owner_of.into(), owners })
    }
}

/// The column at `place` of all batches, as it is kept; `None` when it is a default column in all of them.
fn concat_kept(batches: &[&SpanBatch], place: usize) -> Result<Option<ArrayRef>> {
    if batches.iter().all(|batch| batch.kept(place).is_none()) {
        return Ok(None);
    }
    let schema = physical_schema();
    let columns = batches.iter().map(|batch| match batch.kept(place) {
        Some(column) => Ok(column.clone()),
        None if is_of_owner(place) => default_column(schema.field(place), batch.owners),
        None => default_column(schema.field(place), batch.num_rows()),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    concat(&columns).map(Some).map_err(internal)
}

/// Spans of which nothing is known to be shared: each is its own owner.
impl TryFrom<&RecordBatch> for SpanBatch {
    type Error = Error;

    fn try_from(batch: &RecordBatch) -> Result<Self> {
        if batch.schema_ref().fields() != physical_schema().fields() {
            return Err(Error::internal("a batch of spans has another schema than the table"));
        }
        let rows = batch.num_rows();
        let numbers = (0..rows as u32).collect();
        Self::try_new(batch.columns().iter().cloned().map(Some).collect(), numbers, rows)
    }
}

/// Whether the column at `place` of the schema comes from the resource or the scope.
pub fn is_of_owner(place: usize) -> bool {
    static OF_OWNER: LazyLock<Vec<bool>> = LazyLock::new(|| {
        let is_listed = |field: &Arc<Field>| OWNER_COLUMNS.contains(&field.name().as_str());
        physical_schema().fields().iter().map(is_listed).collect()
    });
    OF_OWNER.get(place).copied().unwrap_or(false)
}

/// The column of spans that say nothing there: NULL, 0, an empty map or an empty list.
///
/// # Errors
/// An internal error for a column that every span has something in, unless it is to be empty.
pub fn default_column(field: &Field, rows: usize) -> Result<ArrayRef> {
    if field.is_nullable() {
        return Ok(new_null_array(field.data_type(), rows));
    }
    let offsets = || OffsetBuffer::new(ScalarBuffer::from(vec![0; rows + 1]));
    Ok(match field.data_type() {
        DataType::Int32 => Arc::new(Int32Array::from(vec![0; rows])),
        DataType::Map(entries, sorted) => {
            let none = new_empty_array(entries.data_type()).as_struct().clone();
            Arc::new(MapArray::try_new(entries.clone(), offsets(), none, None, *sorted).map_err(internal)?)
        }
        DataType::List(element) => {
            let none = new_empty_array(element.data_type());
            Arc::new(ListArray::try_new(element.clone(), offsets(), none, None).map_err(internal)?)
        }
        kind if rows == 0 => new_empty_array(kind),
        _ => return Err(Error::internal(format!("the column {} has no default", field.name()))),
    })
}

/// The most that a text or a map of a column takes.
fn largest_row_bytes(column: &ArrayRef) -> usize {
    if let Some(texts) = column.as_string_view_opt() {
        return texts.lengths().max().unwrap_or(0) as usize;
    }
    let Some(maps) = column.as_map_opt() else { return 0 };
    let of_texts = |texts: &ArrayRef, row: &[i32]| {
        let ends = texts.as_string::<i32>().value_offsets();
        (ends[row[1] as usize] - ends[row[0] as usize]) as usize
    };
    let of_row = |row: &[i32]| of_texts(maps.keys(), row) + of_texts(maps.values(), row);
    maps.value_offsets().windows(2).map(of_row).max().unwrap_or(0)
}

fn has_default(field: &Field) -> bool {
    field.is_nullable() || matches!(field.data_type(), DataType::Int32 | DataType::Map(..) | DataType::List(_))
}

const START_PLACE: usize = 0;
const TRACE_ID_PLACE: usize = 2;

fn internal(error: ArrowError) -> Error {
    Error::internal(format!("cannot put spans into columns: {error}"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringViewArray;

    use super::*;

    fn place_of(name: &str) -> usize {
        physical_schema().index_of(name).expect("a column")
    }

    /// Spans that started at `starts`, of the owners `owner_of`, whose services are `services`.
    fn sample(starts: &[i64], owner_of: &[u32], services: &[&str]) -> SpanBatch {
        let schema = physical_schema();
        let mut columns: Vec<Option<ArrayRef>> = schema
            .fields()
            .iter()
            .map(|field| match field.data_type() {
                DataType::Int64 => Some(Arc::new(Int64Array::from(starts.to_vec())) as ArrayRef),
                DataType::FixedSizeBinary(len) if !field.is_nullable() => {
                    let ids = starts.iter().map(|start| vec![*start as u8; *len as usize]);
                    Some(Arc::new(FixedSizeBinaryArray::try_from_iter(ids).expect("ids")) as ArrayRef)
                }
                DataType::Utf8View if !field.is_nullable() => {
                    let names = StringViewArray::from_iter_values(starts.iter().map(|start| format!("name {start}")));
                    Some(Arc::new(names) as ArrayRef)
                }
                _ => None,
            })
            .collect();
        columns[place_of(schema::SERVICE_NAME)] = Some(Arc::new(StringViewArray::from_iter_values(services)));
        SpanBatch::try_new(columns, owner_of.to_vec(), services.len()).expect("a batch")
    }

    #[test]
    fn names_and_places_agree() {
        assert_eq!((place_of(schema::START_NS), place_of(schema::TRACE_ID)), (START_PLACE, TRACE_ID_PLACE));
        let of_owner = (0..physical_schema().fields().len()).filter(|place| is_of_owner(*place)).count();
        assert_eq!(of_owner, OWNER_COLUMNS.len());
    }

    #[test]
    fn every_span_has_its_owner_s_columns_and_the_defaults() {
        let batch = sample(&[5, 6, 7], &[1, 0, 1], &["a", "a service with a long name"]);
        let whole = batch.to_record_batch().expect("expanded");
        assert_eq!(whole.schema(), physical_schema());
        let services: Vec<_> = whole[schema::SERVICE_NAME].as_string_view().iter().flatten().collect();
        assert_eq!(services, ["a service with a long name", "a", "a service with a long name"]);
        assert_eq!(whole[schema::ATTRIBUTES].as_map().value_length(1), 0);
        assert_eq!(whole[schema::TRACE_STATE].null_count(), 3);
        let part = batch.project(&[place_of(schema::SERVICE_NAME), START_PLACE], 1..3).expect("projected");
        assert_eq!(part.column(1).as_primitive::<Int64Type>().values(), &[6, 7]);
        assert_eq!(part.column(0).as_string_view().value(0), "a");
        assert_eq!(batch.project(&[], 0..2).expect("projected").num_rows(), 2);
    }

    #[test]
    fn joined_batches_are_their_rows_in_order() {
        let (one, other) = (sample(&[1, 2], &[0, 1], &["a", "b"]), sample(&[3], &[0], &["c"]));
        let same = SpanBatch::try_from(&other.to_record_batch().expect("expanded")).expect("a batch");
        let joined = SpanBatch::concat(&[&one, &same]).expect("joined");
        assert_eq!(joined.num_rows(), 3);
        let services: Vec<_> = joined.to_record_batch().expect("expanded")[schema::SERVICE_NAME]
            .as_string_view()
            .iter()
            .map(|name| name.map(str::to_owned))
            .collect();
        assert_eq!(services, ["a", "b", "c"].map(|name| Some(name.to_owned())));
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let good = sample(&[1], &[0], &["a"]);
        let columns = || good.columns.to_vec();
        assert!(SpanBatch::try_new(columns(), vec![1], 1).is_err(), "an owner that is not there");
        assert!(SpanBatch::try_new(columns(), vec![0, 0], 1).is_err(), "too few rows");
        let mut lacks = columns();
        lacks[START_PLACE] = None;
        assert!(SpanBatch::try_new(lacks, vec![0], 1).is_err(), "no start");
    }
}
