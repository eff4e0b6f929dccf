//! Planner and optimizer rules of ours, one file a rule.

mod lenient_text;

pub(super) use lenient_text::{LenientText, number_from_text};
