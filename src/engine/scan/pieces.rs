//! The scan of sealed files piece by piece, in the order in which rows lie.

use std::iter;
use std::sync::Arc;

use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;

use super::attributes::AttributeAdapters;
use super::files::{Readers, file_columns, planned_file, wanted_files};
use super::lookup::Rows;
use super::statistics::total_statistics;
use crate::store::{DataFile, Snapshot};

/// A part of a file: the row groups that begin within a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Piece {
    pub location: String,
    pub start_byte: i64,
    pub end_byte: i64,
}

/// The rows of a piece, about: enough that opening it costs little, few enough that all cores have some until the end.
const PIECE_ROWS: u64 = 256 * 1024;

/// The files that the predicate may want, each cut into pieces, a partition a piece.
#[derive(Debug)]
pub(super) struct PieceScans {
    pub pieces: Vec<Piece>,
    pub rows: Arc<dyn ExecutionPlan>,
    /// All rows of the pieces, whatever the predicate says of them.
    pub ids: Arc<dyn ExecutionPlan>,
}

/// Plans scans of the same pieces of files for two sets of columns; `None` when there is no file.
pub(super) fn scan_pieces(
    readers: &Readers,
    snapshot: &Snapshot,
    columns: &[usize],
    ids: &[usize],
    predicate: Option<Arc<dyn PhysicalExpr>>,
) -> Result<Option<PieceScans>> {
    let wanted = wanted_files(snapshot, predicate.as_ref(), None);
    let all = file_columns(snapshot);
    let (mut pieces, mut groups) = (Vec::new(), Vec::new());
    for file in &wanted {
        // For its trace index, where a join finds out which traces are wanted.
        let planned = planned_file(file, &Rows::All).with_extension(DataFile::clone(file));
        for piece in cut(file) {
            groups.push(FileGroup::new(vec![planned.clone().with_range(piece.start_byte, piece.end_byte)]));
            pieces.push(piece);
        }
    }
    if pieces.is_empty() {
        return Ok(None);
    }
    let total = total_statistics(wanted.into_iter().zip(iter::repeat(&Rows::All)), &all);
    let url = ObjectStoreUrl::parse(&snapshot.object_store_url)?;
    readers.runtime.register_object_store(url.as_ref(), snapshot.object_store.clone());
    let scan = |columns: &[usize], predicate| -> Result<Arc<dyn ExecutionPlan>> {
        let source = Arc::new(readers.source(snapshot, all.clone(), predicate));
        let config = FileScanConfigBuilder::new(url.clone(), source)
            .with_file_groups(groups.clone())
            .with_statistics(total.clone())
            // A partition reads its own piece and no other's.
            .with_preserve_order(true)
            .with_projection_indices(Some(columns.to_vec()))?
            .with_expr_adapter(Some(Arc::new(AttributeAdapters)))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    };
    Ok(Some(PieceScans { rows: scan(columns, predicate)?, ids: scan(ids, None)?, pieces }))
}

fn cut(file: &DataFile) -> impl Iterator<Item = Piece> {
    let count = file.rows.div_ceil(PIECE_ROWS).max(1);
    let at = move |n: u64| (u128::from(file.size_bytes) * u128::from(n) / u128::from(count)) as i64;
    (0..count).map(move |n| Piece { location: file.location.to_string(), start_byte: at(n), end_byte: at(n + 1) })
}
