//! Takes the ids of traces out of what reports keep: recorded tables, journals, and the files of results.
//!
//! In tables and journals the word `redacted` stands for the id, wherever in a text it stood; a result in whose files it stands goes whole, as its
//! page may show the trace itself. What was delivered is out of reach.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::home::ReportsHome;
use super::journal::Journal;
use super::output::unbroken;
use super::record::{self, TablesFolder};
use super::results;
use super::turn::Standstill;
use crate::error::{Error, Result};

/// The digits of an id.
const ID_DIGITS: usize = 32;
/// What stands for an id.
const REDACTED: &str = "redacted";
/// Files of a result that hold text as it is; pages are searched without what breaks their words.
const TEXT_ENDINGS: [&str; 5] = ["md", "csv", "ndjson", "json", "svg"];

/// What went, or would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedactedReports {
    /// Texts in recorded tables.
    pub texts: u64,
    /// Lines of the journals of runs and alerts.
    pub lines: u64,
    /// Results with all their files.
    pub results: u64,
    /// Of these, those that are pictures only, which cannot be searched.
    pub pictures: u64,
}

/// Takes the ids of traces out of what the reports of a data directory keep. No report runs meanwhile: whoever looks for the traces while all stand
/// still, and holds that until the spans are gone, knows that no report recorded an id anew. Waits for the disk, and done again after it was
/// interrupted it goes on.
///
/// # Errors
/// When something cannot be read, so that nobody knows what is in it.
pub fn redact_reports(home: &ReportsHome, traces: &HashSet<u128>, _still: &Standstill) -> Result<RedactedReports> {
    redacted(home, traces, false)
}

/// Counts what [`redact_reports`] would take.
///
/// # Errors
/// When something cannot be read.
pub fn redactable_reports(home: &ReportsHome, traces: &HashSet<u128>) -> Result<RedactedReports> {
    redacted(home, traces, true)
}

fn redacted(home: &ReportsHome, traces: &HashSet<u128>, dry_run: bool) -> Result<RedactedReports> {
    if !home.dir().is_dir() || traces.is_empty() {
        return Ok(RedactedReports::default());
    }
    let edit = |text: &str| without_ids(text, traces);
    let texts = record::redact(&TablesFolder::of(home), &edit, dry_run)?;
    let mut redacted = RedactedReports { texts, ..RedactedReports::default() };
    for journal in [home.runs_journal(), home.alerts_journal()] {
        let journal = Journal::new(&journal);
        redacted.lines += journal.read()?.iter().filter(|(_, line)| edit(line).is_some()).count() as u64;
        if !dry_run {
            journal.rewrite(|line| Some(edit(line).map_or(Cow::Borrowed(line), Cow::Owned)))?;
        }
    }
    for folder in results::folders_of(home)? {
        let found = search(&folder, traces)?;
        if found != Found::Nothing {
            redacted.results += 1;
            redacted.pictures += u64::from(found == Found::PicturesOnly);
            if !dry_run {
                let failed = |error| Error::io(format!("cannot remove {}", folder.display()), error);
                fs::remove_dir_all(&folder).map_err(failed)?;
            }
        }
    }
    Ok(redacted)
}

/// The text with another word for each id; `None` when there is none in it.
fn without_ids(text: &str, traces: &HashSet<u128>) -> Option<String> {
    let mut places = ids(text.as_bytes(), traces).peekable();
    places.peek()?;
    let (mut edited, mut end) = (String::with_capacity(text.len()), 0);
    for at in places {
        edited.push_str(&text[end..at]);
        edited.push_str(REDACTED);
        end = at + ID_DIGITS;
    }
    edited.push_str(&text[end..]);
    Some(edited)
}

/// Where ids begin that are among `traces`: so many hex digits with none beside them, large or small, but those of an escape that ends there.
fn ids<'a>(bytes: &'a [u8], traces: &'a HashSet<u128>) -> impl Iterator<Item = usize> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (run, end) = (at, at + digits);
            at += digits.max(1);
            let Some(begin) = end.checked_sub(ID_DIGITS).filter(|begin| *begin >= run) else { continue };
            let is_whole = begin == run || escape_digits(&bytes[..run]).contains(&(begin - run));
            if is_whole && id_of(&bytes[begin..end]).is_some_and(|id| traces.contains(&id)) {
                return Some(begin);
            }
        }
        None
    })
}

/// How many hex digits may be those of an escape that begins at the end of `text`: `\u001b`, `\x1b`, `\033`, `\b`, `%1b`.
fn escape_digits(text: &[u8]) -> &'static [usize] {
    match text {
        [.., b'\\', b'u'] => &[4],
        [.., b'\\', b'U'] => &[8],
        [.., b'\\', b'x'] | [.., b'%'] => &[2],
        [.., b'\\'] => &[1, 2, 3],
        _ => &[],
    }
}

fn id_of(digits: &[u8]) -> Option<u128> {
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// What the files of a result tell of the ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    AnId,
    /// A picture cannot be searched: alone, it is taken for one that shows the trace.
    PicturesOnly,
}

/// Looks for ids in the files of a result.
fn search(folder: &Path, traces: &HashSet<u128>) -> Result<Found> {
    let failed = |error| Error::io(format!("cannot read {}", folder.display()), error);
    let (mut has_rows, mut has_picture) = (false, false);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let found = match ending.as_str() {
            "parquet" => parquet_holds(&path, traces)?,
            // A page breaks long words, ids among them.
            "html" => ids(unbroken(&fs::read(&path).map_err(failed)?).as_bytes(), traces).next().is_some(),
            ending if TEXT_ENDINGS.contains(&ending) => ids(&fs::read(&path).map_err(failed)?, traces).next().is_some(),
            _ => false,
        };
        if found {
            return Ok(Found::AnId);
        }
        has_picture |= ending == "png";
        has_rows |= !matches!(ending.as_str(), "png" | "json");
    }
    Ok(if has_picture && !has_rows { Found::PicturesOnly } else { Found::Nothing })
}

fn parquet_holds(path: &Path, traces: &HashSet<u128>) -> Result<bool> {
    let damaged = |why: &dyn std::fmt::Display| Error::corrupt(format!("{} is damaged: {why}", path.display()));
    let file = fs::File::open(path).map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    for batch in reader.map_err(|error| damaged(&error))? {
        let batch = batch.map_err(|error| damaged(&error))?;
        for column in batch.columns() {
            // Lists, maps and structures are searched as the text that they are shown as.
            let options = FormatOptions::default();
            let shown = ArrayFormatter::try_new(column, &options).map_err(|error| damaged(&error))?;
            let found = |row| ids(shown.value(row).to_string().as_bytes(), traces).next().is_some();
            if (0..column.len()).any(found) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::error::OBJECT_IN_USE;
    use crate::report::deadline::Deadline;
    use crate::report::definition::{Output, OutputFormat};
    use crate::report::frame::Frame;
    use crate::report::output::{self, Artifact, testing};
    use crate::report::results::Parcel;
    use crate::report::turn::Turn;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const OTHER: &str = "0af7651916cd43dd8448eb211c80319c";

    fn traces() -> HashSet<u128> {
        HashSet::from([u128::from_str_radix(ID, 16).expect("an id")])
    }

    fn gone(home: &ReportsHome, traces: &HashSet<u128>) -> RedactedReports {
        let still = Standstill::take(home).expect("nothing runs");
        redact_reports(home, traces, &still).expect("redacted")
    }

    #[test]
    fn an_id_goes_wherever_it_stands_and_nothing_else() {
        let edited = |text: &str| without_ids(text, &traces());
        assert_eq!(edited(ID).as_deref(), Some("redacted"));
        let upper = ID.to_uppercase();
        let text = format!("a {ID}, {OTHER} and 00-{upper}-00f067aa0ba902b7-01 é {ID}");
        let expected = format!("a redacted, {OTHER} and 00-redacted-00f067aa0ba902b7-01 é redacted");
        assert_eq!(edited(&text), Some(expected));
        for text in ["", OTHER, &ID[1..], &format!("{ID}0"), &format!("f{ID}"), "é"] {
            assert_eq!(edited(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_behind_an_escaped_character_is_found_however_that_is_written() {
        let edited = |text: &str| without_ids(text, &traces());
        for escape in [
            "\\u001b",
            "\\u0000",
            "\\U0000001b",
            "\\x1b",
            "\\x00",
            "\\033",
            "\\0",
            "\\b",
            "\\f",
            "%1B",
            "\\u{1b}",
            "&#x1b;",
        ] {
            let expected = format!("x {escape}redacted {OTHER}");
            assert_eq!(edited(&format!("x {escape}{ID} {OTHER}")), Some(expected), "{escape}");
            assert_eq!(edited(&format!("x {escape}{OTHER}")), None, "{escape}");
        }
        // As it stands in a journal and in a message of JSON.
        for c in (0..0x20_u8).map(char::from).chain(['\u{7f}', '\u{9b}', '"', '\\']) {
            let line = serde_json::to_string(&[format!("{c}{ID}")]).expect("JSON");
            let read: Vec<String> = serde_json::from_str(&edited(&line).expect("found")).expect("JSON still");
            assert_eq!(read, [format!("{c}redacted")]);
        }
        assert_eq!(edited(&format!("001b{ID}")), None, "digits of nothing");
        assert_eq!(edited(&format!("\\u01b{ID}")), None, "no escape has so few");
    }

    /// A file with a list of names.
    fn parquet(names: &[&str]) -> Artifact {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value(names.iter().map(Some));
        let column: ArrayRef = Arc::new(lists.finish());
        let rows = RecordBatch::try_from_iter([("names", column)]).expect("rows");
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("written");
        let bytes = writer.into_inner().expect("a file").into();
        Artifact { file_name: "a.parquet".to_owned(), media_type: "application/vnd.apache.parquet", bytes }
    }

    #[test]
    fn a_page_that_was_drawn_is_searched_as_it_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        let whole = testing::parts();
        // The id stands in the notices, in the rows and over the drawing of the trace: each alone is enough.
        let no_rows = Frame { batches: Vec::new(), rows: 0, ..whole.frame.clone() };
        let in_notices = testing::Parts { frame: no_rows.clone(), traces: Vec::new(), ..testing::parts() };
        let in_rows = testing::Parts { notices: Vec::new(), traces: Vec::new(), ..testing::parts() };
        let nowhere = testing::Parts { frame: no_rows, notices: Vec::new(), traces: Vec::new(), ..testing::parts() };
        let cases = [("a@1", whole, true), ("a@2", in_notices, true), ("a@3", in_rows, true), ("a@4", nowhere, false)];
        for format in [OutputFormat::Html, OutputFormat::Markdown] {
            for (run, parts, _) in &cases {
                let artifact = output::render(&Output { format }, &parts.page()).expect("drawn");
                let parcel = Parcel { artifacts: vec![artifact], ..Parcel::default() };
                results::write(&home, "a", run, &parcel, &Deadline::never()).expect("written");
            }
            let traces = HashSet::from([u128::from_str_radix(OTHER, 16).expect("an id")]);
            assert_eq!(gone(&home, &traces).results, 3, "{format}");
            for (run, _, goes) in &cases {
                assert_eq!(home.dir().join(results::folder_of("a", run)).exists(), !goes, "{format} {run}");
            }
        }
    }

    #[test]
    fn journals_and_results_lose_the_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        assert_eq!(gone(&home, &traces()), RedactedReports::default());
        let journals = [home.runs_journal(), home.alerts_journal()].map(|path| Journal::new(&path));
        for journal in &journals {
            journal.append(&[format!("{{\"x\":[\"{ID}\",\"{OTHER}\"]}}"), "{}".to_owned()]).expect("noted");
        }
        let artifact = |name: &str, bytes: &str| Artifact {
            file_name: name.to_owned(),
            media_type: "text/plain",
            bytes: bytes.to_owned().into(),
        };
        let results = [
            ("a@1", vec![artifact("a.html", &format!("<td>{ID}</td>")), artifact("a.png", "")], false),
            ("a@2", vec![artifact("a.html", &format!("<td>{OTHER}</td>")), artifact("a.png", "")], true),
            ("a@3", vec![artifact("a.png", "")], false),
            ("a@4", vec![artifact("a.csv", &format!("x\n{ID}\n"))], false),
            ("a@5", vec![parquet(&[OTHER, ID])], false),
            ("a@6", vec![parquet(&[OTHER])], true),
        ];
        for (run, artifacts, _) in &results {
            let parcel = Parcel { artifacts: artifacts.clone(), ..Parcel::default() };
            results::write(&home, "a", run, &parcel, &Deadline::never()).expect("written");
        }
        let expected = RedactedReports { texts: 0, lines: 2, results: 4, pictures: 1 };
        assert_eq!(redactable_reports(&home, &traces()).expect("counted"), expected);
        let turn = Turn::take(&home, "a").expect("free");
        assert_eq!(Standstill::take(&home).expect_err("a run").sqlstate(), OBJECT_IN_USE);
        drop(turn);
        assert_eq!(gone(&home, &traces()), expected);
        assert_eq!(gone(&home, &traces()), RedactedReports::default());
        for journal in &journals {
            let lines: Vec<String> = journal.read().expect("whole").into_iter().map(|(_, line)| line).collect();
            assert_eq!(lines, [format!("{{\"x\":[\"redacted\",\"{OTHER}\"]}}"), "{}".to_owned()]);
        }
        for (run, _, stays) in results {
            assert_eq!(home.dir().join(results::folder_of("a", run)).exists(), stays, "{run}");
        }
    }
}
