//! The tree of a trace's spans, made from whatever came in.

use std::collections::HashMap;

use super::TraceSpan;

/// A span, or the place of one that did not arrive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `None` for a parent that is named by its children and is not there.
    pub span: Option<usize>,
    /// The id of the span that is not there.
    pub missing_id: Option<String>,
    pub parent: Option<usize>,
    /// In order of start.
    pub children: Vec<usize>,
    /// Its parent lies below it: the link upwards was cut.
    pub cut_cycle: bool,
    pub start_ns: i64,
}

/// All nodes: those of spans come first, in the order of the spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forest {
    pub nodes: Vec<Node>,
    /// In order of start.
    pub roots: Vec<usize>,
}

impl Forest {
    /// Links spans to parents; every span is reached from exactly one root.
    pub fn new(spans: &[TraceSpan]) -> Self {
        let mut forest =
            Self { nodes: spans.iter().enumerate().map(|(i, span)| span_node(i, span)).collect(), ..Self::default() };
        forest.link(spans);
        forest.cut_cycles();
        forest.sort();
        forest
    }

    /// The nodes in drawing order below and with `root`, parents before children.
    pub fn preorder(&self, root: usize) -> Vec<usize> {
        let mut order = Vec::new();
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            order.push(node);
            stack.extend(self.nodes[node].children.iter().rev());
        }
        order
    }

    fn link(&mut self, spans: &[TraceSpan]) {
        // The first of two spans with one id gets the children, the other stands beside it.
        let mut by_id: HashMap<&str, usize> = HashMap::with_capacity(spans.len());
        for (index, span) in spans.iter().enumerate() {
            by_id.entry(&span.span_id).or_insert(index);
        }
        for (index, span) in spans.iter().enumerate() {
            let Some(parent_id) = span.parent_span_id.as_deref() else {
                self.roots.push(index);
                continue;
            };
            let parent = *by_id.entry(parent_id).or_insert_with(|| {
                let missing = self.nodes.len();
                self.nodes.push(Node { missing_id: Some(parent_id.to_owned()), start_ns: i64::MAX, ..Node::default() });
                self.roots.push(missing);
                missing
            });
            self.nodes[index].parent = Some(parent);
            self.nodes[parent].children.push(index);
            if self.nodes[parent].span.is_none() {
                self.nodes[parent].start_ns = self.nodes[parent].start_ns.min(span.start_ns);
            }
        }
    }

    /// Makes a root of the earliest span of each ring of parents.
    fn cut_cycles(&mut self) {
        let mut reached = vec![false; self.nodes.len()];
        for root in self.roots.clone() {
            self.mark(root, &mut reached);
        }
        for start in 0..self.nodes.len() {
            if reached[start] {
                continue;
            }
            let root = self.earliest_of_ring(start);
            if let Some(parent) = self.nodes[root].parent.take() {
                self.nodes[parent].children.retain(|&child| child != root);
            }
            self.nodes[root].cut_cycle = true;
            self.roots.push(root);
            self.mark(root, &mut reached);
        }
    }

    fn mark(&self, root: usize, reached: &mut [bool]) {
        for node in self.preorder(root) {
            reached[node] = true;
        }
    }

    /// Follows parents from `start`, which no root reaches, into the ring that they must end in.
    fn earliest_of_ring(&self, start: usize) -> usize {
        let parent_of = |node: usize| self.nodes[node].parent.unwrap_or(node);
        // Two walkers, one twice as fast, meet inside the ring.
        let (mut slow, mut fast) = (parent_of(start), parent_of(parent_of(start)));
        while slow != fast {
            slow = parent_of(slow);
            fast = parent_of(parent_of(fast));
        }
        let mut earliest = slow;
        let mut node = parent_of(slow);
        while node != slow {
            if (self.nodes[node].start_ns, node) < (self.nodes[earliest].start_ns, earliest) {
                earliest = node;
            }
            node = parent_of(node);
        }
        earliest
    }

    fn sort(&mut self) {
        let starts: Vec<i64> = self.nodes.iter().map(|node| node.start_ns).collect();
        for node in &mut self.nodes {
            node.children.sort_by_key(|&child| starts[child]);
        }
        self.roots.sort_by_key(|&root| starts[root]);
    }
}

fn span_node(index: usize, span: &TraceSpan) -> Node {
    Node { span: Some(index), start_ns: span.start_ns, ..Node::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, start_ns: i64) -> TraceSpan {
        TraceSpan {
            span_id: id.to_owned(),
            parent_span_id: (!parent.is_empty()).then(|| parent.to_owned()),
            service: String::new(),
            name: id.to_owned(),
            start_ns,
            duration_ns: 1,
            is_error: false,
        }
    }

    /// Writes a forest as nested ids: `a(b,c)`, with `?` before a missing span and `!` before a cut ring.
    fn shape(spans: &[TraceSpan]) -> String {
        fn write(forest: &Forest, spans: &[TraceSpan], nodes: &[usize]) -> String {
            let each = nodes.iter().map(|&index| {
                let node = &forest.nodes[index];
                let name = match node.span {
                    Some(span) => spans[span].span_id.clone(),
                    None => format!("?{}", node.missing_id.as_deref().unwrap_or_default()),
                };
                let below = match node.children.is_empty() {
                    true => String::new(),
                    false => format!("({})", write(forest, spans, &node.children)),
                };
                format!("{}{name}{below}", if node.cut_cycle { "!" } else { "" })
            });
            each.collect::<Vec<_>>().join(",")
        }
        let forest = Forest::new(spans);
        write(&forest, spans, &forest.roots)
    }

    #[test]
    fn any_trace_gets_a_tree() {
        type Case = (&'static [(&'static str, &'static str, i64)], &'static str);
        let cases: &[Case] = &[
            (&[], ""),
            (&[("a", "", 0), ("c", "a", 9), ("b", "a", 5)], "a(b,c)"),
            (&[("b", "a", 5), ("a", "", 0)], "a(b)"),
            (&[("b", "", 5), ("a", "", 0)], "a,b"),
            (&[("b", "x", 5), ("a", "", 6), ("c", "x", 4)], "?x(c,b),a"),
            (&[("a", "a", 0)], "!a"),
            (&[("a", "b", 3), ("b", "c", 1), ("c", "a", 2), ("d", "a", 0)], "!b(a(d,c))"),
            (&[("d", "a", 0), ("a", "b", 3), ("b", "a", 1), ("r", "", 2)], "!b(a(d)),r"),
            (&[("a", "", 0), ("a", "", 1), ("b", "a", 2)], "a(b),a"),
            (&[("a", "a", 0), ("a", "a", 1)], "!a(a)"),
        ];
        for (spans, expected) in cases {
            let spans: Vec<_> = spans.iter().map(|(id, parent, start)| span(id, parent, *start)).collect();
            assert_eq!(shape(&spans), *expected);
        }
    }

    #[test]
    fn every_span_of_random_parents_is_reached_once() {
        // A fixed linear congruence: the same graphs each run.
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for round in 0..200 {
            let size = 1 + round % 40;
            let spans: Vec<_> = (0..size)
                .map(|_| span(&next(size).to_string(), &next(size + 3).to_string(), next(50) as i64))
                .collect();
            let forest = Forest::new(&spans);
            let mut seen: Vec<usize> = forest
                .roots
                .iter()
                .flat_map(|&root| forest.preorder(root))
                .filter_map(|n| forest.nodes[n].span)
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..size as usize).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_is_no_recursion() {
        let spans: Vec<_> = (0..100_000)
            .map(|i| span(&i.to_string(), &if i == 0 { String::new() } else { (i - 1).to_string() }, i))
            .collect();
        let forest = Forest::new(&spans);
        assert_eq!(forest.preorder(forest.roots[0]).len(), spans.len());
    }
}
