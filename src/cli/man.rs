//! `man`: the manual pages, from the definitions that read the command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;

use super::exit::Exit;
use super::output::{say, tell};
use crate::error::{Error, Result};

/// The program's name, which is also its page's.
pub(super) const PROGRAM: &str = "spanhouse";

const SECTION: &str = "1";
const MANUAL: &str = "Spanhouse Manual";

const EXAMPLES: &str = "\
Examples:
  spanhouse man | man -l -
  spanhouse man ~/.local/share/man/man1 && man spanhouse-serve";

/// Print the manual page, or write those of all commands into a directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where to write a page for the program and for each of its commands; made when it is not there
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, program: clap::Command) -> Result<Exit> {
    // Names of commands become whole ("spanhouse report run") once the program is built.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    match &arguments.folder {
        None => {
            let mut page = Vec::new();
            page_of(program).render(&mut page).map_err(|error| Error::io("cannot make the page", error))?;
            say!("{}", String::from_utf8_lossy(&page).trim_end())?;
        }
        Some(folder) => {
            let failed = |error| Error::io(format!("cannot write pages to {}", folder.display()), error);
            std::fs::create_dir_all(folder).map_err(failed)?;
            let written = write_all(&program, folder).map_err(failed)?;
            tell!("{written} pages in {}", folder.display());
        }
    }
    Ok(Exit::Success)
}

/// Writes the page of a command and of all below it; tells how many.
fn write_all(command: &clap::Command, folder: &Path) -> io::Result<usize> {
    page_of(command.clone()).generate_to(folder)?;
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.map(|below| write_all(below, folder)).sum::<io::Result<usize>>().map(|pages| pages + 1)
}

fn page_of(command: clap::Command) -> Man {
    let title = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    Man::new(command)
        .title(title)
        .section(SECTION)
        .manual(MANUAL)
        .source(format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")))
}
