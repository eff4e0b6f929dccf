//! Where the objects of a JSON document begin and end, and nothing more; whether they are JSON is the decoder's business.

/// Finds the objects of a document byte by byte.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    depth: u32,
    in_text: bool,
    escaped: bool,
    /// What is around the objects, when that is more than lists.
    envelope: Option<Envelope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Space, or the brackets and commas of a list around the objects.
    Between,
    /// Something else where an object should begin.
    Stray,
    Begins,
    Inside,
    Ends,
}

impl Splitter {
    /// Finds the objects in the list `data` of objects, as Jaeger's API answers.
    pub(super) fn of_envelopes() -> Self {
        Self { envelope: Some(Envelope::default()), ..Self::default() }
    }

    pub(super) fn step(&mut self, byte: u8) -> Step {
        if self.depth == 0 {
            let step = match &mut self.envelope {
                Some(envelope) => envelope.step(byte),
                None => match byte {
                    b'{' => Step::Begins,
                    b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']' | 0xef | 0xbb | 0xbf => Step::Between,
                    _ => Step::Stray,
                },
            };
            self.depth = u32::from(step == Step::Begins);
            return step;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_text => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' => self.depth = self.depth.saturating_add(1),
            b'}' => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Ends;
                }
            }
            _ => {}
        }
        Step::Inside
    }

    /// Whether no object is open.
    pub(super) fn is_outside(&self) -> bool {
        self.depth == 0
    }

    /// Whether an object around the objects ended without the list that they should be in.
    pub(super) fn lacks_list(&self) -> bool {
        self.envelope.as_ref().is_some_and(|envelope| envelope.lacks_list)
    }
}

/// An object around a list of objects.
#[derive(Debug, Default)]
struct Envelope {
    depth: u32,
    in_text: bool,
    escaped: bool,
    /// The last text at the outermost level, as far as it is looked at.
    text: Vec<u8>,
    is_data: bool,
    in_data: bool,
    had_list: bool,
    lacks_list: bool,
}

/// The key of the list.
const DATA: &[u8] = b"data";

impl Envelope {
    fn step(&mut self, byte: u8) -> Step {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ if self.text.len() <= DATA.len() => self.text.push(byte),
                _ => {}
            }
            return Step::Between;
        }
        match byte {
            b'{' if self.in_data && self.depth == 2 => return Step::Begins,
            b' ' | b'\t' | b'\r' | b'\n' | b',' if self.depth == 2 => {}
            b']' if self.in_data && self.depth == 2 => {
                self.depth = 1;
                (self.in_data, self.is_data) = (false, false);
            }
            _ if self.in_data && self.depth == 2 => return Step::Stray,
            b'"' => {
                self.in_text = true;
                self.text.clear();
            }
            b':' if self.depth == 1 => self.is_data = self.text == DATA,
            b',' if self.depth == 1 => self.is_data = false,
            b'{' | b'[' => {
                if self.depth == 0 {
                    self.had_list = false;
                }
                self.depth = self.depth.saturating_add(1);
                self.in_data = byte == b'[' && self.is_data && self.depth == 2;
                self.had_list |= self.in_data;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.lacks_list |= self.depth == 0 && !self.had_list;
            }
            _ => {}
        }
        Step::Between
    }
}

/// How many bytes the object at the start takes; `None` when it does not end.
pub(super) fn closes_at(text: &[u8]) -> Option<usize> {
    let mut splitter = Splitter::default();
    text.iter().position(|byte| splitter.step(*byte) == Step::Ends).map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(document: &str) -> (Vec<String>, bool) {
        let (mut splitter, mut found, mut object) = (Splitter::of_envelopes(), Vec::new(), String::new());
        for byte in document.bytes() {
            match splitter.step(byte) {
                Step::Between => {}
                Step::Stray => found.push("stray".to_owned()),
                Step::Begins | Step::Inside => object.push(byte.into()),
                Step::Ends => {
                    object.push('}');
                    found.push(std::mem::take(&mut object));
                }
            }
        }
        (found, splitter.lacks_list())
    }

    #[test]
    fn the_objects_of_the_list_data_are_found_wherever_it_stands() {
        let found = |document: &str| objects(document).0;
        assert_eq!(found(r#"{"data":[{"a":{}},{"b":"]}"}],"total":0}"#), [r#"{"a":{}}"#, r#"{"b":"]}"}"#]);
        assert_eq!(found(r#"{"total":{"data":[{}]},"errors":["data"], "data" : [ {"a":1} ]}"#), [r#"{"a":1}"#]);
        assert_eq!(found("{\"data\":[{}]}\n{\"data\":[{}]}\n"), ["{}", "{}"]);
        assert_eq!(found(r#"{"data":[5]}"#), ["stray"]);
        assert!(!objects(r#"{"data":[]}"#).1 && objects(r#"{"data":null,"errors":[{"code":404}]}"#).1);
    }
}
