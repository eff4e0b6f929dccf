//! Ids compare, join and group as the bytes that they are stored as.
//!
//! The views show an id as `id_text(bytes)`. Since equal bytes are equal text and the other way round:
//!
//! | written | becomes |
//! |---|---|
//! | `id_text(a) = 'hex'`, `IN ('hex', …)`, `IS NULL` | `a = bytes`, …, which prunes by Parquet statistics |
//! | `id_text(a) >= 'hex'`, `BETWEEN`, `LIKE 'hex%'` | `a >= bytes`, … |
//! | `id_text(a) = id_text(b)` | `a = b` |
//! | a join on ids | a join on their bytes, but for `EXISTS` beside an `OR` |
//! | a join of an id with other text | a join on bytes, read from the text |
//! | `GROUP BY` an id | by its bytes, with the text made once a group |
//! | `OVER (PARTITION BY id)` | by its bytes |
//! | `count(DISTINCT id)` | of its bytes, by [`distinct_ids`] |
//!
//! A literal that is no lower-case hex of the right length equals no id, as text would have it.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, Between, BinaryExpr, InList, Like};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection, SubqueryAlias, Window, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::expressions::rewrite_of;
use crate::engine::functions::{distinct_ids, hex_bytes, id_bytes, id_text, id_text_argument};

/// The rule; it runs once filters are pushed down and subqueries are joins.
#[derive(Debug)]
pub(in crate::engine) struct IdsAsBytes;

impl OptimizerRule for IdsAsBytes {
    fn name(&self) -> &str {
        "ids_as_bytes"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        rewrite_of(plan, compare_bytes)?.transform_data(|plan| match plan {
            LogicalPlan::Join(join) => join_on_bytes(join, config.alias_generator()),
            LogicalPlan::Aggregate(aggregate) => group_by_bytes(aggregate, config.alias_generator()),
            LogicalPlan::Window(window) => partition_by_bytes(window, config.alias_generator()),
            other => Ok(Transformed::no(other)),
        })
    }
}

fn compare_bytes(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compare(left, *op, right, schema),
        Expr::InList(InList { expr, list, negated }) => in_list(expr, list, *negated, schema),
        Expr::Like(like) => starting_with(like, schema),
        Expr::IsNull(inner) => id_text_argument(inner).map(|bytes| Expr::IsNull(Box::new(bytes.clone()))),
        Expr::IsNotNull(inner) => id_text_argument(inner).map(|bytes| Expr::IsNotNull(Box::new(bytes.clone()))),
        _ => None,
    };
    match changed {
        Some(changed) => Transformed::yes(changed),
        None => Transformed::no(expr),
    }
}

fn compare(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    use Operator::*;
    if matches!(op, Lt | LtEq | Gt | GtEq) {
        return compare_order(left, op, right, schema);
    }
    if !matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom) {
        return None;
    }
    let binary = |left: Expr, right: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    match (id_text_argument(left), id_text_argument(right)) {
        (Some(a), Some(b)) if width(a, schema)? == width(b, schema)? => Some(binary(a.clone(), b.clone())),
        (Some(id), None) => against_literal(id, op, right, schema),
        (None, Some(id)) => against_literal(id, op, left, schema),
        _ => None,
    }
}

/// Ids are in the same order as their text.
fn compare_order(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (id, op, literal) = match (id_text_argument(left), id_text_argument(right)) {
        (Some(id), None) => (id, op, right),
        (None, Some(id)) => (id, op.swap()?, left),
        _ => return None,
    };
    let (text, width) = (literal_text(literal)?, width(id, schema)?);
    let bytes = literal_bytes(&padded(text, width, '0')?, width)?;
    // The start of a text comes before the text.
    let op = match op {
        Operator::Gt if text.len() < 2 * width as usize => Operator::GtEq,
        Operator::LtEq if text.len() < 2 * width as usize => Operator::Lt,
        op => op,
    };
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(id.clone()), op, Box::new(bytes))))
}

/// `LIKE 'hex%'` as a range of ids.
fn starting_with(like: &Like, schema: &DFSchema) -> Option<Expr> {
    let id = id_text_argument(&like.expr)?;
    let width = width(id, schema)?;
    let text = literal_text(&like.pattern)?.strip_suffix('%')?;
    let bound = |digit| literal_bytes(&padded(text, width, digit)?, width);
    let (least, most) = (bound('0')?, bound('f')?);
    let is_plain = !like.case_insensitive && like.escape_char.is_none();
    is_plain.then(|| Expr::Between(Between::new(Box::new(id.clone()), like.negated, Box::new(least), Box::new(most))))
}

/// A start of an id's text, filled up; `None` when it is longer than one.
fn padded(text: &str, width: i32, digit: char) -> Option<String> {
    let missing = (2 * width as usize).checked_sub(text.len())?;
    Some(text.chars().chain(std::iter::repeat_n(digit, missing)).collect())
}

fn against_literal(id: &Expr, op: Operator, literal: &Expr, schema: &DFSchema) -> Option<Expr> {
    let text = literal_text(literal)?;
    match (literal_bytes(text, width(id, schema)?), op) {
        (Some(bytes), _) => Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(id.clone()), op, Box::new(bytes)))),
        (None, Operator::Eq) => Some(equals_nothing(id)),
        (None, Operator::NotEq) => Some(Expr::Not(Box::new(equals_nothing(id)))),
        (None, _) => None,
    }
}

fn in_list(id: &Expr, list: &[Expr], negated: bool, schema: &DFSchema) -> Option<Expr> {
    let id = id_text_argument(id)?;
    let width = width(id, schema)?;
    let texts = list.iter().map(literal_text).collect::<Option<Vec<_>>>()?;
    let bytes: Vec<Expr> = texts.into_iter().filter_map(|text| literal_bytes(text, width)).collect();
    Some(match bytes.is_empty() {
        false => Expr::InList(InList::new(Box::new(id.clone()), bytes, negated)),
        true if negated => Expr::Not(Box::new(equals_nothing(id))),
        true => equals_nothing(id),
    })
}

/// False for any id, and NULL for NULL.
fn equals_nothing(id: &Expr) -> Expr {
    Expr::IsNull(Box::new(id.clone())).and(lit(ScalarValue::Boolean(None)))
}

fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text), _) => {
            text.as_deref()
        }
        _ => None,
    }
}

/// The bytes of lower-case hex of `width` bytes.
fn literal_bytes(text: &str, width: i32) -> Option<Expr> {
    let mut bytes = Vec::with_capacity(width as usize);
    hex_bytes(text, width, &mut bytes).then(|| lit(ScalarValue::FixedSizeBinary(width, Some(bytes))))
}

fn width(id: &Expr, schema: &DFSchema) -> Option<i32> {
    match id.get_type(schema) {
        Ok(DataType::FixedSizeBinary(width)) => Some(width),
        _ => None,
    }
}

fn join_on_bytes(join: Join, aliases: &AliasGenerator) -> Result<Transformed<LogicalPlan>> {
    if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
        // A mark is called after the tables of a side, which then has columns of no table.
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let shown = join.schema.clone();
    let (mut left, mut right) = (join.left.clone(), join.right.clone());
    let mut on = Vec::with_capacity(join.on.len());
    let mut changed = false;
    for (l, r) in &join.on {
        let sides = match (exposed(l, &left, aliases)?, exposed(r, &right, aliases)?) {
            (Some(l), Some(r)) if l.width == r.width => Some((l, r)),
            (Some(id), None) => read(r, &right, &id, &join)?.map(|text| (id, text)),
            (None, Some(id)) => read(l, &left, &id, &join)?.map(|text| (text, id)),
            _ => None,
        };
        match sides {
            Some((l, r)) => {
                (left, right) = (l.plan, r.plan);
                on.push((l.bytes, r.bytes));
                changed = true;
            }
            None => on.push((l.clone(), r.clone())),
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let join = LogicalPlan::Join(Join { left, right, on, ..join }).recompute_schema()?;
    // Whoever reads the join sees the columns that it had.
    let columns = shown.iter().map(|field| Expr::Column(Column::from(field))).collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(join))?)))
}

fn group_by_bytes(aggregate: Aggregate, aliases: &AliasGenerator) -> Result<Transformed<LogicalPlan>> {
    let mut input = aggregate.input.clone();
    let mut groups = Vec::with_capacity(aggregate.group_expr.len());
    let mut as_bytes = vec![false; aggregate.group_expr.len()];
    for (at, group) in aggregate.group_expr.iter().enumerate() {
        match exposed(unaliased(group), &input, aliases)? {
            Some(exposed) => {
                input = exposed.plan;
                groups.push(exposed.bytes);
                as_bytes[at] = true;
            }
            None => groups.push(group.clone()),
        }
    }
    let mut counted = Vec::with_capacity(aggregate.aggr_expr.len());
    for aggregated in &aggregate.aggr_expr {
        match count_bytes(aggregated, &input, aliases)? {
            Some((plan, count)) => {
                input = plan;
                counted.push(count);
            }
            None => counted.push(aggregated.clone()),
        }
    }
    if !as_bytes.contains(&true) && counted == aggregate.aggr_expr {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let inner = Aggregate::try_new(input, groups, counted)?;
    let columns =
        aggregate.schema.iter().zip(inner.schema.iter()).enumerate().map(|(at, ((qualifier, field), made))| {
            let is_same = (qualifier, field.name()) == (made.0, made.1.name());
            let made = Expr::Column(Column::from(made));
            match as_bytes.get(at) {
                Some(true) => id_text(made).alias_qualified(qualifier.cloned(), field.name()),
                _ if is_same => made,
                _ => made.alias_qualified(qualifier.cloned(), field.name()),
            }
        });
    let columns = columns.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(LogicalPlan::Aggregate(inner)),
    )?)))
}

fn partition_by_bytes(window: Window, aliases: &AliasGenerator) -> Result<Transformed<LogicalPlan>> {
    let mut input = window.input.clone();
    let mut known: Vec<(Expr, Expr)> = Vec::new();
    let window_expr = window.window_expr.iter().cloned().map(|expr| {
        expr.transform_up(|expr| {
            let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
            for id in &mut call.params.partition_by {
                if !known.iter().any(|(text, _)| text == id)
                    && let Some(exposed) = exposed(id, &input, aliases)?
                {
                    input = exposed.plan;
                    known.push((id.clone(), exposed.bytes));
                }
                if let Some((_, bytes)) = known.iter().find(|(text, _)| text == id) {
                    *id = bytes.clone();
                }
            }
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        })
        .data()
    });
    let window_expr = window_expr.collect::<Result<Vec<_>>>()?;
    if known.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let of_input = window.input.schema().fields().len();
    let by_bytes = Window::try_new(window_expr, input)?;
    let from = by_bytes.input.schema().fields().len();
    // Whoever reads the windows sees the columns that they had.
    let columns = window.schema.iter().enumerate().map(|(at, shown)| match at.checked_sub(of_input) {
        None => Expr::Column(Column::from(shown)),
        Some(at) => Expr::Column(Column::from(by_bytes.schema.qualified_field(from + at)))
            .alias_qualified(shown.0.cloned(), shown.1.name()),
    });
    let columns = columns.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(LogicalPlan::Window(by_bytes)),
    )?)))
}

/// `count(DISTINCT id)` over the bytes of the id, and the plan that gives them.
fn count_bytes(
    aggregated: &Expr,
    input: &Arc<LogicalPlan>,
    aliases: &AliasGenerator,
) -> Result<Option<(Arc<LogicalPlan>, Expr)>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = aggregated else { return Ok(None) };
    let [id] = params.args.as_slice() else { return Ok(None) };
    if func.name() != "count" || !params.distinct {
        return Ok(None);
    }
    let found = exposed(id, input, aliases)?;
    Ok(found.map(|found| (found.plan, distinct_ids(found.bytes, params.filter.clone()))))
}

/// A plan that also gives the bytes behind an id.
struct Exposed {
    plan: Arc<LogicalPlan>,
    bytes: Expr,
    width: i32,
}

/// The bytes of an id that `plan` has as text only, as the working table of a recursive query has: for a join with `id`, of which a text that
/// shows no id finds none.
fn read(expr: &Expr, plan: &Arc<LogicalPlan>, id: &Exposed, join: &Join) -> Result<Option<Exposed>> {
    // Where NULL equals NULL, such a text would find what has no id.
    let can = join.null_equality == NullEquality::NullEqualsNothing && !join.null_aware;
    if !can || !expr.get_type(plan.schema())?.is_string() {
        return Ok(None);
    }
    Ok(id_bytes(expr.clone(), id.width).map(|bytes| Exposed { plan: plan.clone(), bytes, width: id.width }))
}

/// Makes `plan` give the bytes behind the id that `expr` reads from it; `None` when it reads no id that can be followed to its bytes.
fn exposed(expr: &Expr, plan: &Arc<LogicalPlan>, aliases: &AliasGenerator) -> Result<Option<Exposed>> {
    if let Some(bytes) = id_text_argument(expr) {
        let bytes = bytes.clone();
        return Ok(width(&bytes, plan.schema()).map(|width| Exposed { plan: plan.clone(), bytes, width }));
    }
    let Expr::Column(column) = expr else { return Ok(None) };
    let Some(at) = plan.schema().maybe_index_of_column(column) else { return Ok(None) };
    let Some((plan, column)) = expose(plan, at, aliases)? else { return Ok(None) };
    let bytes = Expr::Column(column);
    let width = width(&bytes, plan.schema());
    Ok(width.map(|width| Exposed { plan: Arc::new(plan), bytes, width }))
}

/// Follows column `at` of `plan` down to the projection that makes it with `id_text`, and carries the bytes up beside it.
fn expose(plan: &LogicalPlan, at: usize, aliases: &AliasGenerator) -> Result<Option<(LogicalPlan, Column)>> {
    match plan {
        LogicalPlan::Projection(projection) => expose_projection(projection, at, aliases),
        LogicalPlan::SubqueryAlias(alias) => {
            let Some((input, column)) = expose(&alias.input, at, aliases)? else { return Ok(None) };
            let column = Column::new(Some(alias.alias.clone()), column.name);
            let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            Ok(Some((LogicalPlan::SubqueryAlias(alias), column)))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            let Some((input, column)) = expose(plan.inputs()[0], at, aliases)? else { return Ok(None) };
            Ok(Some((plan.with_new_exprs(plan.expressions(), vec![input])?, column)))
        }
        LogicalPlan::Join(join) => expose_join(join, at, aliases),
        LogicalPlan::Window(window) if at < window.input.schema().fields().len() => {
            let Some((input, column)) = expose(&window.input, at, aliases)? else { return Ok(None) };
            let window = Window::try_new(window.window_expr.clone(), Arc::new(input))?;
            Ok(Some((LogicalPlan::Window(window), column)))
        }
        _ => Ok(None),
    }
}

fn expose_join(join: &Join, at: usize, aliases: &AliasGenerator) -> Result<Option<(LogicalPlan, Column)>> {
    let left_columns = join.left.schema().fields().len();
    let (is_left, at) = match join.join_type {
        JoinType::RightSemi | JoinType::RightAnti => (false, at),
        JoinType::LeftMark | JoinType::RightMark => return Ok(None),
        _ => (at < left_columns, if at < left_columns { at } else { at - left_columns }),
    };
    let side = if is_left { &join.left } else { &join.right };
    let Some((side, column)) = expose(side, at, aliases)? else { return Ok(None) };
    let mut join = join.clone();
    *(if is_left { &mut join.left } else { &mut join.right }) = Arc::new(side);
    Ok(Some((LogicalPlan::Join(join).recompute_schema()?, column)))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => &alias.expr,
        other => other,
    }
}

fn expose_projection(
    projection: &Projection,
    at: usize,
    aliases: &AliasGenerator,
) -> Result<Option<(LogicalPlan, Column)>> {
    let Some(expr) = projection.expr.get(at).map(unaliased) else { return Ok(None) };
    let (input, bytes) = match (id_text_argument(expr), expr) {
        (Some(bytes), _) => (projection.input.clone(), bytes.clone()),
        (None, Expr::Column(column)) => {
            let Some(at) = projection.input.schema().maybe_index_of_column(column) else { return Ok(None) };
            let Some((input, column)) = expose(&projection.input, at, aliases)? else { return Ok(None) };
            (Arc::new(input), Expr::Column(column))
        }
        _ => return Ok(None),
    };
    let is_there = |made: &Expr| *unaliased(made) == bytes;
    if let Some(there) = projection.expr.iter().position(is_there) {
        let column = Column::from(projection.schema.qualified_field(there));
        return Ok(Some((LogicalPlan::Projection(projection.clone()), column)));
    }
    let name = aliases.next("__id");
    let exprs = projection.expr.iter().cloned().chain([bytes.alias(&name)]).collect();
    let projection = Projection::try_new(exprs, input)?;
    Ok(Some((LogicalPlan::Projection(projection), Column::new_unqualified(name))))
}
