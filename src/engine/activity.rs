//! Open sessions: whose they are, what each runs, and how one session stops another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

/// Most of a statement's text that others see, as in PostgreSQL.
const SHOWN_TEXT_BYTES: usize = 1024;

/// Every open session of a client.
#[derive(Debug, Default)]
pub struct Activity {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    last_process_id: i32,
    by_process_id: BTreeMap<i32, Arc<Entry>>,
}

/// Who a session belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    pub user: String,
    pub address: Option<SocketAddr>,
}

#[derive(Debug)]
struct Entry {
    process_id: i32,
    secret: i32,
    client: Client,
    started: DateTime<Utc>,
    /// Told when the session is to end.
    end: CancellationToken,
    now: Mutex<Now>,
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Idle,
    Runs,
    IdleInTransaction,
    IdleInFailedTransaction,
}

#[derive(Debug)]
struct Now {
    doing: Doing,
    /// Stops the statement that runs.
    running: Option<CancellationToken>,
    application: String,
    /// The last statement.
    text: String,
    text_since: Option<DateTime<Utc>>,
    transaction_since: Option<DateTime<Utc>>,
    changed: DateTime<Utc>,
}

/// A session as others see it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) process_id: i32,
    pub(super) client: Client,
    pub(super) application: String,
    pub(super) started: DateTime<Utc>,
    pub(super) transaction_since: Option<DateTime<Utc>>,
    pub(super) text_since: Option<DateTime<Utc>>,
    pub(super) changed: DateTime<Utc>,
    pub(super) doing: Doing,
    pub(super) text: String,
}

/// One session's entry; dropping it takes the entry out.
#[derive(Debug)]
pub struct Registration {
    activity: Arc<Activity>,
    entry: Arc<Entry>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Activity {
    /// Enters a session under a free process id and a random secret; cancelling `end` is how it is told to end.
    pub fn register(self: &Arc<Self>, client: Client, end: CancellationToken) -> Registration {
        let mut sessions = lock(&self.sessions);
        let mut process_id = sessions.last_process_id;
        loop {
            process_id = if process_id == i32::MAX { 1 } else { process_id + 1 };
            if !sessions.by_process_id.contains_key(&process_id) {
                break;
            }
        }
        sessions.last_process_id = process_id;
        let started = Utc::now();
        let now = Mutex::new(Now {
            doing: Doing::Idle,
            running: None,
            application: String::new(),
            text: String::new(),
            text_since: None,
            transaction_since: None,
            changed: started,
        });
        let entry = Arc::new(Entry { process_id, secret: rand::random(), client, started, end, now });
        sessions.by_process_id.insert(process_id, entry.clone());
        drop(sessions);
        Registration { activity: self.clone(), entry }
    }

    /// Cancels what the session runs now, if the secret is right.
    pub fn cancel_with_secret(&self, process_id: i32, secret: i32) {
        if let Some(entry) = self.entry(process_id).filter(|entry| entry.secret == secret) {
            entry.cancel();
        }
    }

    /// Cancels what the session runs now; returns whether there is such a session.
    pub(super) fn cancel(&self, process_id: i32) -> bool {
        self.entry(process_id).inspect(|entry| entry.cancel()).is_some()
    }

    /// Ends the session with what it runs; returns whether there is such a session.
    pub(super) fn terminate(&self, process_id: i32) -> bool {
        self.entry(process_id).inspect(|entry| entry.end.cancel()).is_some()
    }

    /// Whose session it is, where there is one with this number.
    pub(super) fn user_of(&self, process_id: i32) -> Option<String> {
        self.entry(process_id).map(|entry| entry.client.user.clone())
    }

    /// How many sessions of a user are open.
    pub fn sessions_of(&self, user: &str) -> usize {
        lock(&self.sessions).by_process_id.values().filter(|entry| entry.client.user == user).count()
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        lock(&self.sessions).by_process_id.len()
    }

    /// All sessions as they are now, by process id.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let entries: Vec<_> = lock(&self.sessions).by_process_id.values().cloned().collect();
        entries.iter().map(|entry| entry.shown()).collect()
    }

    fn entry(&self, process_id: i32) -> Option<Arc<Entry>> {
        lock(&self.sessions).by_process_id.get(&process_id).cloned()
    }
}

impl Entry {
    fn cancel(&self) {
        if let Some(token) = lock(&self.now).running.as_ref() {
            token.cancel();
        }
    }

    fn shown(&self) -> Shown {
        let now = lock(&self.now);
        Shown {
            process_id: self.process_id,
            client: self.client.clone(),
            application: now.application.clone(),
            started: self.started,
            transaction_since: now.transaction_since,
            text_since: now.text_since,
            changed: now.changed,
            doing: now.doing,
            text: now.text.clone(),
        }
    }
}

impl Registration {
    /// The number that names the session.
    pub fn process_id(&self) -> i32 {
        self.entry.process_id
    }

    /// What only the session's client knows.
    pub fn secret(&self) -> i32 {
        self.entry.secret
    }

    /// Whose session it is.
    pub fn client(&self) -> &Client {
        &self.entry.client
    }

    /// Starts to answer a message: cancel requests from here on stop that.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        lock(&self.entry.now).running = Some(token.clone());
        token
    }

    /// Says which statement is worked on.
    pub fn runs(&self, text: &str) {
        let (mut now, at) = (lock(&self.entry.now), Utc::now());
        let end = (0..=SHOWN_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        now.text = text[..end].to_owned();
        now.text_since = Some(at);
        now.transaction_since.get_or_insert(at);
        now.doing = Doing::Runs;
        now.changed = at;
    }

    /// Ends the answer: a late cancel request must not hit the next one.
    pub fn end(&self) {
        lock(&self.entry.now).running = None;
    }

    /// Says what the session does between statements.
    pub fn rests(&self, doing: Doing) {
        let mut now = lock(&self.entry.now);
        if now.doing != doing {
            now.doing = doing;
            now.changed = Utc::now();
        }
        if doing == Doing::Idle {
            now.transaction_since = None;
        }
    }

    /// Says what the client calls itself.
    pub fn is_called(&self, application: &str) {
        application.clone_into(&mut lock(&self.entry.now).application);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.activity.sessions).by_process_id.remove(&self.entry.process_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(activity: &Arc<Activity>) -> (Registration, CancellationToken) {
        let end = CancellationToken::new();
        (activity.register(Client::default(), end.clone()), end)
    }

    #[test]
    fn only_the_right_secret_cancels_and_only_while_a_statement_runs() {
        let activity = Arc::new(Activity::default());
        let ((session, _), (other, _)) = (open(&activity), open(&activity));
        let (id, secret) = (session.process_id(), session.secret());
        assert_ne!(id, other.process_id());
        let token = session.begin();
        activity.cancel_with_secret(id, secret.wrapping_add(1));
        activity.cancel_with_secret(other.process_id(), other.secret());
        assert!(!token.is_cancelled());
        activity.cancel_with_secret(id, secret);
        assert!(token.is_cancelled());
        session.end();
        activity.cancel_with_secret(id, secret);
        assert!(!session.begin().is_cancelled());
        drop(session);
        assert!(!activity.cancel(id) && !activity.terminate(id));
    }

    #[test]
    fn sessions_are_shown_and_stopped_by_number() {
        let activity = Arc::new(Activity::default());
        let (session, end) = open(&activity);
        session.is_called("psql");
        let token = session.begin();
        session.runs(&"é".repeat(SHOWN_TEXT_BYTES));
        let shown = activity.shown().remove(0);
        assert_eq!((shown.application.as_str(), shown.doing), ("psql", Doing::Runs));
        assert_eq!(shown.text.len(), SHOWN_TEXT_BYTES);
        assert!(shown.transaction_since.is_some());
        assert!(activity.cancel(session.process_id()) && token.is_cancelled());
        session.rests(Doing::Idle);
        assert!(activity.shown()[0].transaction_since.is_none());
        assert!(activity.terminate(session.process_id()) && end.is_cancelled());
    }
}
