//! The figures of who came and who was not let in.

use super::families::{Family, counter, gauge, gauges_by};
use crate::access::{ConnectionCounts, Gate, Listener};

pub(super) fn of_gate(gate: &Gate) -> Vec<Family> {
    let ConnectionCounts { open, waiting, sent_away } = gate.connections();
    let by_listener: Vec<_> = Listener::ALL.map(Listener::name).into_iter().zip(open).collect();
    vec![
        gauges_by("spanhouse_connections", "Open connections of clients", "listener", &by_listener),
        gauge("spanhouse_connections_waiting", "Those of them that were not let in yet", waiting),
        counter(
            "spanhouse_connections_sent_away",
            "Connections that made room for others of their address before they were let in",
            sent_away,
        ),
        counter("spanhouse_access_failures", "Passwords, tokens and proofs that were wrong", gate.failures()),
    ]
}
