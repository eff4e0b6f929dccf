//! Which process listens on a port, where the system tells: Linux does, of the processes of this user, and of all to root.

use std::fs;
use std::path::Path;

/// The state of a socket that listens, in the kernel's tables.
const LISTENS: &str = "0A";

/// The process that listens on a port of this machine, as a person names it.
pub(super) fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inodes: Vec<u64> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.into_iter().find(|pid| has_one_of(&Path::new("/proc").join(pid.to_string()), &sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Some(match name {
        Some(name) => format!("process {pid} ({})", name.trim()),
        None => format!("process {pid}"),
    })
}

fn has_one_of(process: &Path, sockets: &[String]) -> bool {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link)))
}

/// The inodes of the sockets of a table that listen on a port.
fn listening(table: &str, port: u16) -> Vec<u64> {
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, ..] = words.as_slice() else { return None };
        let local_port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (local_port == port && *state == LISTENS).then(|| words.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:10DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 81234 1 0 100 0 0 10 0\n\
            1: 0100007F:10DD 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 81239 1 0 20 4 30 10 -1\n\
            2: 00000000:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1\n";
        assert_eq!(listening(table, 4317), [81234]);
        assert_eq!(listening(table, 5433), [7]);
        assert!(listening(table, 4318).is_empty() && listening("", 1).is_empty());
    }
}
