//! `is_repeated(parent_span_id, service_name, span_name, times)`: whether a parent made at least so many calls of one name from one service.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::exec_err;
use datafusion::error::Result;

use super::ids;

/// The answer for each row of a trace. A row without a parent repeats nothing.
pub(super) fn repeated(values: &[ArrayRef]) -> Result<ArrayRef> {
    let [parents, services, names, times] = values else { return exec_err!("is_repeated has other arguments") };
    let (Some(services), Some(names)) = (services.as_string_view_opt(), names.as_string_view_opt()) else {
        return exec_err!("names are texts");
    };
    let Some(times) = times.as_primitive_opt::<Int64Type>() else { return exec_err!("times is a number") };
    let parents = ids(parents)?;
    let call = |row: usize| Some((parents[row]?, services.value(row), names.value(row)));
    let mut counts: HashMap<_, i64> = HashMap::new();
    for call in (0..parents.len()).filter_map(call) {
        *counts.entry(call).or_default() += 1;
    }
    let is_repeated = |row: usize| call(row).is_some_and(|call| counts[&call] >= times.value(row));
    Ok(Arc::new((0..parents.len()).map(|row| Some(is_repeated(row))).collect::<BooleanArray>()))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn calls_of_one_name_below_one_parent_are_counted() {
        let text = |texts: [Option<&str>; 6]| Arc::new(StringViewArray::from_iter(texts)) as ArrayRef;
        let (a, b) = (Some("000000000000000a"), Some("000000000000000b"));
        let values = [
            text([a, a, a, b, None, None]),
            text([Some("web"); 6]),
            text([Some("get"), Some("put"), Some("get"), Some("get"), Some("get"), Some("get")]),
            Arc::new(Int64Array::from(vec![2; 6])) as ArrayRef,
        ];
        let found = repeated(&values).expect("evaluated");
        assert_eq!(found.as_boolean().values().iter().collect::<Vec<_>>(), [true, false, true, false, false, false]);
    }
}
