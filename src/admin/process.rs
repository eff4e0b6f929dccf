//! What the operating system knows of this process.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Figures of this process, under the names that Prometheus clients give them elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    pub resident_memory_bytes: u64,
    pub cpu_seconds: f64,
    pub start_time_seconds: u64,
    pub open_fds: Option<usize>,
}

impl Process {
    /// This process now; `None` where the system does not tell.
    pub fn now() -> Option<Self> {
        let pid = Pid::from_u32(std::process::id());
        let mut system = System::new();
        let wanted = ProcessRefreshKind::nothing().with_memory().with_cpu();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, wanted);
        let process = system.process(pid)?;
        Some(Self {
            resident_memory_bytes: process.memory(),
            cpu_seconds: process.accumulated_cpu_time() as f64 / 1e3,
            start_time_seconds: process.start_time(),
            open_fds: process.open_files(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_figures_are_those_of_the_kernel() {
        let process = Process::now().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_bytes = resident.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10;
        assert!((resident_bytes / 2..=resident_bytes * 2).contains(&process.resident_memory_bytes), "{process:?}");
        assert!(process.open_fds.is_some_and(|open| open >= 3), "{process:?}");
        assert!(process.start_time_seconds > 1_700_000_000, "{process:?}");
    }
}
