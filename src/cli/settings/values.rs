//! How a setting's text becomes its value, and what is said when it does not.

use std::path::PathBuf;
use std::time::Duration;

use crate::typed::parse_duration;

/// Where a listener listens, if it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cli) enum Listen {
    #[default]
    Off,
    /// A host and a port, as `127.0.0.1:4317`; port 0 takes a free one.
    At { host: String, port: u16 },
}

impl Listen {
    /// Whether only this machine can reach it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Off => true,
            Self::At { host, .. } => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum LogFormat {
    #[default]
    Text,
    Json,
}

pub(super) fn parse_listen(text: &str) -> Result<Listen, String> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    let wrong = || format!("\"{text}\" is not an address: write HOST:PORT, such as 127.0.0.1:4317, or off");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| format!("\"{port}\" in \"{text}\" is not a port: 0 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
    if is_name { Ok(Listen::At { host: host.to_owned(), port }) } else { Err(wrong()) }
}

/// The name of a file, where there is one.
pub(super) fn parse_file(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| text.into()))
}

pub(super) fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("\"{text}\" is not a log format: write text or json")),
    }
}

pub(super) fn parse_timeout(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        text => parse_duration(text).map(Some).map_err(|why| format!("{why}, or off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_duration_or_off() {
        assert_eq!(parse_timeout("off"), Ok(None));
        assert_eq!(parse_timeout("5m"), Ok(Some(Duration::from_secs(300))));
        assert!(parse_timeout("soon").is_err_and(|why| why.ends_with(", or off")));
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(parse_listen("[::1]:0"), Ok(Listen::At { host: "::1".into(), port: 0 }));
        assert!(parse_listen("localhost:4317").is_ok_and(|listen| listen.is_local()));
        assert!(parse_listen("0.0.0.0:4317").is_ok_and(|listen| !listen.is_local()));
        for bad in ["", "4317", ":4317", "host:", "host:70000", "http://host:1/"] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }
}
