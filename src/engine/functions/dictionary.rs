//! Texts that an aggregate keeps.

use std::sync::Arc;

use datafusion::common::{HashMap, exec_err};
use datafusion::error::Result;

/// Texts by number, each once.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    text_bytes: usize,
}

impl Dictionary {
    /// The number of a text.
    ///
    /// # Errors
    /// When there are 2³² texts.
    pub fn number(&mut self, text: &str) -> Result<u32> {
        match self.numbers.get(text) {
            Some(number) => Ok(*number),
            None => self.add(text.into()),
        }
    }

    /// The same of a text that is kept already.
    pub fn number_of(&mut self, text: &Arc<str>) -> Result<u32> {
        match self.numbers.get(text) {
            Some(number) => Ok(*number),
            None => self.add(text.clone()),
        }
    }

    /// The text of a number.
    pub fn text(&self, number: u32) -> &Arc<str> {
        &self.texts[number as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    fn add(&mut self, text: Arc<str>) -> Result<u32> {
        let Ok(number) = u32::try_from(self.texts.len()) else {
            return exec_err!("an aggregate takes at most 4 billion different texts");
        };
        self.text_bytes += text.len();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        Ok(number)
    }

    /// What it takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        // A text stands behind two counters; an entry of the map has a byte of its own for control.
        let text = size_of::<Arc<str>>() + 2 * size_of::<usize>();
        let entry = size_of::<(Arc<str>, u32)>() + 1;
        self.texts.capacity() * text + self.numbers.capacity() * entry + self.text_bytes
    }
}
