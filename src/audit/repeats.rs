//! Those who are turned away again and again: the first time has a line of its own, what follows within a minute is counted.
//!
//! Whoever is not let in may come back as often as the network carries it. A line for each time would push out of the log what it is kept for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::line::{Event, Kind, Who};

/// For how long it is counted.
const COUNTED_FOR: Duration = Duration::from_secs(60);
/// Addresses and reasons that are told apart in that time; what comes beyond is counted as one.
const MOST_APART: usize = 1024;

/// What was refused since a time.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    since: Option<Instant>,
    apart: HashMap<Reason, u64>,
    beyond: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Reason {
    address: Option<IpAddr>,
    what: &'static str,
    outcome: &'static str,
}

impl Repeats {
    /// Counts a refusal; says whether it is the first of its kind and has a line of its own.
    pub fn is_first(&mut self, who: &Who, what: &'static str, outcome: &'static str, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let reason = Reason { address: who.address.map(|address| address.ip().to_canonical()), what, outcome };
        if let Some(more) = self.apart.get_mut(&reason) {
            *more += 1;
            return false;
        }
        if self.apart.len() >= MOST_APART {
            self.beyond += 1;
            return false;
        }
        self.apart.insert(reason, 0);
        true
    }

    /// The lines for what was counted, once the time is over.
    pub fn over(&mut self, now: Instant) -> Vec<Event> {
        match self.since {
            Some(since) if now.saturating_duration_since(since) >= COUNTED_FOR => self.take(),
            _ => Vec::new(),
        }
    }

    /// The lines for what was counted until now.
    pub fn take(&mut self) -> Vec<Event> {
        let Self { since: _, apart, beyond } = std::mem::take(self);
        let mut events: Vec<_> = apart.into_iter().filter(|(_, more)| *more > 0).map(counted).collect();
        if beyond > 0 {
            let event = Event::new(Kind::Refusal, &Who::default(), "many addresses");
            events.push(event.with_detail(&format!("{beyond} more within a minute")));
        }
        events
    }
}

fn counted((reason, more): (Reason, u64)) -> Event {
    let event = Event {
        address: reason.address.map(|address| address.to_string()),
        outcome: reason.outcome.to_owned(),
        ..Event::new(Kind::Refusal, &Who::default(), reason.what)
    };
    event.with_detail(&format!("{more} more within a minute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(address: &str) -> Who {
        Who { address: Some(address.parse().unwrap()), ..Who::default() }
    }

    #[test]
    fn the_first_has_a_line_and_the_others_a_count() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let mut refused = |address, what, outcome| repeats.is_first(&who(address), what, outcome, start);
        assert!(refused("192.0.2.1:1", "export", "28000"));
        assert!(!refused("192.0.2.1:2", "export", "28000"), "another port");
        assert!(!refused("[::ffff:192.0.2.1]:3", "export", "28000"), "the same address");
        assert!(refused("192.0.2.1:1", "export", "42501") && refused("192.0.2.2:1", "export", "28000"));
        assert!(refused("192.0.2.1:1", "PostgreSQL session", "28000"));
        assert!(repeats.over(start + COUNTED_FOR / 2).is_empty());
        let over = repeats.over(start + COUNTED_FOR);
        assert_eq!(over.len(), 1, "{over:?}");
        let Event { kind, address, what, outcome, detail, .. } = &over[0];
        assert_eq!((*kind, what.as_str(), outcome.as_str()), (Kind::Refusal, "export", "28000"));
        assert_eq!([address.as_deref(), detail.as_deref()], [Some("192.0.2.1"), Some("2 more within a minute")]);
        assert!(repeats.is_first(&who("192.0.2.1:1"), "export", "28000", start + COUNTED_FOR), "it begins anew");
        assert!(repeats.take().is_empty());
    }

    #[test]
    fn memory_and_lines_are_bounded() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let mut lines = 0;
        for _ in 0..2 {
            for number in 0..2 * MOST_APART as u32 {
                let address = (IpAddr::V4(number.into()), 9).into();
                let who = Who { address: Some(address), ..Who::default() };
                lines += usize::from(repeats.is_first(&who, "export", "28000", start));
            }
        }
        assert_eq!((lines, repeats.apart.len()), (MOST_APART, MOST_APART));
        let counted = repeats.take();
        assert_eq!(counted.len(), MOST_APART + 1);
        let beyond = counted.last().and_then(|event| event.detail.as_deref());
        assert_eq!(beyond, Some("2048 more within a minute"));
    }
}
