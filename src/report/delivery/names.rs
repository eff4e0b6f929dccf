//! Where the files of a run go at a place that has many: `REPORT/RUN/FILE`, each a name that cannot lead elsewhere.

use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use crate::report::history::Run;

/// Bytes of a name. File systems take 255.
const MOST_NAME: usize = 120;

/// The folder of a run as its two names.
pub(super) fn folder(run: &Run) -> [String; 2] {
    // The name of the report begins the id too, and would be there twice.
    let time = run.id.strip_prefix(&run.report).and_then(|rest| rest.strip_prefix('@')).unwrap_or(&run.id);
    [safe(&run.report), safe(time)]
}

/// Where a browser finds a file of a run, or its folder with an empty name, below the address at which results are shown.
pub(super) fn address(results: &Url, run: &Run, file: &str) -> Option<Url> {
    let mut url = results.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(folder(run)).push(file);
    Some(url)
}

/// A name of letters, digits, `-`, `_` and `.` that does not begin with a dot. Colons become nothing, as in the names of our own folders;
/// a name that loses more is told apart by a hash.
pub(super) fn safe(name: &str) -> String {
    let name = name.replace(':', "");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= MOST_NAME && !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain) {
        return name;
    }
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).take(MOST_NAME).collect();
    // A hash keeps the ending, by which a file's kind is known.
    let (stem, ending) = plain.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).unwrap_or((&plain, ""));
    let dot = if ending.is_empty() { "" } else { "." };
    format!("{}-{:08x}{dot}{ending}", stem.trim_start_matches('.'), xxh3_64(name.as_bytes()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delivery::testing::run;

    #[test]
    fn a_run_has_a_folder_of_its_own() {
        assert_eq!(folder(&run()), ["health", "2026-03-29T050000Z"]);
        let manual = Run { id: "health@2026-03-29T05:00:00.123Z-manual".to_owned(), ..run() };
        assert_eq!(folder(&manual)[1], "2026-03-29T050000.123Z-manual");
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for hostile in
            ["..", ".", "", "/etc/passwd", "a/../b", "..\\x", "a\0b", ".hidden", "-rf /", "ü", "a b", "..html"]
        {
            let name = safe(hostile);
            assert!(!name.starts_with('.') && !name.is_empty() && name.len() < 200, "{hostile:?}: {name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{hostile:?}: {name}");
        }
        assert_ne!(safe("a/b"), safe("a?b"));
        assert!(safe(&"a".repeat(500)).len() <= MOST_NAME + 9);
        assert!(safe("my report.html").ends_with(".html"));
        assert_eq!(safe("health.html"), "health.html");
    }
}
