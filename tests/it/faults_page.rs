//! Each row of docs/faults.md names tests that there are.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows that the page has.
const ROWS: std::ops::RangeInclusive<u32> = 1..=41;

#[test]
fn each_row_of_the_page_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    rust_files(&root.join("tests"), &mut files);
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("readable source"));
    let tests: HashSet<String> = texts.flat_map(|text| functions(&text)).collect();
    let page = fs::read_to_string(root.join("docs/faults.md")).expect("the page");
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Ok(row) = cells[0].parse::<u32>() else { continue };
        let named: Vec<&str> = cells.last().expect("cells").split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "row {row} names no test");
        for name in &named {
            assert!(tests.contains(*name), "row {row} names {name}, which is no test");
        }
        let is_of_row = |name: &str| name.starts_with("row_") && name.contains(&format!("{row:02}_"));
        assert!(named.iter().any(|name| is_of_row(name)), "row {row} names no test that bears its number");
        rows.push(row);
    }
    assert_eq!(rows, ROWS.collect::<Vec<_>>(), "the page has each row once, in order");
}

/// The names of the functions of a file.
fn functions(text: &str) -> Vec<String> {
    let names = text.split("fn ").skip(1);
    names.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
