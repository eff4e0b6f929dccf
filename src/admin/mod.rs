//! What the server says of itself to those who watch it: whether it lives, whether it takes requests, and its figures for Prometheus.
//!
//! Reads the counts that the store, the listeners and the engine keep, when it is asked, and keeps none of its own. Knows nothing of spans,
//! statements or command lines; nothing here changes anything.

mod connections;
mod exposition;
mod families;
mod listener;
mod process;
mod tenants;
mod vitals;

pub use listener::serve;
pub use vitals::{Parts, TenantParts, Vitals, Watched};
