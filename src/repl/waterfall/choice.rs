//! Which spans of a large trace are drawn.

use super::TraceSpan;
use super::forest::Forest;

/// Says of each node whether it is drawn: at most `max_spans`, first roots, then errors, then the longest, each with all above it.
pub fn choose(forest: &Forest, spans: &[TraceSpan], max_spans: usize) -> Vec<bool> {
    if forest.nodes.len() <= max_spans {
        return vec![true; forest.nodes.len()];
    }
    let mut by_weight: Vec<usize> = (0..forest.nodes.len()).collect();
    by_weight.sort_by_key(|&index| {
        let node = &forest.nodes[index];
        let span = node.span.map(|span| &spans[span]);
        let is_error = span.is_some_and(|span| span.is_error);
        let duration_ns = span.map_or(0, |span| span.duration_ns);
        (node.parent.is_some(), !is_error, std::cmp::Reverse(duration_ns), node.start_ns)
    });
    let mut shown = vec![false; forest.nodes.len()];
    let mut left = max_spans;
    for index in by_weight {
        let hidden = hidden_path(forest, &shown, index, left);
        left -= hidden.len();
        for node in hidden {
            shown[node] = true;
        }
        if left == 0 {
            break;
        }
    }
    shown
}

/// The hidden nodes from `index` upwards; none when they are more than `limit`.
fn hidden_path(forest: &Forest, shown: &[bool], index: usize, limit: usize) -> Vec<usize> {
    let mut path = Vec::new();
    let mut next = Some(index);
    while let Some(node) = next.filter(|&node| !shown[node]) {
        if path.len() == limit {
            return Vec::new();
        }
        path.push(node);
        next = forest.nodes[node].parent;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_long_spans_are_kept_with_all_above_them() {
        let span = |id: usize, parent: Option<usize>, duration_ns, is_error| TraceSpan {
            span_id: id.to_string(),
            parent_span_id: parent.map(|parent| parent.to_string()),
            service: String::new(),
            name: String::new(),
            start_ns: id as i64,
            duration_ns,
            is_error,
        };
        let mut spans = vec![span(0, None, 1000, false), span(1, Some(0), 5, false), span(2, Some(1), 3, true)];
        spans.extend((3..100).map(|id| span(id, Some(0), id as i64, false)));
        let forest = Forest::new(&spans);
        let shown = choose(&forest, &spans, 5);
        let kept: Vec<usize> = (0..100).filter(|&node| shown[node]).collect();
        assert_eq!(kept, [0, 1, 2, 98, 99]);
        assert!(choose(&forest, &spans, 100).iter().all(|&shown| shown));
    }
}
