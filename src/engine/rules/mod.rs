//! Planner and optimizer rules of ours, one file a rule.

mod ids_as_bytes;
mod lenient_text;

pub(super) use ids_as_bytes::IdsAsBytes;
pub(super) use lenient_text::{LenientText, number_from_text};
