//! What a directed graph is like.

/// The most steps along edges that [`Graph::betweenness`] takes: some seconds.
const MOST_STEPS: usize = 1 << 28;

/// A directed graph of fewer than 2³² nodes, which are numbers from 0. An edge is there once, and none leads from a node to itself.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The edges of node n lead to `targets[starts[n]..starts[n + 1]]`.
    starts: Vec<usize>,
    targets: Vec<u32>,
    in_degrees: Vec<u32>,
}

impl Graph {
    /// The graph of `nodes` nodes with these edges, in any order. What leads from a node to itself, and what comes again, is left out.
    pub fn new(nodes: usize, mut edges: Vec<(u32, u32)>) -> Self {
        edges.sort_unstable();
        edges.dedup();
        edges.retain(|(from, to)| from != to);
        let (mut starts, mut in_degrees) = (vec![0; nodes + 1], vec![0; nodes]);
        for (from, to) in &edges {
            starts[*from as usize + 1] += 1;
            in_degrees[*to as usize] += 1;
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        Self { starts, targets: edges.into_iter().map(|(_, to)| to).collect(), in_degrees }
    }

    /// How many nodes have an edge to this one.
    pub fn in_degree(&self, node: usize) -> u32 {
        self.in_degrees[node]
    }

    /// To how many nodes this one has an edge.
    pub fn out_degree(&self, node: usize) -> u32 {
        self.from(node).len() as u32
    }

    /// For each node, on how large a share of the shortest paths between any two others it lies, every edge being as long as any other: the sum of
    /// these shares over all ordered pairs of other nodes, divided by how many such pairs there are, so from 0 to 1. `None` when it would take more
    /// than 2²⁸ steps.
    ///
    /// Ulrik Brandes, "A Faster Algorithm for Betweenness Centrality", Journal of Mathematical Sociology 25 (2001), in O(nodes × edges); normalised as
    /// networkx does by default.
    pub fn betweenness(&self) -> Option<Vec<f64>> {
        let nodes = self.in_degrees.len();
        let sources: Vec<usize> = (0..nodes).filter(|node| self.out_degree(*node) > 0).collect();
        if sources.len().saturating_mul(self.targets.len()) > MOST_STEPS {
            return None;
        }
        let mut shares = vec![0.0; nodes];
        let mut walk = Walk {
            distances: vec![UNSEEN; nodes],
            paths: vec![0.0; nodes],
            passing: vec![0.0; nodes],
            order: Vec::new(),
        };
        for source in sources {
            walk.from(self, source);
            for node in walk.order.drain(..).map(|node| node as usize) {
                if node != source {
                    shares[node] += walk.passing[node];
                }
                (walk.distances[node], walk.paths[node], walk.passing[node]) = (UNSEEN, 0.0, 0.0);
            }
        }
        let pairs = (nodes.saturating_sub(1) * nodes.saturating_sub(2)).max(1) as f64;
        shares.iter_mut().for_each(|share| *share /= pairs);
        Some(shares)
    }

    fn from(&self, node: usize) -> &[u32] {
        &self.targets[self.starts[node]..self.starts[node + 1]]
    }
}

const UNSEEN: u32 = u32::MAX;

/// The shortest paths from one node.
struct Walk {
    distances: Vec<u32>,
    /// How many lead to a node.
    paths: Vec<f64>,
    /// What passes through a node, of one unit that goes to each other node and is divided among its paths.
    passing: Vec<f64>,
    /// The nodes that are reached, the nearest first.
    order: Vec<u32>,
}

impl Walk {
    fn from(&mut self, graph: &Graph, source: usize) {
        (self.distances[source], self.paths[source]) = (0, 1.0);
        self.order.push(source as u32);
        let mut next = 0;
        while let Some(node) = self.order.get(next).map(|node| *node as usize) {
            next += 1;
            for to in graph.from(node).iter().map(|to| *to as usize) {
                if self.distances[to] == UNSEEN {
                    self.distances[to] = self.distances[node] + 1;
                    self.order.push(to as u32);
                }
                if self.distances[to] == self.distances[node] + 1 {
                    self.paths[to] += self.paths[node];
                }
            }
        }
        for node in self.order.iter().rev().map(|node| *node as usize) {
            for to in graph.from(node).iter().map(|to| *to as usize) {
                if self.distances[to] == self.distances[node] + 1 {
                    self.passing[node] += self.paths[node] / self.paths[to] * (1.0 + self.passing[to]);
                }
            }
        }
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
        assert_eq!(graph.betweenness(), Some(vec![0.0, 1.0 / scale, 3.0 / scale, 0.0, 1.0 / scale, 0.0]));
        for few in 0..3 {
            assert_eq!(Graph::new(few, Vec::new()).betweenness(), Some(vec![0.0; few]));
        }
        // Too many steps: 20,000 nodes, each with an edge to the next and to one of them.
        let many: Vec<_> = (0..20_000).flat_map(|node| [(node, (node + 1) % 20_000), (node, 0)]).collect();
        assert_eq!(Graph::new(20_000, many).betweenness(), None);
        // A star may be as large as it is: only its middle leads anywhere.
        let star = Graph::new(1_000_000, (1..1_000_000).map(|node| (0, node)).collect());
        assert_eq!(star.betweenness().map(|shares| shares[0]), Some(0.0));
    }
}
