//! Promoted attributes: frequent keys that files keep in typed columns of their own instead of in the maps.
//!
//! A fresh batch has every attribute in its maps. On the way into a file the first value of a promoted key, if it is a scalar, moves
//! from the map into a plain column of its type; whatever does not fit stays in the map, so that nothing is lost. What a key's
//! columns and the map say together is what the map alone said before, the order of different keys aside.

mod assemble;
mod census;
mod choose;
mod key_table;
mod names;
mod notes;
mod set;
mod split;
mod text;

pub use assemble::{MapParts, ScalarValues, assemble_map, assemble_types, whole_batch};
pub use census::Census;
pub use choose::FileLayout;
pub use names::{AttributeKey, Owner, PromotedColumn, Scalar};
pub use notes::FileNotes;
pub use set::{Promoted, Promotion};
pub use split::Splitter;
pub use text::int_of_text;
