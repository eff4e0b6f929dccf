//! Secrets at the time of delivery: read where they are to be had, and taken out of every text that leaves.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::report::definition::Secret;

/// Bytes of a secret's file. A token has a hundred.
const MAX_BYTES: u64 = 64 << 10;

/// A shorter text is no secret, and taking it out would leave gaps in words.
const LEAST_LENGTH: usize = 4;

/// What stands in the place of a secret.
const MASK: &str = "***";

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where environment variables come from; a component, so that tests can have their own.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

impl Environment {
    /// The process's own.
    pub fn of_process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    /// One of these variables alone.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self(Arc::new(move |name| Some(variables.iter().find(|(known, _)| known == name)?.1.clone())))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// The secrets that one delivery has read.
pub(super) struct Secrets<'a> {
    environment: &'a Environment,
    /// What must not be in any text: the secrets and the parts and forms in which they may turn up. The longest come first.
    masked: Vec<String>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self { environment, masked: Vec::new() }
    }

    /// The value of a secret, which `what` names in an error.
    ///
    /// # Errors
    /// A text that names where the secret should have been and never what was there.
    pub(super) fn read(&mut self, what: &str, secret: &Secret) -> Result<String, String> {
        let value = self.value(what, secret)?;
        self.hide(&value);
        Ok(value)
    }

    fn value(&self, what: &str, secret: &Secret) -> Result<String, String> {
        let value = match secret {
            Secret::Plain(value) => value.clone(),
            Secret::Env(name) => (self.environment.0)(name)
                .ok_or_else(|| format!("the environment variable {name}, which holds {what}, is not set"))?,
            Secret::File(path) => {
                read_file(path).map_err(|why| format!("the file {}, which holds {what}, {why}", path.display()))?
            }
        };
        match value.trim_end() {
            "" => Err(format!("{what} is empty")),
            value => Ok(value.to_owned()),
        }
    }

    /// The same for an address, which is told by its origin alone.
    pub(super) fn read_url(&mut self, what: &str, secret: &Secret) -> Result<Url, String> {
        // What cannot be read is not repeated: it may be a token in the wrong variable.
        let value = self.value(what, secret)?;
        let url = Url::parse(&value).map_err(|error| format!("{what} is no URL ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(format!("{what} is no URL of http or https"));
        }
        self.hide_url(&url, &value);
        Ok(url)
    }

    /// Takes a login in the forms in which it is sent out of texts too: a server may repeat what it was told.
    pub(super) fn hide_login(&mut self, user: &str, password: &str) {
        self.hide(&format!("\0{user}\0{password}"));
    }

    /// Takes what the environment holds for object stores out of texts too: a store's answer may repeat a key's name or a signature.
    pub(super) fn hide_credentials_of_stores(&mut self) {
        let is_secret = |name: &str| {
            let of_store = ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix));
            of_store && ["KEY", "SECRET", "TOKEN", "SIGNATURE", "PASSWORD"].iter().any(|part| name.contains(part))
        };
        for (name, value) in std::env::vars_os() {
            if name.to_str().is_some_and(is_secret) {
                self.hide(&value.to_string_lossy());
            }
        }
    }

    /// The text without secrets.
    pub(super) fn masked(&self, text: &str) -> String {
        self.masked.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    fn hide_url(&mut self, url: &Url, value: &str) {
        // The origin alone is no secret, and errors tell it.
        let origin = url.origin().ascii_serialization();
        if value.trim_end_matches('/') != origin {
            self.hide(value);
            self.hide(url.as_str());
        }
        self.hide(url.username());
        self.hide(url.password().unwrap_or_default());
        let path_and_query = &url[url::Position::BeforePath..];
        self.hide(path_and_query.trim_matches('/'));
        self.hide(url.path().trim_matches('/'));
        for segment in url.path().split('/').filter(|segment| segment.len() >= 8) {
            self.hide(segment);
        }
        for (_, value) in url.query_pairs() {
            self.hide(&value);
        }
    }

    fn hide(&mut self, value: &str) {
        let forms = [value.to_owned(), value.trim().to_owned(), STANDARD.encode(value), quoted(value)];
        for form in forms {
            if form.len() >= LEAST_LENGTH && !self.masked.contains(&form) {
                self.masked.push(form);
            }
        }
        self.masked.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

impl fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.masked.len())
    }
}

/// The text as it stands in JSON and in Rust's quotes.
fn quoted(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > MAX_BYTES {
        return Err(format!("has {length} bytes, at most {MAX_BYTES} are read"));
    }
    // An error about its encoding would say nothing of its content, but the standard one does not promise that.
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::of(&[
            ("TOKEN", "s3cr3t\"quote\n"),
            ("URL", "https://user:pa%24s@hooks.example:8443/services/T000/B000/XXXXXXXX?sig=abcdef"),
            ("EMPTY", " \n"),
            ("PLAIN", "http://127.0.0.1:9093/"),
            ("NO_URL", "hush-hush"),
            ("FTP", "ftp://hush-hush/x"),
        ])
    }

    fn env(name: &str) -> Secret {
        Secret::Env(name.to_owned())
    }

    #[test]
    fn secrets_are_read_where_they_are_and_when_they_are_needed() {
        let environment = environment();
        let mut secrets = Secrets::new(&environment);
        assert_eq!(secrets.read("the key", &env("TOKEN")).expect("set"), "s3cr3t\"quote");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let secret = Secret::File(file.clone());
        let error = secrets.read("the key", &secret).expect_err("not there yet");
        assert!(error.contains("which holds the key, cannot be read") && error.contains("key"), "{error}");
        for value in ["first", "second"] {
            std::fs::write(&file, format!("{value}\r\n")).expect("written");
            assert_eq!(secrets.read("the key", &secret).expect("there"), value);
        }
        std::fs::write(&file, [0xff, 0xfe, 0x41]).expect("written");
        assert!(secrets.read("the key", &secret).expect_err("bytes").ends_with("is not text"));
        std::fs::write(&file, vec![b'a'; 70_000]).expect("written");
        assert!(secrets.read("the key", &secret).expect_err("large").contains("70000 bytes"));
        for (name, why) in [
            ("MISSING", "the environment variable MISSING, which holds the key, is not set"),
            ("EMPTY", "the key is empty"),
        ] {
            assert_eq!(secrets.read("the key", &env(name)).expect_err(name), why);
        }
    }

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        let environment = environment();
        for name in ["NO_URL", "FTP"] {
            let error = Secrets::new(&environment).read_url("the webhook's URL", &env(name)).expect_err(name);
            assert!(error.starts_with("the webhook's URL is no URL") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_login_is_hidden_as_it_is_sent() {
        let environment = environment();
        let mut secrets = Secrets::new(&environment);
        secrets.read("the password", &env("TOKEN")).expect("set");
        secrets.hide_login("reports", "s3cr3t\"quote");
        // `AUTH PLAIN` of RFC 4616, and the two answers of `AUTH LOGIN`.
        let told = "AUTH PLAIN AHJlcG9ydHMAczNjcjN0InF1b3Rl, AUTH LOGIN cmVwb3J0cw== czNjcjN0InF1b3Rl";
        assert_eq!(secrets.masked(told), "AUTH PLAIN ***, AUTH LOGIN cmVwb3J0cw== ***");
    }

    #[test]
    fn no_form_of_a_secret_is_left_in_a_text() {
        let environment = environment();
        let mut secrets = Secrets::new(&environment);
        let token = secrets.read("the key", &env("TOKEN")).expect("set");
        let text = format!("{token} {} {:?} \"{token}\"", STANDARD.encode(&token), token);
        assert_eq!(secrets.masked(&text), "*** *** \"***\" \"***\"");

        let mut secrets = Secrets::new(&environment);
        let url = secrets.read_url("the webhook's URL", &env("URL")).expect("a URL");
        let text = format!("no hook {url} at {} for services/T000/B000/XXXXXXXX: XXXXXXXX abcdef pa%24s", url.path());
        let masked = secrets.masked(&text);
        for part in ["XXXXXXXX", "abcdef", "pa%24s", "T000"] {
            assert!(!masked.contains(part), "{part}: {masked}");
        }
        assert!(masked.starts_with("no hook *** at "), "{masked}");

        let mut secrets = Secrets::new(&environment);
        secrets.read_url("the address", &env("PLAIN")).expect("a URL");
        assert_eq!(secrets.masked("http://127.0.0.1:9093 is away"), "http://127.0.0.1:9093 is away");
        assert!(!format!("{secrets:?} {environment:?}").contains("127"));
    }
}
