//! The layers of a graph that may have circles.

use std::collections::BTreeMap;

use super::Call;

/// Names and relations by number, and the layer of each name.
pub struct Layers<'a> {
    pub names: Vec<&'a str>,
    /// From the layer of those that nobody calls, 0.
    pub layer: Vec<usize>,
    /// Caller and callee of each relation.
    pub ends: Vec<(usize, usize)>,
    /// Whether a relation leads back into a layer that it came from: it closes a circle, or calls itself.
    pub is_back: Vec<bool>,
}

impl<'a> Layers<'a> {
    /// Sorts the names into layers.
    pub fn of(calls: &'a [Call]) -> Self {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for call in calls {
            for name in [call.caller.as_str(), call.callee.as_str()] {
                numbers.entry(name).or_default();
            }
        }
        let names: Vec<&str> = numbers.keys().copied().collect();
        numbers.values_mut().enumerate().for_each(|(number, slot)| *slot = number);
        let ends: Vec<(usize, usize)> =
            calls.iter().map(|call| (numbers[call.caller.as_str()], numbers[call.callee.as_str()])).collect();
        let mut layers = Self { layer: vec![0; names.len()], is_back: vec![false; ends.len()], names, ends };
        let order = layers.walk(calls);
        layers.place(&order);
        layers
    }

    /// The relations out of each name, the busiest first.
    fn out(&self, calls: &[Call]) -> Vec<Vec<usize>> {
        let mut out = vec![Vec::new(); self.names.len()];
        for (relation, (caller, _)) in self.ends.iter().enumerate() {
            out[*caller].push(relation);
        }
        for relations in &mut out {
            relations.sort_by_key(|relation| (std::cmp::Reverse(calls[*relation].calls), *relation));
        }
        out
    }

    /// Walks down from the names that nobody calls, then from what is left, marks the relations that close circles, and gives the names so that
    /// callers come before whom they call.
    fn walk(&mut self, calls: &[Call]) -> Vec<usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let out = self.out(calls);
        let mut is_called = vec![false; self.names.len()];
        self.ends.iter().filter(|(caller, callee)| caller != callee).for_each(|(_, callee)| is_called[*callee] = true);
        let (called, tops): (Vec<usize>, Vec<usize>) = (0..self.names.len()).partition(|name| is_called[*name]);
        let mut state = vec![State::New; self.names.len()];
        let mut order = Vec::new();
        for top in tops.into_iter().chain(called) {
            if state[top] != State::New {
                continue;
            }
            state[top] = State::Open;
            let mut stack = vec![(top, 0)];
            while let Some((name, next)) = stack.last_mut() {
                let Some(&relation) = out[*name].get(*next) else {
                    state[*name] = State::Done;
                    order.push(*name);
                    stack.pop();
                    continue;
                };
                *next += 1;
                let callee = self.ends[relation].1;
                match state[callee] {
                    State::New => {
                        state[callee] = State::Open;
                        stack.push((callee, 0));
                    }
                    State::Open => self.is_back[relation] = true,
                    State::Done => {}
                }
            }
        }
        order.reverse();
        order
    }

    /// Puts each name a layer below the deepest of its callers.
    fn place(&mut self, order: &[usize]) {
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); self.names.len()];
        for (relation, (caller, callee)) in self.ends.iter().enumerate() {
            if !self.is_back[relation] {
                below[*caller].push(*callee);
            }
        }
        for &name in order {
            for &callee in &below[name] {
                self.layer[callee] = self.layer[callee].max(self.layer[name] + 1);
            }
        }
    }

    /// How many layers there are.
    pub fn count(&self) -> usize {
        self.layer.iter().max().map_or(0, |deepest| deepest + 1)
    }

    /// The relations out of a name, the busiest first.
    pub fn relations_of(&self, name: usize, calls: &[Call]) -> Vec<usize> {
        let mut own: Vec<usize> = (0..self.ends.len()).filter(|relation| self.ends[*relation].0 == name).collect();
        own.sort_by_key(|relation| (std::cmp::Reverse(calls[*relation].calls), *relation));
        own
    }
}
