//! The commands, their help, and the way from `argv` to an exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::exit::{self, Exit};
use super::{
    access, audit, check, compact, completions, config, demo, doctor, export, generate, import, man, redact, repl,
    replay, report, serve, sql, status, table,
};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Start here:
  spanhouse demo                          a server with made-up traces, and what one can ask
  spanhouse serve                         a server; point an OTLP exporter at 127.0.0.1:4317
  psql -h 127.0.0.1 -p 5433 spanhouse     ask it
  spanhouse sql \"SELECT service_name, count(*) FROM spans GROUP BY 1\"
";

/// A warehouse for OpenTelemetry traces that answers SQL.
#[derive(Debug, Parser)]
#[command(name = "spanhouse", version, max_term_width = 110, after_help = EXAMPLES,
    after_long_help = long_after_help(), subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn long_after_help() -> String {
    format!("{EXAMPLES}\n{}", exit::HELP)
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Replay(replay::Arguments),
    Generate(generate::Arguments),
    Demo(demo::Arguments),
    Sql(sql::Arguments),
    Repl(repl::Arguments),
    Report(report::Arguments),
    Table(table::Arguments),
    Compact(compact::Arguments),
    Check(check::Arguments),
    Redact(redact::Arguments),
    User(access::UserArguments),
    Token(access::TokenArguments),
    Tenant(access::TenantArguments),
    Status(status::Arguments),
    Doctor(doctor::Arguments),
    Audit(audit::Arguments),
    Config(config::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing help to a closed pipe is no failure of ours.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    match run(arguments.command) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Success.into(),
        Err(error) => {
            exit::report(&error);
            Exit::of(&error).into()
        }
    }
}

/// Runs a command on the network runtime; statements run on the engine's own.
fn run(command: Command) -> Result<Exit> {
    if let Command::Config(arguments) = command {
        return config::run(&arguments);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("network").build();
    let runtime = runtime.map_err(|error| Error::io("cannot start threads", error))?;
    let exit = runtime.block_on(async {
        match command {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Import(arguments) => import::run(arguments).await,
            Command::Export(arguments) => export::run(arguments).await,
            Command::Replay(arguments) => replay::run(arguments).await,
            Command::Generate(arguments) => generate::run(arguments).await,
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Sql(arguments) => sql::run(arguments).await,
            Command::Repl(arguments) => repl::run(arguments).await,
            Command::Report(arguments) => report::run(arguments).await,
            Command::Table(arguments) => table::run(arguments).await,
            Command::Compact(arguments) => compact::run(arguments).await,
            Command::Check(arguments) => check::run(arguments).await,
            Command::Redact(arguments) => redact::run(arguments).await,
            Command::User(arguments) => access::run_user(arguments),
            Command::Token(arguments) => access::run_token(arguments),
            Command::Tenant(arguments) => access::run_tenant(arguments).await,
            Command::Status(arguments) => status::run(arguments).await,
            Command::Doctor(arguments) => doctor::run(arguments).await,
            Command::Audit(arguments) => audit::run(&arguments),
            Command::Config(arguments) => config::run(&arguments),
            Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
            Command::Man(arguments) => man::run(&arguments, Arguments::command()),
        }
    });
    // A blocking read of a terminal or pipe must not hold up the end.
    runtime.shutdown_background();
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        Arguments::command().debug_assert();
    }
}
