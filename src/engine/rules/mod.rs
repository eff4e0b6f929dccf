//! Planner and optimizer rules of ours, one file a rule.

mod abandon;
mod best_rows;
mod build_on_work_table;
mod checked_integers;
mod each_once;
mod expressions;
mod forgiving;
mod ids_as_bytes;
mod interval_order;
mod lateral;
mod lenient_text;
mod local_recursion;
mod multisets;
mod plain_scans;
mod session_times;
mod shared_sketch;
mod trace_local;
mod unions;

pub(super) use abandon::Abandon;
pub(super) use best_rows::BestRows;
pub(super) use build_on_work_table::BuildOnWorkTable;
pub(super) use checked_integers::CheckedIntegers;
pub(super) use each_once::EachOnce;
pub(super) use forgiving::Forgiving;
pub(super) use ids_as_bytes::IdsAsBytes;
pub(super) use interval_order::IntervalOrder;
pub(super) use lateral::Lateral;
pub(super) use lenient_text::{LenientText, number_from_text};
pub(super) use local_recursion::LocalRecursion;
pub(super) use multisets::Multisets;
pub(super) use plain_scans::PlainScans;
pub(super) use session_times::SessionTimes;
pub(super) use shared_sketch::SharedSketch;
pub(super) use trace_local::TraceLocal;
pub(super) use unions::UnionTypes;
