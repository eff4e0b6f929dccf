//! A few rows of a file: those that the trace index named, out of pages that are kept in memory as they are unpacked.
//!
//! Neighbouring traces share pages, and who looks at one trace looks at it again, or at the next one. What is left to do for a page in
//! memory is to decode the values that are wanted; where all are, nothing is read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    ParquetAccessPlan, ParquetRowSelection, RowGroupAccess, RowGroupAccessPlanFilter,
};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy,
};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr_adapter::replace_columns_with_literals;
use datafusion::physical_plan::metrics::{Count, MetricBuilder};
use futures::stream::{self, BoxStream, StreamExt};

use super::cache::PageKey;
use super::file::Scan;
use super::pages::{Page, Pages};
use super::plain::{PagePlace, PlainFile};
use super::stream::with_columns;
use crate::engine::functions::quotients_in_one_pass;

/// What is read of a file's columns, and what is made of it.
struct Made {
    columns: ProjectionMask,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

/// The rows of a file that are to come.
struct FewRows {
    scan: Arc<Scan>,
    name: Arc<str>,
    file: PartitionedFile,
    plain: Arc<PlainFile>,
    made: Made,
    groups: VecDeque<(usize, RowSelection)>,
    current: Option<ParquetRecordBatchReader>,
    hits: Count,
    misses: Count,
}

impl Scan {
    /// The rows of a file that the trace index named; `None` where it named none, where conditions may leave some of them out unread, where
    /// the Parquet source is to take fewer at a time, and where nothing is kept.
    pub(super) async fn few_rows(
        self: &Arc<Self>,
        file: &PartitionedFile,
    ) -> Result<Option<BoxStream<'static, Result<RecordBatch>>>> {
        let may_keep = self.cache.budget_bytes() > 0;
        let named = file.extension::<ParquetRowSelection>().filter(|_| self.takes_all_of_traces && may_keep);
        let Some(rows) = named.map(ParquetRowSelection::selection) else { return Ok(None) };
        let Some(plain) = self.plain(file).await? else { return Ok(None) };
        if plain.most_rows < self.batch_rows {
            return Ok(None);
        }
        let few = FewRows {
            scan: self.clone(),
            name: file.object_meta.location.as_ref().into(),
            file: file.clone(),
            made: self.made(file, &plain).await?,
            groups: groups(file, &plain, rows.clone()),
            current: None,
            hits: MetricBuilder::new(&self.metrics).counter("pages_from_memory", self.partition),
            misses: MetricBuilder::new(&self.metrics).counter("pages_read", self.partition),
            plain,
        };
        Ok(Some(stream::try_unfold(few, FewRows::next).boxed()))
    }

    async fn plain(&self, file: &PartitionedFile) -> Result<Option<Arc<PlainFile>>> {
        let name = file.object_meta.location.as_ref();
        if let Some(known) = self.cache.plain(name) {
            return Ok(Some(known));
        }
        let plain = PlainFile::of(&self.parquet(file).await?)?.map(Arc::new);
        if let Some(plain) = &plain {
            self.cache.insert_plain(name.into(), plain.clone());
        }
        Ok(plain)
    }

    /// What the scan's projection is in terms of the file's columns. No condition is looked at, so that a column of one value is that value.
    async fn made(&self, file: &PartitionedFile, plain: &PlainFile) -> Result<Made> {
        let schema = self.parquet(file).await?.schema().clone();
        let constants = self.constants(file).await?;
        let constants = constants.by_name(&self.file_schema)?;
        let adapter = self.adapters.create(self.file_schema.clone(), schema.clone())?;
        let simplifier = PhysicalExprSimplifier::new(&schema);
        let projection = self.projection.clone().try_map_exprs(|expr| {
            let expr = replace_columns_with_literals(expr, &constants)?;
            quotients_in_one_pass(simplifier.simplify(adapter.rewrite(expr)?)?, &schema)
        })?;
        let mut roots: Vec<usize> =
            projection.expr_iter().flat_map(|expr| collect_columns(&expr)).map(|column| column.index()).collect();
        roots.sort_unstable();
        roots.dedup();
        let read: SchemaRef = Arc::new(schema.project(&roots)?);
        let exprs = projection.expr_iter().map(|expr| reassign_expr_columns(expr, &read)).collect::<Result<_>>()?;
        Ok(Made { columns: ProjectionMask::roots(plain.footer.parquet_schema(), roots), exprs })
    }
}

/// The row groups that have some of the rows, of those that are the scan's to read.
fn groups(file: &PartitionedFile, plain: &PlainFile, mut rows: RowSelection) -> VecDeque<(usize, RowSelection)> {
    let row_groups = plain.footer.metadata().row_groups();
    let mut access = ParquetAccessPlan::new_none(row_groups.len());
    for (index, group) in row_groups.iter().enumerate() {
        let of_group = rows.split_off(group.num_rows() as usize);
        if of_group.selects_any() {
            access.set(index, RowGroupAccess::Selection(of_group));
        }
    }
    let mut access = RowGroupAccessPlanFilter::new(access);
    if let Some(range) = &file.range {
        access.prune_by_range(row_groups, range);
    }
    let groups = access.build().into_inner().into_iter().enumerate();
    let some = groups.filter_map(|(index, access)| match access {
        RowGroupAccess::Selection(rows) => Some((index, rows)),
        RowGroupAccess::Scan | RowGroupAccess::Skip => None,
    });
    some.collect()
}

impl FewRows {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(batch) = current.next() {
                    let batch = batch.map_err(|error| ParquetError::General(format!("{}: {error}", self.name)))?;
                    return Ok(Some((self.project(&batch)?, self)));
                }
                self.current = None;
            }
            let Some((row_group, rows)) = self.groups.pop_front() else { return Ok(None) };
            self.current = Some(self.open(row_group, rows).await?);
        }
    }

    // Exclusive, since a reader of batches cannot be shared by threads.
    async fn open(&mut self, row_group: usize, rows: RowSelection) -> Result<ParquetRecordBatchReader> {
        let places = self.plain.pages(row_group, &self.made.columns, &rows);
        let pages = Pages {
            file: self.name.clone(),
            file_bytes: self.file.object_meta.size,
            by_start: self.pages(places).await?,
            cache: self.scan.cache.clone(),
        };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(pages, self.plain.footer.clone())
            .with_projection(self.made.columns.clone())
            .with_row_groups(vec![row_group])
            .with_row_selection(rows)
            // The other way may ask for pages in between, which were not read.
            .with_row_selection_policy(RowSelectionPolicy::Selectors)
            .with_batch_size(self.scan.batch_rows);
        Ok(reader.build()?)
    }

    /// Pages out of memory, and with one request those that are not there.
    async fn pages(&mut self, places: Vec<PagePlace>) -> Result<HashMap<u64, Page>> {
        let kept = self.scan.cache.pages(&self.name, places.iter().map(|place| place.bytes.start));
        let mut pages = HashMap::with_capacity(places.len());
        let mut missing = Vec::new();
        for (place, kept) in places.into_iter().zip(kept) {
            match kept {
                Some(page) => {
                    pages.insert(place.bytes.start, Page::Plain(page));
                }
                None => missing.push(place),
            }
        }
        self.hits.add(pages.len());
        self.misses.add(missing.len());
        if !missing.is_empty() {
            let ranges = missing.iter().map(|place| place.bytes.clone()).collect();
            let read = self.scan.reader(&self.file)?.get_byte_ranges(ranges).await?;
            pages.extend(missing.into_iter().zip(read).map(|(place, bytes)| {
                let start = place.bytes.start;
                let page = if place.is_packed { Page::Packed(bytes) } else { Page::Plain(self.kept(start, &bytes)) };
                (start, page)
            }));
        }
        Ok(pages)
    }

    /// Keeps a page that there is nothing to unpack of. It is copied: what was read may be a part of something larger.
    fn kept(&self, start: u64, page: &[u8]) -> Bytes {
        let page = Bytes::copy_from_slice(page);
        self.scan.cache.insert_page(PageKey { file: self.name.clone(), start }, page.clone());
        page
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let made = self.made.exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(rows));
        with_columns(&self.scan.output_schema, made.collect::<Result<_>>()?, rows)
    }
}
