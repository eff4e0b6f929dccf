//! Letting what somebody waits for go first.

/// How important the work of a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Ingest, and statements whose client waits.
    Usual,
    /// The table's upkeep, which has to keep up: on Linux nice 5, about a third of what a thread of usual priority gets when both want the
    /// same core.
    Upkeep,
    /// What runs on a schedule and nobody waits for: on Linux nice 15, a thirtieth.
    Idle,
}

impl Priority {
    /// How much of the way from the lowest to the highest priority this is, in percent.
    #[cfg(target_os = "linux")]
    fn percent(self) -> Option<u8> {
        match self {
            Self::Usual => None,
            Self::Upkeep => Some(35),
            Self::Idle => Some(10),
        }
    }

    /// Gives the current thread this priority, and the threads that it starts. It can be lowered only. Elsewhere than on Linux nothing changes:
    /// the priority would be the whole process's.
    pub fn take(self) {
        #[cfg(target_os = "linux")]
        if let Some(percent) = self.percent() {
            use thread_priority::{ThreadPriority, set_current_thread_priority};

            let lowered = percent.try_into().and_then(|value| {
                set_current_thread_priority(ThreadPriority::Crossplatform(value)).map_err(|error| format!("{error:?}"))
            });
            if let Err(error) = lowered {
                tracing::warn!(error, "cannot lower the priority of background work");
            }
        }
    }
}
