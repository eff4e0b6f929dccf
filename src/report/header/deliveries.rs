//! Deliveries of a header.

use url::Url;

use super::section::{Section, listed};
use super::source::is_name;
use crate::report::definition::{Deliver, Delivery, Secret, Target, Tls};
use crate::store::TableUrl;

/// The kinds of target, each with the keys that are its own.
const KINDS: [(&str, &[&str]); 6] = [
    ("directory", &["path"]),
    ("object_store", &["url"]),
    ("webhook", &["url", "sign_with", "results_url"]),
    ("slack", &["url", "results_url"]),
    ("email", &["server", "port", "tls", "user", "password", "from", "recipients"]),
    ("alertmanager", &["url", "results_url"]),
];
/// Keys of all of them.
const COMMON: [&str; 4] = ["to", "name", "when", "attempts"];
/// The port of mail that is encrypted from the first byte.
const SMTPS_PORT: u16 = 465;
/// The port of mail that is encrypted after STARTTLS.
const SUBMISSION_PORT: u16 = 587;

pub(super) fn deliveries(header: &Section<'_>) -> Vec<Delivery> {
    let known: Vec<&str> = COMMON.into_iter().chain(KINDS.iter().flat_map(|(_, keys)| *keys).copied()).collect();
    let mut deliveries: Vec<Delivery> = Vec::new();
    for section in header.sections("deliveries", &known) {
        let Some(delivery) = delivery(&section) else { continue };
        match deliveries.iter().any(|other| other.name == delivery.name) {
            true => {
                section.mistake("name", format!("another delivery is named \"{}\": give each a name", delivery.name))
            }
            false => deliveries.push(delivery),
        }
    }
    deliveries
}

fn delivery(section: &Section<'_>) -> Option<Delivery> {
    let when = section.choice("when", &Deliver::ALL.map(|when| (when.name(), when))).unwrap_or(Deliver::Always);
    let attempts = section.count("attempts", 1, Delivery::MOST_ATTEMPTS).unwrap_or(Delivery::DEFAULT_ATTEMPTS);
    section.needed_text("to")?;
    let kind = section.choice("to", &KINDS.map(|(name, _)| (name, name)))?;
    let own = KINDS.iter().find(|(name, _)| *name == kind).map_or(&[] as &[&str], |(_, keys)| *keys);
    let others = KINDS.iter().flat_map(|(_, keys)| *keys).filter(|key| !own.contains(key));
    let mut told: Vec<&str> = Vec::new();
    for key in others.filter(|key| section.has(key)) {
        if !told.contains(key) {
            section.mistake(key, format!("it does not go with {kind}, which takes {}", listed(own)));
            told.push(key);
        }
    }
    let name = section.text("name").unwrap_or_else(|| kind.to_owned());
    if !is_name(&name) {
        section.mistake("name", format!("\"{name}\" is no name for a delivery: use a-z, 0-9, _ and -"));
    }
    Some(Delivery { name, target: target(section, kind)?, when, attempts })
}

fn target(section: &Section<'_>, kind: &str) -> Option<Target> {
    match kind {
        "directory" => Some(Target::Directory(section.needed_text("path")?.into())),
        "object_store" => {
            let url = TableUrl::parse(&section.needed_text("url")?);
            url.map(Target::ObjectStore).map_err(|error| section.mistake("url", error.to_string())).ok()
        }
        "webhook" => {
            let sign_with = section.has("sign_with").then(|| section.hidden_secret("sign_with"));
            let results_url = transposed(results_url(section))?;
            Some(Target::Webhook { url: address(section)?, sign_with: transposed(sign_with)?, results_url })
        }
        "slack" => {
            let results_url = transposed(results_url(section))?;
            Some(Target::Slack { url: address(section)?, results_url })
        }
        "alertmanager" => {
            let results_url = transposed(results_url(section))?;
            Some(Target::Alertmanager { url: address(section)?, results_url })
        }
        _ => email(section),
    }
}

/// Where requests are sent to; a text is checked now, what comes from elsewhere when it is needed.
fn address(section: &Section<'_>) -> Option<Secret> {
    if !section.has("url") {
        section.mistake_here("url is missing: write a text, { env = \"VARIABLE\" } or { file = \"PATH\" }".to_owned());
    }
    let url = section.secret("url")?;
    if let Secret::Plain(text) = &url {
        let hint = ": write { env = \"VARIABLE\" } or { file = \"PATH\" }";
        web_address(text, hint).map_err(|why| section.mistake("url", why)).ok()?;
    }
    Some(url)
}

/// Where results are shown: an address that everybody who gets an alert is told.
fn results_url(section: &Section<'_>) -> Option<Option<Url>> {
    section.has("results_url").then(|| {
        let text = section.text("results_url")?;
        web_address(&text, "").map_err(|why| section.mistake("results_url", why)).ok()
    })
}

/// Reads an address of http or https. What is wrong is said without the text, which may hold a token.
fn web_address(text: &str, instead_of_a_password: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            Err("it must begin with http:// or https://".to_owned())
        }
        Ok(url) if url.password().is_some() || !url.username().is_empty() => {
            Err(format!("a password may not stand in the report{instead_of_a_password}"))
        }
        Ok(url) => Ok(url),
        Err(error) => Err(format!("it is no URL: {error}")),
    }
}

fn email(section: &Section<'_>) -> Option<Target> {
    let server = section.needed_text("server").filter(|server| {
        let is_host = server.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
        if !is_host {
            section.mistake("server", format!("\"{server}\" is no host: the port is a key of its own"));
        }
        is_host
    });
    let tls = section.choice("tls", &[("wrapped", Tls::Wrapped), ("starttls", Tls::StartTls), ("off", Tls::Off)]);
    let port = section.count("port", 1, u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
    let tls = tls.unwrap_or(if port == Some(SMTPS_PORT) { Tls::Wrapped } else { Tls::StartTls });
    let port = port.unwrap_or(if tls == Tls::Wrapped { SMTPS_PORT } else { SUBMISSION_PORT });
    if !server.as_deref().is_none_or(|server| tls.may_reach(server)) {
        section.mistake("tls", "mail is sent in the clear to this machine only: write starttls or wrapped".to_owned());
    }
    let user = transposed(section.has("user").then(|| section.secret("user")));
    let password = transposed(section.has("password").then(|| section.hidden_secret("password")));
    if section.has("password") != section.has("user") {
        section.mistake_here("user and password go together".to_owned());
    }
    let from = mail_address(section, "from", section.needed_text("from"));
    if !section.has("recipients") {
        section.mistake_here("recipients is missing: who gets it?".to_owned());
    }
    let to = section.texts("recipients").unwrap_or_default();
    if section.has("recipients") && to.is_empty() {
        section.mistake("recipients", "it is empty".to_owned());
    }
    let to = to.into_iter().map(|to| mail_address(section, "recipients", Some(to))).collect::<Option<Vec<_>>>();
    Some(Target::Email { server: server?, port, tls, user: user?, password: password?, from: from?, to: to? })
}

/// A mail address, perhaps with a name before it.
fn mail_address(section: &Section<'_>, key: &str, text: Option<String>) -> Option<String> {
    let text = text?;
    let address = text.rsplit_once('<').map_or(text.as_str(), |(_, rest)| rest.trim_end_matches('>')).trim();
    let is_whole =
        address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    if !is_whole || text.chars().any(char::is_control) || address.contains(char::is_whitespace) {
        section.mistake(key, format!("\"{}\" is no mail address", text.escape_debug()));
        return None;
    }
    Some(text)
}

/// A key that may be missing: `None` when it is there and wrong.
fn transposed<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}
