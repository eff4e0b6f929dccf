//! Betweenness: on how large a share of the shortest paths between two others a node lies.
//!
//! Ulrik Brandes, "A Faster Algorithm for Betweenness Centrality", Journal of Mathematical Sociology 25 (2001): from each node all shortest paths
//! are counted outwards, and what hangs on them is added up on the way back. Where that is too much work, the paths from some nodes stand for those from
//! all: Ulrik Brandes and Christian Pich, "Centrality Estimation in Large Networks", International Journal of Bifurcation and Chaos 17 (2007), of whose
//! ways to choose them chance was the best.
//!
//! From one node to the next, and now and then on the way, whoever waits may give up.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

/// The most steps, each along an edge and back: half a second of some thousand nodes, and longer where the paths of one node do not fit in the processor's caches.
pub(super) const MOST_STEPS: usize = 1 << 26;

/// What chooses nodes where not all are asked: the same in any process.
const SEED: u64 = 2007;

/// So many nodes are gone through between two looks at whether to go on.
const LOOK_EACH_NODES: usize = 1 << 14;

/// A node that has not been reached.
const FAR: u32 = u32::MAX;

/// For each of so many nodes, of the shortest paths between any two others the share that leads through it, from 0 to 1; estimated where nodes times nodes
/// and edges are more than `most_steps`. `None` when there are more shortest paths than a double counts.
///
/// `edges` are sorted pairs of nodes of which none comes twice. Fails with what `go_on` says as soon as it says so.
pub(super) fn betweenness<E>(
    nodes: usize,
    edges: &[(u32, u32)],
    most_steps: usize,
    go_on: impl Fn() -> Result<(), E>,
) -> Result<Option<Vec<f64>>, E> {
    let sources = (most_steps / (nodes + edges.len()).max(1)).max(1).min(nodes);
    let mut paths = Paths::new(nodes, edges);
    let mut sums = vec![0.0; nodes];
    for source in chosen(nodes, sources) {
        paths.count_from(source, &go_on)?;
        if !paths.reached.iter().all(|node| paths.counts[*node as usize].is_finite()) {
            return Ok(None);
        }
        paths.add_to(source, &mut sums, &go_on)?;
    }
    let pairs = nodes.saturating_sub(1) as f64 * nodes.saturating_sub(2) as f64;
    let scale = if pairs == 0.0 { 0.0 } else { nodes as f64 / sources as f64 / pairs };
    Ok(Some(sums.into_iter().map(|sum| sum * scale).collect()))
}

/// The nodes from which paths are counted, in order.
fn chosen(nodes: usize, sources: usize) -> Vec<u32> {
    if sources == nodes {
        return (0..nodes as u32).collect();
    }
    let mut chosen: Vec<u32> =
        sample(&mut ChaCha8Rng::seed_from_u64(SEED), nodes, sources).iter().map(|node| node as u32).collect();
    chosen.sort_unstable();
    chosen
}

/// The shortest paths from one node.
struct Paths<'a> {
    edges: &'a [(u32, u32)],
    /// The edges of node n are `edges[starts[n]..starts[n + 1]]`.
    starts: Vec<usize>,
    distances: Vec<u32>,
    /// How many shortest paths lead to each node.
    counts: Vec<f64>,
    /// What hangs on each node: the shares of the paths that go on from it.
    loads: Vec<f64>,
    /// The nodes that are reached, the nearest first.
    reached: Vec<u32>,
}

impl<'a> Paths<'a> {
    fn new(nodes: usize, edges: &'a [(u32, u32)]) -> Self {
        let mut starts = vec![0; nodes + 1];
        for (from, _) in edges {
            starts[*from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Self {
            edges,
            starts,
            distances: vec![FAR; nodes],
            counts: vec![0.0; nodes],
            loads: vec![0.0; nodes],
            reached: Vec::new(),
        }
    }

    fn neighbours(&self, node: u32) -> &'a [(u32, u32)] {
        &self.edges[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    /// Goes outwards from a node, level by level.
    fn count_from<E>(&mut self, source: u32, go_on: &impl Fn() -> Result<(), E>) -> Result<(), E> {
        for node in self.reached.drain(..).map(|node| node as usize) {
            (self.distances[node], self.counts[node], self.loads[node]) = (FAR, 0.0, 0.0);
        }
        (self.distances[source as usize], self.counts[source as usize]) = (0, 1.0);
        self.reached.push(source);
        let mut next = 0;
        while let Some(node) = self.reached.get(next).copied() {
            if next % LOOK_EACH_NODES == 0 {
                go_on()?;
            }
            next += 1;
            let (distance, count) = (self.distances[node as usize] + 1, self.counts[node as usize]);
            for (_, to) in self.neighbours(node) {
                let at = *to as usize;
                if self.distances[at] == FAR {
                    self.distances[at] = distance;
                    self.reached.push(*to);
                }
                if self.distances[at] == distance {
                    self.counts[at] += count;
                }
            }
        }
        Ok(())
    }

    /// Comes back from the farthest nodes, and adds what hangs on each node to its sum.
    fn add_to<E>(&mut self, source: u32, sums: &mut [f64], go_on: &impl Fn() -> Result<(), E>) -> Result<(), E> {
        for (place, node) in (0..self.reached.len()).rev().map(|at| (at, self.reached[at])) {
            if place % LOOK_EACH_NODES == LOOK_EACH_NODES - 1 {
                go_on()?;
            }
            let (at, distance) = (node as usize, self.distances[node as usize] + 1);
            let mut load = 0.0;
            for to in self.neighbours(node).iter().map(|(_, to)| *to as usize) {
                if self.distances[to] == distance {
                    load += self.counts[at] / self.counts[to] * (1.0 + self.loads[to]);
                }
            }
            self.loads[at] = load;
            if node != source {
                sums[at] += load;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use proptest::prelude::*;
    use rustworkx_core::centrality::betweenness_centrality;
    use rustworkx_core::petgraph::graph::DiGraph;

    use super::*;

    fn of(nodes: usize, edges: &[(u32, u32)], most_steps: usize) -> Vec<f64> {
        let mut edges = edges.to_vec();
        edges.sort_unstable();
        let found = betweenness(nodes, &edges, most_steps, || Ok::<(), Infallible>(()));
        found.expect("never told to stop").expect("few paths")
    }

    proptest! {
        #[test]
        fn it_is_what_another_implementation_says(edges in proptest::collection::btree_set((0_u32..12, 0_u32..12), 0..60)) {
            let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from != to).collect();
            let mut graph = DiGraph::<(), ()>::new();
            (0..12).for_each(|_| _ = graph.add_node(()));
            graph.extend_with_edges(&edges);
            let wanted = betweenness_centrality(&graph, false, true, usize::MAX);
            let found = of(12, &edges, MOST_STEPS);
            prop_assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b.unwrap_or(f64::NAN)).abs() < 1e-12), "{found:?} {wanted:?}");
        }
    }

    #[test]
    fn of_a_large_graph_it_is_estimated() {
        // Two rings with shortcuts, joined by a way in each direction: what is in one ring goes to the other by these, a quarter of all pairs each.
        const RING: u32 = 600;
        let ring =
            |first: u32| (0..RING).flat_map(move |at| [1, 7, 50].map(|step| (first + at, first + (at + step) % RING)));
        let edges: Vec<_> = ring(0).chain(ring(RING)).chain([(0, RING), (RING + 300, 300)]).collect();
        let nodes = 2 * RING as usize;
        let (exact, estimated) = (of(nodes, &edges, MOST_STEPS), of(nodes, &edges, 1 << 20));
        assert_ne!(exact, estimated);
        for node in [0, RING, RING + 300, 300].map(|node| node as usize) {
            assert!((0.25..0.3).contains(&exact[node]), "{node}: {}", exact[node]);
            assert!(
                (estimated[node] / exact[node] - 1.0).abs() < 0.2,
                "{node}: {} and not {}",
                estimated[node],
                exact[node]
            );
        }
        assert_eq!(estimated, of(nodes, &edges, 1 << 20));
    }

    #[test]
    fn it_ends_as_soon_as_it_is_told_to() {
        let asked = Cell::new(0);
        let stopped = betweenness(10, &[(0, 1), (1, 2)], MOST_STEPS, || {
            asked.set(asked.get() + 1);
            if asked.get() > 3 { Err("stop") } else { Ok(()) }
        });
        assert_eq!((stopped, asked.get()), (Err("stop"), 4));
    }
}
