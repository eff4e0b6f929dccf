//! What of the log of events is told: levels, also by component.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The parts of this program that may have a level of their own: the folders of its source.
const COMPONENTS: [&str; 10] =
    ["access", "admin", "audit", "cli", "engine", "ingest", "otlp", "report", "server", "store"];

/// What the log has of libraries where nothing is said about them: what goes wrong. DataFusion warns of each file that lacks a column's statistics,
/// statement by statement.
const LIBRARIES: &str = "warn,datafusion_common::pruning=error";

/// The filter that a setting means: a bare level is about this program, `store=debug` about one part of it, and other targets are taken as they are.
pub(in crate::cli) fn log_filter(text: &str) -> Result<EnvFilter, String> {
    let wrong = |why: String| format!("\"{text}\" is not a log filter: {why}");
    directives(text).map_err(wrong)?.parse().map_err(|why| wrong(format!("{why}")))
}

fn directives(text: &str) -> Result<String, String> {
    // Fields of spans may have commas between them.
    if text.contains('[') {
        return Ok(text.to_owned());
    }
    let directives = text.split(',').map(directive).collect::<Result<Vec<_>, _>>()?;
    // What stands later is about the same target in the place of what stands before.
    Ok(format!("{LIBRARIES},{}", directives.join(",")))
}

fn directive(text: &str) -> Result<String, String> {
    let Some((target, level)) = text.split_once('=') else {
        let level = text.trim();
        return match level.parse::<LevelFilter>() {
            Ok(_) if !level.is_empty() => Ok(format!("spanhouse={level}")),
            _ => Err(format!("\"{level}\" is no level: write error, warn, info, debug, trace or off")),
        };
    };
    let (target, level) = (target.trim(), level.trim());
    match COMPONENTS.contains(&target) {
        true => Ok(format!("spanhouse::{target}={level}")),
        false => Ok(format!("{target}={level}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_given_by_component() {
        for (text, means) in [
            ("info", "spanhouse=info"),
            ("info,store=debug", "spanhouse=info,spanhouse::store=debug"),
            ("warn, ingest = trace", "spanhouse=warn,spanhouse::ingest=trace"),
            ("off,datafusion=debug,spanhouse::engine=off", "spanhouse=off,datafusion=debug,spanhouse::engine=off"),
        ] {
            assert_eq!(directives(text), Ok(format!("{LIBRARIES},{means}")));
            assert!(log_filter(text).is_ok(), "{text}");
        }
        assert!(log_filter("warn,[request{user}]=debug").is_ok());
        for text in ["", "loud", "info,", "store", "store=loud", "store=debug=x"] {
            assert!(log_filter(text).is_err(), "{text}: {:?}", log_filter(text).map(|filter| filter.to_string()));
        }
    }

    #[test]
    fn each_component_is_a_folder_of_the_source() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for component in COMPONENTS {
            assert!(source.join(component).is_dir(), "{component}");
        }
    }
}
