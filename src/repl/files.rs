//! The names of files that the Tab key offers.

use std::path::Path;

use super::output_file::in_home;

/// More would fill the screen.
const MAX_FILES: usize = 500;

/// Paths that begin with what was typed; a folder ends in `/`, so that it can be gone into. A name with spaces is not offered: it would need quotes.
pub fn starting_with(typed: &str) -> Vec<String> {
    let (folder, begun) = typed.rfind('/').map_or(("", typed), |slash| typed.split_at(slash + 1));
    let place = if folder.is_empty() { Path::new(".").to_owned() } else { in_home(folder) };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_hidden = name.starts_with('.') && !begun.starts_with('.');
        let is_plain =
            !name.chars().any(|letter| letter.is_whitespace() || letter.is_control() || "'\"".contains(letter));
        let end = if entry.path().is_dir() { "/" } else { "" };
        (is_plain && !is_hidden && name.starts_with(begun)).then(|| format!("{folder}{name}{end}"))
    });
    names.take(MAX_FILES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_offered() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["report.sql", "result.csv", ".hidden", "two words.sql"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        std::fs::create_dir(folder.path().join("reports")).expect("made");
        let place = format!("{}/", folder.path().display());
        let ends = |typed: &str| {
            let mut names = starting_with(&format!("{place}{typed}"));
            names.sort();
            names.iter().filter_map(|name| name.strip_prefix(&place)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(ends("rep"), ["report.sql", "reports/"]);
        assert_eq!(ends(""), ["report.sql", "reports/", "result.csv"]);
        assert_eq!(ends(".h"), [".hidden"]);
        assert!(starting_with("/no/such/folder/x").is_empty());
    }
}
