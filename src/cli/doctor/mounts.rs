//! On which file system a path lies, as Linux lists them (proc(5), `/proc/PID/mountinfo`).

use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub at: PathBuf,
    /// Such as `ext4`.
    pub kind: String,
    /// Those of the mount and of the file system.
    pub options: Vec<String>,
}

/// The file system that a path lies on; `None` where the system does not tell.
pub(super) fn mount_of(path: &Path) -> Option<Mount> {
    let path = path.canonicalize().ok()?;
    find(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, &path)
}

/// The last of the deepest mounts: what is mounted later hides what was there.
fn find(table: &str, path: &Path) -> Option<Mount> {
    let around = table.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.at));
    around.max_by_key(|mount| mount.at.components().count())
}

/// `36 35 98:0 /root /at rw,noatime … - ext4 /dev/sda1 rw,errors=continue`
fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let (mut mount, mut file_system) = (mount.split(' ').skip(4), file_system.split(' '));
    let (at, own_options) = (mount.next()?, mount.next()?);
    let (kind, options) = (file_system.next()?, file_system.nth(1).unwrap_or(""));
    let options = own_options.split(',').chain(options.split(',')).filter(|option| !option.is_empty());
    Some(Mount { at: unescaped(at).into(), kind: kind.to_owned(), options: options.map(str::to_owned).collect() })
}

/// Spaces, tabs, newlines and backslashes stand as three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
        30 22 0:30 / /var/lib/my\\040data rw,noatime - xfs /dev/sdb1 rw,nobarrier\n\
        31 30 0:31 / /var/lib/my\\040data rw - tmpfs tmpfs rw,size=1024k\n\
        32 22 0:32 / /var/lib rw - nfs4 host:/x rw\n";

    #[test]
    fn a_path_lies_on_the_deepest_mount_around_it_and_on_the_last_of_those() {
        let of = |path: &str| find(TABLE, Path::new(path)).expect("a mount");
        assert_eq!((of("/srv/x").kind.as_str(), of("/var/lib/other").kind.as_str()), ("ext4", "nfs4"));
        assert_eq!(of("/var/lib/my data/table").kind, "tmpfs");
        assert_eq!(of("/var/lib/my database").kind, "nfs4", "a name that only begins alike is another");
        assert_eq!(of("/").options, ["rw", "relatime", "rw", "errors=remount-ro"]);
        assert_eq!(find("nonsense\n", Path::new("/")), None);
    }
}
