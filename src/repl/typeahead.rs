//! Keys that come after Enter while the terminal still sends keys to the line editor and not signals to the process.
//!
//! The editor reads what has come in one piece, and keeps what follows the Enter. When Enter is pressed, reading is made not to wait any more, and the
//! keys are taken from the editor one by one until there are none, which ends the line. Ctrl-C among them stops what was entered, and
//! as in a terminal what was typed before it is forgotten; the others are typed once the statement has ended.

use std::io::{self, stdin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, KeyCode, KeyEvent, Modifiers};

use super::interrupts::Interrupts;

const INTERRUPT: char = '\x03';
const ESCAPE: char = '\x1b';
const BACKSPACES: [char; 2] = ['\x08', '\x7f'];

/// What is between the editor and the loop; the parts that rustyline calls share it.
#[derive(Debug, Clone)]
pub struct Typeahead {
    interrupts: Interrupts,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    entered: Option<Entered>,
    /// Where the cursor is in the line, in bytes.
    cursor: usize,
    typed: String,
    /// Whether Ctrl-C was among the keys.
    is_stopped: bool,
}

/// A line, and what came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    pub line: String,
    /// Where the cursor was when it was entered, in bytes.
    pub cursor: usize,
    /// The presses of Ctrl-C before it was entered.
    pub presses: u64,
    /// What was typed after it, and after the last Ctrl-C.
    pub typed: String,
    /// Whether Ctrl-C was pressed before all of that.
    pub is_stopped: bool,
}

impl Typeahead {
    pub fn new(interrupts: Interrupts) -> Self {
        Self { interrupts, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The presses of Ctrl-C until now.
    pub fn presses(&self) -> u64 {
        self.interrupts.count()
    }

    /// Forgets the line before.
    pub fn begin(&self) {
        *self.state() = State::default();
    }

    /// Takes the line that Enter ends; tells whether the editor is to read on until there are no keys.
    pub fn enter(&self, line: &str) -> bool {
        let mut state = self.state();
        let cursor = state.cursor.min(line.len());
        let presses = self.interrupts.count();
        state.entered =
            Some(Entered { line: line.to_owned(), cursor, presses, typed: String::new(), is_stopped: false });
        stop_waiting().is_ok()
    }

    /// The line, if there is one, once the terminal sends signals again. What has come meanwhile is read first.
    pub fn end(&self) -> Option<Entered> {
        if self.state().entered.is_some() {
            let rest = waiting_keys().unwrap_or_default();
            let mut keys = rest.chars();
            while let Some(key) = keys.next() {
                match key {
                    // The keys that are several letters, such as arrows, have no meaning before there is a line.
                    ESCAPE => drop(keys.find(|key| key.is_ascii_alphabetic() || *key == '~')),
                    key => self.take(key),
                }
            }
        }
        let State { entered, typed, is_stopped, .. } = std::mem::take(&mut *self.state());
        entered.map(|entered| Entered { typed, is_stopped, ..entered })
    }

    fn take(&self, key: char) {
        let mut state = self.state();
        match key {
            INTERRUPT => {
                state.typed.clear();
                state.is_stopped = true;
                self.interrupts.press();
            }
            '\r' | '\n' => state.typed.push('\n'),
            '\t' => state.typed.push(' '),
            key if BACKSPACES.contains(&key) => {
                if !state.typed.ends_with('\n') {
                    state.typed.pop();
                }
            }
            key if key.is_control() => {}
            key => state.typed.push(key),
        }
    }
}

impl ConditionalEventHandler for Typeahead {
    fn handle(&self, event: &Event, _: u16, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        if self.state().entered.is_none() {
            self.state().cursor = context.pos();
            return None;
        }
        if let Some(KeyEvent(code, modifiers)) = event.get(0) {
            match (code, *modifiers) {
                (KeyCode::Char(key), Modifiers::NONE) => self.take(*key),
                (KeyCode::Enter, _) | (KeyCode::Char('J' | 'M'), Modifiers::CTRL) => self.take('\n'),
                (KeyCode::Char('C'), Modifiers::CTRL) => self.take(INTERRUPT),
                (KeyCode::Backspace, Modifiers::NONE) => self.take(BACKSPACES[0]),
                (KeyCode::Tab, Modifiers::NONE) => self.take('\t'),
                _ => {}
            }
        }
        Some(Cmd::Noop)
    }
}

/// Lets reads of the terminal end when no key waits. Fails where lines are not edited, since these are read whole.
fn stop_waiting() -> io::Result<()> {
    let mut modes = tcgetattr(stdin())?;
    if modes.local_modes.contains(LocalModes::ICANON) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    modes.special_codes[SpecialCodeIndex::VMIN] = 0;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    Ok(tcsetattr(stdin(), OptionalActions::Now, &modes)?)
}

/// The keys that the terminal holds.
fn waiting_keys() -> io::Result<String> {
    let waiting = usize::try_from(rustix::io::ioctl_fionread(stdin())?).unwrap_or_default();
    let mut keys = vec![0; waiting];
    let length = if waiting == 0 { 0 } else { rustix::io::read(stdin(), &mut keys)? };
    keys.truncate(length);
    Ok(String::from_utf8_lossy(&keys).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> (String, u64) {
        let interrupts = Interrupts::new();
        let ahead = Typeahead::new(interrupts.clone());
        for key in keys.chars() {
            ahead.take(key);
        }
        let typed = ahead.state().typed.clone();
        (typed, interrupts.count())
    }

    #[test]
    fn keys_after_enter_are_kept_and_ctrl_c_forgets_those_before_it() {
        assert_eq!(typed("select 2;\rselect\n"), ("select 2;\nselect\n".to_owned(), 0));
        assert_eq!(typed("select 2;\r\x03sel"), ("sel".to_owned(), 1));
        assert_eq!(typed("a\rb\x7f\x7f\x7fc\x01\td"), ("a\nc d".to_owned(), 0));
        assert_eq!(typed("\x03\x03"), (String::new(), 2));
    }

    #[test]
    fn a_line_keeps_the_presses_before_it() {
        let interrupts = Interrupts::new();
        let ahead = Typeahead::new(interrupts.clone());
        interrupts.press();
        ahead.begin();
        ahead.enter("select 1;");
        interrupts.press();
        let entered = ahead.state().entered.clone().expect("entered");
        assert_eq!((entered.line.as_str(), entered.presses), ("select 1;", 1));
    }
}
