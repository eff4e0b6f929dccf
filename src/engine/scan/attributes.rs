//! Reading attributes from a file that has columns for some of them.
//!
//! Plans know the maps only. When a file is opened, what they read of the maps is rewritten to the columns that this file has: one key to its
//! columns, and to the map as well where the file does not promise that its columns say all; a whole map to all of its parts.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, TryCastExpr, in_list, lit,
};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};

use super::whole_numbers::{compared, equal_to};
use crate::engine::functions::{attribute_read, text_of_scalar, whole_map, whole_types};
use crate::model::promoted::{AttributeKey, FileNotes, Owner, PromotedColumn, Scalar, int_of_text};

type Expr = Arc<dyn PhysicalExpr>;

/// Makes an adapter for each file.
#[derive(Debug)]
pub(super) struct AttributeAdapters;

impl PhysicalExprAdapterFactory for AttributeAdapters {
    fn create(&self, logical: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let others = DefaultPhysicalExprAdapterFactory.create(logical, file.clone())?;
        Ok(Arc::new(AttributeAdapter { notes: FileNotes::from_metadata(file.metadata()), file, others }))
    }
}

/// Rewrites expressions over the table's columns to expressions over one file's.
#[derive(Debug)]
struct AttributeAdapter {
    file: SchemaRef,
    notes: FileNotes,
    /// For everything but attributes.
    others: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for AttributeAdapter {
    fn rewrite(&self, expr: Expr) -> Result<Expr> {
        let rewritten = expr.transform_down(|node| {
            if let Some(read) = self.rewrite_read(&node)? {
                return Ok(Transformed::new(read, true, TreeNodeRecursion::Jump));
            }
            if reads_attributes(&node)? && node.downcast_ref::<Column>().is_none() {
                return Ok(Transformed::no(node));
            }
            let read = match whole_column(&node) {
                Some((owner, part)) => self.whole(owner, part, node)?,
                None => self.others.rewrite(node)?,
            };
            Ok(Transformed::new(read, true, TreeNodeRecursion::Jump))
        });
        rewritten.map(|rewritten| rewritten.data)
    }
}

/// Which of an owner's two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Map,
    Types,
}

fn whole_column(expr: &Expr) -> Option<(Owner, Part)> {
    let column = expr.downcast_ref::<Column>()?.name();
    Owner::ALL.into_iter().find_map(|owner| match column {
        name if name == owner.map_column() => Some((owner, Part::Map)),
        name if name == owner.types_column() => Some((owner, Part::Types)),
        _ => None,
    })
}

fn reads_attributes(expr: &Expr) -> Result<bool> {
    expr.exists(|node| Ok(whole_column(node).is_some()))
}

/// Whether all that an expression reads of maps is single attributes, of which files may have columns.
pub(super) fn reads_single_attributes(expr: &Expr) -> Result<bool> {
    let (mut reads_one, mut reads_whole) = (false, false);
    expr.apply(|node| {
        if read_of(node).is_some() {
            reads_one = true;
            return Ok(TreeNodeRecursion::Jump);
        }
        reads_whole |= whole_column(node).is_some();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads_one && !reads_whole)
}

/// One attribute that an expression reads.
struct Read {
    key: AttributeKey,
    /// The expression that reads it out of the map.
    of_map: Expr,
}

fn read_of(expr: &Expr) -> Option<Read> {
    let (map, key) = attribute_read(expr.as_ref())?;
    match whole_column(map)? {
        (owner, Part::Map) => Some(Read { key: AttributeKey::new(owner, key), of_map: expr.clone() }),
        (_, Part::Types) => None,
    }
}

impl AttributeAdapter {
    /// Rewrites what reads one attribute, together with what is made of it where its columns serve that better than their text does.
    fn rewrite_read(&self, expr: &Expr) -> Result<Option<Expr>> {
        if let Some(read) = read_of(expr) {
            return self.value(&read, &DataType::Utf8View).map(Some);
        }
        if let Some(cast) = expr.downcast_ref::<TryCastExpr>()
            && let Some(read) = read_of(cast.expr())
        {
            return self.value(&read, cast.cast_type()).map(Some);
        }
        if let Some(is_null) = expr.downcast_ref::<IsNullExpr>()
            && let Some(column) = self.only_column(is_null.arg())
        {
            return Ok(Some(Arc::new(IsNullExpr::new(column.expr))));
        }
        if let Some(is_not_null) = expr.downcast_ref::<IsNotNullExpr>()
            && let Some(column) = self.only_column(is_not_null.arg())
        {
            return Ok(Some(Arc::new(IsNotNullExpr::new(column.expr))));
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            return self.int_in_list_of_doubles(list);
        }
        let comparison = expr.downcast_ref::<BinaryExpr>();
        Ok(comparison.and_then(|it| self.int_compared_with_text(it).or_else(|| self.int_compared_with_double(it))))
    }

    /// The value of an attribute as text, or as what `TRY_CAST` makes of the text.
    fn value(&self, read: &Read, data_type: &DataType) -> Result<Expr> {
        let mut columns = self.columns_of(&read.key)?;
        let is_complete = self.notes.is_complete(&read.key);
        let rest = match is_complete {
            true => None,
            false => Some(try_cast(self.others.rewrite(read.of_map.clone())?, data_type)),
        };
        if is_complete && columns.len() == 1 {
            return self.cast_value(columns.remove(0), data_type);
        }
        if columns.is_empty() {
            return match rest {
                Some(rest) => Ok(rest),
                None => Ok(lit(ScalarValue::try_new_null(data_type)?)),
            };
        }
        // The column that has a value decides, even where that is no number: a later value of the same key may be left in the map.
        let cases = columns.into_iter().map(|column| {
            let is_there: Expr = Arc::new(IsNotNullExpr::new(column.expr.clone()));
            Ok((is_there, self.cast_value(column, data_type)?))
        });
        Ok(Arc::new(CaseExpr::try_new(None, cases.collect::<Result<_>>()?, rest)?))
    }

    /// What `TRY_CAST` would make of the text of a column's values.
    fn cast_value(&self, column: FileColumn, data_type: &DataType) -> Result<Expr> {
        Ok(match (column.scalar, data_type) {
            (Scalar::Int, DataType::Int64)
            | (Scalar::Double, DataType::Float64)
            | (Scalar::Bool, DataType::Boolean)
            | (Scalar::String, DataType::Utf8View) => column.expr,
            (Scalar::Int, DataType::Float64) => Arc::new(CastExpr::new(column.expr, DataType::Float64, None)),
            (Scalar::Int, DataType::Int32) => narrow(column.expr)?,
            (Scalar::String, data_type) => try_cast(column.expr, data_type),
            (scalar, data_type) => try_cast(text_of_scalar(scalar, column.expr, &self.file)?, data_type),
        })
    }

    /// `attribute = 'text'` where the file has ints only, and the text is one.
    fn int_compared_with_text(&self, comparison: &BinaryExpr) -> Option<Expr> {
        if !matches!(comparison.op(), Operator::Eq | Operator::NotEq) {
            return None;
        }
        let (read, text) = match (comparison.left(), comparison.right()) {
            (read, text) if text.downcast_ref::<Literal>().is_some() => (read, text),
            (text, read) => (read, text),
        };
        let int = int_of_text(text.downcast_ref::<Literal>()?.value().try_as_str()??)?;
        let column = self.only_column(read).filter(|column| column.scalar == Scalar::Int)?;
        Some(Arc::new(BinaryExpr::new(column.expr, *comparison.op(), lit(int))))
    }

    /// `attribute < 1.5` where the file has ints only.
    fn int_compared_with_double(&self, comparison: &BinaryExpr) -> Option<Expr> {
        let (read, op, number) = match double(comparison.right()) {
            Some(number) => (comparison.left(), *comparison.op(), number),
            None => (comparison.right(), comparison.op().swap()?, double(comparison.left())?),
        };
        compared(&self.int_read_as_double(read)?, op, number)
    }

    /// `attribute IN (1, 2.5)` where the file has ints only.
    fn int_in_list_of_doubles(&self, list: &InListExpr) -> Result<Option<Expr>> {
        let numbers: Option<Vec<f64>> = list.list().iter().map(double).collect();
        let ints = numbers.and_then(|numbers| equal_to(numbers.into_iter())).filter(|ints| !ints.is_empty());
        let Some((column, ints)) = self.int_read_as_double(list.expr()).zip(ints) else { return Ok(None) };
        in_list(column, ints.into_iter().map(lit).collect(), &list.negated(), &self.file).map(Some)
    }

    /// The column of ints that `expr` reads as doubles, if nothing else in the file may have the attribute.
    fn int_read_as_double(&self, expr: &Expr) -> Option<Expr> {
        let cast = expr.downcast_ref::<TryCastExpr>().filter(|cast| *cast.cast_type() == DataType::Float64)?;
        self.only_column(cast.expr()).filter(|column| column.scalar == Scalar::Int).map(|column| column.expr)
    }

    /// The only place in the file where the attribute that `expr` reads may be.
    fn only_column(&self, expr: &Expr) -> Option<FileColumn> {
        let read = read_of(expr).filter(|read| self.notes.is_complete(&read.key))?;
        let mut columns = self.columns_of(&read.key).ok()?;
        if columns.len() == 1 { columns.pop() } else { None }
    }

    /// The file's columns of a key.
    fn columns_of(&self, key: &AttributeKey) -> Result<Vec<FileColumn>> {
        let columns = Scalar::ALL.into_iter().map(|scalar| PromotedColumn { key: key.clone(), scalar });
        columns.filter_map(|column| self.column(&column).transpose()).collect()
    }

    fn column(&self, column: &PromotedColumn) -> Result<Option<FileColumn>> {
        let Some((place, field)) = self.file.column_with_name(&column.name()) else { return Ok(None) };
        let (stored, wanted) = (field.data_type(), column.scalar.data_type());
        let mut expr: Expr = Arc::new(Column::new(field.name(), place));
        if *stored != wanted {
            expr = Arc::new(CastExpr::new(expr, wanted, None));
        }
        Ok(Some(FileColumn { scalar: column.scalar, expr }))
    }

    /// A whole map or all its letters, which `column` reads.
    fn whole(&self, owner: Owner, part: Part, column: Expr) -> Result<Expr> {
        let promoted = self.file.fields().iter().filter_map(|field| PromotedColumn::parse(field.name()));
        let promoted: Vec<PromotedColumn> = promoted.filter(|column| column.key.owner == owner).collect();
        if promoted.is_empty() {
            return self.others.rewrite(column);
        }
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for name in promoted {
            if let Some(column) = self.column(&name)? {
                columns.push(name);
                values.push(column.expr);
            }
        }
        let rest = |name: &str| -> Result<Expr> { Ok(Arc::new(Column::new_with_schema(name, &self.file)?)) };
        match part {
            Part::Map if self.notes.is_map_empty(owner) => whole_map(columns, values, None, &self.file),
            Part::Map => whole_map(columns, values, Some(rest(owner.map_column())?), &self.file),
            Part::Types => {
                whole_types(columns, values, rest(owner.map_column())?, rest(owner.types_column())?, &self.file)
            }
        }
    }
}

/// A promoted column of the file.
struct FileColumn {
    scalar: Scalar,
    expr: Expr,
}

/// Ints as those of 32 bits, NULL where they do not fit. No cast that may fail: what compares one takes it for one that does not.
fn narrow(ints: Expr) -> Result<Expr> {
    let bound = |op, bound: i32| Arc::new(BinaryExpr::new(ints.clone(), op, lit(i64::from(bound)))) as Expr;
    let fits = BinaryExpr::new(bound(Operator::GtEq, i32::MIN), Operator::And, bound(Operator::LtEq, i32::MAX));
    let fitting = CaseExpr::try_new(None, vec![(Arc::new(fits), ints.clone())], None)?;
    Ok(Arc::new(CastExpr::new(Arc::new(fitting), DataType::Int32, None)))
}

/// The double that an expression is.
fn double(expr: &Expr) -> Option<f64> {
    match expr.downcast_ref::<Literal>()?.value() {
        ScalarValue::Float64(number) => *number,
        _ => None,
    }
}

fn try_cast(expr: Expr, data_type: &DataType) -> Expr {
    match data_type {
        DataType::Utf8View => expr,
        _ => Arc::new(TryCastExpr::new(expr, data_type.clone())),
    }
}
