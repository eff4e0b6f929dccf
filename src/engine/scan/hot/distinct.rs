//! Which values a column of a row group has, told by its dictionary: pages of rows are not read.
//!
//! A dictionary has each value that was written and no other. It tells all as long as no page was written without it.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, StringViewBuilder, new_null_array,
};
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::basic::{Encoding, Type};
use datafusion::parquet::column::page::{Page, PageReader};
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::ColumnChunkMetaData;
use datafusion::parquet::file::reader::{ChunkReader, Length};
use datafusion::parquet::file::serialized_reader::SerializedPageReader;

use bytes::{Buf, Bytes};

use super::cache::ColumnKey;
use super::file::Scan;

/// Whether [`distinct_values`] can tell without reading rows.
pub(super) fn is_told(chunk: &ColumnChunkMetaData) -> bool {
    nulls(chunk).is_some_and(|nulls| is_all_dictionary(chunk) || nulls == chunk.num_values() as u64)
}

/// Whether every page was written with the dictionary.
fn is_all_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    chunk.dictionary_page_offset().is_some()
        && chunk
            .page_encoding_stats_mask()
            .is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY))
}

/// How many values are NULL, when that is known.
fn nulls(chunk: &ColumnChunkMetaData) -> Option<u64> {
    chunk.statistics()?.null_count_opt()
}

/// Each value of a column chunk once, NULL among them where it has any; `None` when its dictionary does not tell, or not in a way known here.
async fn distinct_values(
    reader: &mut dyn AsyncFileReader,
    chunk: &ColumnChunkMetaData,
    data_type: &DataType,
) -> Result<Option<ArrayRef>> {
    let Some(nulls) = nulls(chunk) else { return Ok(None) };
    let null = new_null_array(data_type, usize::from(nulls > 0));
    if nulls == chunk.num_values() as u64 {
        return Ok(Some(null));
    }
    let Some(values) = dictionary(reader, chunk, data_type).await? else { return Ok(None) };
    Ok(Some(if null.is_empty() { values } else { concat(&[&values, &null])? }))
}

/// Each value of a column chunk but NULL once; `None` when its dictionary does not tell, or not in a way known here.
async fn dictionary(
    reader: &mut dyn AsyncFileReader,
    chunk: &ColumnChunkMetaData,
    data_type: &DataType,
) -> Result<Option<ArrayRef>> {
    if !is_all_dictionary(chunk) {
        return Ok(None);
    }
    let (start, _) = chunk.byte_range();
    let end = u64::try_from(chunk.data_page_offset()).unwrap_or(start);
    let bytes = reader.get_bytes(start..end.max(start)).await?;
    let mut pages = SerializedPageReader::new(Arc::new(Part { start, bytes }), chunk, 0, None)?;
    let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else { return Ok(None) };
    let values = plain(chunk, buf, num_values as usize);
    Ok(values.map(|values| cast(&values, data_type)).transpose()?)
}

impl Scan {
    /// The distinct values of a column chunk of `file`, which are kept under `key`; `None` when its dictionary does not tell.
    pub(super) async fn distinct_values(
        &self,
        file: &PartitionedFile,
        key: ColumnKey,
        chunk: &ColumnChunkMetaData,
        data_type: &DataType,
    ) -> Result<Option<ArrayRef>> {
        self.kept(key, async { distinct_values(&mut self.reader(file)?, chunk, data_type).await }).await
    }

    /// The same without NULL, which need not be known of then.
    pub(super) async fn dictionary(
        &self,
        file: &PartitionedFile,
        key: ColumnKey,
        chunk: &ColumnChunkMetaData,
        data_type: &DataType,
    ) -> Result<Option<ArrayRef>> {
        self.kept(key, async { dictionary(&mut self.reader(file)?, chunk, data_type).await }).await
    }

    /// What is kept under `key`, or what `read` gives, which is kept from then on.
    async fn kept(
        &self,
        key: ColumnKey,
        read: impl Future<Output = Result<Option<ArrayRef>>>,
    ) -> Result<Option<ArrayRef>> {
        if let Some(values) = self.cache.get(&key) {
            return Ok(Some(values));
        }
        let values = read.await?;
        if let Some(values) = &values {
            self.cache.insert(key, values.clone());
        }
        Ok(values)
    }
}

/// Values in Parquet's plain encoding; `None` when there are not `count` of them.
fn plain(chunk: &ColumnChunkMetaData, bytes: Bytes, count: usize) -> Option<ArrayRef> {
    let fixed = |width: usize| bytes.get(..count.checked_mul(width)?);
    Some(match chunk.column_type() {
        Type::BYTE_ARRAY => texts(&bytes, count)?,
        Type::INT32 => Arc::new(numbers(fixed(4)?, i32::from_le_bytes).collect::<Int32Array>()),
        Type::INT64 => Arc::new(numbers(fixed(8)?, i64::from_le_bytes).collect::<Int64Array>()),
        Type::DOUBLE => Arc::new(numbers(fixed(8)?, f64::from_le_bytes).collect::<Float64Array>()),
        Type::BOOLEAN | Type::INT96 | Type::FLOAT | Type::FIXED_LEN_BYTE_ARRAY => return None,
    })
}

fn numbers<'a, const WIDTH: usize, T: 'a>(
    bytes: &'a [u8],
    read: impl Fn([u8; WIDTH]) -> T + 'a,
) -> impl Iterator<Item = Option<T>> + 'a {
    bytes.as_chunks::<WIDTH>().0.iter().map(move |value| Some(read(*value)))
}

fn texts(mut bytes: &[u8], count: usize) -> Option<ArrayRef> {
    let mut texts = StringViewBuilder::new();
    for _ in 0..count {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (text, rest) = rest.split_at_checked(length)?;
        texts.append_value(std::str::from_utf8(text).ok()?);
        bytes = rest;
    }
    Some(Arc::new(texts.finish()))
}

/// Some bytes of a file, at their place in it.
struct Part {
    start: u64,
    bytes: Bytes,
}

impl Part {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!("no bytes at {start}"))),
        }
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        match bytes.len() >= length {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF(format!("{length} bytes at {start}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use datafusion::parquet::file::metadata::ParquetMetaData;
    use datafusion::parquet::file::properties::WriterProperties;
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    struct InMemory(Bytes);

    impl AsyncFileReader for InMemory {
        fn get_bytes(&mut self, range: std::ops::Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
            let bytes = self.0.slice(range.start as usize..range.end as usize);
            async move { Ok(bytes) }.boxed()
        }

        fn get_metadata<'a>(
            &'a mut self,
            _options: Option<&'a ArrowReaderOptions>,
        ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
            async move { Err(ParquetError::General("not asked for".into())) }.boxed()
        }
    }

    fn distinct(column: ArrayRef, properties: WriterProperties) -> Option<ArrayRef> {
        let schema = Arc::new(Schema::new(vec![Field::new("c", column.data_type().clone(), true)]));
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties)).expect("a writer");
        let data_type = column.data_type().clone();
        writer.write(&RecordBatch::try_new(schema, vec![column]).expect("a batch")).expect("written");
        writer.close().expect("closed");
        let file = Bytes::from(file);
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).expect("a footer");
        let chunk = metadata.metadata().row_group(0).column(0);
        let found = distinct_values(&mut InMemory(file), chunk, &data_type).now_or_never().expect("no waiting");
        found.expect("read")
    }

    fn sorted(array: &ArrayRef) -> Vec<String> {
        let mut values: Vec<String> = (0..array.len())
            .map(|row| datafusion::arrow::util::display::array_value_to_string(array, row).expect("shown"))
            .collect();
        values.sort();
        values
    }

    #[test]
    fn a_dictionary_tells_each_value_once() {
        let texts = |values: &[Option<&str>]| -> ArrayRef {
            Arc::new(values.iter().copied().collect::<datafusion::arrow::array::StringViewArray>())
        };
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(-1), Some(7)]));
        let cases = [
            (texts(&[Some("b"), Some("a"), Some("b"), Some("")]), vec!["", "a", "b"]),
            (texts(&[Some("b"), None, Some("b")]), vec!["", "b"]),
            (texts(&[None, None]), vec![""]),
            (numbers, vec!["", "-1", "7"]),
        ];
        for (column, expected) in cases {
            let found = distinct(column.clone(), WriterProperties::default()).expect("told");
            assert_eq!(
                (found.data_type(), sorted(&found)),
                (column.data_type(), expected.iter().map(|text| text.to_string()).collect())
            );
        }
    }

    #[test]
    fn pages_without_a_dictionary_are_not_passed_over() {
        let many: ArrayRef = Arc::new((0..5_000).map(Some).collect::<Int64Array>());
        let small =
            WriterProperties::builder().set_dictionary_page_size_limit(1_000).set_data_page_row_count_limit(500);
        assert!(distinct(many.clone(), small.build()).is_none());
        assert!(distinct(many, WriterProperties::builder().set_dictionary_enabled(false).build()).is_none());
    }
}
