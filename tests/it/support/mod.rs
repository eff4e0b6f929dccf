//! What several topics share: real servers, real clients, where the shared traces are, and how a test says that it was skipped.

use std::path::PathBuf;

mod alertmanager;
mod authority;
mod clients;
mod collector;
mod object_stores;
mod receivers;
mod server;
mod toolchains;

pub use alertmanager::Alertmanager;
pub use authority::Authority;
pub use clients::{browser, drivers, node, program, python};
pub use collector::Collector;
pub use object_stores::{Mode, ObjectStoreServer, Proxy};
pub use receivers::Receivers;
pub use server::{Server, peak_bytes};
pub use toolchains::{Built, debian, go, java};

/// The folder of real traces with independently computed facts, when it is at hand.
///
/// It lies beside the checkout as `shared/data`, or where `SPANHOUSE_SHARED_DATA` says; `none` says that there is none. Without it the test
/// says by name that it was skipped; under `CI=true` that is a failure unless it was said that there is none.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    if std::env::var_os("SPANHOUSE_SHARED_DATA").is_some_and(|said| said == "none") {
        eprintln!("SKIPPED {test}: the shared traces are not there");
        return None;
    }
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SPANHOUSE_SHARED_DATA").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    skip(test, &format!("{} is not there", folder.display()));
    None
}

/// Says that a test was skipped and why; fails it under `CI=true`.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{test} may not be skipped in CI: {why}");
    eprintln!("SKIPPED {test}: {why}");
}
