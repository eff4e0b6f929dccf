//! `\e` and `\i`: statements from an editor and from files.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use super::input::{MAX_PENDING_BYTES, script_lines, too_long};
use super::output_file::in_home;
use super::shell::{Next, Shell};
use super::splitter::{Item, Splitter};
use crate::error::{Error, Kind, Result};

/// The editor when the user names none.
const DEFAULT_EDITOR: &str = "vi";
/// Files that run files that run files, and then one itself.
const MAX_DEPTH: usize = 16;

impl Shell {
    /// Runs the statements and commands of a file, and goes on after one that fails as a script does.
    pub async fn include(&mut self, name: &str) -> Result<Next> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::bad_input(format!("{name} is run by a file that it runs")));
        }
        let text = read(&in_home(name))?;
        self.depth += 1;
        let done = self.lines(&text).await;
        self.depth -= 1;
        done
    }

    async fn lines(&mut self, text: &str) -> Result<Next> {
        let (mut splitter, mut end) = (Splitter::default(), Next::GoOn);
        for line in script_lines(text) {
            for item in splitter.push_line(line) {
                self.pending = splitter.pending().to_owned();
                match Box::pin(self.item_of_script(&item)).await? {
                    Next::Quit => return Ok(Next::Quit),
                    Next::ForgetPending => splitter.reset(),
                    Next::Moved => end = Next::Moved,
                    Next::GoOn | Next::Typed(_) | Next::Stopped => {}
                }
                if self.stops() {
                    return Ok(end);
                }
            }
        }
        match splitter.finish() {
            Some(rest) => Box::pin(self.item_of_script(&Item::Statement(rest))).await.map(|_| end),
            None => Ok(end),
        }
    }

    /// Opens the user's editor on a file, or on the statement so far, or the last one; what it leaves is typed in the place of the user.
    pub fn edit(&mut self, file: Option<&str>) -> Result<Next> {
        if !self.terminal.interactive {
            return Err(Error::bad_input("\\e needs a terminal"));
        }
        let text = match file {
            Some(name) => {
                let path = in_home(name);
                run_editor(&path)?;
                read(&path)?
            }
            None => self.edit_text()?,
        };
        Ok(if text.trim().is_empty() { Next::GoOn } else { Next::Typed(text) })
    }

    fn edit_text(&self) -> Result<String> {
        let failed = |error: std::io::Error| Error::io("a file for the editor", error);
        let before = match (self.pending.trim(), &self.last) {
            ("", Some(last)) => format!("{};\n", last.text),
            ("", None) => String::new(),
            (pending, _) => format!("{pending}\n"),
        };
        let mut file = tempfile::Builder::new().prefix("spanhouse-").suffix(".sql").tempfile().map_err(failed)?;
        file.write_all(before.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
        run_editor(file.path())?;
        // An editor may have put another file in its place.
        let after = read(file.path())?;
        match after == before {
            // Nothing was changed, so nothing is meant to run.
            true if self.pending.trim().is_empty() => Ok(String::new()),
            _ => Ok(after),
        }
    }
}

/// Runs the editor and waits for it.
fn run_editor(path: &Path) -> Result<()> {
    let named = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|text| !text.trim().is_empty());
    let editor = named.unwrap_or_else(|| DEFAULT_EDITOR.to_owned());
    // A name may have arguments, as `code --wait`.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::bad_input(format!("the editor {editor} ended with {status}"))
            .with_hint("$VISUAL or $EDITOR names another")),
        Err(error) => Err(Error::io(format!("the editor {editor}"), error)),
    }
}

fn read(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("there is no file {}", path.display())),
        _ => Error::io(format!("cannot read {}", path.display()), error),
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_PENDING_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_PENDING_BYTES {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|_| Error::bad_input(format!("{} is not UTF-8 text", path.display())))
}
