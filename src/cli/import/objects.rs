//! The records of a file of JSON objects: one after the other, or in a list.

use super::record::Place;
use super::records::{MAX_RECORD_BYTES, Reader, Sink, too_long};
use super::split::{Splitter, Step};
use crate::error::Result;

/// Objects that are taken together once the list that they are in has ended, and at the latest. Two sides of a call find each other when they are in one
/// record.
const TOGETHER_BYTES: usize = 1 << 20;
const MOST_TOGETHER_BYTES: usize = 8 << 20;

/// Objects with commas between them as a list.
fn listed(objects: &mut Vec<u8>) -> Vec<u8> {
    let mut list = Vec::with_capacity(objects.len() + 2);
    list.push(b'[');
    list.append(objects);
    list.push(b']');
    list
}

impl Reader<'_> {
    /// JSON objects one after the other; a list's elements are taken one by one, or many `together` as a list of their own.
    pub(super) fn values(&mut self, mut splitter: Splitter, together: bool, sink: Sink<'_>) -> Result<()> {
        let mut value = Vec::new();
        let mut place = self.place(true);
        loop {
            let chunk = match self.from.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return sink(self.broken(place, error)),
            };
            if chunk.is_empty() {
                break;
            }
            let (chunk, length) = (chunk.to_vec(), chunk.len());
            self.from.consume(length);
            for byte in chunk {
                let step = splitter.step(byte);
                if step == Step::Begins && value.is_empty() {
                    self.record += 1;
                    place = self.place(true);
                }
                self.offset += 1;
                self.line += u64::from(byte == b'\n');
                match step {
                    // A list in a list is a trace, which stays together.
                    Step::Between if byte == b']' && value.len() >= TOGETHER_BYTES => {
                        sink(self.item(place, self.content, listed(&mut value)))?;
                    }
                    Step::Between => {}
                    Step::Stray => {
                        let place = Place { record: self.record + 1, ..self.place(true) };
                        return sink(self.broken(place, "here should be a JSON object"));
                    }
                    Step::Begins => {
                        value.extend_from_slice(if value.is_empty() { b"" } else { b"," });
                        value.push(byte);
                    }
                    Step::Inside => value.push(byte),
                    Step::Ends => {
                        value.push(byte);
                        match together {
                            true if value.len() < MOST_TOGETHER_BYTES => {}
                            true => sink(self.item(place, self.content, listed(&mut value)))?,
                            false => sink(self.item(place, self.content, std::mem::take(&mut value)))?,
                        }
                    }
                }
                if value.len() as u64 > MAX_RECORD_BYTES {
                    return sink(self.broken(place, too_long("the JSON object")));
                }
            }
        }
        if splitter.lacks_list() {
            return sink(self.broken(place, "there is no list of traces in data: it is an error that Jaeger answered"));
        }
        match value.is_empty() {
            true => Ok(()),
            false if splitter.is_outside() => sink(self.item(place, self.content, listed(&mut value))),
            false => sink(self.broken(place, "the file ends inside a JSON object")),
        }
    }
}
