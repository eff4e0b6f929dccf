//! SQL over a snapshot of the store: sessions, dialect, limits, functions and planner rules on top of DataFusion.
//!
//! Knows the store's snapshots and nothing of wires, terminals or files in the data directory.

mod activity;
mod admit;
mod bounds;
mod catalog;
mod commands;
mod computed;
mod dialect;
mod errors;
mod execution;
mod expansion;
mod few_groups;
mod functions;
mod grammar;
mod grouping;
mod information_schema;
mod library;
mod limits;
mod memory;
mod names;
mod narrow;
mod parameters;
mod pg_catalog;
mod planner;
mod predicate;
mod retention;
mod rules;
mod runtime;
mod scan;
mod script;
mod session;
mod session_functions;
mod settings;
mod shared;
mod standard;
mod stop;
mod substitution;
mod system;
mod tap;
mod times;
mod top_rows;
mod traces;
mod variables;
mod width;
mod windows;
mod wording;

pub use activity::{Activity, Client, Doing, Registration};
pub use execution::RowStream;
pub use library::{LibraryParameter, LibraryQuery, ParameterKind, library};
pub use limits::{MAX_DEPTH, MAX_TEXT_BYTES, MAX_TOKENS};
pub use session::{Outcome, Rows, Session, Statement};
pub use settings::EngineSettings;
pub use shared::Engine;
pub use system::IngestCount;
pub use variables::SERVER_VERSION;
