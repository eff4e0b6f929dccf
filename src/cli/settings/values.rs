//! How a setting's text becomes its value, and what is said when it does not.

use std::time::Duration;

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

pub(super) fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("\"{text}\" is not a log format: write text or json")),
    }
}

/// Reads a number of bytes, with or without a unit.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size: write a number with KiB, MiB, GiB or TiB, such as 256MiB");
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kib" | "k" | "kb" => 10,
        "mib" | "m" | "mb" => 20,
        "gib" | "g" | "gb" => 30,
        "tib" | "t" | "tb" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Writes a number of bytes in the largest unit that divides it: `16MiB`.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes >> shift << shift == bytes && bytes > 0) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// Reads a time span: `500ms`, `60s`, `5m`, `2h`, `7d`.
pub(in crate::cli) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration: write a number with ms, s, m, h or d, such as 60s");
    let (number, unit) = split_unit(text);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

pub(super) fn parse_timeout(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        text => parse_duration(text).map(Some).map_err(|why| format!("{why}, or off")),
    }
}

/// The digits and what follows them.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_need_a_known_unit() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_size("12"), Ok(12));
        for text in ["0B", "1023B", "1KiB", "1025B", "16MiB", "3GiB", "1025GiB", "2TiB"] {
            assert_eq!(parse_size(text).map(size_text).as_deref(), Ok(text));
        }
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_timeout("off"), Ok(None));
        for bad in ["", "MiB", "-1", "1.5GiB", "5 parsecs", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "5", "s", "1 fortnight"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
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
