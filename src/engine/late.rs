//! An engine that is made when it is first asked for: its functions, views and catalogue take time and some MiB, which a tenant whom nobody asks
//! about should not cost.

use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::shared::Engine;
use crate::error::{Error, Result};

type Make = dyn Fn() -> Result<Arc<Engine>> + Send + Sync;

/// An engine that may not be there yet.
pub struct LateEngine {
    made: OnceCell<Arc<Engine>>,
    make: Arc<Make>,
}

impl LateEngine {
    /// An engine that `make` makes, which may be tried again after a failure.
    pub fn new(make: impl Fn() -> Result<Arc<Engine>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { made: OnceCell::new(), make: Arc::new(make) })
    }

    /// The engine; the first who asks waits until it is made.
    pub async fn get(&self) -> Result<Arc<Engine>> {
        let made = self.made.get_or_try_init(|| async {
            let make = self.make.clone();
            let making = tokio::task::spawn_blocking(move || make()).await;
            making.map_err(|error| Error::internal(format!("making an engine failed: {error}")))?
        });
        made.await.cloned()
    }

    /// The engine, if somebody has asked for it.
    pub fn made(&self) -> Option<&Arc<Engine>> {
        self.made.get()
    }
}

impl fmt::Debug for LateEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateEngine").field("is_made", &self.made.initialized()).finish()
    }
}
