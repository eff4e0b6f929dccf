//! What the operating system lets the server have: open files, and memory.

use std::fs;
use std::path::{Path, PathBuf};

use super::seen::Seen;
use crate::cli::note::{Note, size};

/// Connections of all listeners, and the data files that statements read.
const LEAST_OPEN_FILES: u64 = 4_096;
/// Of the open files, from here on it is worth a look.
const NEARLY_ALL: f64 = 0.8;
/// What the process takes beside its budgets: requests under way, indexes, footers, sealing and compacting.
const BESIDE_BUDGETS_BYTES: u64 = 1 << 30;

pub(super) fn check(seen: &Seen) -> Vec<Note> {
    let pid = seen.server.as_ref().map_or_else(std::process::id, |server| server.pid);
    let of_process = PathBuf::from(format!("/proc/{pid}"));
    let read = |file: &str| fs::read_to_string(of_process.join(file)).ok();
    let mut notes = Vec::new();
    if let Some((soft, hard)) = read("limits").and_then(|limits| open_files_of(&limits)) {
        let open = seen.figure("process_open_fds").map(|open| open as u64);
        notes.push(open_files(soft, hard, open));
    }
    let groups = read("cgroup").map(|groups| memory_groups(&groups)).unwrap_or_default();
    let limit = groups.iter().filter_map(|group| group_limit(group)).min();
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|told| machine_bytes(&told));
    if let Some(machine) = machine {
        notes.push(memory(budgets(seen), machine, limit.filter(|limit| *limit < machine)));
    }
    let killed: u64 = groups
        .iter()
        .filter_map(|group| fs::read_to_string(group.join("memory.events")).ok())
        .map(|told| oom_kills(&told))
        .max()
        .unwrap_or(0);
    notes.extend(kills(killed));
    notes
}

/// What ingest and statements may take: of the server that runs, else of the settings.
fn budgets(seen: &Seen) -> u64 {
    let (store, engine) = (seen.settings.store(), seen.settings.engine());
    let budget = |figure: &str, set: usize| seen.figure(figure).map_or(set as u64, |bytes| bytes as u64);
    budget("spanhouse_fresh_limit_bytes", store.fresh_budget_bytes)
        + budget("spanhouse_query_memory_limit_bytes", engine.memory_bytes)
        + budget("spanhouse_column_cache_limit_bytes", engine.column_cache_bytes)
}

/// `Max open files            1024                 524288               files`
fn open_files_of(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| if word == "unlimited" { Ok(u64::MAX) } else { word.parse() });
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

fn open_files(soft: u64, hard: u64, open: Option<u64>) -> Note {
    let used = open.map_or(String::new(), |open| format!("{open} of "));
    let most = if soft == u64::MAX { "any number".to_owned() } else { soft.to_string() };
    let text = format!("{used}{most} may be open");
    let raise = format!(
        "give the server {LEAST_OPEN_FILES} or more: LimitNOFILE= of a systemd unit, `ulimit -n {}` before it starts",
        LEAST_OPEN_FILES.min(hard)
    );
    match open {
        Some(open) if open as f64 >= soft as f64 * NEARLY_ALL => Note::bad("open files", text, raise),
        _ if soft < LEAST_OPEN_FILES => Note::warn("open files", text, raise),
        _ => Note::ok("open files", text),
    }
}

fn memory(budgets_bytes: u64, machine_bytes: u64, limit_bytes: Option<u64>) -> Note {
    let there = limit_bytes.unwrap_or(machine_bytes);
    let whose = if limit_bytes.is_some() { "the control group" } else { "the machine" };
    let (budgets, there_text) = (size(budgets_bytes as f64), size(there as f64));
    let text =
        format!("{whose} has {there_text}; fresh_memory, query_memory and column_cache may take {budgets} of it");
    let advice = "the kernel kills a process that takes more than there is: give the server more, or lower query_memory or column_cache";
    match budgets_bytes {
        budgets if budgets >= there => Note::bad("memory limit", text, advice),
        budgets if budgets.saturating_add(BESIDE_BUDGETS_BYTES) > there => {
            let text = format!("{text}, and about {} are taken beside them", size(BESIDE_BUDGETS_BYTES as f64));
            Note::warn("memory limit", text, advice)
        }
        _ => Note::ok("memory limit", text),
    }
}

fn kills(killed: u64) -> Option<Note> {
    let processes = if killed == 1 { "1 process".to_owned() } else { format!("{killed} processes") };
    let text = format!("the kernel has killed {processes} of the control group for want of memory");
    let advice = "`journalctl -k` or `dmesg` names them; give the group more memory, or the server less";
    (killed > 0).then(|| Note::warn("memory limit", text, advice))
}

/// The folders of the control groups that a process's memory counts in: of both hierarchies, from its own group upwards.
fn memory_groups(groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            of_first if of_first.split(',').any(|controller| controller == "memory") => "/sys/fs/cgroup/memory",
            _ => return None,
        };
        let above = Path::new(path).ancestors().map(|above| above.strip_prefix("/").unwrap_or(above));
        Some(above.map(|above| Path::new(root).join(above)).collect::<Vec<_>>())
    };
    groups.lines().filter_map(of_line).flatten().collect()
}

/// What the processes of a group may take together, if that is limited.
fn group_limit(group: &Path) -> Option<u64> {
    let files = ["memory.max", "memory.limit_in_bytes"].map(|file| fs::read_to_string(group.join(file)).ok());
    files.into_iter().flatten().filter_map(|text| text.trim().parse().ok()).min()
}

fn oom_kills(events: &str) -> u64 {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// `MemTotal:       24684084 kB`
fn machine_bytes(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    #[test]
    fn open_files_are_enough_or_not() {
        let told = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 unlimited            files     \n";
        assert_eq!(open_files_of(told), Some((1024, u64::MAX)));
        assert_eq!(open_files_of("nothing"), None);
        let level = |soft, open| open_files(soft, u64::MAX, open).level;
        assert_eq!(level(1024, Some(10)), Level::Warn);
        assert_eq!(level(4096, Some(3_277)), Level::Bad);
        assert_eq!(level(4096, None), Level::Ok);
        assert_eq!(open_files(u64::MAX, u64::MAX, Some(7)).text, "7 of any number may be open");
    }

    #[test]
    fn memory_is_enough_for_the_budgets_or_not() {
        let gib = |gib: u64| gib << 30;
        assert_eq!(
            memory(gib(2), gib(8), None).text,
            "the machine has 8.0 GiB; fresh_memory, query_memory and column_cache may take 2.0 GiB of it"
        );
        assert_eq!(memory(gib(2), gib(8), None).level, Level::Ok);
        assert_eq!(memory(gib(2), gib(8), Some(gib(2))).level, Level::Bad);
        let tight = memory(gib(2), gib(8), Some(gib(5) / 2));
        assert_eq!(tight.level, Level::Warn);
        assert!(tight.text.starts_with("the control group has 2.5 GiB"), "{}", tight.text);
        assert_eq!(kills(0), None);
        assert_eq!(oom_kills("low 0\noom 4\noom_kill 3\noom_group_kill 0\n"), 3);
        assert!(kills(3).is_some_and(|note| note.text.contains("killed 3 processes of")));
        assert!(kills(1).is_some_and(|note| note.text.contains("killed 1 process of")));
    }

    #[test]
    fn a_group_counts_in_all_above_it() {
        let groups = memory_groups("9:name=systemd:/\n4:cpu,memory:/a\n0::/b/c\n");
        let wanted = [
            "/sys/fs/cgroup/memory/a",
            "/sys/fs/cgroup/memory/",
            "/sys/fs/cgroup/b/c",
            "/sys/fs/cgroup/b",
            "/sys/fs/cgroup/",
        ];
        assert_eq!(groups, wanted.map(PathBuf::from));
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(group_limit(folder.path()), None);
        fs::write(folder.path().join("memory.max"), "max\n").expect("written");
        assert_eq!(group_limit(folder.path()), None);
        fs::write(folder.path().join("memory.max"), "1048576\n").expect("written");
        assert_eq!(group_limit(folder.path()), Some(1 << 20));
        assert_eq!(machine_bytes("MemTotal:       2 kB\nMemFree: 1 kB\n"), Some(2_048));
    }
}
