//! The reports: what is wrong in their files, as `report check` tells it.

use super::seen::Seen;
use crate::cli::note::Note;
use crate::cli::report::mistakes_on;
use crate::error::Result;
use crate::render::count;
use crate::report::{Folder, Mistake};

/// More mistakes are for `report check` to list.
const MOST_SHOWN: usize = 3;

pub(super) async fn check(seen: &Seen) -> Option<Note> {
    let dir = &seen.settings.reports_dir;
    if !dir.is_dir() {
        return Some(Note::ok("report files", format!("there is no folder {}, so no report runs", dir.display())));
    }
    let stored = seen.stored.as_ref()?;
    let folder = Folder::open(dir);
    let number = folder.reports().len();
    let mistakes = mistakes_on(&folder, &stored.engine).await;
    Some(judge(&dir.display().to_string(), number, &mistakes))
}

fn judge(dir: &str, number: usize, mistakes: &Result<Vec<Mistake>>) -> Note {
    match mistakes {
        Err(error) => Note::bad(
            "report files",
            format!("{dir} cannot be checked: {error}"),
            "`spanhouse report check` tries again",
        ),
        Ok(mistakes) if mistakes.is_empty() => {
            Note::ok("report files", format!("{} in {dir}, without a mistake", count(number as u64, "report")))
        }
        Ok(mistakes) => {
            let mut lines: Vec<String> = mistakes.iter().take(MOST_SHOWN).map(Mistake::to_string).collect();
            if mistakes.len() > MOST_SHOWN {
                lines.push(format!(
                    "and {} more: spanhouse report check --reports-dir {dir}",
                    mistakes.len() - MOST_SHOWN
                ));
            }
            let text = format!(
                "{} in {dir}: such a report does not run, or runs as it was before",
                count(mistakes.len() as u64, "mistake")
            );
            Note::bad("report files", text, lines.join("\n"))
        }
    }
}
