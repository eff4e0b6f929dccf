//! What a file's columns answer to conditions on an attribute, beside what the texts of a map answer.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, MapArray, MapBuilder, MapFieldNames, RecordBatch, StringBuilder,
    StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, Operator, binary_expr, col, in_list, lit, try_cast};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::attributes::AttributeAdapters;
use crate::engine::functions::attribute_of;
use crate::model::promoted::{AttributeKey, Owner, PromotedColumn, Scalar};
use crate::model::write_double;

/// A value of the attribute, and where the file has it.
#[derive(Debug, Clone)]
enum Value {
    Int(i64),
    Double(f64),
    Bool(bool),
    Text(&'static str),
    InMap(&'static str),
}

impl Value {
    fn text(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Int(value) => text = value.to_string(),
            Self::Double(value) => write_double(*value, &mut text),
            Self::Bool(value) => text = value.to_string(),
            Self::Text(value) | Self::InMap(value) => text = (*value).to_owned(),
        }
        text
    }
}

const INTS: [i64; 13] = [
    0,
    -1,
    499,
    500,
    501,
    i64::MIN,
    i64::MAX,
    1 << 53,
    (1 << 53) + 1,
    i32::MAX as i64,
    i32::MAX as i64 + 1,
    i32::MIN as i64 - 1,
    -500,
];
const DOUBLES: [f64; 6] = [0.5, 499.5, -2.25e-300, 1e21, 500.0, 9_007_199_254_740_992.0];
const TEXTS: [&str; 9] = ["500", "0500", " 500", "500.0", "NaN", "abc", "", "1e3", "9007199254740993"];
const NUMBERS: [f64; 11] = [
    500.0,
    499.5,
    -0.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    9_007_199_254_740_992.0,
    9.3e18,
    -9.3e18,
    1e300,
    0.0,
];

fn rows() -> impl Strategy<Value = Vec<Option<Value>>> {
    let int = || prop::sample::select(INTS.to_vec()).prop_map(Value::Int);
    let double = prop::sample::select(DOUBLES.to_vec()).prop_map(Value::Double);
    let text = prop::sample::select(TEXTS.to_vec()).prop_map(Value::Text);
    let in_map = prop::sample::select(TEXTS.to_vec()).prop_map(Value::InMap);
    let value = prop_oneof![int(), double, any::<bool>().prop_map(Value::Bool), text, in_map];
    // Most files have one type of value for a key.
    prop_oneof![
        prop::collection::vec(prop::option::of(int()), 1..30),
        prop::collection::vec(prop::option::of(value), 1..30),
    ]
}

fn conditions() -> Vec<Expr> {
    let read = || attribute_of(col("attributes"), lit("n"));
    let as_type = |data_type: &DataType| try_cast(read(), data_type.clone());
    let ops = [Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq, Operator::Eq, Operator::NotEq];
    let mut all = Vec::new();
    for op in ops {
        for number in NUMBERS {
            all.push(binary_expr(as_type(&DataType::Float64), op, lit(number)));
            all.push(binary_expr(lit(number), op, as_type(&DataType::Float64)));
        }
        for whole in INTS {
            all.push(binary_expr(as_type(&DataType::Int64), op, lit(whole)));
        }
        for whole in [500, 0, i32::MAX, i32::MIN] {
            all.push(binary_expr(as_type(&DataType::Int32), op, lit(whole)));
        }
        all.extend(TEXTS.map(|text| binary_expr(read(), op, lit(text))));
    }
    for negated in [false, true] {
        let list =
            |numbers: &[f64]| in_list(as_type(&DataType::Float64), numbers.iter().copied().map(lit).collect(), negated);
        all.extend([list(&NUMBERS), list(&[500.0, 501.0, 0.25, -0.0, f64::NAN]), list(&[0.5, 1.5, 2.5, 3.5])]);
        let with_null = [500.0, 501.0, 502.0, 503.0].map(lit).into_iter().chain([lit(ScalarValue::Float64(None))]);
        all.push(in_list(as_type(&DataType::Float64), with_null.collect(), negated));
    }
    all.push(binary_expr(as_type(&DataType::Int32), Operator::Lt, lit(3)).is_null());
    all.push(binary_expr(as_type(&DataType::Float64), Operator::Lt, lit(3.0)).is_null());
    all
}

fn maps<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> MapArray {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for value in values {
        if let Some(value) = value {
            maps.keys().append_value("n");
            maps.values().append_value(value.text());
        }
        maps.append(true).expect("a map");
    }
    maps.finish()
}

/// The rows as a table has them, and as a file does.
fn table_and_file(rows: &[Option<Value>]) -> (RecordBatch, RecordBatch) {
    let table =
        RecordBatch::try_from_iter([("attributes", Arc::new(maps(rows.iter().map(Option::as_ref))) as ArrayRef)]);
    let table = table.expect("a table");
    let in_map = |row: &Option<Value>| matches!(row, Some(Value::InMap(_)));
    let left = maps(rows.iter().map(|row| row.as_ref().filter(|_| in_map(row))));
    let key = AttributeKey::new(Owner::Span, "n");
    let (mut fields, mut columns) = (vec![table.schema().field(0).clone()], vec![Arc::new(left) as ArrayRef]);
    for scalar in Scalar::ALL {
        let column: ArrayRef = match scalar {
            Scalar::String => Arc::new(StringViewArray::from_iter(rows.iter().map(|row| match row {
                Some(Value::Text(text)) => Some(*text),
                _ => None,
            }))),
            Scalar::Int => Arc::new(Int64Array::from_iter(rows.iter().map(|row| match row {
                Some(Value::Int(value)) => Some(*value),
                _ => None,
            }))),
            Scalar::Double => Arc::new(Float64Array::from_iter(rows.iter().map(|row| match row {
                Some(Value::Double(value)) => Some(*value),
                _ => None,
            }))),
            Scalar::Bool => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| match row {
                Some(Value::Bool(value)) => Some(*value),
                _ => None,
            }))),
        };
        if column.null_count() < rows.len() {
            let name = PromotedColumn { key: key.clone(), scalar }.name();
            fields.push(Field::new(name, scalar.data_type(), true));
            columns.push(column);
        }
    }
    let in_maps = if rows.iter().any(in_map) { format!("{:?}", [key.to_string()]) } else { "[]".to_owned() };
    let note = format!(r#"{{"complete": [], "in_maps": {in_maps}}}"#);
    let schema = Schema::new_with_metadata(fields, HashMap::from([("spanhouse.attributes".to_owned(), note)]));
    (table, RecordBatch::try_new(Arc::new(schema), columns).expect("a file"))
}

fn answers(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Vec<Option<bool>> {
    use datafusion::arrow::array::AsArray;
    let value = expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).expect("answers");
    value.as_boolean().iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn columns_answer_a_condition_as_the_texts_of_a_map_do(rows in rows()) {
        let (table, file) = table_and_file(&rows);
        let context = SessionContext::new();
        let of_table = DFSchema::try_from(table.schema()).expect("a schema");
        let adapter = AttributeAdapters.create(table.schema(), file.schema()).expect("an adapter");
        let of_file = file.schema();
        let simplifier = PhysicalExprSimplifier::new(&of_file);
        for condition in conditions() {
            let plain = context.create_physical_expr(condition.clone(), &of_table).expect("planned");
            let adapted = adapter.rewrite(plain.clone()).and_then(|adapted| simplifier.simplify(adapted));
            let adapted = adapted.expect("rewritten");
            prop_assert_eq!(answers(&adapted, &file), answers(&plain, &table), "{} as {}", condition, adapted);
        }
    }
}

#[test]
fn a_comparison_of_whole_numbers_is_one_of_the_column() {
    let (table, file) = table_and_file(&[Some(Value::Int(500)), None]);
    let adapter = AttributeAdapters.create(table.schema(), file.schema()).expect("an adapter");
    let of_table = DFSchema::try_from(table.schema()).expect("a schema");
    let number = || try_cast(attribute_of(col("attributes"), lit("n")), DataType::Float64);
    let list = in_list(number(), [500.0, 501.0, 502.0, 503.0].map(lit).to_vec(), false);
    for (condition, expected) in [
        (number().gt_eq(lit(499.5)), "attributes.n:int@1 >= 500"),
        (number().lt(lit(500.0)), "attributes.n:int@1 < 500"),
        (lit(500.0).lt(number()), "attributes.n:int@1 >= 501"),
        (number().eq(lit(500.0)), "attributes.n:int@1 = 500"),
        (list, "attributes.n:int@1 IN (SET) ([500, 501, 502, 503])"),
    ] {
        let plain = SessionContext::new().create_physical_expr(condition, &of_table).expect("planned");
        assert_eq!(adapter.rewrite(plain).expect("rewritten").to_string(), expected);
    }
}
