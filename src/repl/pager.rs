//! Results that are longer or wider than the terminal, in the user's pager.
//!
//! What fits is written as it is. Only what has turned out not to fit starts the pager, so that a short answer stays on the screen.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use super::text::width;

/// What is held while it may yet fit: more is no screen.
const MAX_HELD_BYTES: usize = 1 << 20;
/// The lines that the prompt needs below a result.
const PROMPT_LINES: usize = 2;
/// The pager when the user names none: it leaves colours as they are and does not fold long lines.
const DEFAULT_PAGER: &str = "less -RS";

/// Which pager there is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pager {
    /// That of `$PAGER`, else `less` where it is installed.
    #[default]
    Auto,
    Off,
    Command(String),
}

impl Pager {
    /// The pager of a name: `off`, `on`, or a command.
    pub fn named(text: &str) -> Self {
        match text.trim() {
            "off" | "" => Self::Off,
            "on" | "auto" => Self::Auto,
            command => Self::Command(command.to_owned()),
        }
    }

    /// What a user is told.
    pub fn name(&self) -> &str {
        match self {
            Self::Auto => "on",
            Self::Off => "off",
            Self::Command(command) => command,
        }
    }

    /// The command to run, if there is one.
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Command(command) => Some(command.clone()),
            Self::Auto => match std::env::var("PAGER").ok().filter(|command| !command.trim().is_empty()) {
                Some(command) => Some(command),
                None => is_installed("less").then(|| DEFAULT_PAGER.to_owned()),
            },
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A writer to standard output, by way of the pager when the text does not fit. What is held is written, and the pager waited for, when it is dropped.
pub struct Paged {
    command: String,
    columns: usize,
    /// The lines that fit.
    lines: usize,
    held: Vec<u8>,
    /// Where in `held` the line begins that has not ended yet.
    line_start: usize,
    seen_lines: usize,
    pager: Option<Child>,
}

impl Paged {
    /// For a terminal of so many columns and rows.
    pub fn new(command: String, columns: usize, rows: usize) -> Self {
        let lines = rows.saturating_sub(PROMPT_LINES);
        Self { command, columns, lines, held: Vec::new(), line_start: 0, seen_lines: 0, pager: None }
    }

    /// Whether what is held does not fit the screen.
    fn overflows(&mut self) -> bool {
        while let Some(length) = self.held[self.line_start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.held[self.line_start..self.line_start + length]);
            if visible_width(&line) > self.columns {
                return true;
            }
            self.line_start += length + 1;
            self.seen_lines += 1;
        }
        self.seen_lines > self.lines || self.held.len() > MAX_HELD_BYTES
    }

    fn start(&mut self) -> io::Result<()> {
        let mut child = Command::new("sh").arg("-c").arg(&self.command).stdin(Stdio::piped()).spawn()?;
        let held = std::mem::take(&mut self.held);
        let written = child.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(&held));
        self.pager = Some(child);
        written
    }
}

impl Write for Paged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(stdin) = self.pager.as_mut().and_then(|pager| pager.stdin.as_mut()) {
            return stdin.write(bytes);
        }
        self.held.extend_from_slice(bytes);
        if self.overflows() {
            self.start()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.pager.as_mut().and_then(|pager| pager.stdin.as_mut()) {
            Some(stdin) => stdin.flush(),
            None => Ok(()),
        }
    }
}

impl Drop for Paged {
    fn drop(&mut self) {
        match &mut self.pager {
            Some(pager) => {
                drop(pager.stdin.take());
                // Two that read one terminal would each get half of the keys.
                let _ = pager.wait();
            }
            None => {
                // Nobody is left to tell when the terminal has gone.
                let _ = io::stdout().write_all(&self.held).and_then(|()| io::stdout().flush());
            }
        }
    }
}

/// The columns of a line without its colours.
fn visible_width(line: &str) -> usize {
    if !line.contains('\x1b') {
        return width(line);
    }
    let mut pieces = line.split('\x1b');
    let first = pieces.next().map_or(0, width);
    first + pieces.map(|piece| width(piece.split_once('m').map_or("", |(_, text)| text))).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes to a pager that copies into a file, and gives what came there; `None` when it was not started.
    fn paged(text: &str, columns: usize, rows: usize) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("out");
        let mut out = Paged::new(format!("cat > {}", file.display()), columns, rows);
        for piece in text.as_bytes().chunks(7) {
            out.write_all(piece).expect("written");
        }
        let is_started = out.pager.is_some();
        if !is_started {
            out.held.clear();
        }
        drop(out);
        is_started.then(|| std::fs::read_to_string(&file).expect("the pager wrote"))
    }

    #[test]
    fn only_what_does_not_fit_goes_to_the_pager() {
        let long = "a line\n".repeat(30);
        assert_eq!(paged(&long, 80, 24).as_deref(), Some(long.as_str()));
        assert_eq!(paged(&"a line\n".repeat(22), 80, 24), None);
        let wide = format!("short\n{}\nshort\n", "x".repeat(81));
        assert_eq!(paged(&wide, 80, 24).as_deref(), Some(wide.as_str()));
        assert_eq!(paged(&format!("\x1b[1m{}\x1b[0m\n", "é".repeat(80)), 80, 24), None, "colours take no room");
    }

    #[test]
    fn a_pager_has_a_name() {
        assert_eq!(Pager::named("off"), Pager::Off);
        assert_eq!(Pager::named("on"), Pager::Auto);
        assert_eq!(Pager::named("less -F").command().as_deref(), Some("less -F"));
        assert_eq!(Pager::Off.command(), None);
    }

    #[test]
    fn a_pager_that_has_gone_is_a_closed_pipe() {
        let mut out = Paged::new("exit 0".to_owned(), 80, 24);
        let written = (0..100_000).try_for_each(|_| out.write_all(b"a line that is long enough\n"));
        assert_eq!(written.expect_err("nobody reads").kind(), io::ErrorKind::BrokenPipe);
    }
}
