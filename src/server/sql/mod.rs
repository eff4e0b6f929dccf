//! What the wire must understand of SQL itself: where statements end, and the commands that belong to a connection
//! (transactions, cursors, prepared statements, `COPY`). Everything else is the engine's.

mod command;
mod copy;
mod lexer;
mod script;

pub(super) use command::{Command, CursorDeclaration, FetchCount, Transaction};
pub(super) use copy::{CopyFormat, CopyOptions};
pub(super) use script::{Piece, split};
