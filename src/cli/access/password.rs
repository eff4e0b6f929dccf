//! A new password: from a file, the environment, or typed twice where nobody sees it. Never from the command line, which others can read.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::read_secret;
use crate::cli::exit::usage;
use crate::error::{Error, Kind, Result};

const VARIABLE: &str = "SPANHOUSE_PASSWORD";
/// Longest password that is taken: a client's message about it has this much room.
const MOST_BYTES: usize = 512;

/// The new password of `user`.
pub(super) fn new_password(user: &str, file: Option<&Path>) -> Result<String> {
    let password = match (file, std::env::var(VARIABLE)) {
        (Some(file), _) => read_secret(file)?,
        (None, Ok(password)) => password,
        (None, Err(_)) => typed(user)?,
    };
    match password.len() {
        0 => Err(usage(Error::bad_input("an empty password lets everybody in: give another"))),
        1..=MOST_BYTES => Ok(password),
        _ => Err(usage(Error::bad_input(format!("a password has at most {MOST_BYTES} bytes")))),
    }
}

/// Asks the terminal for a password that there is already.
pub(in crate::cli) fn asked_once(prompt: &str) -> Result<String> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    ask(&terminal.map_err(|error| Error::io("the terminal", error))?, prompt)
}

fn typed(user: &str) -> Result<String> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        let message = format!("there is no terminal to ask for the password of {user}");
        return Err(usage(Error::bad_input(message).with_hint(format!("give --password-file or {VARIABLE}"))));
    };
    let first = ask(&terminal, &format!("Password for {user}: "))?;
    match ask(&terminal, "Once more: ")? == first {
        true => Ok(first),
        false => Err(Error::bad_input("the two differ; nothing was changed")),
    }
}

/// Asks one line of the terminal, and shows nothing of it.
fn ask(terminal: &File, prompt: &str) -> Result<String> {
    let failed = |error: std::io::Error| Error::io("the terminal", error);
    let mut out = terminal;
    let silent = Silent::new(terminal).map_err(failed)?;
    out.write_all(prompt.as_bytes()).map_err(failed)?;
    let line = read_line(terminal);
    drop(silent);
    out.write_all(b"\n").map_err(failed)?;
    match line.map_err(failed)? {
        Some(line) => String::from_utf8(line).map_err(|_| Error::bad_input("a password must be UTF-8")),
        None => Err(Error::new(Kind::Cancelled, "interrupted; nothing was changed")),
    }
}

/// Reads up to the line's end as a terminal does that edits lines; `None` when that was broken off.
fn read_line(mut keys: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const KILL: u8 = 0x15;
    const DELETE: u8 = 0x7f;
    let (mut line, mut key) = (Vec::new(), [0]);
    while keys.read(&mut key)? == 1 {
        match key[0] {
            b'\r' | b'\n' => return Ok(Some(line)),
            INTERRUPT | END => return Ok(None),
            BACKSPACE | DELETE => {
                // A letter goes whole.
                while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            KILL => line.clear(),
            byte => line.push(byte),
        }
    }
    Ok(None)
}

/// A terminal that shows nothing of what is typed, until this goes. It hands over each key, Ctrl-C as well, so that it is never left so.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // When that fails the terminal has gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_as_it_is_typed() {
        let read = |keys: &str| {
            let line = read_line(keys.as_bytes()).expect("keys");
            line.map(|line| String::from_utf8(line).expect("UTF-8"))
        };
        assert_eq!(read("secret\r"), Some("secret".into()));
        assert_eq!(read("se\u{7f}ecrét\u{8}\u{8}et\nmore"), Some("secret".into()));
        assert_eq!(read("wrong\u{15}right\n"), Some("right".into()));
        assert_eq!(read("\u{7f}\n"), Some(String::new()));
        assert_eq!([read("half\u{3}"), read("\u{4}"), read("half")], [None, None, None]);
    }
}
