//! Who calls whom: services from left to right in layers, joined by lines where there is room, else as a list.
//!
//! A layer is one step further from those that nobody calls. Each service has one line out, which branches; each arrow is one call relation, with
//! its number of calls and the share that failed.

mod drawing;
mod grid;
mod layers;
mod list;

use super::Paper;
use crate::render::sanitize;
use crate::repl::text::Line;
use layers::Layers;

/// A relation of a caller and a callee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub caller: String,
    pub callee: String,
    pub calls: u64,
    pub errors: u64,
    /// What the callee is, where it is no service: a database, a broker.
    pub callee_type: Option<String>,
    /// Whether spans only link to each other.
    pub is_link: bool,
}

/// Draws the relations.
pub fn map(calls: &[Call], paper: Paper) -> Vec<Line> {
    let calls: Vec<Call> = calls.iter().map(harmless).collect();
    if calls.is_empty() {
        return Vec::new();
    }
    let layers = Layers::of(&calls);
    drawing::draw(&calls, &layers, paper).unwrap_or_else(|| list::list(&calls, &layers, paper))
}

fn harmless(call: &Call) -> Call {
    let name = |name: &str| if name.is_empty() { "(no name)".to_owned() } else { sanitize(name).into_owned() };
    Call { caller: name(&call.caller), callee: name(&call.callee), ..call.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::charts::golden;

    fn call(text: &str) -> Call {
        let words: Vec<&str> = text.split(' ').collect();
        Call {
            caller: words[0].to_owned(),
            callee: words[1].to_owned(),
            calls: words[2].parse().expect("calls"),
            errors: words[3].parse().expect("errors"),
            callee_type: words.get(4).filter(|word| **word != "link").map(|word| (*word).to_owned()),
            is_link: words.get(4) == Some(&"link"),
        }
    }

    fn calls(texts: &[&str]) -> Vec<Call> {
        texts.iter().map(|text| call(text)).collect()
    }

    #[test]
    fn maps_are_as_they_were_approved() {
        let chain = calls(&["web cart 1140 12", "cart redis 2100 0 database"]);
        let shop = calls(&[
            "web gateway 579 21",
            "gateway cart 264 0",
            "gateway catalog 413 2",
            "gateway checkout 52 21",
            "checkout payment 52 1",
            "checkout cart 83 0",
            "catalog postgres 4162 0 database",
            "cart redis 392 0 database",
            "checkout kafka 43 0 messaging",
            "kafka email 43 0",
        ]);
        let broken = calls(&["a b 5 0", "b c 4 1", "c a 3 0", "c c 2 0", "a \u{1b}[2J日本 1 1", "a worker 7 0 link"]);
        for (name, calls) in [("chain", &chain), ("shop", &shop), ("broken", &broken)] {
            for columns in [40, 80, 120] {
                golden::check(&format!("map_{name}_{columns}"), &map(calls, Paper::new(columns, false)), columns);
            }
        }
        golden::check("map_ascii", &map(&shop, Paper::new(120, true)), 120);
        assert!(map(&[], Paper::new(80, false)).is_empty());
    }

    #[test]
    fn a_map_of_any_size_is_shown() {
        let large: Vec<Call> = (0..3_000).map(|i| call(&format!("s{} s{} {i} 0", i % 97, i * 7 % 101))).collect();
        for columns in [40, 200] {
            let lines = map(&large, Paper::new(columns, false));
            assert!(!lines.is_empty() && lines.len() < 5_000, "{}", lines.len());
        }
    }
}
