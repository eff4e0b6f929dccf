//! What the columns of a scan take in memory, before any is read.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;

/// What a value takes that is neither a code nor of a fixed width: a view.
const VIEW_BYTES: usize = 16;

/// What a row of the columns that `projection` reads takes, about. Columns that the outputs `coded` read are codes. A map counts as one
/// value: what is read of it may be one attribute, for which a file has a column.
pub(in crate::engine::scan) fn row_bytes(projection: &ProjectionExprs, coded: &[usize], file: &Schema) -> usize {
    let made: Vec<_> = projection.expr_iter().collect();
    let codes: Vec<usize> =
        coded.iter().filter_map(|at| made.get(*at)).flat_map(collect_columns).map(|column| column.index()).collect();
    let value_bytes = |column: usize| match file.fields().get(column) {
        _ if codes.contains(&column) => size_of::<u16>(),
        Some(field) => decoded_bytes(field.data_type()),
        None => VIEW_BYTES,
    };
    projection.column_indices().into_iter().map(value_bytes).sum()
}

fn decoded_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(VIEW_BYTES),
        flat => flat.primitive_width().unwrap_or(VIEW_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{SPAN_ID_TYPE, TRACE_ID_TYPE, attribute_map_type};
    use datafusion::arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::col;
    use datafusion::physical_expr::projection::ProjectionExpr;

    #[test]
    fn numbers_and_ids_are_reckoned_by_their_width_texts_as_views_and_codes_as_two_bytes() {
        let types =
            [DataType::Int64, DataType::Int32, SPAN_ID_TYPE, TRACE_ID_TYPE, DataType::Utf8View, attribute_map_type()];
        let fields =
            types.iter().enumerate().map(|(at, data_type)| Field::new(format!("c{at}"), data_type.clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let of = |columns: &[usize], coded: &[usize]| {
            let exprs = columns.iter().map(|at| {
                let name = format!("c{at}");
                ProjectionExpr::new(col(&name, &schema).unwrap(), name)
            });
            row_bytes(&ProjectionExprs::new(exprs), coded, &schema)
        };
        let each: Vec<usize> = (0..types.len()).map(|at| of(&[at], &[])).collect();
        assert_eq!(each, [8, 4, 8, 16, 16, 16]);
        assert_eq!(of(&[0, 3, 4], &[]), 40);
        assert_eq!(of(&[0, 3, 4], &[2]), 26);
    }
}
