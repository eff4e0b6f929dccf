//! An object store in memory that fails, hangs and lies when a test tells it to.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart,
};
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use tokio::sync::watch;

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Put,
    /// A part of an upload, or its end.
    Part,
    List,
    Delete,
    Any,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has no effect, and fails.
    Fail,
    /// It has its effect, and fails all the same, as when the answer is lost.
    FailAfter,
    /// It fails, and has its effect at [`FaultyStore::arrive`]; only for whole objects that are put.
    Late,
    /// It has no effect and does not end before [`FaultyStore::heal`]; then it fails.
    Freeze,
    /// What is read breaks off half-way; other calls fail.
    Half,
}

#[derive(Debug, Clone)]
struct Rule {
    call: Call,
    part_of_path: &'static str,
    fault: Fault,
    /// Calls that go well before, and calls that then go wrong.
    after: usize,
    times: usize,
}

/// The store; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct FaultyStore {
    pub inner: Arc<InMemory>,
    rules: Arc<Mutex<Vec<Rule>>>,
    /// Listings leave out what contains this.
    hidden: Arc<Mutex<Option<String>>>,
    healed: watch::Sender<u64>,
    calls: Arc<AtomicUsize>,
    frozen: Arc<AtomicUsize>,
    late: Arc<Mutex<Vec<(Path, PutPayload, PutOptions)>>>,
    watcher: Arc<Mutex<Option<Watcher>>>,
}

/// Is told of calls that are about to change something.
struct Watcher(Box<dyn Fn(&str) + Send>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

impl Default for FaultyStore {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            rules: Arc::default(),
            hidden: Arc::default(),
            healed: watch::Sender::new(0),
            calls: Arc::default(),
            frozen: Arc::default(),
            late: Arc::default(),
            watcher: Arc::default(),
        }
    }
}

impl FaultyStore {
    /// Makes calls go wrong until [`Self::heal`].
    pub(crate) fn fail(&self, call: Call, part_of_path: &'static str, fault: Fault) {
        self.fail_some(call, part_of_path, fault, 0, usize::MAX);
    }

    /// Makes `times` calls go wrong after `after` that go well.
    pub(crate) fn fail_some(&self, call: Call, part_of_path: &'static str, fault: Fault, after: usize, times: usize) {
        self.rules.lock().expect("rules").push(Rule { call, part_of_path, fault, after, times });
    }

    /// A store of these objects.
    pub(crate) fn of(inner: Arc<InMemory>) -> Self {
        Self { inner, ..Self::default() }
    }

    /// Has calls that change something told before they are made.
    pub(crate) fn watch(&self, watcher: impl Fn(&str) + Send + 'static) {
        *self.watcher.lock().expect("watcher") = Some(Watcher(Box::new(watcher)));
    }

    pub(crate) fn hide(&self, part_of_path: Option<&str>) {
        *self.hidden.lock().expect("hidden") = part_of_path.map(str::to_owned);
    }

    pub(crate) fn heal(&self) {
        self.rules.lock().expect("rules").clear();
        self.hide(None);
        self.healed.send_modify(|healed| *healed += 1);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Calls that were frozen, up to now.
    pub(crate) fn frozen(&self) -> usize {
        self.frozen.load(Ordering::SeqCst)
    }

    /// Lets arrive what is late; gives how many of it were taken.
    pub(crate) async fn arrive(&self) -> usize {
        let late = std::mem::take(&mut *self.late.lock().expect("late"));
        let mut taken = 0;
        for (location, payload, options) in late {
            taken += usize::from(self.inner.put_opts(&location, payload, options).await.is_ok());
        }
        taken
    }

    /// All objects, sorted.
    pub(crate) async fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.inner.list(None).map_ok(|object| object.location.to_string()).try_collect().await.expect("a list");
        names.sort();
        names
    }

    fn fault(&self, call: Call, path: &str) -> Option<Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let (Call::Put | Call::Part | Call::Delete, Some(watcher)) =
            (call, self.watcher.lock().expect("watcher").as_ref())
        {
            watcher.0(&format!("{call:?} {path}"));
        }
        let mut rules = self.rules.lock().expect("rules");
        let rule = rules.iter_mut().find(|rule| {
            (rule.call == call || rule.call == Call::Any) && path.contains(rule.part_of_path) && rule.times > 0
        })?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        rule.times = rule.times.saturating_sub(usize::from(rule.times != usize::MAX));
        Some(rule.fault)
    }

    /// Lets `work` happen, or not.
    async fn pass<T>(&self, call: Call, path: &str, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.apply(self.fault(call, path), path, work).await
    }

    async fn apply<T>(
        &self,
        fault: Option<Fault>,
        path: &str,
        work: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        let broken = || Err(out_of_reach(path));
        match fault {
            None => work.await,
            Some(Fault::Fail | Fault::Late | Fault::Half) => broken(),
            Some(Fault::FailAfter) => work.await.and_then(|_| broken()),
            Some(Fault::Freeze) => {
                let mut healed = self.healed.subscribe();
                self.frozen.fetch_add(1, Ordering::SeqCst);
                let _ = healed.changed().await;
                broken()
            }
        }
    }

    fn shows(&self, object: &ObjectMeta) -> bool {
        let hidden = self.hidden.lock().expect("hidden");
        hidden.as_ref().is_none_or(|hidden| !object.location.as_ref().contains(hidden.as_str()))
    }
}

fn out_of_reach(path: &str) -> StoreError {
    StoreError::Generic { store: "faulty", source: format!("{path} is out of reach").into() }
}

/// An answer of which one half comes.
async fn half(location: &Path, got: GetResult) -> StoreResult<GetResult> {
    let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
    let bytes = got.bytes().await?;
    let parts = [Ok(bytes.slice(..bytes.len() / 2)), Err(out_of_reach(location.as_ref()))];
    Ok(GetResult { payload: GetResultPayload::Stream(futures::stream::iter(parts).boxed()), meta, range, attributes })
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let fault = self.fault(Call::Put, location.as_ref());
        if fault == Some(Fault::Late) {
            let late = (location.clone(), payload.clone(), options.clone());
            self.late.lock().expect("late").push(late);
        }
        self.apply(fault, location.as_ref(), self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let inner = self.pass(Call::Put, location.as_ref(), self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), location: location.to_string(), inner }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let fault = self.fault(Call::Get, location.as_ref());
        if fault == Some(Fault::Half) {
            return half(location, self.inner.get_opts(location, options).await?).await;
        }
        self.apply(fault, location.as_ref(), self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let store = self.clone();
        let deleted = locations.and_then(move |location| {
            let store = store.clone();
            async move {
                let path = location.to_string();
                let one = store.inner.delete_stream(futures::stream::once(ready(Ok(location))).boxed());
                let mut results = store.pass(Call::Delete, &path, one.try_collect::<Vec<_>>()).await?;
                results.pop().ok_or_else(|| StoreError::NotFound { path, source: "nothing was deleted".into() })
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let all = store.inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let mut all = store.pass(Call::List, prefix.as_ref().map_or("", Path::as_ref), all).await?;
            all.retain(|object| store.shows(object));
            all.sort_by(|a, b| a.location.cmp(&b.location));
            Ok::<_, StoreError>(futures::stream::iter(all).map(Ok))
        };
        listed.try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let path = prefix.map_or("", Path::as_ref);
        self.pass(Call::List, path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.pass(Call::Put, to.as_ref(), self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    location: String,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, location) = (self.store.clone(), self.location.clone());
        let part = self.inner.put_part(data);
        async move { store.pass(Call::Part, &location, part).await }.boxed()
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let (store, location) = (self.store.clone(), self.location.clone());
        store.pass(Call::Part, &location, self.inner.complete()).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.inner.abort().await
    }
}
