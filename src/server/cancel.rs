//! Cancel requests: they come on a connection of their own and name the session by two numbers that only its client knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Every open session's key.
#[derive(Debug, Default)]
pub(super) struct CancelRegistry {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    last_process_id: i32,
    by_process_id: HashMap<i32, Session>,
}

#[derive(Debug)]
struct Session {
    secret: i32,
    running: Running,
}

type Running = Arc<Mutex<Option<CancellationToken>>>;

/// One session's entry; dropping it takes the entry out.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<CancelRegistry>,
    pub(super) process_id: i32,
    pub(super) secret: i32,
    running: Running,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CancelRegistry {
    /// Enters a session under a free process id and a random secret.
    pub(super) fn register(self: &Arc<Self>) -> Registration {
        let mut sessions = lock(&self.sessions);
        let mut process_id = sessions.last_process_id;
        loop {
            process_id = if process_id == i32::MAX { 1 } else { process_id + 1 };
            if !sessions.by_process_id.contains_key(&process_id) {
                break;
            }
        }
        sessions.last_process_id = process_id;
        let (secret, running) = (rand::random(), Running::default());
        sessions.by_process_id.insert(process_id, Session { secret, running: running.clone() });
        Registration { registry: self.clone(), process_id, secret, running }
    }

    /// Cancels what the session runs now, if the secret is right.
    pub(super) fn cancel(&self, process_id: i32, secret: i32) {
        let running = match lock(&self.sessions).by_process_id.get(&process_id) {
            Some(session) if session.secret == secret => session.running.clone(),
            _ => return,
        };
        if let Some(token) = lock(&running).as_ref() {
            token.cancel();
        }
    }
}

impl Registration {
    /// Starts a statement: cancel requests from here on stop it.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *lock(&self.running) = Some(token.clone());
        token
    }

    /// Ends the statement: a late cancel request must not hit the next one.
    pub(super) fn end(&self) {
        *lock(&self.running) = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.registry.sessions).by_process_id.remove(&self.process_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_cancels_and_only_while_a_statement_runs() {
        let registry = Arc::new(CancelRegistry::default());
        let session = registry.register();
        let other = registry.register();
        assert_ne!(session.process_id, other.process_id);
        let token = session.begin();
        registry.cancel(session.process_id, session.secret.wrapping_add(1));
        registry.cancel(other.process_id, other.secret);
        assert!(!token.is_cancelled());
        registry.cancel(session.process_id, session.secret);
        assert!(token.is_cancelled());
        session.end();
        registry.cancel(session.process_id, session.secret);
        assert!(!session.begin().is_cancelled());
        let process_id = session.process_id;
        drop(session);
        assert!(!lock(&registry.sessions).by_process_id.contains_key(&process_id));
    }
}
