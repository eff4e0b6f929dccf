//! `distinct_texts(text)`: the different texts of a group, sorted by their bytes. Of lists of texts it takes the elements.
//!
//! It keeps each text once for all groups, so that many small groups of few texts, such as the services of each trace, take little memory.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, ListBuilder, StringViewArray, StringViewBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::dictionary::Dictionary;
use super::groups::wanted;

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(DistinctTexts { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DistinctTexts {
    signature: Signature,
}

impl AggregateUDFImpl for DistinctTexts {
    fn name(&self) -> &str {
        "distinct_texts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text] if text.is_string() || text.is_null() => Ok(vec![DataType::Utf8View]),
            [DataType::List(element)] if element.data_type().is_string() => Ok(vec![lists_of_texts()]),
            _ => plan_err!("function distinct_texts wants one text, or a list of texts"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(lists_of_texts())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "texts"), lists_of_texts(), true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::default()))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::default()))
    }
}

fn lists_of_texts() -> DataType {
    DataType::new_list(DataType::Utf8View, true)
}

/// So many texts are kept whether or not a group has them: few texts in many groups are met again.
const KEPT_TEXTS: usize = 1 << 10;

/// The numbers of one group's texts, ascending.
type Numbers = Vec<u32>;

#[derive(Debug, Default)]
struct Groups {
    dictionary: Dictionary,
    groups: Vec<Numbers>,
    heap_bytes: usize,
}

impl Groups {
    fn add(&mut self, group: usize, text: &str) -> Result<()> {
        let number = self.dictionary.number(text)?;
        let numbers = &mut self.groups[group];
        if let Err(at) = numbers.binary_search(&number) {
            let before = numbers.capacity();
            numbers.insert(at, number);
            self.heap_bytes += (numbers.capacity() - before) * size_of::<u32>();
        }
        Ok(())
    }

    fn add_elements(&mut self, lists: &ListArray, groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        let all = texts(std::slice::from_ref(lists.values()))?;
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| wanted(filter, *row)) {
            for at in elements(lists, row).filter(|at| all.is_valid(*at)) {
                self.add(*group, all.value(at))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Numbers> {
        let taken = emit_to.take_needed(&mut self.groups);
        self.heap_bytes = self.groups.iter().map(|numbers| numbers.capacity() * size_of::<u32>()).sum();
        taken
    }

    /// Drops the texts that only groups had which are gone, once they are most of all.
    fn forget(&mut self) -> Result<()> {
        let held: usize = self.groups.iter().map(Vec::len).sum();
        if self.dictionary.len() <= 2 * held + KEPT_TEXTS {
            return Ok(());
        }
        let mut kept = Dictionary::default();
        for numbers in &mut self.groups {
            for number in numbers.iter_mut() {
                *number = kept.number_of(self.dictionary.text(*number))?;
            }
            numbers.sort_unstable();
        }
        self.dictionary = kept;
        Ok(())
    }

    fn lists(&self, groups: &[Numbers]) -> ArrayRef {
        let mut out = ListBuilder::with_capacity(StringViewBuilder::new().with_deduplicate_strings(), groups.len());
        let mut texts = Vec::new();
        for numbers in groups {
            texts.clear();
            texts.extend(numbers.iter().map(|number| &**self.dictionary.text(*number)));
            texts.sort_unstable();
            texts.iter().for_each(|text| out.values().append_value(text));
            out.append(true);
        }
        Arc::new(out.finish())
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Vec::new);
        if let Some(lists) = lists(values) {
            return self.add_elements(lists, group_indices, opt_filter);
        }
        let values = texts(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if values.is_valid(row) && wanted(opt_filter, row) {
                self.add(*group, values.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        let lists = self.lists(&groups);
        self.forget()?;
        Ok(lists)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize_with(total_num_groups, Vec::new);
        let Some(states) = lists(values) else { return exec_err!("distinct_texts' state is a list") };
        self.add_elements(states, group_indices, None)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |values| values.len());
        let lists = lists(values);
        let values = texts(lists.map(ListArray::values).map_or(values, std::slice::from_ref))?;
        let mut out = ListBuilder::with_capacity(StringViewBuilder::new(), rows);
        for row in (0..rows).map(|row| wanted(opt_filter, row).then_some(row)) {
            let of_row = row.map_or(0..0, |row| lists.map_or(row..row + 1, |lists| elements(lists, row)));
            for at in of_row.filter(|at| values.is_valid(*at)) {
                out.values().append_value(values.value(at));
            }
            out.append(true);
        }
        Ok(vec![Arc::new(out.finish())])
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.groups.capacity() * size_of::<Numbers>()
            + self.heap_bytes
            + self.dictionary.heap_bytes()
    }
}

/// Without GROUP BY: the groups are one.
#[derive(Debug, Default)]
struct OneGroup(Groups);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |values| values.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.groups.resize_with(1, Vec::new);
        ScalarValue::try_from_array(&self.0.lists(&self.0.groups), 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |states| states.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }
}

fn lists(values: &[ArrayRef]) -> Option<&ListArray> {
    values.first()?.as_list_opt()
}

/// Where a list's elements are; those of NULL are none.
fn elements(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    match lists.is_valid(row) {
        true => lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize,
        false => 0..0,
    }
}

fn texts(values: &[ArrayRef]) -> Result<&StringViewArray> {
    match values.first().and_then(|values| values.as_string_view_opt()) {
        Some(values) => Ok(values),
        None => exec_err!("distinct_texts takes texts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(texts: &[Option<&str>]) -> ArrayRef {
        Arc::new(texts.iter().copied().collect::<StringViewArray>())
    }

    fn shown(lists: &ArrayRef) -> Vec<Vec<String>> {
        let lists = lists.as_list::<i32>();
        lists
            .iter()
            .map(|list| list.expect("a list").as_string_view().iter().flatten().map(str::to_string).collect())
            .collect()
    }

    #[test]
    fn groups_keep_their_own_texts_through_states_and_partial_emission() {
        let rows = column(&[Some("b"), Some("a"), Some("b"), None, Some("c"), Some("a")]);
        let mut partial = Groups::default();
        partial.update_batch(std::slice::from_ref(&rows), &[0, 0, 0, 1, 2, 2], None, 3).expect("updated");
        let mut last = Groups::default();
        let state = partial.state(EmitTo::All).expect("a state");
        last.merge_batch(&state, &[2, 1, 0], 3).expect("merged");
        let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), Some(true)]);
        let state = last.convert_to_state(&[rows], Some(&filter)).expect("a state");
        last.merge_batch(&state, &[1, 1, 1, 1, 1, 3], 4).expect("merged");
        assert_eq!(shown(&last.evaluate(EmitTo::First(2)).expect("lists")), [vec!["a", "c"], vec!["b"]]);
        assert_eq!(shown(&last.evaluate(EmitTo::All).expect("lists")), [vec!["a", "b"], vec!["a"]]);
    }

    #[test]
    fn lists_give_their_elements() {
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for list in [Some(vec![Some("b"), None, Some("a")]), None, Some(vec![]), Some(vec![Some("b"), Some("c")])] {
            list.iter().flatten().for_each(|text| lists.values().append_option(*text));
            lists.append(list.is_some());
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let filter = BooleanArray::from(vec![true, true, true, false]);
        let mut groups = Groups::default();
        groups.update_batch(std::slice::from_ref(&lists), &[0, 0, 1, 1], Some(&filter), 2).expect("updated");
        let state = groups.convert_to_state(&[lists], None).expect("a state");
        groups.merge_batch(&state, &[2, 2, 2, 2], 3).expect("merged");
        let none: Vec<&str> = Vec::new();
        let wanted = [vec!["a", "b"], none, vec!["a", "b", "c"]];
        assert_eq!(shown(&groups.evaluate(EmitTo::All).expect("lists")), wanted);
    }

    /// A stream of groups, as traces come, each with texts of its own and one that all have.
    #[test]
    fn texts_of_groups_that_were_given_are_let_go() {
        const GROUPS: usize = 4_000;
        let mut groups = Groups::default();
        let mut most_texts = 0;
        for step in 0..20 {
            let texts: Vec<String> = (0..GROUPS).map(|at| format!("text {step} {at}")).collect();
            let rows: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
            // The last group of a step is the first of the next one.
            let first = usize::from(step > 0);
            let of_rows: Vec<usize> = (0..GROUPS).map(|at| at + first).collect();
            groups.update_batch(&[column(&rows)], &of_rows, None, GROUPS + first).expect("updated");
            let all = column(&vec![Some("shared"); GROUPS]);
            groups.update_batch(&[all], &of_rows, None, GROUPS + first).expect("updated");
            let lists = shown(&groups.evaluate(EmitTo::First(GROUPS + first - 1)).expect("lists"));
            assert_eq!(lists[first], ["shared".to_string(), texts[0].clone()]);
            if step > 0 {
                let last = format!("text {} {}", step - 1, GROUPS - 1);
                assert_eq!(lists[0], ["shared".to_string(), last]);
            }
            most_texts = most_texts.max(groups.dictionary.len());
        }
        assert!(most_texts < 2 * GROUPS, "{most_texts} texts");
    }

    #[test]
    fn a_window_can_ask_again_and_many_groups_stay_small() {
        let mut one = OneGroup::default();
        one.update_batch(&[column(&[Some("x")])]).expect("updated");
        let first = one.evaluate().expect("a list");
        assert_eq!(one.evaluate().expect("a list"), first);

        let mut many = Groups::default();
        let rows = column(&vec![Some("a service with a long name of its own"); 10_000]);
        many.update_batch(&[rows], &(0..10_000).collect::<Vec<_>>(), None, 10_000).expect("updated");
        assert!(GroupsAccumulator::size(&many) < 10_000 * 64, "{} bytes", GroupsAccumulator::size(&many));
    }
}
