//! `\c`: from the data directory to a server and back.

use std::sync::Arc;

use super::backend::Backend;
use super::catalog::Catalog;
use super::remote::{Place, Remote};
use super::shell::{Next, Shell};
use super::text::{Line, Style};
use crate::error::{Error, Kind, Result};

/// What brings the data directory back.
const LOCAL: &str = "local";

/// A session of a server; asks for a password where the server wants one and none was given.
pub async fn connect(text: &str, ask_password: Option<fn(&str) -> Result<String>>) -> Result<Backend> {
    let place = Place::parse(text)?;
    let remote = match (Remote::connect(place.clone()).await, ask_password) {
        (Err(error), Some(ask)) if wants_password(&error) => {
            match ask(&format!("Password for {}: ", place.shown())) {
                Ok(password) => Remote::connect(place.with_password(password)).await,
                // Nobody is there to be asked: what the server said is what is wrong.
                Err(_) => Err(error),
            }
        }
        (done, _) => done,
    };
    remote.map(|remote| Backend::Remote(Box::new(remote)))
}

/// Whether it failed because there was no password; a wrong one is not asked for again.
fn wants_password(error: &Error) -> bool {
    error.kind != Kind::Unauthenticated && error.message.contains("password missing")
}

impl Shell {
    /// Runs statements elsewhere from now on, or tells where.
    pub async fn connect(&mut self, place: Option<&str>) -> Result<Next> {
        let Some(place) = place else {
            let told = match &*self.backend {
                Backend::Remote(remote) => format!("This is {}.", remote.shown()),
                Backend::Local { .. } => format!("This reads {}.", self.title),
            };
            return self.say(&[Line::of(Style::Plain, told)]).map(|()| Next::GoOn);
        };
        let backend = match (place, &self.engine) {
            (LOCAL, Some(engine)) => Backend::local(engine),
            (LOCAL, None) => return Err(Error::bad_input("this shell was not started on a data directory")),
            _ => connect(place, self.ask_password.filter(|_| self.terminal.interactive)).await?,
        };
        let told = match &backend {
            Backend::Remote(remote) => format!("You are connected to {}.", remote.shown()),
            Backend::Local { .. } => format!("This reads {} again.", self.title),
        };
        self.backend = Arc::new(backend);
        self.block_failed = false;
        self.names.store(Arc::new(Catalog::default()));
        self.say(&[Line::of(Style::Plain, told)]).map(|()| Next::Moved)
    }
}
