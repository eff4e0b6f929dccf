//! Isolation forests: how easily a row is told from a sample of others by random cuts.
//!
//! F. T. Liu, K. M. Ting, Z.-H. Zhou: "Isolation Forest", ICDM 2008, <https://doi.org/10.1109/ICDM.2008.17>. A tree cuts a subsample at a random
//! value of a random feature until rows stand alone; what is far from all others is alone after few cuts. Constant features are not chosen.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The rows of a tree, as the paper has them: more do not tell more, and hide what is rare.
const ROWS_OF_TREE: usize = 256;

/// The Euler–Mascheroni constant.
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// A forest of some features; the same for the same rows and seed.
#[derive(Debug)]
pub struct IsolationForest {
    trees: Vec<Vec<Node>>,
    /// What the length of a path is measured by: the mean of an unsuccessful search among as many rows.
    mean_path: f64,
}

/// A node; what lies up to its cut stands right after it.
#[derive(Debug, Clone, Copy)]
enum Node {
    Cut {
        feature: u32,
        at: f64,
        above: u32,
    },
    /// The length of the path to here, and what further cuts would add to it.
    Leaf {
        path: f64,
    },
}

impl IsolationForest {
    /// A forest of so many trees over rows of equally many finite numbers.
    pub fn of(rows: &[&[f64]], trees: usize, seed: u64) -> Self {
        let rows_of_tree = rows.len().min(ROWS_OF_TREE);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let trees = (0..trees).map(|_| {
            let mut sample: Vec<&[f64]> =
                index::sample(&mut random, rows.len(), rows_of_tree).iter().map(|at| rows[at]).collect();
            let mut tree = Vec::with_capacity(2 * rows_of_tree);
            grow(&mut tree, &mut sample, 0, height_limit(rows_of_tree), &mut random);
            tree
        });
        Self { trees: trees.collect(), mean_path: mean_path(rows_of_tree) }
    }

    /// How alone a row is, from 0 to 1: near 1 when it is told from all others at once, under 0.5 when it is like most of them. 0.5 when the
    /// forest had less than two rows.
    pub fn score(&self, row: &[f64]) -> f64 {
        if self.trees.is_empty() || self.mean_path <= 0.0 {
            return 0.5;
        }
        let paths: f64 = self.trees.iter().map(|tree| path_of(tree, row)).sum();
        2.0_f64.powf(-paths / self.trees.len() as f64 / self.mean_path)
    }
}

/// Paths beyond the mean of a tree do not matter: they are not anomalous.
fn height_limit(rows: usize) -> u32 {
    rows.max(1).next_power_of_two().ilog2()
}

/// Appends the nodes of some rows. Goes no deeper than the limit, which is small.
fn grow(tree: &mut Vec<Node>, rows: &mut [&[f64]], depth: u32, limit: u32, random: &mut ChaCha8Rng) {
    let cut = if depth < limit { random_cut(rows, random) } else { None };
    let Some((feature, at)) = cut else {
        tree.push(Node::Leaf { path: f64::from(depth) + mean_path(rows.len()) });
        return;
    };
    let here = tree.len();
    tree.push(Node::Leaf { path: 0.0 });
    let mut below = 0;
    for row in 0..rows.len() {
        if rows[row][feature] <= at {
            rows.swap(below, row);
            below += 1;
        }
    }
    let (lower, upper) = rows.split_at_mut(below);
    grow(tree, lower, depth + 1, limit, random);
    let above = tree.len() as u32;
    grow(tree, upper, depth + 1, limit, random);
    tree[here] = Node::Cut { feature: feature as u32, at, above };
}

/// A feature whose values differ, and a value that parts them; `None` where all rows are equal.
fn random_cut(rows: &[&[f64]], random: &mut ChaCha8Rng) -> Option<(usize, f64)> {
    let features = rows.first()?.len();
    let in_random_order = index::sample(random, features, features);
    in_random_order.iter().find_map(|feature| {
        let ends = rows.iter().map(|row| row[feature]);
        let (min, max) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), x| (min.min(x), max.max(x)));
        if min >= max {
            return None;
        }
        let share: f64 = random.random();
        let at = min * (1.0 - share) + max * share;
        // Rounding must not make a side empty.
        Some((feature, if at < max { at.max(min) } else { min }))
    })
}

fn path_of(tree: &[Node], row: &[f64]) -> f64 {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Leaf { path } => return path,
            Node::Cut { feature, at: cut, above } => {
                at = if row[feature as usize] <= cut { at + 1 } else { above as usize };
            }
        }
    }
}

/// The mean length of an unsuccessful search in a binary search tree of so many rows: equation 1 of the paper.
fn mean_path(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        rows => {
            let rows = rows as f64;
            2.0 * ((rows - 1.0).ln() + EULER_GAMMA) - 2.0 * (rows - 1.0) / rows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(rows: usize) -> Vec<Vec<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        (0..rows).map(|_| vec![random.random_range(90.0..110.0), random.random_range(0.0..1.0), 7.0]).collect()
    }

    fn forest(rows: &[Vec<f64>], trees: usize, seed: u64) -> IsolationForest {
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        IsolationForest::of(&rows, trees, seed)
    }

    #[test]
    fn what_is_far_from_all_is_alone() {
        let forest = forest(&crowd(2_000), 100, 0);
        let (usual, far) = (forest.score(&[100.0, 0.5, 7.0]), forest.score(&[500.0, 0.5, 7.0]));
        assert!(usual < 0.5 && far > 0.55, "{usual} {far}");
        let farther = forest.score(&[500.0, 9.0, 7.0]);
        assert!(farther > far, "{farther} {far}");
        // What all rows agree in says nothing.
        assert_eq!(forest.score(&[100.0, 0.5, 99.0]), usual);
    }

    #[test]
    fn the_seed_decides() {
        let rows = crowd(500);
        let score = |seed| forest(&rows, 20, seed).score(&[103.0, 0.1, 7.0]);
        assert_eq!(score(5), score(5));
        assert_ne!(score(5), score(6));
    }

    #[test]
    fn few_and_equal_rows_make_a_forest() {
        for rows in [vec![], crowd(1), vec![vec![1.0, 2.0]; 300], vec![vec![]; 3]] {
            let forest = forest(&rows, 10, 0);
            let score = forest.score(&[1.0, 2.0, 3.0]);
            assert!((score - 0.5).abs() < 1e-12, "{} rows: {score}", rows.len());
        }
        let two = forest(&[vec![0.0], vec![1.0]], 10, 0);
        assert!((two.score(&[0.0]) - 0.5).abs() < 1e-12);
        let ends = forest(&[vec![f64::MIN], vec![0.0], vec![f64::MAX]], 10, 0);
        assert!(ends.score(&[0.0]).is_finite());
    }

    #[test]
    fn mean_paths_are_those_of_the_paper() {
        assert_eq!([mean_path(0), mean_path(1), mean_path(2)], [0.0, 0.0, 1.0]);
        assert!((mean_path(256) - 10.244_770_920_1).abs() < 1e-9, "{}", mean_path(256));
    }
}
