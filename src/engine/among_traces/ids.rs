//! A set of trace ids, and the condition that a trace is in it.

use std::fmt::{self, Display};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{HashSet, internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{InListExpr, lit};
use foldhash::fast::RandomState;

use crate::engine::scan::MAX_TRACES;
use crate::model::TraceId;
use crate::model::schema::TRACE_ID_TYPE;

/// The ids, with the memory that they take.
#[derive(Debug)]
pub(super) struct TraceIds {
    /// Seeded by chance: whoever sends spans chooses their ids.
    ids: HashSet<u128, RandomState>,
    held: MemoryReservation,
}

impl TraceIds {
    /// None yet.
    pub fn new(held: MemoryReservation) -> Self {
        Self { ids: HashSet::default(), held }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Takes ids in; NULL is none.
    pub fn extend(&mut self, column: &ArrayRef) -> Result<()> {
        let ids = ids_of(column.as_ref())?;
        let mut last = None;
        for (row, id) in numbers(ids).enumerate() {
            if last != Some(id) && ids.is_valid(row) {
                self.ids.insert(id);
                last = Some(id);
            }
        }
        // An entry has a byte beside it that tells whether it is taken.
        self.held.try_resize(self.ids.capacity() * (size_of::<u128>() + 1))
    }

    /// Which of a column's ids are among these.
    pub fn among(&self, column: &dyn Array) -> Result<BooleanBuffer> {
        let ids = ids_of(column)?;
        let (numbers, _) = ids.value_data().as_chunks::<{ TraceId::LEN }>();
        let mut last = None;
        let rows = BooleanBuffer::collect_bool(ids.len(), |row| {
            let id = u128::from_ne_bytes(numbers[row]);
            match last {
                Some((known, is_among)) if known == id => is_among,
                _ => {
                    let is_among = self.ids.contains(&id);
                    last = Some((id, is_among));
                    is_among
                }
            }
        });
        Ok(match ids.nulls() {
            None => rows,
            Some(nulls) => &rows & nulls.inner(),
        })
    }

    /// The condition that `id` is among these. Few are a list, which the trace index is asked for.
    pub fn condition(self: &Arc<Self>, id: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        if self.ids.is_empty() {
            return Ok(lit(false));
        }
        if self.ids.len() > MAX_TRACES {
            return Ok(Arc::new(Among { id, ids: self.clone() }));
        }
        let list = FixedSizeBinaryArray::try_from_iter(self.ids.iter().map(|id| id.to_ne_bytes()))?;
        Ok(Arc::new(InListExpr::try_new_from_array(id, Arc::new(list), false, schema)?))
    }
}

fn ids_of(column: &dyn Array) -> Result<&FixedSizeBinaryArray> {
    match column.as_fixed_size_binary_opt().filter(|ids| *ids.data_type() == TRACE_ID_TYPE) {
        Some(ids) => Ok(ids),
        None => internal_err!("trace ids of type {}", column.data_type()),
    }
}

fn numbers(ids: &FixedSizeBinaryArray) -> impl Iterator<Item = u128> {
    ids.value_data().as_chunks::<{ TraceId::LEN }>().0.iter().map(|id| u128::from_ne_bytes(*id))
}

/// Whether an id is in a set.
#[derive(Debug)]
struct Among {
    id: Arc<dyn PhysicalExpr>,
    ids: Arc<TraceIds>,
}

impl PartialEq for Among {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ids, &other.ids) && self.id.eq(&other.id)
    }
}

impl Eq for Among {}

impl Hash for Among {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        Arc::as_ptr(&self.ids).hash(state);
    }
}

impl Display for Among {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IN ({} traces)", self.id, self.ids.len())
    }
}

impl PhysicalExpr for Among {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &datafusion::arrow::array::RecordBatch) -> Result<ColumnarValue> {
        let ids = self.id.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(self.ids.among(ids.as_ref())?))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.id]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let id = children.pop().ok_or_else(|| internal_datafusion_err!("a set of traces without an id to look for"))?;
        Ok(Arc::new(Self { id, ids: self.ids.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}
