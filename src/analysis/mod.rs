//! What a trace means: its tree, who its time goes to, its critical path, who calls whom, and by how much clocks differ; and what the graph of
//! who calls whom is like.
//!
//! Pure functions over the columns of one trace: [`Spans`] go in, [`Tree::of`] links them, and [`self_ns`], [`critical_path`], [`calls`] and
//! [`clock_skew_ns`] are worked out on the tree, each only when it is wanted. A row of any result is the row of the span in [`Spans`].
//! Nothing of a trace recurses, so that it may be a million spans deep, and all is done in O(n log n) time and O(n) memory.
//!
//! Nothing is assumed of a trace: spans may lie in any order, ids may come twice, parents may be missing, name each other in a circle or
//! themselves, children may outlive their parents. What is made of each of these is said by [`Tree`]. The same spans give the same tree
//! whatever order they lie in; only of spans that are equal in start, duration and id does the row decide.
//!
//! Of rows that have their places in trees already, [`Nesting`] tells what is below, above and beside others, and [`error_chains`] how errors went up.
//!
//! Beside them stands what tells the unusual from the usual: [`IsolationForest`] scores rows of numbers, [`forecast`] continues a series, and
//! [`equal_shares`] and [`mann_whitney`] say whether two sets of spans differ by more than chance.
//!
//! Knows numbers. Does not know Arrow, DataFusion, files or SQL.

mod betweenness;
mod calls;
mod clock_skew;
mod critical_path;
mod error_chains;
mod forecast;
mod graph;
mod isolation_forest;
mod nesting;
mod self_time;
mod significance;
mod spans;
#[cfg(test)]
mod tests;
mod tree;
mod wrapped;

pub use calls::{Call, Part, calls};
pub use clock_skew::{Hop, clock_skew_ns};
pub use critical_path::{Section, critical_ns, critical_path};
pub use error_chains::{ErrorChain, Outcome, error_chains};
pub use forecast::{Expected, forecast};
pub use graph::Graph;
pub use isolation_forest::IsolationForest;
pub use nesting::Nesting;
pub use self_time::{child_ns, self_ns};
pub use significance::{MAX_EXACT, Ranked, Share, chi_square, cohens_h, equal_shares, fisher_exact, mann_whitney};
pub use spans::Spans;
pub use tree::Tree;
pub use wrapped::{Step, outermost};
