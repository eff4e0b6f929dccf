//! The words in which [`super::shop`] describes itself.

/// A service and how many processes run it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) index: usize,
    pub(super) name: &'static str,
    /// As `telemetry.sdk.language` has it.
    pub(super) language: &'static str,
    pub(super) port: u16,
    pub(super) replicas: u8,
}

/// How an operation fails.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) exception: &'static str,
    pub(super) message: &'static str,
    pub(super) frames: &'static [&'static str],
    pub(super) http_status: u16,
    pub(super) rpc_status: &'static str,
    /// How many times longer a failing call takes.
    pub(super) slow_factor: u64,
}

/// How an operation is reached.
#[derive(Debug)]
pub(super) enum Entry {
    Http { method: &'static str, route: &'static str },
    Rpc { method: &'static str },
    Message,
    Job { name: &'static str },
}

/// Something that a service does on request.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) service: &'static Service,
    pub(super) entry: Entry,
    /// The median of its own work, in microseconds.
    pub(super) self_us: u32,
    /// The standard deviation of that work's logarithm, in percent.
    pub(super) spread: u32,
    pub(super) fault: &'static Fault,
    /// How often it fails on a good day, of 10,000 calls.
    pub(super) base_fault_permyriad: u32,
    pub(super) steps: &'static [Step],
}

/// One thing that an operation does.
#[derive(Debug)]
pub(super) enum Step {
    /// Calls another operation and fails when it fails.
    Call(&'static Operation),
    /// Calls up to so many times.
    Retry(u32, &'static Operation),
    /// Calls and goes on without the answer when there is none.
    Optional(&'static Operation),
    /// Takes these steps at the same time.
    All(&'static [Step]),
    /// Takes the step this often, one after the other.
    Times(u32, u32, &'static Step),
    /// Takes the step in so many of 1,000 cases.
    Maybe(u32, &'static Step),
    Query(&'static Store),
    Fetch(&'static External),
    Publish(&'static Topic),
    /// Work of its own that has a span, with its median in microseconds.
    Work(&'static str, u32),
}

/// A statement against a database.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) system: &'static str,
    pub(super) host: &'static str,
    pub(super) port: u16,
    pub(super) namespace: &'static str,
    pub(super) collection: &'static str,
    pub(super) operation: &'static str,
    pub(super) text: &'static str,
    pub(super) median_us: u32,
    pub(super) fault: &'static Fault,
}

/// A third party's endpoint, which sends no spans.
#[derive(Debug)]
pub(super) struct External {
    pub(super) host: &'static str,
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) median_us: u32,
    pub(super) spread: u32,
    pub(super) fault: &'static Fault,
}

/// A topic or queue of a broker.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) system: &'static str,
    pub(super) host: &'static str,
    pub(super) port: u16,
    pub(super) name: &'static str,
    /// Whether consumers start traces of their own, with a link, or go on in the producer's.
    pub(super) own_trace: bool,
    pub(super) consumers: &'static [&'static Operation],
}

/// A way for a trace to start.
#[derive(Debug)]
pub(super) struct Weighted {
    pub(super) weight: u32,
    pub(super) from_browser: bool,
    pub(super) operation: &'static Operation,
}
