//! What a directed graph is like.

use super::betweenness::{MOST_STEPS, betweenness};

/// A directed graph of fewer than 2³² nodes, which are numbers from 0. An edge is there once, and none leads from a node to itself.
#[derive(Debug, Clone)]
pub struct Graph {
    edges: Vec<(u32, u32)>,
    in_degrees: Vec<u32>,
    out_degrees: Vec<u32>,
}

impl Graph {
    /// The graph of `nodes` nodes with these edges, in any order. What leads from a node to itself, and what comes again, is left out.
    pub fn new(nodes: usize, mut edges: Vec<(u32, u32)>) -> Self {
        edges.sort_unstable();
        edges.dedup();
        edges.retain(|(from, to)| from != to);
        let (mut in_degrees, mut out_degrees) = (vec![0; nodes], vec![0; nodes]);
        for (from, to) in &edges {
            out_degrees[*from as usize] += 1;
            in_degrees[*to as usize] += 1;
        }
        Self { edges, in_degrees, out_degrees }
    }

    /// How many nodes have an edge to this one.
    pub fn in_degree(&self, node: usize) -> u32 {
        self.in_degrees[node]
    }

    /// To how many nodes this one has an edge.
    pub fn out_degree(&self, node: usize) -> u32 {
        self.out_degrees[node]
    }

    /// For each node, on how large a share of the shortest paths between any two others it lies, every edge being as long as any other: the sum of
    /// these shares over all ordered pairs of other nodes, divided by how many such pairs there are, so from 0 to 1. An estimate when nodes times nodes
    /// and edges are more than 2²⁶; `None` when there are more shortest paths than a double counts.
    ///
    /// It may take seconds, and fails with what `go_on` says soon after that says so.
    pub fn betweenness<E>(&self, go_on: impl Fn() -> Result<(), E>) -> Result<Option<Vec<f64>>, E> {
        let nodes = self.in_degrees.len();
        // However many there are, as in a star: who has no edge in or no edge out stands between no two.
        if self.in_degrees.iter().zip(&self.out_degrees).all(|(ins, outs)| *ins == 0 || *outs == 0) {
            return Ok(Some(vec![0.0; nodes]));
        }
        betweenness(nodes, &self.edges, MOST_STEPS, go_on)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn betweenness(graph: &Graph) -> Option<Vec<f64>> {
        graph.betweenness(|| Ok::<(), Infallible>(())).expect("never told to stop")
    }

    #[test]
    fn who_stands_between_is_on_the_shortest_paths() {
        // 0 → 1 → 2 → 3, a way around 1, an edge twice, one from a node to itself, and a node apart.
        let graph = Graph::new(6, vec![(0, 1), (1, 2), (2, 3), (0, 4), (4, 2), (0, 1), (3, 3)]);
        let degrees: Vec<_> = (0..6).map(|node| (graph.in_degree(node), graph.out_degree(node))).collect();
        assert_eq!(degrees, [(0, 2), (1, 1), (2, 1), (1, 0), (1, 1), (0, 0)]);
        // 1 and 4 have half of the ways 0 → 2 and 0 → 3, and all or none of the others; 2 has all that lead to 3.
        let scale = 20.0;
        let wanted = [0.0, 1.0 / scale, 3.0 / scale, 0.0, 1.0 / scale, 0.0];
        let shares = betweenness(&graph).expect("a small graph");
        assert!(shares.len() == 6 && shares.iter().zip(wanted).all(|(share, wanted)| (share - wanted).abs() < 1e-15));
        for few in 0..3 {
            assert_eq!(betweenness(&Graph::new(few, Vec::new())), Some(vec![0.0; few]));
        }
        // A star may be as large as it is: its middle is reached from nowhere.
        let star = || (1..1_000_000).map(|node| (0, node)).collect::<Vec<_>>();
        assert_eq!(betweenness(&Graph::new(1_000_000, star())), Some(vec![0.0; 1_000_000]));
        let reached = Graph::new(1_000_001, star().into_iter().chain([(1_000_000, 0)]).collect());
        assert_eq!((reached.in_degree(0), reached.out_degree(0)), (1, 999_999));
    }

    #[test]
    fn more_paths_than_a_double_counts_are_told() {
        // Each diamond doubles the paths from the first node.
        let diamonds = |count: u32| {
            let edges = |at: u32| [(at, at + 1), (at, at + 2), (at + 1, at + 3), (at + 2, at + 3)];
            Graph::new(3 * count as usize + 1, (0..count).flat_map(|diamond| edges(3 * diamond)).collect())
        };
        // Of the six ordered pairs of others one leads through a side, with half of its paths.
        assert_eq!(betweenness(&diamonds(1)), Some(vec![0.0, 0.5 / 6.0, 0.5 / 6.0, 0.0]));
        assert!(betweenness(&diamonds(500)).is_some());
        assert_eq!(betweenness(&diamonds(1_100)), None);
    }
}
