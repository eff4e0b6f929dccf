//! The one integration binary: each module is a topic.
//!
//! - `layering`: folders depend downwards only.

mod layering;
mod support;
