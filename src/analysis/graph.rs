//! What a directed graph is like.

use rustworkx_core::centrality::betweenness_centrality;
use rustworkx_core::petgraph::graph::DiGraph;

/// The most steps that [`Graph::betweenness`] takes: some seconds.
const MOST_STEPS: usize = 1 << 28;

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
    /// these shares over all ordered pairs of other nodes, divided by how many such pairs there are, so from 0 to 1. `None` when nodes times nodes
    /// and edges are more than 2²⁸, or when there are more shortest paths than a double counts.
    ///
    /// Ulrik Brandes, "A Faster Algorithm for Betweenness Centrality", Journal of Mathematical Sociology 25 (2001); normalised as networkx does
    /// by default.
    pub fn betweenness(&self) -> Option<Vec<f64>> {
        let nodes = self.in_degrees.len();
        // However many there are, as in a star: who has no edge in or no edge out stands between no two.
        if self.in_degrees.iter().zip(&self.out_degrees).all(|(ins, outs)| *ins == 0 || *outs == 0) {
            return Some(vec![0.0; nodes]);
        }
        if nodes.saturating_mul(nodes + self.edges.len()) > MOST_STEPS {
            return None;
        }
        let mut graph = DiGraph::<(), ()>::with_capacity(nodes, self.edges.len());
        for _ in 0..nodes {
            graph.add_node(());
        }
        graph.extend_with_edges(&self.edges);
        // On this thread: the library's pool would not heed what a statement may have.
        let shares = betweenness_centrality(&graph, false, true, usize::MAX);
        shares.into_iter().map(|share| share.filter(|share| share.is_finite())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_between_is_on_the_shortest_paths() {
        // 0 → 1 → 2 → 3, a way around 1, an edge twice, one from a node to itself, and a node apart.
        let graph = Graph::new(6, vec![(0, 1), (1, 2), (2, 3), (0, 4), (4, 2), (0, 1), (3, 3)]);
        let degrees: Vec<_> = (0..6).map(|node| (graph.in_degree(node), graph.out_degree(node))).collect();
        assert_eq!(degrees, [(0, 2), (1, 1), (2, 1), (1, 0), (1, 1), (0, 0)]);
        // 1 and 4 have half of the ways 0 → 2 and 0 → 3, and all or none of the others; 2 has all that lead to 3.
        let scale = 20.0;
        let wanted = [0.0, 1.0 / scale, 3.0 / scale, 0.0, 1.0 / scale, 0.0];
        let shares = graph.betweenness().expect("a small graph");
        assert!(shares.len() == 6 && shares.iter().zip(wanted).all(|(share, wanted)| (share - wanted).abs() < 1e-15));
        for few in 0..3 {
            assert_eq!(Graph::new(few, Vec::new()).betweenness(), Some(vec![0.0; few]));
        }
        // Too many steps: 20,000 nodes, each with an edge to the next and to one of them.
        let many: Vec<_> = (0..20_000).flat_map(|node| [(node, (node + 1) % 20_000), (node, 0)]).collect();
        assert_eq!(Graph::new(20_000, many).betweenness(), None);
        // A star may be as large as it is: its middle is reached from nowhere. With a way to it, it is too large.
        let star = || (1..1_000_000).map(|node| (0, node)).collect::<Vec<_>>();
        assert_eq!(Graph::new(1_000_000, star()).betweenness(), Some(vec![0.0; 1_000_000]));
        let reached = Graph::new(1_000_001, star().into_iter().chain([(1_000_000, 0)]).collect());
        assert_eq!((reached.in_degree(0), reached.out_degree(0), reached.betweenness()), (1, 999_999, None));
    }

    #[test]
    fn more_paths_than_a_double_counts_are_told() {
        // Each diamond doubles the paths from the first node.
        let diamonds = |count: u32| {
            let edges = |at: u32| [(at, at + 1), (at, at + 2), (at + 1, at + 3), (at + 2, at + 3)];
            Graph::new(3 * count as usize + 1, (0..count).flat_map(|diamond| edges(3 * diamond)).collect())
        };
        // Of the six ordered pairs of others one leads through a side, with half of its paths.
        assert_eq!(diamonds(1).betweenness(), Some(vec![0.0, 0.5 / 6.0, 0.5 / 6.0, 0.0]));
        assert!(diamonds(500).betweenness().is_some());
        assert_eq!(diamonds(1_100).betweenness(), None);
    }
}
