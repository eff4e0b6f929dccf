//! Memory of one statement: fair among its operators, below its own limit, and out of the pool that all statements share.

use std::fmt;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;

/// The runtime environment of one statement, which may hold at most `limit_bytes`.
pub(super) fn statement_env(shared: &RuntimeEnv, limit_bytes: usize) -> Arc<RuntimeEnv> {
    let pool = StatementPool { own: FairSpillPool::new(limit_bytes), shared: shared.memory_pool.clone() };
    Arc::new(RuntimeEnv { memory_pool: Arc::new(pool), ..shared.clone() })
}

#[derive(Debug)]
struct StatementPool {
    own: FairSpillPool,
    shared: Arc<dyn MemoryPool>,
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement({})", self.own)
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.shared.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    #[test]
    fn a_statement_keeps_to_its_limit_and_to_what_others_leave() {
        let shared =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(100))).build().expect("env");
        let (a, b) = (statement_env(&shared, 60), statement_env(&shared, 60));
        let of_a = MemoryConsumer::new("a").register(&a.memory_pool);
        let of_b = MemoryConsumer::new("b").register(&b.memory_pool);
        assert!(of_a.try_grow(61).is_err(), "over its own limit");
        of_a.try_grow(60).expect("within both");
        assert!(of_b.try_grow(50).is_err(), "over what is left");
        of_b.try_grow(40).expect("what is left");
        drop(of_a);
        assert_eq!((a.memory_pool.reserved(), shared.memory_pool.reserved()), (0, 40));
        of_b.try_grow(20).expect("freed by the other");
    }
}
