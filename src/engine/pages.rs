//! Pages of files with the best value that each may hold.

use std::ops::Range;

use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

/// Rows that lie together in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    pub file: usize,
    pub row_group: usize,
    /// Within the row group.
    pub rows: Range<usize>,
    /// The best value in it; `None` when the file does not tell.
    pub bound: Option<i64>,
}

/// The column's pages in those rows of a file that `access` lets through.
pub(super) fn pages(
    file: usize,
    metadata: &ParquetMetaData,
    access: &ParquetAccessPlan,
    column: &str,
    largest: bool,
) -> Vec<Page> {
    let schema = metadata.file_metadata().schema_descr();
    let column = schema.columns().iter().position(|leaf| leaf.path().parts() == [column]);
    let mut pages = Vec::new();
    for (row_group, access) in access.inner().iter().enumerate().filter(|(_, access)| access.should_scan()) {
        let known = column.and_then(|column| indexed(metadata, row_group, column, largest));
        let known = known.unwrap_or_else(|| vec![whole(metadata, row_group, column, largest)]);
        let wanted = known.into_iter().filter(|(rows, _)| lets_through(access, rows));
        pages.extend(wanted.map(|(rows, bound)| Page { file, row_group, rows, bound }));
    }
    pages
}

/// The access that reads these pages of one file, and nothing else of it.
pub(super) fn access_to<'a>(metadata: &ParquetMetaData, pages: impl Iterator<Item = &'a Page>) -> ParquetAccessPlan {
    let mut of_group = vec![Vec::new(); metadata.num_row_groups()];
    for page in pages {
        of_group[page.row_group].push(page.rows.clone());
    }
    let mut access = ParquetAccessPlan::new_none(of_group.len());
    for (row_group, mut ranges) in of_group.into_iter().enumerate().filter(|(_, ranges)| !ranges.is_empty()) {
        ranges.sort_by_key(|rows| rows.start);
        let rows = metadata.row_group(row_group).num_rows() as usize;
        let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), rows);
        access.set(row_group, RowGroupAccess::Selection(selection));
    }
    access
}

/// The rows of the row groups of which an access reads some.
pub(super) fn rows_of_row_groups(metadata: &ParquetMetaData, access: &ParquetAccessPlan) -> usize {
    access.row_group_index_iter().map(|row_group| metadata.row_group(row_group).num_rows() as usize).sum()
}

type Bounded = (Range<usize>, Option<i64>);

/// The pages by the file's page index; `None` without one.
fn indexed(metadata: &ParquetMetaData, row_group: usize, column: usize, largest: bool) -> Option<Vec<Bounded>> {
    let ColumnIndexMetaData::INT64(bounds) = metadata.column_index()?.get(row_group)?.get(column)? else {
        return None;
    };
    let places = metadata.offset_index()?.get(row_group)?.get(column)?.page_locations();
    let ends = places.iter().skip(1).map(|place| place.first_row_index);
    let ends = ends.chain([metadata.row_group(row_group).num_rows()]);
    let pages = places.iter().zip(ends).enumerate().map(|(page, (place, end))| {
        let bound = if largest { bounds.max_value(page) } else { bounds.min_value(page) };
        (place.first_row_index as usize..end as usize, bound.copied())
    });
    Some(pages.collect())
}

/// The row group as one page.
fn whole(metadata: &ParquetMetaData, row_group: usize, column: Option<usize>, largest: bool) -> Bounded {
    let row_group = metadata.row_group(row_group);
    let bound = match column.and_then(|column| row_group.column(column).statistics()) {
        Some(Statistics::Int64(known)) if largest => known.max_opt().copied(),
        Some(Statistics::Int64(known)) => known.min_opt().copied(),
        _ => None,
    };
    (0..row_group.num_rows() as usize, bound)
}

/// Whether any of the rows is read.
fn lets_through(access: &RowGroupAccess, rows: &Range<usize>) -> bool {
    let selection = match access {
        RowGroupAccess::Skip => return false,
        RowGroupAccess::Scan => return true,
        RowGroupAccess::Selection(selection) => selection,
    };
    let mut from = 0;
    for selector in selection.iter() {
        let until = from + selector.row_count;
        if !selector.skip && from < rows.end && rows.start < until {
            return true;
        }
        from = until;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};
    use std::sync::Arc;

    const ROWS: usize = 1_000;

    /// Row groups of 300 rows, pages of 40.
    fn file(statistics: EnabledStatistics) -> (Bytes, ArrowReaderMetadata, Vec<i64>) {
        let values: Vec<i64> = (0..ROWS as i64).map(|n| n * 7_919 % 1_009 - 500).collect();
        let batch =
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values.clone())) as _)]).expect("batch");
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(300))
            .set_data_page_row_count_limit(40)
            .set_write_batch_size(40)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(statistics);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).expect("writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        let bytes = Bytes::from(bytes);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&bytes, options).expect("a footer");
        (bytes, metadata, values)
    }

    fn rows(page: &Page) -> Range<usize> {
        page.row_group * 300 + page.rows.start..page.row_group * 300 + page.rows.end
    }

    #[test]
    fn pages_cover_the_rows_once_and_bound_them() {
        for (statistics, at_least) in
            [(EnabledStatistics::Page, 25), (EnabledStatistics::Chunk, 4), (EnabledStatistics::None, 4)]
        {
            let (_, metadata, values) = file(statistics);
            let metadata = metadata.metadata();
            let all = ParquetAccessPlan::new_all(metadata.num_row_groups());
            for largest in [true, false] {
                let pages = pages(3, metadata, &all, "n", largest);
                assert!(pages.len() >= at_least, "{statistics:?}: {} pages", pages.len());
                let mut next = 0;
                for page in &pages {
                    assert_eq!((page.file, rows(page).start), (3, next));
                    next = rows(page).end;
                    let within = values[rows(page)].iter();
                    let best = if largest { within.max() } else { within.min() };
                    assert_eq!(page.bound.as_ref(), best.filter(|_| statistics != EnabledStatistics::None));
                }
                assert_eq!(next, ROWS);
            }
        }
    }

    #[test]
    fn only_pages_that_the_access_lets_through_are_there() {
        let (_, metadata, _) = file(EnabledStatistics::Page);
        let metadata = metadata.metadata();
        let mut access = ParquetAccessPlan::new_none(metadata.num_row_groups());
        access.scan(0);
        access.set(
            2,
            RowGroupAccess::Selection(RowSelection::from_consecutive_ranges([50..51, 200..201].into_iter(), 300)),
        );
        let pages = pages(0, metadata, &access, "n", true);
        assert!(pages.iter().filter(|page| page.row_group == 0).count() > 2);
        let of_third: Vec<_> = pages.iter().filter(|page| page.row_group == 2).collect();
        assert_eq!(of_third.len(), 2);
        assert!(of_third[0].rows.contains(&50) && of_third[1].rows.contains(&200));
        assert_eq!(pages.iter().filter(|page| page.row_group == 1 || page.row_group == 3).count(), 0);
    }

    #[test]
    fn an_access_reads_the_rows_of_its_pages() {
        let (bytes, loaded, values) = file(EnabledStatistics::Page);
        let metadata = loaded.metadata().clone();
        let pages = pages(0, &metadata, &ParquetAccessPlan::new_all(metadata.num_row_groups()), "n", true);
        let chosen: Vec<&Page> = pages.iter().rev().step_by(3).collect();
        let access = access_to(&metadata, chosen.iter().copied());
        let groups = access.row_group_indexes();
        let selection = access.into_overall_row_selection(metadata.row_groups()).expect("a selection");
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, loaded).with_row_groups(groups);
        let reader = match selection {
            Some(selection) => builder.with_row_selection(selection).build(),
            None => builder.build(),
        };
        let read: Vec<i64> = reader
            .expect("a reader")
            .flat_map(|batch| batch.expect("rows").column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        let wanted: Vec<i64> = chosen.iter().rev().flat_map(|page| values[rows(page)].to_vec()).collect();
        assert_eq!(read, wanted);
    }
}
