//! The query runtime: threads of their own for planning and running statements, with stacks that deep statements fit in.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// The stack of a query thread. Address space, not memory: pages are taken when a deep statement touches them.
const STACK_BYTES: usize = 256 << 20;

/// The most threads for blocking file reads, which keep the same stack size.
const MAX_BLOCKING_THREADS: usize = 16;

/// The runtime on which statements are planned and run, apart from the network's.
#[derive(Debug)]
pub(super) struct QueryRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
    /// How many tasks have not ended, stopped ones included.
    running: Arc<AtomicUsize>,
}

impl QueryRuntime {
    /// Starts `threads` query threads.
    pub fn start(threads: Option<usize>) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = threads {
            builder.worker_threads(threads.max(1));
        }
        let runtime = builder
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .enable_all()
            .build()
            .map_err(|e| Error::io("query runtime", e))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime), running: Arc::default() })
    }

    /// Runs `work` on a query thread and waits for it; dropping the returned future stops the work.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let mut task = self.spawn(work);
        match (&mut task.0).await {
            Ok(done) => done,
            Err(e) if e.is_cancelled() => {
                Err(Error::new(crate::error::Kind::Closed, "the query runtime is shutting down"))
            }
            Err(e) => Err(Error::internal(format!("the statement made its thread panic: {}", panic_text(e)))),
        }
    }

    /// Starts `work` on a query thread; dropping the returned task stops it.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let running = Running::new(&self.running);
        Task(self.handle.spawn(async move {
            let _running = running;
            work.await
        }))
    }

    /// How many statements hold a query thread or wait for one. One that was stopped counts until it has really ended.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for QueryRuntime {
    /// Lets running statements go without waiting, since a wait inside another runtime would panic.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Counts a task for as long as it lives.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Work on the query runtime that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "no reason given".into()),
        Err(error) => error.to_string(),
    }
}
