//! Reading a file's row groups one after the other.

use std::collections::VecDeque;
use std::ops::Range;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::concat;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess, RowGroupAccessPlanFilter};
use datafusion::parquet::arrow::ParquetRecordBatchStreamBuilder;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::file::{Group, HotFile};

impl HotFile {
    /// The rows, in the file's order.
    pub(super) fn into_stream(mut self) -> BoxStream<'static, Result<RecordBatch>> {
        let groups = std::mem::take(&mut self.groups).into();
        let tracking = self.predicate.as_ref().map(DynamicFilterTracking::classify);
        let state = State { tracking, groups, current: None, file: self };
        stream::try_unfold(state, State::next).boxed()
    }
}

struct State {
    file: HotFile,
    tracking: Option<DynamicFilterTracking>,
    groups: VecDeque<Group>,
    current: Option<Current>,
}

/// The row group that is being read.
struct Current {
    columns: RecordBatch,
    /// What of it is to come.
    rows: VecDeque<Range<usize>>,
}

impl State {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(slice) = self.current.as_mut().and_then(|current| current.next(self.file.scan.batch_rows)) {
                let batch = self.project(&slice)?;
                return Ok(Some((batch, self)));
            }
            let Some(group) = self.groups.pop_front() else { return Ok(None) };
            // A filter that is learnt while the statement runs may want less by now.
            if let Some(group) = self.prune_again(group) {
                let rows = rows_of(&group, self.file.row_group(group.index).num_rows() as usize);
                let columns = self.file.columns_of(group.index).await?;
                self.current = Some(Current { columns, rows });
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
        let projected = self.file.projector.project_batch(slice)?;
        let output = &self.file.scan.output_schema;
        if projected.schema_ref() == output {
            return Ok(projected);
        }
        // The file's columns differ from the table's in nullability.
        let (_, columns, rows) = projected.into_parts();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(output.clone(), columns, &options)?)
    }
}

impl Current {
    fn next(&mut self, most_rows: usize) -> Option<RecordBatch> {
        let rows = self.rows.front_mut()?;
        let count = rows.len().min(most_rows);
        let slice = self.columns.slice(rows.start, count);
        rows.start += count;
        if rows.start == rows.end {
            self.rows.pop_front();
        }
        Some(slice)
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
    /// The scan's columns of a row group, out of memory where they are.
    async fn columns_of(&self, row_group: usize) -> Result<RecordBatch> {
        let cache = &self.scan.cache;
        let mut columns: Vec<Option<ArrayRef>> =
            self.columns.names.iter().map(|name| cache.get(&self.key(row_group, name))).collect();
        let missing: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].is_none()).collect();
        self.hits.add(columns.len() - missing.len());
        if !missing.is_empty() {
            self.misses.add(missing.len());
            for (at, column) in missing.iter().zip(self.decode(row_group, &missing).await?) {
                cache.insert(self.key(row_group, &self.columns.names[*at]), column.clone());
                columns[*at] = Some(column);
            }
        }
        let rows = self.row_group(row_group).num_rows() as usize;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns.into_iter().flatten().collect();
        Ok(RecordBatch::try_new_with_options(self.columns.schema.clone(), columns, &options)?)
    }

    /// Decodes whole columns of a row group; `wanted` are places in the scan's columns, in order.
    async fn decode(&self, row_group: usize, wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        let rows = self.row_group(row_group).num_rows() as usize;
        let roots = wanted.iter().map(|at| self.columns.roots[*at]);
        let reader = self.scan.reader(&self.file)?;
        let batches: Vec<RecordBatch> =
            ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.parquet.clone())
                .with_projection(ProjectionMask::roots(self.parquet.parquet_schema(), roots))
                .with_row_groups(vec![row_group])
                .with_batch_size(rows)
                .build()?
                .try_collect()
                .await?;
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() != rows {
            return internal_err!("{}: row group {row_group} has other than {rows} rows", self.name);
        }
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
}
