//! `completions`: what makes a shell complete the program's commands and flags, from the definitions that read them.

use clap::Args;
use clap_complete::Shell;

use super::exit::Exit;
use super::man::PROGRAM;
use super::output::say;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse completions bash > ~/.local/share/bash-completion/completions/spanhouse
  spanhouse completions zsh > ~/.zfunc/_spanhouse      with 'fpath+=(~/.zfunc)' before compinit in ~/.zshrc
  spanhouse completions fish > ~/.config/fish/completions/spanhouse.fish
  spanhouse completions powershell >> $PROFILE
  spanhouse completions elvish >> ~/.config/elvish/rc.elv";

/// Print what makes a shell complete commands and flags
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, mut program: clap::Command) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, PROGRAM, &mut script);
    let script = String::from_utf8(script).map_err(|error| Error::internal(error.to_string()))?;
    say!("{}", script.trim_end())?;
    Ok(Exit::Success)
}
