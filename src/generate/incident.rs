//! Bad minutes: when which operation fails far more often than on a good day.

use super::shop::{CHARGE, PLACE, RESERVE, SEARCH_PRODUCTS};
use super::topology::Operation;

/// An incident begins once in this time.
const PERIOD_NS: u64 = 180_000_000_000;
/// It begins so long after the period's start…
const OFFSET_NS: u64 = 20_000_000_000;
/// …and lasts so long.
const LENGTH_NS: u64 = 40_000_000_000;
/// How many of 1,000 calls fail in it.
const FAILING_PERMILLE: u32 = 650;

/// Where incidents start, in turn.
static ORIGINS: [&Operation; 4] = [&CHARGE, &RESERVE, &SEARCH_PRODUCTS, &PLACE];

/// How many of 1,000 calls of `operation` an incident fails at this time since the first trace; `turn` shifts whose turn it is.
pub(super) fn failing_permille(operation: &Operation, since_start_ns: u64, turn: u64) -> u32 {
    let (period, within) = (since_start_ns / PERIOD_NS, since_start_ns % PERIOD_NS);
    let origin = ORIGINS[(period.wrapping_add(turn) % ORIGINS.len() as u64) as usize];
    let burning = (OFFSET_NS..OFFSET_NS + LENGTH_NS).contains(&within) && std::ptr::eq(origin, operation);
    if burning { FAILING_PERMILLE } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_burns_in_its_turn_and_only_then() {
        let second = 1_000_000_000;
        assert_eq!(failing_permille(&CHARGE, 30 * second, 0), FAILING_PERMILLE);
        assert_eq!(failing_permille(&CHARGE, 70 * second, 0), 0);
        assert_eq!(failing_permille(&RESERVE, 30 * second, 0), 0);
        assert_eq!(failing_permille(&RESERVE, 210 * second, 0), FAILING_PERMILLE);
        assert_eq!(failing_permille(&RESERVE, 30 * second, 1), FAILING_PERMILLE);
    }
}
