//! The query runtime: threads of their own for planning and running statements, with stacks that deep statements fit in.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::store::Priority;

/// The stack of a query thread. Address space, not memory: pages are taken when a deep statement touches them.
pub(super) const STACK_BYTES: usize = 256 << 20;

/// The most threads of a lane for blocking file reads, which keep the same stack size.
const MAX_BLOCKING_THREADS: usize = 8;

/// The most lanes. So many statements may compute without a pause before another has to wait for one of them; their threads share the
/// cores, and beyond this more of them would only take turns more often.
const MAX_LANES: usize = 16;

/// The threads on which statements are planned and run, apart from the network's.
///
/// A join or an aggregation may compute for seconds before it lets its thread go, and then whoever shares the thread waits, be it only for
/// the end of a file read. So statements do not share threads while there are lanes: each lane is a runtime with as many threads as one statement
/// can use, and the operating system divides the cores among them.
#[derive(Debug)]
pub(super) struct QueryRuntime {
    threads: Option<usize>,
    priority: Priority,
    lanes: Mutex<Vec<Lane>>,
}

impl QueryRuntime {
    /// A runtime whose lanes have `threads` threads each, or one a core. A lane is started when it is needed.
    pub fn new(threads: Option<usize>, priority: Priority) -> Self {
        Self { threads, priority, lanes: Mutex::default() }
    }

    /// Runs `work` on a query thread and waits for it; dropping the returned future stops the work.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let mut task = self.spawn(work)?;
        match (&mut task.0).await {
            Ok(done) => done,
            Err(e) if e.is_cancelled() => {
                Err(Error::new(crate::error::Kind::Closed, "the query runtime is shutting down"))
            }
            Err(e) => Err(Error::internal(format!("the statement made its thread panic: {}", panic_text(e)))),
        }
    }

    /// Starts `work` on a query thread; dropping the returned task stops it.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<Task<T>> {
        let (lane, running) = self.lane()?;
        Ok(Task(lane.spawn(async move {
            let _running = running;
            work.await
        })))
    }

    /// The threads of a lane, for work that is no statement.
    pub fn handle(&self) -> Result<Handle> {
        Ok(self.lane()?.0)
    }

    /// How many statements hold a query thread or wait for one. One that was stopped counts until it has really ended.
    pub fn running(&self) -> usize {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().map(Lane::running).sum()
    }

    /// The lane for one more task, which counts as running from now on.
    fn lane(&self) -> Result<(Handle, Running)> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<usize> = lanes.iter().map(Lane::running).collect();
        let at = choose(&running);
        if at == lanes.len() {
            lanes.push(Lane::start(self.threads, self.priority)?);
        }
        Ok((lanes[at].handle.clone(), Running::new(&lanes[at].running)))
    }
}

/// The place of the lane for one more task, given how many run in each: an idle one, else a new one, else the one with the fewest.
fn choose(running: &[usize]) -> usize {
    let fewest = running.iter().enumerate().min_by_key(|(_, running)| **running);
    match fewest {
        Some((at, 0)) => at,
        Some((at, _)) if running.len() >= MAX_LANES => at,
        _ => running.len(),
    }
}

/// A runtime that a statement has to itself where that can be.
#[derive(Debug)]
struct Lane {
    handle: Handle,
    runtime: Option<Runtime>,
    /// How many tasks have not ended, stopped ones included.
    running: Arc<AtomicUsize>,
}

impl Lane {
    fn start(threads: Option<usize>, priority: Priority) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = threads {
            builder.worker_threads(threads.max(1));
        }
        let runtime = builder
            .thread_name("query")
            .on_thread_start(move || priority.take())
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .enable_all()
            .build()
            .map_err(|e| Error::io("query runtime", e))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime), running: Arc::default() })
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for Lane {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn a_task_gets_an_idle_lane_or_a_new_one_and_shares_the_emptiest_in_the_end() {
        assert_eq!(choose(&[0]), 0);
        assert_eq!(choose(&[1]), 1);
        assert_eq!(choose(&[2, 0, 0]), 1);
        let mut all = [3; MAX_LANES];
        assert_eq!(choose(&all[1..]), MAX_LANES - 1);
        all[5] = 1;
        assert_eq!(choose(&all), 5);
    }

    /// The kernel says so, of threads that compute and of those that wait for the disk.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn threads_have_the_priority_of_their_runtime() {
        /// The thread's nice value; the name, in parentheses before it, holds no others.
        fn nice() -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux tells of threads");
            let (_, fields) = stat.rsplit_once(") ").expect("a name");
            fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
        }
        let own = nice();
        for (priority, wanted) in [(Priority::Usual, own), (Priority::Upkeep, 5), (Priority::Idle, 15)] {
            let runtime = QueryRuntime::new(Some(1), priority);
            let seen = runtime.run(async {
                let waiting = tokio::task::spawn_blocking(nice).await;
                Ok((nice(), waiting.map_err(|e| Error::internal(e.to_string()))?))
            });
            assert_eq!(seen.await.expect("run"), (wanted, wanted), "{priority:?}");
        }
    }

    /// A lane for each of those that never let their thread go, and one for the other.
    #[tokio::test]
    async fn work_that_never_waits_keeps_no_other_from_its_end() {
        let runtime = QueryRuntime::new(Some(1), Priority::Usual);
        let done = Arc::new(AtomicBool::new(false));
        let spin = |done: Arc<AtomicBool>| async move {
            while !done.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        };
        let busy: Vec<_> = (1..MAX_LANES).map(|_| runtime.spawn(spin(done.clone())).expect("a lane")).collect();
        let reading = runtime.run(async {
            let read = tokio::task::spawn_blocking(|| 7).await;
            read.map_err(|e| Error::internal(e.to_string()))
        });
        let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
        let still_busy = runtime.running();
        done.store(true, Ordering::Relaxed);
        assert_eq!(read.expect("it waits for the busy ones").expect("read"), 7);
        assert_eq!(still_busy, busy.len());
    }
}
