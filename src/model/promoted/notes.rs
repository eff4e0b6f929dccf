//! What a file says of its attributes in its key-value metadata, so that a reader of the file knows where to look.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::names::{AttributeKey, Owner};

/// Where the note lies in a file's key-value metadata.
const NOTE: &str = "spanhouse.attributes";

/// Where a file has its attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNotes {
    /// Keys for which the file's columns say all: the maps need not be looked into. A key without a column is in no row.
    complete: Vec<String>,
    /// All keys that the maps may hold values of; absent when there are too many to name.
    in_maps: Option<Vec<String>>,
    /// The maps that have no entry in any row, by the names of their columns; files of older versions do not say.
    #[serde(default)]
    empty_maps: Vec<String>,
}

impl FileNotes {
    pub(super) fn new(complete: Vec<String>, in_maps: Option<Vec<String>>, empty_maps: Vec<String>) -> Self {
        Self { complete, in_maps, empty_maps }
    }

    /// The note as a key and value of a file's metadata.
    pub fn to_metadata(&self) -> (String, String) {
        // Lists of text always have a JSON form.
        (NOTE.to_owned(), serde_json::to_string(self).unwrap_or_default())
    }

    /// The note in a file's metadata. Without one, as without a note that can be read, anything may be in the maps.
    pub fn from_metadata(metadata: &HashMap<String, String>) -> Self {
        metadata.get(NOTE).and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default()
    }

    /// Whether the maps need not be looked into for this key.
    pub fn is_complete(&self, key: &AttributeKey) -> bool {
        let name = key.to_string();
        let is_elsewhere = |in_maps: &Vec<String>| !in_maps.contains(&name);
        self.complete.contains(&name) || self.in_maps.as_ref().is_some_and(is_elsewhere)
    }

    /// Whether the owner's map has no entry in any row, also none without a value.
    pub fn is_map_empty(&self, owner: Owner) -> bool {
        self.empty_maps.iter().any(|name| name == owner.map_column())
    }

    /// All keys that the file's maps may hold values of, if they are known.
    pub fn keys_in_maps(&self) -> Option<impl Iterator<Item = AttributeKey>> {
        self.in_maps.as_ref().map(|keys| keys.iter().filter_map(|key| AttributeKey::parse(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_and_a_missing_or_broken_one_promises_nothing() {
        let key = |key: &str| AttributeKey::new(Owner::Span, key);
        let named = FileNotes::new(
            vec!["attributes.a".into()],
            Some(vec!["attributes.\"ö\n".into()]),
            vec!["scope_attributes".into()],
        );
        let read = FileNotes::from_metadata(&HashMap::from([named.to_metadata()]));
        assert_eq!(read, named);
        for (name, complete) in [("a", true), ("\"ö\n", false), ("nowhere", true)] {
            assert_eq!(read.is_complete(&key(name)), complete, "{name}");
        }
        assert!(read.is_map_empty(Owner::Scope) && !read.is_map_empty(Owner::Span));
        let many = FileNotes::new(vec!["attributes.a".into()], None, Vec::new());
        assert!(many.is_complete(&key("a")) && !many.is_complete(&key("nowhere")));
        for broken in [None, Some("{"), Some("[]")] {
            let metadata = broken.map(|note| (NOTE.to_owned(), note.to_owned())).into_iter().collect();
            let notes = FileNotes::from_metadata(&metadata);
            assert!(!notes.is_complete(&key("a")) && !notes.is_map_empty(Owner::Span));
        }
    }
}
