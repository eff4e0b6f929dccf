//! Where a server is, as people write it, and how its certificate is checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::error::{Error, Result};
use crate::trust;

/// The port of our servers.
const PORT: u16 = 5433;
const VARIABLE: &str = "PGPASSWORD";

/// A server: a URL as psql takes it. A certificate is always checked, whatever `sslmode` says, unless nothing is encrypted.
#[derive(Clone)]
pub struct Place {
    conninfo: String,
    /// Without the password.
    shown: String,
    /// The file of the authority that the certificate is to be of.
    authority: Option<PathBuf>,
    password: Option<String>,
}

impl Place {
    /// Reads `postgres://user@host:port/database?sslmode=…&sslrootcert=…`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::bad_input(format!("this is no URL of a server: {why}"))
                .with_hint("write postgres://USER@HOST:PORT/spanhouse")
        };
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(wrong(format!("it begins with {}:", url.scheme())));
        }
        if url.has_host() && url.port().is_none() {
            // Nothing else can be wrong with it.
            let _ = url.set_port(Some(PORT));
        }
        let (mut authority, mut kept) = (None, Vec::new());
        for (key, value) in url.query_pairs().into_owned() {
            match (key.as_str(), value.as_str()) {
                ("sslrootcert", file) => authority = Some(PathBuf::from(file)),
                ("sslmode", "verify-ca" | "verify-full") => kept.push((key, "require".to_owned())),
                ("sslmode", "disable" | "prefer" | "require") => kept.push((key, value)),
                ("sslmode", other) => {
                    return Err(wrong(format!("sslmode is disable, prefer, require or verify-full, not {other}")));
                }
                _ => kept.push((key, value)),
            }
        }
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        let conninfo = url.to_string();
        // A URL that has a host takes both.
        let _ = (url.set_password(None), url.set_query(None));
        Ok(Self { conninfo, shown: url.to_string(), authority, password: None })
    }

    /// What the library reads.
    pub fn conninfo(&self) -> &str {
        &self.conninfo
    }

    /// What a person is told.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The same with a password that was asked for.
    pub fn with_password(self, password: String) -> Self {
        Self { password: Some(password), ..self }
    }

    /// Adds what the text leaves out: host, port, user, and the password of the environment.
    pub fn complete(&self, config: &mut tokio_postgres::Config) {
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        if config.get_ports().is_empty() {
            config.port(PORT);
        }
        if config.get_user().is_none() {
            let user = std::env::var("PGUSER").or_else(|_| std::env::var("USER"));
            config.user(user.unwrap_or_else(|_| "spanhouse".to_owned()));
        }
        if config.get_dbname().is_none() {
            config.dbname("spanhouse");
        }
        if let Some(password) = self.password.clone().or_else(|| std::env::var(VARIABLE).ok())
            && (self.password.is_some() || config.get_password().is_none())
        {
            config.password(password);
        }
        // A socket's folder is a host too, and knows no certificates.
        if config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_))) {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        }
    }

    /// How connections are encrypted.
    pub fn tls(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::internal(error.to_string()))?;
        let roots = trust::roots(self.authority.as_deref().map(Path::new)).map_err(|error| error.with_hint(
            "sslrootcert=FILE names the authority of the server's certificate; sslmode=disable sends everything in the clear",
        ))?;
        Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn a_place_is_read_and_told_without_its_password() {
        let place = Place::parse(
            "postgres://ada:secret@db.example:5433/spanhouse?sslmode=verify-full&sslrootcert=/a%20b.pem&keepalives=1",
        )
        .expect("a place");
        assert_eq!(place.shown(), "postgres://ada@db.example:5433/spanhouse");
        assert_eq!(place.authority.as_deref(), Some(Path::new("/a b.pem")));
        let mut config = tokio_postgres::Config::from_str(place.conninfo()).expect("understood");
        place.complete(&mut config);
        assert_eq!(config.get_user(), Some("ada"));
        assert_eq!(config.get_password(), Some(&b"secret"[..]));
        assert_eq!((config.get_ports(), config.get_dbname()), (&[5433][..], Some("spanhouse")));
        assert_eq!(config.get_ssl_mode(), tokio_postgres::config::SslMode::Require);
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let place = Place::parse("postgresql://localhost").expect("a place").with_password("typed".to_owned());
        let mut config = tokio_postgres::Config::from_str(place.conninfo()).expect("understood");
        place.complete(&mut config);
        assert_eq!((config.get_ports(), config.get_dbname()), (&[5433][..], Some("spanhouse")));
        assert_eq!(config.get_password(), Some(&b"typed"[..]));
    }

    #[test]
    fn another_text_is_no_place() {
        for text in ["", "localhost", "mysql://localhost/x", "postgres://h/x?sslmode=maybe"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
