//! Named points at which a crash test kills the process.
//!
//! `SPANHOUSE_FAILPOINT=name:3` aborts the process, without any cleaning up, at the third pass of the point. Builds without debug assertions
//! hold no failpoints.

/// Passes the point `name`, and does not return when this is the pass at which the process shall die.
#[cfg(debug_assertions)]
pub(crate) fn pass(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let setting = std::env::var("SPANHOUSE_FAILPOINT").ok()?;
        let (name, pass) = setting.split_once(':').unwrap_or((&setting, "1"));
        Some((name.to_owned(), AtomicU64::new(pass.parse().ok()?)))
    });
    if let Some((armed, left)) = ARMED.as_ref()
        && armed == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// Passes the point.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_name: &str) {}
