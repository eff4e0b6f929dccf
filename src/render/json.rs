//! JSON and NDJSON: an object a row, written as rows come.

use std::io::Write;

use bytes::BytesMut;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::writer::write_failed;
use crate::error::Result;
use crate::pg::{JsonStyle, put_json_in};

/// Writes rows as objects: one a line, or as the elements of one array.
pub(super) struct JsonRows {
    /// Each column's name as `"name": `, ready to copy.
    names: Vec<String>,
    array: bool,
    rows: u64,
    line: BytesMut,
}

impl JsonRows {
    pub(super) fn new(schema: &Schema, array: bool) -> Self {
        let name = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| {
            let mut text = String::new();
            JsonStyle::FILE.push_string(field.name(), &mut text);
            text.push_str(": ");
            text
        };
        Self { names: schema.fields().iter().map(name).collect(), array, rows: 0, line: BytesMut::new() }
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        for row in 0..batch.num_rows() {
            self.line.clear();
            if self.array {
                self.line.extend_from_slice(if self.rows == 0 { b"[\n" } else { b",\n" });
            }
            self.line.extend_from_slice(b"{");
            for (position, (name, column)) in self.names.iter().zip(batch.columns()).enumerate() {
                if position > 0 {
                    self.line.extend_from_slice(b", ");
                }
                self.line.extend_from_slice(name.as_bytes());
                put_json_in(&JsonStyle::FILE, &mut self.line, column.as_ref(), row)?;
            }
            self.line.extend_from_slice(b"}");
            if !self.array {
                self.line.extend_from_slice(b"\n");
            }
            out.write_all(&self.line).map_err(write_failed)?;
            self.rows += 1;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        let end: &[u8] = match (self.array, self.rows) {
            (false, _) => return Ok(()),
            (true, 0) => b"[]\n",
            (true, _) => b"\n]\n",
        };
        out.write_all(end).map_err(write_failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::*;
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn json(array: impl Array + 'static) -> String {
        let batch = RecordBatch::try_from_iter([("a", Arc::new(array) as ArrayRef)]).expect("a batch");
        let (mut rows, mut out) = (JsonRows::new(batch.schema_ref(), false), Vec::new());
        rows.batch(&batch, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        text.strip_prefix("{\"a\": ").and_then(|rest| rest.strip_suffix("}\n")).expect("an object").to_owned()
    }

    #[test]
    fn json_has_strings_for_what_it_lacks() {
        assert_eq!(json(Float64Array::from(vec![f64::NAN])), "\"NaN\"");
        assert_eq!(json(Float64Array::from(vec![1.5])), "1.5");
        assert_eq!(json(Float64Array::from(vec![1e21])), "1e+21");
        assert_eq!(json(UInt64Array::from(vec![u64::MAX])), "18446744073709551615");
        assert_eq!(json(BinaryArray::from(vec![&[0u8, 255][..]])), r#""\\x00ff""#);
        assert_eq!(json(DurationNanosecondArray::from(vec![90_000_000_000_000])), "\"1 day 01:00:00\"");
        assert_eq!(json(Time64NanosecondArray::from(vec![1_500_000_000])), "\"00:00:01.5\"");
        let decimals = Decimal256Array::from(vec![datafusion::arrow::datatypes::i256::from(1234)]);
        assert_eq!(json(decimals.with_precision_and_scale(9, 2).expect("decimal")), "12.34");
    }

    #[test]
    fn texts_keep_every_character_and_times_their_nanoseconds() {
        assert_eq!(json(StringArray::from(vec!["a\"b\u{1}\n\0\u{7f}"])), r#""a\"b\u0001\n\u0000\u007f""#);
        let dictionary: DictionaryArray<Int32Type> = vec!["x"].into_iter().collect();
        assert_eq!(json(dictionary), "\"x\"");
        let zoned = TimestampNanosecondArray::from(vec![1_700_000_000_123_456_780]);
        assert_eq!(json(zoned.clone()), "\"2023-11-14T22:13:20.12345678\"");
        assert_eq!(json(zoned.with_timezone("UTC")), "\"2023-11-14T22:13:20.12345678Z\"");
    }
}
