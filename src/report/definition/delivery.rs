//! Where a result goes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use url::Url;

use crate::store::TableUrl;

/// A place that results or alerts are sent to.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// No other delivery of the report has it; part of the idempotency key.
    pub name: String,
    pub target: Target,
    pub when: Deliver,
    /// How often it is tried in one run, at least once.
    pub attempts: u32,
}

impl Delivery {
    /// How often it is tried when the header does not say.
    pub const DEFAULT_ATTEMPTS: u32 = 5;
    /// More attempts than help.
    pub const MOST_ATTEMPTS: u32 = 20;
}

/// Which runs are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    Always,
    /// Those with rows.
    Rows,
    /// Those in which an alert changed, or is to be told again.
    Firing,
    /// Those that failed.
    Failed,
}

impl Deliver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Always, Self::Rows, Self::Firing, Self::Failed];

    /// The name that a header gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Rows => "rows",
            Self::Firing => "firing",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Deliver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who takes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Relative to where the process was started.
    Directory(PathBuf),
    ObjectStore(TableUrl),
    Webhook {
        url: Secret,
        /// The key that signs the body.
        sign_with: Option<Secret>,
        /// Where a browser finds the files of results, as `REPORT/RUN/FILE` below it.
        results_url: Option<Url>,
    },
    Slack {
        url: Secret,
        /// As that of a webhook; the message shows the picture that lies there.
        results_url: Option<Url>,
    },
    Email {
        server: String,
        port: u16,
        tls: Tls,
        user: Option<Secret>,
        password: Option<Secret>,
        from: String,
        to: Vec<String>,
    },
    /// The address of an Alertmanager, without `/api/v2/alerts`.
    Alertmanager {
        url: Secret,
        /// As that of a webhook.
        results_url: Option<Url>,
    },
}

impl Target {
    /// The name that a header gives it in `to`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::ObjectStore(_) => "object_store",
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Email { .. } => "email",
            Self::Alertmanager { .. } => "alertmanager",
        }
    }
}

impl Target {
    /// Who takes it, as far as that is known without reading secrets: two with the same share what one of them can do. It may hold an address, and is
    /// not told.
    pub fn receiver(&self) -> String {
        let place = match self {
            Self::Directory(path) => path.display().to_string(),
            Self::ObjectStore(url) => url.to_string(),
            Self::Webhook { url, .. } | Self::Slack { url, .. } | Self::Alertmanager { url, .. } => url.place(),
            Self::Email { server, port, .. } => format!("{server}:{port}"),
        };
        format!("{} {place}", self.name())
    }
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte; port 465.
    Wrapped,
    /// After STARTTLS, which must be there; port 587.
    StartTls,
    /// Not at all; only to a server on a loopback address.
    Off,
}

impl Tls {
    /// Whether mail may go to a server like this: in the clear it stays on this machine.
    pub fn may_reach(self, server: &str) -> bool {
        let is_this_machine =
            || server == "localhost" || server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self != Self::Off || is_this_machine()
    }
}

/// A value that may not be told: where it is to be had, so that it is read when it is needed and never kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// It stands in the file itself, as an address without a token may.
    Plain(String),
    /// The environment variable.
    Env(String),
    /// The file; white space at its end does not count.
    File(PathBuf),
}

impl Secret {
    /// Where an address leads, or is to be had.
    fn place(&self) -> String {
        match self {
            Self::Plain(text) => {
                Url::parse(text).map_or_else(|_| text.clone(), |url| url.origin().ascii_serialization())
            }
            other => format!("{other:?}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(…)"),
            Self::Env(name) => write!(f, "Env({name})"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_leaves_this_machine_encrypted_alone() {
        for here in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(Tls::Off.may_reach(here), "{here}");
        }
        for there in ["mail.example.com", "localhost.example.com", "10.0.0.1", "0.0.0.0", "::2"] {
            assert!(!Tls::Off.may_reach(there), "{there}");
            assert!(Tls::StartTls.may_reach(there) && Tls::Wrapped.may_reach(there), "{there}");
        }
    }

    #[test]
    fn a_secret_does_not_tell_itself() {
        let url = Secret::Plain("https://hooks.example/T0KEN".to_owned());
        let told = format!("{:?}", Target::Slack { url, results_url: None });
        assert_eq!(told, "Slack { url: Plain(…), results_url: None }");
    }
}
