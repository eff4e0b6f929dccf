//! `graph_nodes(source, target)`: the nodes of the graph whose edges are the rows of a group, with what the graph says of each. A row of which one side
//! is NULL names a node only.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, Int64Builder, ListArray, StringViewArray, StringViewBuilder, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::dictionary::Dictionary;
use crate::analysis::Graph;
use crate::engine::stop::Stop;

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    GraphNodes::until(Stop::default())
}

/// The same function where it is this one, such that it ends soon after `stop` is set.
pub(in crate::engine) fn stoppable_graph(function: &AggregateUDF, stop: &Stop) -> Option<AggregateUDF> {
    function.inner().is::<GraphNodes>().then(|| GraphNodes::until(stop.clone()))
}

#[derive(Debug)]
struct GraphNodes {
    signature: Signature,
    stop: Stop,
}

impl GraphNodes {
    fn until(stop: Stop) -> AggregateUDF {
        AggregateUDF::from(Self { signature: Signature::user_defined(Volatility::Immutable), stop })
    }
}

/// Whatever stops it, it gives the same.
impl PartialEq for GraphNodes {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for GraphNodes {}

impl Hash for GraphNodes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// What is said of a node.
fn node_fields() -> Fields {
    Fields::from(vec![
        Field::new("node", DataType::Utf8View, false),
        Field::new("in_degree", DataType::Int64, false),
        Field::new("out_degree", DataType::Int64, false),
        Field::new("betweenness", DataType::Float64, true),
    ])
}

impl AggregateUDFImpl for GraphNodes {
    fn name(&self) -> &str {
        "graph_nodes"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, _] if types.iter().all(|side| side.is_string() || side.is_null()) => Ok(vec![DataType::Utf8View; 2]),
            _ => plan_err!("function graph_nodes wants a text and a text"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Struct(node_fields()), true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let texts = DataType::new_list(DataType::Utf8View, true);
        let field = |name| Arc::new(Field::new(format_state_name(args.name, name), texts.clone(), true));
        Ok(vec![field("sources"), field("targets")])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Edges { stop: self.stop.clone(), ..Edges::default() }))
    }
}

/// The different rows so far, as numbers of nodes.
#[derive(Debug, Default)]
struct Edges {
    nodes: Dictionary,
    edges: HashSet<(u32, Option<u32>)>,
    stop: Stop,
}

impl Edges {
    fn add(&mut self, sources: &StringViewArray, targets: &StringViewArray) -> Result<()> {
        for (source, target) in sources.iter().zip(targets) {
            let (from, to) = match (source, target) {
                (Some(source), target) => (source, target),
                (None, Some(target)) => (target, None),
                (None, None) => continue,
            };
            let edge = (self.nodes.number(from)?, to.map(|to| self.nodes.number(to)).transpose()?);
            self.edges.insert(edge);
        }
        Ok(())
    }

    /// The nodes in the order of their names, and what is said of them: whatever order the edges came in, sums are made in the same one.
    fn described(&self) -> Result<StructArray> {
        let mut in_order: Vec<u32> = (0..self.nodes.len() as u32).collect();
        in_order.sort_unstable_by_key(|number| self.nodes.text(*number));
        let mut places = vec![0; in_order.len()];
        for (place, number) in (0..).zip(&in_order) {
            places[*number as usize] = place;
        }
        let place = |(from, to): &(u32, Option<u32>)| Some((places[*from as usize], places[(*to)? as usize]));
        let graph = Graph::new(in_order.len(), self.edges.iter().filter_map(place).collect());
        let shares = graph.betweenness(|| self.stop.check())?;
        let (mut nodes, mut ins, mut outs, mut betweenness) =
            (StringViewBuilder::new(), Int64Builder::new(), Int64Builder::new(), Float64Builder::new());
        for (place, number) in in_order.iter().enumerate() {
            nodes.append_value(self.nodes.text(*number));
            ins.append_value(graph.in_degree(place).into());
            outs.append_value(graph.out_degree(place).into());
            betweenness.append_option(shares.as_ref().map(|shares| shares[place]));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(nodes.finish()),
            Arc::new(ins.finish()),
            Arc::new(outs.finish()),
            Arc::new(betweenness.finish()),
        ];
        Ok(StructArray::try_new(node_fields(), columns, None)?)
    }
}

/// A value that is a list of all that `values` has.
fn list_of(values: ArrayRef) -> Result<ScalarValue> {
    let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let list = ListArray::try_new(element, OffsetBuffer::from_lengths([values.len()]), values, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

fn both(columns: &[ArrayRef]) -> Result<(&StringViewArray, &StringViewArray)> {
    match columns {
        [sources, targets] => match (sources.as_string_view_opt(), targets.as_string_view_opt()) {
            (Some(sources), Some(targets)) => Ok((sources, targets)),
            _ => exec_err!("graph_nodes takes texts"),
        },
        _ => exec_err!("graph_nodes takes two columns"),
    }
}

impl Accumulator for Edges {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sources, targets) = both(values)?;
        self.add(sources, targets)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        list_of(Arc::new(self.described()?))
    }

    fn size(&self) -> usize {
        // What is made of the edges in the end is there beside them.
        const BYTES_PER_EDGE: usize = size_of::<(u32, Option<u32>)>() + 1 + 2 * size_of::<(u32, u32)>();
        const BYTES_PER_NODE: usize = 128;
        size_of_val(self)
            + self.edges.capacity() * BYTES_PER_EDGE
            + self.nodes.len() * BYTES_PER_NODE
            + self.nodes.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let source = |(from, _): &(u32, Option<u32>)| Some(&**self.nodes.text(*from));
        let target = |(_, to): &(u32, Option<u32>)| to.map(|to| &**self.nodes.text(to));
        let sources: StringViewArray = self.edges.iter().map(source).collect();
        let targets: StringViewArray = self.edges.iter().map(target).collect();
        Ok(vec![list_of(Arc::new(sources))?, list_of(Arc::new(targets))?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sources, targets] = states else { return exec_err!("graph_nodes' state is two lists") };
        let (Some(sources), Some(targets)) = (sources.as_list_opt::<i32>(), targets.as_list_opt::<i32>()) else {
            return exec_err!("graph_nodes' state is two lists");
        };
        for row in (0..sources.len()).filter(|row| sources.is_valid(*row)) {
            let columns = [sources.value(row), targets.value(row)];
            let (sources, targets) = both(&columns)?;
            self.add(sources, targets)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Float64Type, Int64Type};
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::engine::stop::stoppable;

    fn columns(edges: &[(Option<&str>, Option<&str>)]) -> [ArrayRef; 2] {
        let sources: StringViewArray = edges.iter().map(|(source, _)| *source).collect();
        let targets: StringViewArray = edges.iter().map(|(_, target)| *target).collect();
        [Arc::new(sources), Arc::new(targets)]
    }

    type Node = (String, i64, i64, Option<f64>);

    fn nodes(value: &ScalarValue) -> Vec<Node> {
        let ScalarValue::List(list) = value else { panic!("{value:?} is no list") };
        let nodes = list.value(0);
        let nodes = nodes.as_struct();
        let (names, betweenness) = (nodes.column(0).as_string_view(), nodes.column(3).as_primitive::<Float64Type>());
        let degree = |column: usize, row: usize| nodes.column(column).as_primitive::<Int64Type>().value(row);
        let node = |row: usize| {
            let share = betweenness.is_valid(row).then(|| betweenness.value(row));
            (names.value(row).to_owned(), degree(1, row), degree(2, row), share)
        };
        (0..nodes.len()).map(node).collect()
    }

    #[test]
    fn nodes_are_those_of_all_parts_in_any_order() {
        let rows = [
            (Some("b"), Some("c")),
            (Some("a"), Some("b")),
            (Some("a"), Some("b")),
            (Some("d"), None),
            (None, Some("e")),
            (None, None),
            (Some("c"), Some("c")),
        ];
        let mut whole = Edges::default();
        whole.update_batch(&columns(&rows)).expect("updated");
        let said = nodes(&whole.evaluate().expect("nodes"));
        let node = |name: &str, ins, outs, share| (name.to_string(), ins, outs, Some(share));
        let wanted = [
            node("a", 0, 1, 0.0),
            node("b", 1, 1, 1.0 / 12.0),
            node("c", 1, 0, 0.0),
            node("d", 0, 0, 0.0),
            node("e", 0, 0, 0.0),
        ];
        assert_eq!(said, wanted);

        let mut merged = Edges::default();
        for part in rows.chunks(2).rev() {
            let mut edges = Edges::default();
            edges.update_batch(&columns(part)).expect("updated");
            let state: Vec<ArrayRef> =
                edges.state().expect("a state").iter().map(|list| list.to_array().expect("an array")).collect();
            merged.merge_batch(&state).expect("merged");
        }
        assert_eq!(nodes(&merged.evaluate().expect("nodes")), wanted);
        assert_eq!(nodes(&Edges::default().evaluate().expect("nodes")), []);
    }

    #[tokio::test]
    async fn a_statement_that_is_told_to_end_makes_no_graph() {
        let context = SessionContext::new();
        context.register_udaf(udaf());
        let edges = "(VALUES (1, 'a', 'b'), (1, 'b', 'c'), (2, 'c', 'a')) AS edges(g, source, target)";
        for asked in ["SELECT graph_nodes(source, target)", "SELECT g, graph_nodes(source, target), count(*)"] {
            let grouped = if asked.contains(" g,") { "GROUP BY g" } else { "" };
            let plan = context.sql(&format!("{asked} FROM {edges} {grouped}")).await.expect("a plan");
            let plan = plan.create_physical_plan().await.expect("a plan");
            let stop = Stop::default();
            let run = || collect(stoppable(plan.clone(), &stop).expect("a plan"), context.task_ctx());
            assert_eq!(run().await.expect("nodes")[0].schema(), plan.schema());
            stop.set();
            let error = run().await.expect_err("told to end");
            assert!(error.to_string().contains("canceling statement"), "{error}");
        }
    }
}
