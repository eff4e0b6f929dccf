//! Rules at work on one request, one after the other on what the former left of a value.

use super::file::MOST_RULES;
use super::rule::{Action, Changed, Place, Rule};
use crate::otlp::{Censor, Entry, Owner, TextPlace, Value, Verdict};

/// What an allow-list never deletes: without it no span would be found by its service.
const ALWAYS_ALLOWED: &[u8] = b"service.name";

/// The rules, and how many values each has changed in this request.
pub(super) struct RuleCensor<'r> {
    rules: &'r [Rule],
    counts: Vec<u64>,
}

impl<'r> RuleCensor<'r> {
    pub fn new(rules: &'r [Rule]) -> Self {
        Self { rules, counts: vec![0; rules.len()] }
    }

    /// In the order of the rules.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

/// The rules, a bit each, that look into a value by its key or by one of those around it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Matched(u128);

const _: () = assert!(MOST_RULES <= 128, "a rule has a bit of its own");

impl Matched {
    fn has(self, rule: usize) -> bool {
        self.0 & (1_u128 << rule) != 0
    }

    fn with(self, rule: usize) -> Self {
        Self(self.0 | (1_u128 << rule))
    }
}

impl Censor for RuleCensor<'_> {
    type Keys = Matched;

    fn keys(&mut self, owner: Owner, key: &[u8], outer: Option<Matched>) -> Matched {
        let place = Place::of_owner(owner);
        let is_about =
            |rule: &Rule| rule.places.contains(&place) && rule.keys.as_ref().is_none_or(|keys| keys.is_match(key));
        // What a key is about is all that lies in its value.
        self.rules.iter().enumerate().fold(outer.unwrap_or_default(), |matched, (at, rule)| {
            if matched.has(at) || !is_about(rule) { matched } else { matched.with(at) }
        })
    }

    fn entry(&mut self, entry: &Entry<'_, Matched>) -> Verdict {
        let place = Place::of_owner(entry.owner);
        let mut replaced: Option<Vec<u8>> = None;
        for (at, (rule, count)) in self.rules.iter().zip(&mut self.counts).enumerate() {
            if !rule.places.contains(&place) {
                continue;
            }
            let now = match (&replaced, &entry.value) {
                (Some(text), _) => Some(text.as_slice()),
                (None, Value::Text(text)) => Some(text.as_ref()),
                (None, Value::Other(_)) => None,
            };
            match judged(rule, entry.keys.has(at), entry, now) {
                None => {}
                Some(Changed::Gone) => {
                    *count += 1;
                    return Verdict::Delete;
                }
                Some(Changed::To(text)) => {
                    *count += 1;
                    replaced = Some(text);
                }
            }
        }
        replaced.map_or(Verdict::Keep, Verdict::Replace)
    }

    fn text(&mut self, place: TextPlace, text: &[u8]) -> Option<Vec<u8>> {
        let place = Place::of_text(place);
        let mut replaced: Option<Vec<u8>> = None;
        for (rule, count) in self.rules.iter().zip(&mut self.counts) {
            // A rule about keys is about attributes.
            if rule.keys.is_some() || !rule.places.contains(&place) {
                continue;
            }
            if let Some(changed) = rule.change(replaced.as_deref().unwrap_or(text)) {
                *count += 1;
                replaced = Some(match changed {
                    // A name and a message stand in every span: an empty one is none.
                    Changed::Gone => Vec::new(),
                    Changed::To(text) => text,
                });
            }
        }
        replaced
    }

    fn begin(&mut self) {
        self.counts.fill(0);
    }
}

/// What a rule makes of an entry whose text by now is `text`, and whose keys it is about or not; `None` when it leaves the entry as it is.
fn judged(rule: &Rule, has_key: bool, entry: &Entry<'_, Matched>, text: Option<&[u8]>) -> Option<Changed> {
    if matches!(rule.action, Action::Allow) {
        // What lies in an attribute that is allowed is allowed with it.
        return (!has_key && !entry.is_nested && entry.key != ALWAYS_ALLOWED).then_some(Changed::Gone);
    }
    match (has_key, text, &entry.value) {
        (false, ..) => None,
        (true, Some(text), _) => rule.change(text),
        // Patterns look into what lies in it when its turn comes.
        (true, None, Value::Other(bytes)) => rule.patterns.is_empty().then(|| rule.whole(bytes)),
        (true, None, Value::Text(_)) => None,
    }
}
