//! SQL over a snapshot of the store: sessions, dialect, limits, functions and planner rules on top of DataFusion.
//!
//! Knows the store's snapshots and nothing of wires, terminals or files in the data directory.

mod session;

pub use session::{Engine, EngineSettings, Outcome, Rows, Session, Statement};
