//! How each column of a data file is encoded, compressed and cut into pages.

use datafusion::arrow::datatypes::Schema;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::{ColumnDescriptor, ColumnPath};

use crate::model::promoted::PromotedColumn;
use crate::model::schema;

/// How much work a file's compression is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A sealing: senders wait behind it, and compaction writes its rows again soon.
    Quick,
    /// Compaction: in the background, and the file stays.
    Thorough,
}

/// The rows of a row group: small enough that time prunes and a query's cores share a file, large enough that dictionaries pay.
pub(crate) const ROW_GROUP_ROWS: usize = 128 * 1024;
/// What a row group holds in memory while it is written, stored as it will be: reached where attributes are huge only.
pub(super) const ROW_GROUP_BYTES: usize = 64 << 20;
/// The rows of a page of ids or times: what a read for one trace must decode, what time prunes, and of what the largest durations
/// and the latest starts are found by their pages' bounds: pages four times as large make that three times the work.
const PAGE_ROWS: usize = 8 * 1024;
/// The rows of other pages. Codes of a dictionary take half a byte a row, so that eight times the rows are still little to decode, while
/// they compress better and most columns of most files, which have one value, need a page header for more rows. Twice as many again
/// cost a read of one trace a twelfth more.
const CODED_PAGE_ROWS: usize = 8 * PAGE_ROWS;
/// The bytes of a page of texts that a dictionary cannot hold: short ones are to be few enough for a read of one trace.
const TEXT_PAGE_BYTES: usize = 512 * 1024;
/// The same inside lists and maps: what events say repeats over long distances, and pages half as large take half as much again.
const NESTED_PAGE_BYTES: usize = 1024 * 1024;

/// Times and durations. Their bytes hardly repeat: only the search for the best of a few repeats makes them smaller. A search for short
/// ones makes starts smaller still, and slower to unpack by a quarter.
const THOROUGH_NUMBERS: i32 = 12;
/// Parents. Those that repeat among siblings are found by any level, the rest is random; from this level on, how the repeats are told
/// is chosen by what they cost.
const THOROUGH_PARENTS: i32 = 13;
/// Codes and texts: higher levels gain little more.
const THOROUGH_TEXTS: i32 = 9;
/// All that waits for nothing better, and ids of traces.
const QUICK: i32 = 1;

/// The properties of a file with these columns.
pub(super) fn properties(columns: &Schema, effort: Effort) -> WriterProperties {
    let texts = if effort == Effort::Thorough { THOROUGH_TEXTS } else { QUICK };
    // Statistics are kept only where a query can prune by them: comparing every key and value of every map costs more than the rest.
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(zstd(texts))
        .set_data_page_row_count_limit(CODED_PAGE_ROWS)
        .set_data_page_size_limit(NESTED_PAGE_BYTES)
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by(concat!("spanhouse ", env!("CARGO_PKG_VERSION")).to_owned());
    for field in columns.fields().iter().filter(|field| !field.data_type().is_nested()) {
        let column = || ColumnPath::from(field.name().as_str());
        properties = properties
            .set_column_statistics_enabled(column(), EnabledStatistics::Page)
            .set_column_data_page_size_limit(column(), TEXT_PAGE_BYTES);
    }
    let leaves = ArrowSchemaConverter::new().convert(columns);
    for leaf in leaves.iter().flat_map(|parquet| parquet.columns()) {
        properties = leaf_properties(properties, leaf, effort);
    }
    properties.build()
}

/// The level of zstd at which a column is packed plane by plane; `None` for a column that the Parquet library compresses. What is sealed
/// is packed again soon, and planes take longer.
pub(super) fn planes_level(leaf: &ColumnDescriptor, effort: Effort) -> Option<i32> {
    let is_plain = leaf.path().parts().len() == 1 && leaf.max_def_level() == 0;
    let is_number = leaf.physical_type() == Type::INT64 && PromotedColumn::parse(leaf.name()).is_none();
    (effort == Effort::Thorough && is_plain && is_number).then_some(THOROUGH_NUMBERS)
}

fn leaf_properties(
    mut properties: WriterPropertiesBuilder,
    leaf: &ColumnDescriptor,
    effort: Effort,
) -> WriterPropertiesBuilder {
    let column = || leaf.path().clone();
    let root = leaf.path().parts().first().map_or("", String::as_str);
    if [schema::EVENTS, schema::LINKS, schema::SCOPE_ATTRIBUTES].contains(&root) {
        // Lists are empty in most files; a file that says so is spared reading them.
        properties = properties.set_column_statistics_enabled(column(), EnabledStatistics::Chunk);
    }
    match leaf.physical_type() {
        // Times hardly repeat: a dictionary only costs. The bytes of equal weight together are smaller, and read faster, than numbers
        // as they are, since the compressor finds few repeats; delta packing came out larger.
        Type::INT64 if PromotedColumn::parse(root).is_none() => properties
            .set_column_dictionary_enabled(column(), false)
            .set_column_encoding(column(), Encoding::BYTE_STREAM_SPLIT)
            .set_column_compression(
                column(),
                match (planes_level(leaf, effort), effort) {
                    (Some(_), _) => Compression::UNCOMPRESSED,
                    (None, Effort::Thorough) => zstd(THOROUGH_NUMBERS),
                    (None, Effort::Quick) => zstd(QUICK),
                },
            )
            .set_column_data_page_size_limit(column(), PAGE_ROWS * size_of::<i64>()),
        Type::FIXED_LEN_BYTE_ARRAY => {
            // Unique random bytes: a compressor finds nothing. Parents repeat among siblings, and are compressed.
            let compression = match (root, effort) {
                (schema::SPAN_ID, _) => Compression::UNCOMPRESSED,
                (schema::PARENT_SPAN_ID, Effort::Thorough) => zstd(THOROUGH_PARENTS),
                _ => zstd(QUICK),
            };
            if [schema::SPAN_ID, schema::PARENT_SPAN_ID].contains(&root) {
                // Random: the bounds of a page leave out no value.
                properties = properties.set_column_statistics_enabled(column(), EnabledStatistics::Chunk);
            }
            properties
                .set_column_dictionary_enabled(column(), false)
                .set_column_compression(column(), compression)
                .set_column_data_page_size_limit(column(), PAGE_ROWS * usize::try_from(leaf.type_length()).unwrap_or(1))
        }
        _ => properties,
    }
}

fn zstd(level: i32) -> Compression {
    ZstdLevel::try_new(level).map_or(Compression::UNCOMPRESSED, Compression::ZSTD)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
    use parquet::file::page_index::offset_index::OffsetIndexMetaData;

    use super::*;
    use crate::model::promoted::Promotion;
    use crate::store::disk::OsDisk;
    use crate::store::table::write_data_file;
    use crate::store::testing::{START, TestSpan, decode, payload};

    const ROWS: usize = 150_000;

    /// A file of spans that start at any nanosecond, as it is read back, its footer, and its size.
    fn written(effort: Effort) -> (RecordBatch, ParquetMetaData, u64) {
        let mixed = |span: usize| (span as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
        let spans: Vec<TestSpan> = (0..ROWS)
            .map(|span| TestSpan {
                trace: span as u64 / 40,
                span: mixed(span) as u64 >> 12,
                start_ns: START + span as i64 * 2_000_000 + (mixed(span) >> 43),
            })
            .collect();
        let batches = spans.chunks(8 * 1024).map(|spans| decode(&payload(spans)));
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file.parquet");
        let content = write_data_file(&OsDisk, &path, &Promotion::default(), effort, batches).expect("written");
        let file = || File::open(&path).expect("the file");
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = reader.parse_and_finish(&file()).expect("a footer");
        let batches: Vec<_> =
            ParquetRecordBatchReader::try_new(file(), ROWS).expect("parquet").collect::<Result<_, _>>().expect("rows");
        let rows = concat_batches(&batches[0].schema(), &batches).expect("one batch");
        (rows, metadata, content.size_bytes)
    }

    /// The rows of the largest page of a column.
    fn page_rows(metadata: &ParquetMetaData, leaf: usize) -> usize {
        let index = metadata.offset_index().expect("a page index");
        let of_group = |(group, pages): (usize, &Vec<OffsetIndexMetaData>)| {
            let starts = pages[leaf].page_locations().iter().map(|page| page.first_row_index);
            let borders: Vec<i64> = starts.chain([metadata.row_group(group).num_rows()]).collect();
            borders.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0)
        };
        index.iter().enumerate().map(of_group).max().unwrap_or(0)
    }

    #[test]
    fn pages_are_small_where_rows_are_wide_and_large_where_they_are_codes() {
        let (_, metadata, _) = written(Effort::Thorough);
        let leaves = metadata.file_metadata().schema_descr().columns();
        let of = |name: &str| {
            let leaf = leaves.iter().position(|leaf| leaf.path().string() == name);
            leaf.unwrap_or_else(|| panic!("no column {name}"))
        };
        for column in [schema::START_NS, schema::DURATION_NS, schema::TRACE_ID, schema::SPAN_ID] {
            assert_eq!(page_rows(&metadata, of(column)), PAGE_ROWS, "{column}");
        }
        for column in [schema::SERVICE_NAME, schema::FLAGS, schema::PARENT_SPAN_ID, "attributes.key_value.key"] {
            assert_eq!(page_rows(&metadata, of(column)), CODED_PAGE_ROWS, "{column}");
        }
        for time in [schema::START_NS, schema::DURATION_NS, "events.list.element.time_ns"] {
            let chunk = metadata.row_group(0).column(of(time));
            assert!(chunk.encodings().any(|encoding| encoding == Encoding::BYTE_STREAM_SPLIT), "{time}");
            assert!(chunk.dictionary_page_offset().is_none(), "{time}");
        }
    }

    #[test]
    fn more_effort_gives_the_same_rows_in_fewer_bytes() {
        let (quick, _, quick_bytes) = written(Effort::Quick);
        let (thorough, _, thorough_bytes) = written(Effort::Thorough);
        assert_eq!(quick, thorough);
        assert!(thorough_bytes < quick_bytes, "{thorough_bytes} bytes instead of {quick_bytes}");
    }
}
