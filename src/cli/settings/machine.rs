//! What the machine has, for settings that follow it.

use sysinfo::System;

/// Of the memory, the share that the cache of columns takes unless told otherwise.
const COLUMN_CACHE_SHARE: u64 = 8;
/// Less would not hold the columns of an hour; more is for the user to say.
const COLUMN_CACHE_BYTES: (u64, u64) = (128 << 20, 4 << 30);

/// The cache of columns for the memory that there is.
pub(super) fn column_cache_bytes() -> u64 {
    column_cache_of(memory_bytes())
}

fn column_cache_of(memory_bytes: u64) -> u64 {
    let (least, most) = COLUMN_CACHE_BYTES;
    (memory_bytes / COLUMN_CACHE_SHARE).clamp(least, most)
}

/// The machine's memory, or less where a control group says so; 0 when it is not known.
fn memory_bytes() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    system.cgroup_limits().map_or(system.total_memory(), |limits| limits.total_memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_columns_is_an_eighth_of_the_memory_within_bounds() {
        let of_gib = |gib: u64| column_cache_of(gib << 30) >> 20;
        assert_eq!([0, 1, 2, 8, 24, 256].map(of_gib), [128, 128, 256, 1024, 3072, 4096]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_is_at_most_what_the_kernel_tells() {
        let told = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let kib: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
        assert!((1..=kib << 10).contains(&memory_bytes()));
    }
}
