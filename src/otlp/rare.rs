//! Columns in which most requests have nothing: they cost nothing until a row has something.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, StringViewBuilder};

use super::columns::TEXT_BLOCK_BYTES;

/// The rows that there is room for behind the first text.
const FIRST_ROWS: usize = 8;

/// A column of texts that are NULL when empty.
#[derive(Debug, Default)]
pub(super) struct TextColumn {
    /// Rows so far, as long as all of them are empty.
    empty_rows: usize,
    texts: Option<StringViewBuilder>,
}

/// A column of counts.
#[derive(Debug, Default)]
pub(super) struct CountColumn {
    rows: usize,
    /// Empty as long as all counts are 0.
    counts: Vec<i32>,
}

impl TextColumn {
    #[inline]
    pub fn append(&mut self, text: &str) {
        match (&mut self.texts, text.is_empty()) {
            (None, true) => self.empty_rows += 1,
            (Some(texts), true) => texts.append_null(),
            (Some(texts), false) => texts.append_value(text),
            (None, false) => self.append_first(text),
        }
    }

    #[cold]
    fn append_first(&mut self, text: &str) {
        // Arrow's own default is room for 1,024 rows: most of the memory of a small request's batch.
        let rows = self.empty_rows + FIRST_ROWS;
        let mut texts = StringViewBuilder::with_capacity(rows).with_fixed_block_size(TEXT_BLOCK_BYTES);
        (0..self.empty_rows).for_each(|_| texts.append_null());
        texts.append_value(text);
        self.texts = Some(texts);
    }

    /// The column; `None` when all its rows are NULL.
    pub fn finish(self) -> Option<ArrayRef> {
        self.texts.map(|mut texts| Arc::new(texts.finish()) as ArrayRef)
    }
}

impl CountColumn {
    #[inline]
    pub fn append(&mut self, count: i32) {
        if count != 0 || !self.counts.is_empty() {
            self.counts.resize(self.rows, 0);
            self.counts.push(count);
        }
        self.rows += 1;
    }

    /// The column; `None` when all its rows are 0.
    pub fn finish(self) -> Option<ArrayRef> {
        (!self.counts.is_empty()).then(|| Arc::new(Int32Array::from(self.counts)) as ArrayRef)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn a_column_begins_with_its_first_value_and_has_all_rows() {
        let (mut texts, mut counts) = (TextColumn::default(), CountColumn::default());
        for (text, count) in [("", 0), ("", 0), ("a", 7), ("", 0), ("a text of more than twelve bytes", -1)] {
            texts.append(text);
            counts.append(count);
        }
        let (texts, counts) = (texts.finish().expect("texts"), counts.finish().expect("counts"));
        let expected = [None, None, Some("a"), None, Some("a text of more than twelve bytes")];
        assert_eq!(texts.as_string_view().iter().collect::<Vec<_>>(), expected);
        assert_eq!(counts.as_primitive::<Int32Type>().values(), &[0, 0, 7, 0, -1]);
        assert_eq!(counts.null_count(), 0);
    }

    #[test]
    fn a_column_of_nothing_is_none() {
        let (mut texts, mut counts) = (TextColumn::default(), CountColumn::default());
        texts.append("");
        counts.append(0);
        assert!(texts.finish().is_none() && counts.finish().is_none());
    }
}
