//! Reading a file's row groups one after the other.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{concat, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess, RowGroupAccessPlanFilter};
use datafusion::parquet::arrow::ParquetRecordBatchStreamBuilder;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::cache::{ColumnKey, Values};
use super::file::{Group, HotFile};
use super::told::Term;

impl HotFile {
    /// The rows, in the file's order.
    pub(super) fn into_stream(mut self) -> BoxStream<'static, Result<RecordBatch>> {
        let groups = std::mem::take(&mut self.groups).into();
        let tracking = self.predicate.as_ref().map(DynamicFilterTracking::classify);
        let terms = match self.terms() {
            Ok(terms) => terms,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let state = State { tracking, terms, groups, current: None, file: self };
        stream::try_unfold(state, State::next).boxed()
    }
}

struct State {
    file: HotFile,
    tracking: Option<DynamicFilterTracking>,
    terms: Vec<Term>,
    groups: VecDeque<Group>,
    current: Option<Current>,
}

/// The row group that is being read.
struct Current {
    columns: RecordBatch,
    /// What of it is to come.
    rows: VecDeque<Range<usize>>,
    /// The rows that codes and traces do not leave out, when they do any.
    chosen: Option<Chosen>,
}

/// One row in so many is few: of more, the filter above makes a copy all the same.
const FEW: usize = 4;

struct Chosen {
    rows: BooleanBuffer,
    count: usize,
}

impl State {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(slice) = current.next(self.file.scan.batch_rows)? {
                    let batch = self.project(&slice)?;
                    return Ok(Some((batch, self)));
                }
                self.current = None;
            }
            let Some(group) = self.groups.pop_front() else { return Ok(None) };
            // A filter that is learnt while the statement runs may want less by now.
            if let Some(group) = self.prune_again(group) {
                if let Some(values) = self.file.each_once(group.index).await? {
                    let batch = self.project(&values)?;
                    return Ok(Some((batch, self)));
                }
                let rows = rows_of(&group, self.file.row_group(group.index).num_rows() as usize);
                let by_codes = self.file.chosen(&self.terms, group.index).await?;
                let by_traces = self.file.of_wanted_traces(group.index).await?;
                let chosen = [by_codes, by_traces].into_iter().flatten().reduce(|all, more| &all & &more);
                let chosen = chosen.map(|rows| Chosen { count: rows.count_set_bits(), rows });
                if chosen.as_ref().is_some_and(|chosen| chosen.count == 0) {
                    continue;
                }
                let chosen = chosen.filter(|chosen| chosen.count * FEW <= chosen.rows.len());
                let columns = self.file.columns_of(group.index).await?;
                self.current = Some(Current { columns, rows, chosen });
            }
        }
    }

    fn prune_again(&mut self, group: Group) -> Option<Group> {
        let has_changed =
            self.tracking.as_mut().and_then(DynamicFilterTracking::watcher).is_some_and(|it| it.changed());
        if !has_changed {
            return Some(group);
        }
        let mut plan = ParquetAccessPlan::new_none(self.file.parquet.metadata().num_row_groups());
        plan.set(group.index, group.access);
        for later in std::mem::take(&mut self.groups) {
            plan.set(later.index, later.access);
        }
        let mut left: VecDeque<Group> = self.file.prune(RowGroupAccessPlanFilter::new(plan)).into();
        let first = left.pop_front();
        self.groups = left;
        first
    }

    fn project(&self, slice: &RecordBatch) -> Result<RecordBatch> {
        let rows = slice.num_rows();
        let made =
            self.file.exprs.iter().map(|expr| expr.evaluate(slice)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        // The file's columns differ from the table's in nullability, and codes from text.
        with_columns(&self.file.scan.output_schema, made, rows)
    }
}

/// A batch of a schema, but for columns that are dictionaries.
pub(super) fn with_columns(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let is_coded = |column: &ArrayRef| matches!(column.data_type(), DataType::Dictionary(..));
    let schema = match columns.iter().any(is_coded) {
        false => schema.clone(),
        true => {
            let fields = schema.fields().iter().zip(&columns).map(|(field, column)| match is_coded(column) {
                true => Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone())),
                false => field.clone(),
            });
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

impl Current {
    /// The next rows, about so many.
    fn next(&mut self, most_rows: usize) -> Result<Option<RecordBatch>> {
        while let Some(rows) = self.rows.front_mut() {
            let window = match &self.chosen {
                None => most_rows,
                // As many as have that many chosen ones among them, if these lie evenly.
                Some(chosen) => most_rows * self.columns.num_rows() / chosen.count.max(1),
            };
            let (start, count) = (rows.start, rows.len().min(window));
            rows.start += count;
            if rows.start == rows.end {
                self.rows.pop_front();
            }
            let slice = self.columns.slice(start, count);
            let Some(chosen) = &self.chosen else { return Ok(Some(slice)) };
            let chosen = BooleanArray::new(chosen.rows.slice(start, count), None);
            match chosen.true_count() {
                0 => {}
                all if all == count => return Ok(Some(slice)),
                _ => return Ok(Some(filter_record_batch(&slice, &chosen)?)),
            }
        }
        Ok(None)
    }
}

fn rows_of(group: &Group, rows: usize) -> VecDeque<Range<usize>> {
    match &group.access {
        RowGroupAccess::Skip => VecDeque::new(),
        RowGroupAccess::Scan => std::iter::once(0..rows).collect(),
        RowGroupAccess::Selection(selection) => {
            let mut at = 0;
            let mut ranges = VecDeque::new();
            for selector in selection.iter() {
                let range = at..at + selector.row_count;
                at = range.end;
                if !selector.skip && !range.is_empty() {
                    ranges.push_back(range);
                }
            }
            ranges
        }
    }
}

impl HotFile {
    /// Each row of a row group once, where that is enough and dictionaries tell.
    async fn each_once(&self, row_group: usize) -> Result<Option<RecordBatch>> {
        match self.distinct_values(row_group).await? {
            Some(values) => Ok(Some(values)),
            None => self.distinct_rows(row_group).await,
        }
    }

    /// Each value of the scan's only column in a row group once, where that is enough and its dictionary tells.
    async fn distinct_values(&self, row_group: usize) -> Result<Option<RecordBatch>> {
        let Some(leaf) = self.chunk() else { return Ok(None) };
        let key = ColumnKey { of: Values::Distinct, ..self.key(row_group, 0) };
        let data_type = self.columns.schema.field(0).data_type();
        let values = self.scan.distinct_values(&self.file, key, self.row_group(row_group).column(leaf), data_type);
        let Some(values) = values.await? else { return Ok(None) };
        Ok(Some(RecordBatch::try_new(self.columns.schema.clone(), vec![values])?))
    }

    /// The scan's columns of a row group, out of memory where they are.
    async fn columns_of(&self, row_group: usize) -> Result<RecordBatch> {
        let cache = &self.scan.cache;
        let mut columns: Vec<Option<ArrayRef>> =
            (0..self.columns.names.len()).map(|at| cache.get(&self.key(row_group, at))).collect();
        let mut missing: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].is_none()).collect();
        self.hits.add(columns.len() - missing.len());
        self.misses.add(missing.len());
        let mut decoded = Vec::new();
        for at in missing.clone() {
            if self.columns.forms[at] == Values::Codes
                && let Some(codes) = self.decode_codes(row_group, at).await?
            {
                missing.retain(|other| *other != at);
                decoded.push((at, codes));
            }
        }
        if !missing.is_empty() {
            decoded.extend(missing.iter().copied().zip(self.decode(row_group, &missing).await?));
        }
        for (at, column) in decoded {
            cache.insert(self.key(row_group, at), column.clone());
            columns[at] = Some(column);
        }
        let rows = self.row_group(row_group).num_rows() as usize;
        with_columns(&self.columns.schema, columns.into_iter().flatten().collect(), rows)
    }

    /// Decodes whole columns of a row group; `wanted` are places in the scan's columns, in order.
    pub(super) async fn decode(&self, row_group: usize, wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        let roots: Vec<usize> = wanted.iter().map(|at| self.columns.roots[*at]).collect();
        let batches = self.decode_with(self.parquet.clone(), row_group, roots).await?;
        let column = |at: usize| -> Result<ArrayRef> {
            match batches.as_slice() {
                [batch] => Ok(batch.column(at).clone()),
                several => {
                    let parts: Vec<&dyn datafusion::arrow::array::Array> =
                        several.iter().map(|batch| batch.column(at).as_ref()).collect();
                    Ok(concat(&parts)?)
                }
            }
        };
        (0..wanted.len()).map(column).collect()
    }

    /// Decodes whole columns of the file, in order, as `parquet` has them.
    pub(super) async fn decode_with(
        &self,
        parquet: ArrowReaderMetadata,
        row_group: usize,
        roots: Vec<usize>,
    ) -> Result<Vec<RecordBatch>> {
        let rows = self.row_group(row_group).num_rows() as usize;
        let columns = ProjectionMask::roots(parquet.parquet_schema(), roots);
        let batches: Vec<RecordBatch> =
            ParquetRecordBatchStreamBuilder::new_with_metadata(self.scan.reader(&self.file)?, parquet)
                .with_projection(columns)
                .with_row_groups(vec![row_group])
                .with_batch_size(rows)
                .build()?
                .try_collect()
                .await?;
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() != rows {
            return internal_err!("{}: row group {row_group} has other than {rows} rows", self.name);
        }
        Ok(batches)
    }
}
