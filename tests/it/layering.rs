//! Folders of `src` depend downwards only, in the order that `lib.rs` states.

use std::fs;
use std::path::{Path, PathBuf};

/// Each folder with the folders that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("typed", &[]),
    ("trust", &["error"]),
    ("analysis", &[]),
    ("audit", &["error"]),
    ("access", &["error", "audit"]),
    ("model", &["error"]),
    ("pg", &["error", "model"]),
    ("otlp", &["error", "model"]),
    ("store", &["error", "model", "otlp"]),
    ("engine", &["error", "typed", "analysis", "audit", "model", "pg", "store"]),
    ("render", &["error", "model", "pg"]),
    ("formats", &["error", "typed", "model", "otlp"]),
    ("generate", &["error", "model"]),
    ("ingest", &["error", "trust", "access", "model", "otlp", "store"]),
    ("admin", &["error", "access", "engine", "ingest", "store"]),
    ("server", &["error", "access", "audit", "model", "pg", "engine"]),
    ("fuzzing", &["formats", "otlp", "server", "store"]),
    ("report", &["error", "typed", "pg", "engine", "render", "store"]),
    ("repl", &["error", "typed", "trust", "model", "pg", "engine", "render", "store"]),
    (
        "cli",
        &[
            "error", "typed", "audit", "access", "model", "otlp", "store", "engine", "render", "formats", "generate",
            "ingest", "admin", "server", "repl", "report",
        ],
    ),
];

#[test]
fn folders_depend_downwards_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let place = file.strip_prefix(&src).expect("below src");
        let folder = place.iter().next().and_then(|part| part.to_str()).expect("a name").trim_end_matches(".rs");
        if matches!(folder, "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) else {
            wrong.push(format!("{folder} has no place in the order of folders"));
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable source");
        // As many steps as the file's module has around it below `crate`; its tests are one module deeper.
        let most = place.components().count() - usize::from(place.ends_with("mod.rs")) - 1;
        let (code, tests) = text.split_once("mod tests {").unwrap_or((&text, ""));
        if steps_up(code) > most || steps_up(tests) > most + 1 {
            wrong.push(format!("{} leaves its folder by `super::`; write `crate::`", place.display()));
        }
        for used in used_folders(&text) {
            if used.is_empty() {
                wrong.push(format!("{} has a group after `crate::`; write a line for each folder", place.display()));
            } else if used != folder && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}, which lies above or beside {folder}", place.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names that follow `crate::` in code, comments left out.
fn used_folders(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(first_name)).collect()
}

/// The name that a path begins with; empty before a group in braces.
fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The most `super::` in a row.
fn steps_up(text: &str) -> usize {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let chain = |line: &str| {
        let ends = line.match_indices("super::").map(|(at, found)| (at, at + found.len()));
        let longest = ends.fold((0, 0, 0), |(longest, chain, end), (from, to)| {
            let chain = if chain > 0 && from == end { chain + 1 } else { 1 };
            (longest.max(chain), chain, to)
        });
        longest.0
    };
    code.map(chain).max().unwrap_or(0)
}

#[test]
fn paths_are_read_whatever_their_form() {
    assert_eq!(used_folders("use crate::store::X;\n// crate::a\nlet a = crate::pg::b();"), ["store", "pg"]);
    assert_eq!(used_folders("use crate::{store::X, pg};"), [""], "a group names no folder that could be looked at");
    assert_eq!(steps_up("use super::a;\n use super::super::b::super::c;"), 2);
    assert_eq!(steps_up("use crate::a; // no\n// super::super::x"), 0);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable folder").map(|entry| entry.expect("readable entry").path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
