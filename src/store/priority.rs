//! Letting ingest and queries go first.

/// How much of the way from the highest to the lowest priority a background thread goes down: on Linux this is nice 6, about a quarter of
/// what a thread of normal priority gets when both want the same core.
#[cfg(target_os = "linux")]
const BACKGROUND_PERCENT: u8 = 35;

/// Lowers the current thread's share of the processor, and that of the threads it starts. Elsewhere than on Linux nothing changes: the priority would be
/// the whole process's.
pub(crate) fn lower() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{ThreadPriority, set_current_thread_priority};

        let lowered = BACKGROUND_PERCENT.try_into().and_then(|value| {
            set_current_thread_priority(ThreadPriority::Crossplatform(value)).map_err(|error| format!("{error:?}"))
        });
        if let Err(error) = lowered {
            tracing::warn!(error, "cannot lower the priority of background work");
        }
    }
}
