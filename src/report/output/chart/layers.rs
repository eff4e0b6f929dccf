//! Who stands where in a drawing of callers and callees: a layer for each step from those that nobody calls.
//!
//! The way of Sugiyama, Tagawa and Toda: cut rings, put each node a layer below the lowest of its callers, and order each layer by where
//! the neighbours stand. All is done in a fixed order, so that the same calls give the same drawing.

use std::collections::HashMap;

/// With more of them a drawing would be all bends.
const MAX_BENDS: usize = 60;

/// Who stands where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layering {
    /// The nodes of each layer, and the bends of edges that pass through it, in the order in which they stand. Bends are numbered after
    /// the nodes.
    pub layers: Vec<Vec<usize>>,
    /// The bends of each edge that passes through layers.
    pub bends: HashMap<(usize, usize), Vec<usize>>,
    /// Nodes and bends.
    pub count: usize,
}

impl Layering {
    /// Lays out the nodes `0..nodes`.
    pub fn of(nodes: usize, edges: &[(usize, usize)]) -> Self {
        let forward = without_rings(nodes, edges);
        let mut depths = depths(nodes, &forward);
        let (bends, forward) = bent(forward, &mut depths);
        let mut layers = vec![Vec::new(); depths.iter().max().map_or(0, |deepest| deepest + 1)];
        for (node, depth) in depths.iter().enumerate() {
            layers[*depth].push(node);
        }
        order(&mut layers, &depths, &forward);
        Self { layers, bends, count: depths.len() }
    }
}

/// The bends of the edges that pass through layers, and the edges from bend to bend in their place.
type Bent = (HashMap<(usize, usize), Vec<usize>>, Vec<(usize, usize)>);

/// Gives each edge a bend in each layer that it passes through, whose depths are added to `depths`.
fn bent(forward: Vec<(usize, usize)>, depths: &mut Vec<usize>) -> Bent {
    let passed = |&(caller, callee): &(usize, usize)| depths[caller] + 1..depths[callee];
    if forward.iter().map(|edge| passed(edge).len()).sum::<usize>() > MAX_BENDS {
        return (HashMap::new(), forward);
    }
    let (mut bends, mut short) = (HashMap::new(), Vec::new());
    for edge in forward {
        let mut from = edge.0;
        let mut of_edge = Vec::new();
        for depth in depths[edge.0] + 1..depths[edge.1] {
            let bend = depths.len();
            depths.push(depth);
            of_edge.push(bend);
            short.push((from, bend));
            from = bend;
        }
        short.push((from, edge.1));
        if !of_edge.is_empty() {
            bends.insert(edge, of_edge);
        }
    }
    (bends, short)
}

/// The edges that close no ring, from a walk that begins with nodes that nobody calls.
fn without_rings(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        Open,
        Done,
    }
    let mut callees = vec![Vec::new(); nodes];
    let mut is_called = vec![false; nodes];
    for &(caller, callee) in edges.iter().filter(|(caller, callee)| caller != callee) {
        callees[caller].push(callee);
        is_called[callee] = true;
    }
    let mut seen = vec![Seen::Not; nodes];
    let mut forward = Vec::new();
    let first = (0..nodes).filter(|node| !is_called[*node]);
    for start in first.chain(0..nodes) {
        if seen[start] != Seen::Not {
            continue;
        }
        seen[start] = Seen::Open;
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(&callee) = callees[node].get(*next) else {
                seen[node] = Seen::Done;
                path.pop();
                continue;
            };
            *next += 1;
            if seen[callee] != Seen::Open {
                forward.push((node, callee));
            }
            if seen[callee] == Seen::Not {
                seen[callee] = Seen::Open;
                path.push((callee, 0));
            }
        }
    }
    forward
}

/// The longest way down to each node.
fn depths(nodes: usize, forward: &[(usize, usize)]) -> Vec<usize> {
    let mut depths = vec![0; nodes];
    // Each round settles one layer more, and there are no rings.
    for _ in 0..nodes {
        let mut is_settled = true;
        for &(caller, callee) in forward {
            if depths[callee] <= depths[caller] {
                depths[callee] = depths[caller] + 1;
                is_settled = false;
            }
        }
        if is_settled {
            break;
        }
    }
    depths
}

/// Orders layers by the mean place of the neighbours above, then of those below, a few times.
fn order(layers: &mut [Vec<usize>], depths: &[usize], forward: &[(usize, usize)]) {
    const ROUNDS: usize = 4;
    let mut places = vec![0.0; depths.len()];
    let place_all = |layer: &[usize], places: &mut Vec<f64>| {
        for (at, node) in layer.iter().enumerate() {
            places[*node] = (at as f64 + 0.5) / layer.len() as f64;
        }
    };
    for layer in layers.iter() {
        place_all(layer, &mut places);
    }
    for round in 0..ROUNDS {
        let downwards = round % 2 == 0;
        for at in 0..layers.len() {
            let at = if downwards { at } else { layers.len() - 1 - at };
            let mean = |node: usize| {
                let neighbours = forward.iter().filter_map(|&(caller, callee)| match downwards {
                    true => (callee == node).then_some(caller),
                    false => (caller == node).then_some(callee),
                });
                let (sum, count) =
                    neighbours.fold((0.0, 0.0), |(sum, count), other| (sum + places[other], count + 1.0));
                if count > 0.0 { sum / count } else { places[node] }
            };
            let mut keyed: Vec<(f64, usize)> = layers[at].iter().map(|node| (mean(*node), *node)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            layers[at] = keyed.into_iter().map(|(_, node)| node).collect();
            place_all(&layers[at], &mut places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_stand_above_callees() {
        type Case<'a> = (usize, &'a [(usize, usize)], &'a [&'a [usize]]);
        let cases: [Case<'_>; 6] = [
            (0, &[], &[]),
            (2, &[], &[&[0, 1]]),
            // The call from the first to the last passes beside the one in the middle.
            (3, &[(0, 1), (1, 2), (0, 2)], &[&[0], &[1, 3], &[2]]),
            (3, &[(0, 1), (1, 0), (1, 2)], &[&[0], &[1], &[2]]),
            (2, &[(0, 0), (0, 1)], &[&[0], &[1]]),
            // The crossing is undone.
            (4, &[(0, 3), (1, 2)], &[&[0, 1], &[3, 2]]),
        ];
        for (nodes, edges, wanted) in cases {
            assert_eq!(Layering::of(nodes, edges).layers, wanted, "{edges:?}");
        }
    }

    #[test]
    fn a_long_chain_and_a_large_ring_are_no_trouble() {
        let chain: Vec<(usize, usize)> = (1..500).map(|at| (at - 1, at)).collect();
        assert_eq!(Layering::of(500, &chain).layers.len(), 500);
        let ring: Vec<(usize, usize)> = (0..500).map(|at| (at, (at + 1) % 500)).collect();
        assert_eq!(Layering::of(500, &ring).layers.iter().map(Vec::len).sum::<usize>(), 500);
    }

    #[test]
    fn an_edge_has_a_bend_in_each_layer_that_it_passes() {
        let layering = Layering::of(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]);
        assert_eq!(layering.bends, HashMap::from([((0, 3), vec![4, 5])]));
        assert_eq!((layering.layers[1].len(), layering.layers[2].len(), layering.count), (2, 2, 6));
        // Too many of them are none.
        let to_the_end: Vec<(usize, usize)> =
            (0..50).map(|at| (at, 50)).chain((0..50).map(|at| (at, at + 1))).collect();
        assert_eq!(Layering::of(51, &to_the_end).count, 51);
    }
}
