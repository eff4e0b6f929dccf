//! `texts_by_first(text, at)`: the different texts of a group, in the order of the least number that each came with.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StringViewArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(TextsByFirst { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextsByFirst {
    signature: Signature,
}

impl AggregateUDFImpl for TextsByFirst {
    fn name(&self) -> &str {
        "texts_by_first"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, at] if (text.is_string() || text.is_null()) && (at.is_integer() || at.is_null()) => {
                Ok(vec![DataType::Utf8View, DataType::Int64])
            }
            _ => plan_err!("function texts_by_first wants a text and a whole number"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8View, true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name, element| {
            Arc::new(Field::new(format_state_name(args.name, name), DataType::new_list(element, true), true))
        };
        Ok(vec![field("texts", DataType::Utf8View), field("firsts", DataType::Int64)])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Firsts::default()))
    }
}

/// The least number of each text.
#[derive(Debug, Default)]
struct Firsts {
    firsts: HashMap<Box<str>, i64>,
    text_bytes: usize,
}

impl Firsts {
    fn add(&mut self, texts: &StringViewArray, numbers: &Int64Array) {
        for (text, at) in texts.iter().zip(numbers) {
            let (Some(text), Some(at)) = (text, at) else { continue };
            match self.firsts.get_mut(text) {
                Some(first) => *first = at.min(*first),
                None => {
                    self.text_bytes += text.len();
                    self.firsts.insert(text.into(), at);
                }
            }
        }
    }

    /// Of texts that came with the same number the smaller comes first.
    fn in_order(&self) -> Vec<(&str, i64)> {
        let mut texts: Vec<(&str, i64)> = self.firsts.iter().map(|(text, first)| (text.as_ref(), *first)).collect();
        texts.sort_unstable_by_key(|(text, first)| (*first, *text));
        texts
    }

    fn texts(&self) -> ScalarValue {
        list(Arc::new(StringViewArray::from_iter_values(self.in_order().into_iter().map(|(text, _)| text))))
    }
}

fn list(values: ArrayRef) -> ScalarValue {
    let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    ScalarValue::List(Arc::new(ListArray::new(element, offsets, values, None)))
}

impl Accumulator for Firsts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [texts, numbers] = values else { return exec_err!("texts_by_first takes two columns") };
        self.add(texts.as_string_view(), numbers.as_primitive::<Int64Type>());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.texts())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.firsts.capacity() * size_of::<(Box<str>, i64)>() + self.text_bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let firsts = self.in_order().into_iter().map(|(_, first)| first);
        Ok(vec![self.texts(), list(Arc::new(Int64Array::from_iter_values(firsts)))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [texts, firsts] = states else { return exec_err!("texts_by_first's state is two columns") };
        for (texts, firsts) in texts.as_list::<i32>().iter().zip(firsts.as_list::<i32>().iter()) {
            let (Some(texts), Some(firsts)) = (texts, firsts) else { continue };
            self.add(texts.as_string_view(), firsts.as_primitive::<Int64Type>());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(rows: &[(Option<&str>, Option<i64>)]) -> [ArrayRef; 2] {
        let texts: StringViewArray = rows.iter().map(|(text, _)| *text).collect();
        let numbers: Int64Array = rows.iter().map(|(_, at)| *at).collect();
        [Arc::new(texts), Arc::new(numbers)]
    }

    #[test]
    fn texts_come_in_the_order_of_their_first_numbers_whichever_part_they_came_in() {
        let mut parts = [Firsts::default(), Firsts::default()];
        let rows = [(Some("b"), Some(7)), (Some("a"), Some(5)), (None, Some(1)), (Some("never"), None)];
        parts[0].update_batch(&columns(&rows)).expect("updated");
        parts[1].update_batch(&columns(&[(Some("b"), Some(-2)), (Some("c"), Some(5))])).expect("updated");
        let mut whole = Firsts::default();
        for part in &mut parts {
            let state: Vec<_> = part.state().expect("a state").iter().map(|s| s.to_array().expect("a row")).collect();
            whole.merge_batch(&state).expect("merged");
        }
        let texts = whole.evaluate().expect("texts").to_array().expect("a row").as_list::<i32>().value(0);
        let texts: Vec<_> = texts.as_string_view().iter().flatten().collect();
        assert_eq!(texts, ["b", "a", "c"]);
    }
}
