//! Times follow the session's zone, as in PostgreSQL: text that becomes a time, and functions of a `timestamptz` that read a clock.
//!
//! | written | means |
//! |---|---|
//! | `'2026-01-31 10:00'`, `'today'`, `… T…Z` beside or cast to a time | that time, in the session's zone where it names none |
//! | `date_trunc(unit, t)`, `extract(… FROM t)`, `to_char(t, …)` | of `t` on a clock in the session's zone |
//! | `t::date`, `t::time`, `t::timestamp` | the same |
//! | `'90 minutes'` beside or cast to an interval | that interval |
//! | `to_timestamp(x)` of a double | that time, to a microsecond |

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::math::expr_fn::round;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, ScalarFunction, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_all;
use super::lenient_text::is_comparison;
use crate::engine::functions::at_time_zone;
use crate::engine::times::{interval_of_text, time_of_text};

/// Functions that read a clock, with the place of the time among their arguments.
const CLOCK_READERS: &[(&str, usize)] = &[("date_trunc", 1), ("date_part", 1), ("to_char", 0)];

const SECOND_MICROS: f64 = 1e6;

/// The rule; it runs before whatever else makes times of texts.
#[derive(Debug)]
pub(in crate::engine) struct SessionTimes;

impl AnalyzerRule for SessionTimes {
    fn name(&self) -> &str {
        "session_times"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let name: Arc<str> = config.execution.time_zone.as_deref().unwrap_or("UTC").into();
        let zone = Zone { zone: name.parse::<Tz>()?, name };
        rewrite_all(plan, |expr, schema| zone.rewrite(expr, schema))
    }
}

/// `to_timestamp` of a double, which has about as many digits as a time in microseconds; DataFusion would take all of its nanoseconds.
fn time_of_double(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let [seconds] = call.args.as_slice() else { return None };
    if call.func.name() != "to_timestamp" || !seconds.get_type(schema).ok()?.is_floating() {
        return None;
    }
    let DataType::Timestamp(_, zone) = call.func.return_type(&[DataType::Float64]).ok()? else { return None };
    let micros = round(vec![seconds.clone() * lit(SECOND_MICROS)]);
    let cast = |expr, data_type| Expr::Cast(Cast::new(Box::new(expr), data_type));
    let time = cast(cast(micros, DataType::Int64), DataType::Timestamp(TimeUnit::Microsecond, zone.clone()));
    Some(cast(time, DataType::Timestamp(TimeUnit::Nanosecond, zone)))
}

fn has_zone(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Timestamp(_, Some(_))))
}

/// A session's zone.
struct Zone {
    zone: Tz,
    name: Arc<str>,
}

impl Zone {
    fn rewrite(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        match expr {
            Expr::Cast(Cast { expr, field }) => match self.literal(&expr, field.data_type()) {
                Some(time) => Transformed::yes(time),
                None => self
                    .clock_before_cast(*expr, field.data_type(), schema)
                    .update_data(|expr| Expr::Cast(Cast::new_from_field(Box::new(expr), field))),
            },
            Expr::TryCast(TryCast { expr, field }) => match self.literal(&expr, field.data_type()) {
                Some(time) => Transformed::yes(time),
                None => Transformed::no(Expr::TryCast(TryCast::new_from_field(expr, field))),
            },
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
                let left_type = left.get_type(schema).ok();
                let right_type = right.get_type(schema).ok();
                let (left, right) = (self.beside(*left, right_type.as_ref()), self.beside(*right, left_type.as_ref()));
                let changed = left.transformed || right.transformed;
                let expr = BinaryExpr::new(Box::new(left.data), op, Box::new(right.data));
                Transformed::new_transformed(Expr::BinaryExpr(expr), changed)
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let data_type = expr.get_type(schema).ok();
                let (low, high) = (self.beside(*low, data_type.as_ref()), self.beside(*high, data_type.as_ref()));
                let changed = low.transformed || high.transformed;
                let expr = Between { expr, negated, low: Box::new(low.data), high: Box::new(high.data) };
                Transformed::new_transformed(Expr::Between(expr), changed)
            }
            Expr::InList(InList { expr, list, negated }) => {
                let data_type = expr.get_type(schema).ok();
                let list: Vec<_> = list.into_iter().map(|item| self.beside(item, data_type.as_ref())).collect();
                let changed = list.iter().any(|item| item.transformed);
                let list = list.into_iter().map(|item| item.data).collect();
                Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
            }
            Expr::ScalarFunction(mut call) => {
                if let Some(ours) = time_of_double(&call, schema) {
                    return Transformed::yes(ours);
                }
                let place = CLOCK_READERS.iter().find(|(name, _)| *name == call.func.name()).map(|(_, place)| *place);
                let Some(time) = place.and_then(|place| call.args.get_mut(place)) else {
                    return Transformed::no(Expr::ScalarFunction(call));
                };
                let shown = self.on_this_clock(std::mem::take(time), schema);
                *time = shown.data;
                Transformed::new_transformed(Expr::ScalarFunction(call), shown.transformed)
            }
            other => Transformed::no(other),
        }
    }

    /// A text constant beside a value of that type.
    fn beside(&self, expr: Expr, other: Option<&DataType>) -> Transformed<Expr> {
        match other.and_then(|other| self.literal(&expr, other)) {
            Some(time) => Transformed::yes(time),
            None => Transformed::no(expr),
        }
    }

    /// The time in a text constant; `None` for what is no constant or no time, which others complain about.
    fn literal(&self, expr: &Expr, wanted: &DataType) -> Option<Expr> {
        let Expr::Literal(value, metadata) = expr else { return None };
        let text = value.try_as_str().flatten()?;
        let time = time_of_text(text, wanted, self.zone).or_else(|| interval_of_text(text, wanted))?;
        Some(Expr::Literal(time, metadata.clone()))
    }

    /// A `timestamptz` that is cast to what a clock or a calendar shows.
    fn clock_before_cast(&self, expr: Expr, wanted: &DataType, schema: &DFSchema) -> Transformed<Expr> {
        match wanted {
            DataType::Timestamp(_, None) if has_zone(&expr, schema) => Transformed::yes(at_time_zone(&self.name, expr)),
            DataType::Date32 | DataType::Date64 | DataType::Time64(_) => self.on_this_clock(expr, schema),
            _ => Transformed::no(expr),
        }
    }

    fn on_this_clock(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        match expr.get_type(schema) {
            Ok(DataType::Timestamp(unit, Some(zone))) if zone != self.name => {
                let wanted = DataType::Timestamp(unit, Some(self.name.clone()));
                Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), wanted)))
            }
            _ => Transformed::no(expr),
        }
    }
}
