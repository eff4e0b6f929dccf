//! The disk beyond how full it is: whether it keeps what it was told to, can be written, and has names left.

use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::mounts::{Mount, mount_of};
use super::seen::Seen;
use crate::cli::note::{Note, size};
use crate::store::DiskRoom;

/// Each data file, segment and block of the cache takes one.
const LEAST_FREE_INODES: u64 = 10_000;
/// File systems of this machine's disks, which flush on fsync.
const KEEP: [&str; 7] = ["ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs"];
/// File systems that have no disk.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// Options with which fsync does not reach the disk, or not all of it.
const UNSAFE_OPTIONS: [&str; 5] = ["nobarrier", "barrier=0", "sync=disabled", "volatile", "data=writeback"];

pub(super) fn check(seen: &Seen) -> Vec<Note> {
    let dir = existing(&seen.settings.data_dir);
    let mut notes = Vec::new();
    if let Ok(figures) = statvfs(dir) {
        let is_read_only = figures.f_flag.contains(StatVfsMountFlags::RDONLY);
        notes.extend(read_only(dir, is_read_only));
        notes.extend(inodes(figures.f_favail, figures.f_files));
    }
    // A server may run as another user than this.
    if seen.server.is_none() && access(dir, Access::WRITE_OK).is_err() {
        let advice = "run the server as its owner, or give it to the server's user: chown -R";
        notes.push(Note::bad("directory", format!("this user may not write {}", dir.display()), advice));
    }
    notes.extend(mount_of(dir).map(|mount| keeps(&mount)));
    let engine = seen.settings.engine();
    let spill_dir = engine.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
    if let (true, Ok(room)) = (seen.server.is_none(), DiskRoom::of(&spill_dir)) {
        notes.extend(temporary(&spill_dir, room.free_bytes, engine.spill_free_bytes));
    }
    notes
}

/// The directory, or the nearest one above it that is there.
fn existing(dir: &Path) -> &Path {
    let above = dir.ancestors().find(|above| above.is_dir());
    above.unwrap_or(Path::new("."))
}

fn read_only(dir: &Path, is_read_only: bool) -> Option<Note> {
    let text = format!("the file system of {} can only be read", dir.display());
    let advice = "after an error of the disk the kernel mounts it so: `dmesg` says why; in a container, mount a volume that can be written";
    is_read_only.then(|| Note::bad("file system", text, advice))
}

/// Some file systems make as many as are needed, and say that there are none.
fn inodes(free: u64, all: u64) -> Option<Note> {
    let advice =
        "no more files can be made when they are gone, however much room there is: `df -i`, and remove small files";
    match free {
        _ if all == 0 => None,
        0 => Some(Note::bad("inodes", format!("none of {all} is free"), advice)),
        free if free < LEAST_FREE_INODES => Some(Note::warn("inodes", format!("{free} of {all} are free"), advice)),
        _ => None,
    }
}

/// Whether what was flushed is there after a loss of power.
fn keeps(mount: &Mount) -> Note {
    let Mount { at, kind, options } = mount;
    let place = format!("{kind} at {}", at.display());
    let option = options.iter().find(|option| UNSAFE_OPTIONS.contains(&option.as_str()));
    match (kind.as_str(), option) {
        (kind, _) if IN_MEMORY.contains(&kind) => {
            let advice = "all spans are gone with the machine: put data_dir on a disk";
            Note::bad("file system", format!("{place} is memory, and no disk"), advice)
        }
        (_, Some(option)) => {
            let advice = "a loss of power may take acknowledged spans: mount it without that option";
            Note::bad("file system", format!("{place} is mounted with {option}, so that fsync does not flush"), advice)
        }
        (kind, None) if KEEP.contains(&kind) => {
            Note::ok("file system", format!("{place}, which flushes on fsync if the disk below it does"))
        }
        ("overlay", None) => {
            let advice =
                "mount a volume there, as docs/install.md shows: what a container keeps in itself goes with it";
            Note::warn("file system", format!("{place} is a container's own"), advice)
        }
        _ => {
            let advice = "network and FUSE file systems flush as their servers do: see theirs. A local disk is faster, and the table can lie \
                          on an object store (table_url)";
            Note::warn("file system", format!("{place}: whether fsync flushes is not known here"), advice)
        }
    }
}

fn temporary(dir: &Path, free_bytes: u64, kept_free_bytes: u64) -> Option<Note> {
    let text = format!(
        "{} has {} free, and spill_free keeps {} of it",
        dir.display(),
        size(free_bytes as f64),
        size(kept_free_bytes as f64)
    );
    let advice = "large statements end with 53100 at once: make room there, or name another directory with TMPDIR";
    (free_bytes <= kept_free_bytes).then(|| Note::warn("temporary", text, advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        Mount {
            at: "/data".into(),
            kind: kind.into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    #[test]
    fn a_file_system_is_judged_by_what_fsync_does_there() {
        for (kind, options, level) in [
            ("ext4", &["rw", "data=ordered"][..], Level::Ok),
            ("xfs", &["rw"], Level::Ok),
            ("ext4", &["rw", "barrier=0"], Level::Bad),
            ("ext4", &["rw", "data=writeback"], Level::Bad),
            ("overlay", &["rw", "volatile"], Level::Bad),
            ("overlay", &["rw"], Level::Warn),
            ("tmpfs", &["rw"], Level::Bad),
            ("nfs4", &["rw"], Level::Warn),
            ("fuse.sshfs", &["rw"], Level::Warn),
        ] {
            assert_eq!(keeps(&mount(kind, options)).level, level, "{kind} {options:?}");
        }
    }

    #[test]
    fn room_names_and_rights_are_told_when_they_are_short() {
        assert_eq!(inodes(5, 0), None, "such a file system makes them as it needs them");
        assert_eq!(inodes(LEAST_FREE_INODES, 1 << 20), None);
        let level = |free| inodes(free, 1 << 20).expect("short").level;
        assert_eq!([level(0), level(LEAST_FREE_INODES - 1)], [Level::Bad, Level::Warn]);
        assert!(read_only(Path::new("/x"), true).is_some_and(|note| note.level == Level::Bad));
        assert_eq!(read_only(Path::new("/x"), false), None);
        assert!(
            temporary(Path::new("/tmp"), 1 << 20, 1 << 30).is_some()
                && temporary(Path::new("/tmp"), 2 << 30, 1 << 30).is_none()
        );
        assert_eq!(existing(Path::new("/no/such/folder")), Path::new("/"));
        assert_eq!(existing(Path::new("none")), Path::new("."));
    }
}
