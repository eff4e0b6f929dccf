//! The one way in: a writer that takes batches as they come, and a loop that feeds it from a stream.

use std::io::{self, Write};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt};

use super::Format;
use super::delimited::CsvRows;
use super::html::HtmlRows;
use super::json::JsonRows;
use super::markdown::MarkdownRows;
use super::parquet::ParquetRows;
use super::table::TableRows;
use crate::error::{Error, Result};

/// Whether a table shows a record a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expanded {
    #[default]
    Off,
    On,
    /// On when a row is wider than [`RenderOptions::width`].
    Auto,
}

/// How a table looks; the formats for programs take nothing from here but the text for NULL and the time zone.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    pub expanded: Expanded,
    /// The terminal's width in columns.
    pub width: Option<usize>,
    pub color: bool,
    /// What stands for NULL in tables; `NULL` when not set.
    pub null: Option<String>,
    /// Where a table, also one in Markdown, cuts a long value.
    pub max_cell_chars: Option<usize>,
    /// To how many decimals a table rounds floating-point numbers; not at all when not set.
    pub decimals: Option<usize>,
    /// Whether a table ends with its row count.
    pub footer: bool,
    /// Where people and CSV read times; JSON and Parquet have instants.
    pub zone: String,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            expanded: Expanded::Off,
            width: None,
            color: false,
            null: None,
            max_cell_chars: None,
            decimals: None,
            footer: true,
            zone: "UTC".to_owned(),
        }
    }
}

impl RenderOptions {
    pub(super) fn null_text<'a>(&'a self, default: &'a str) -> &'a str {
        self.null.as_deref().unwrap_or(default)
    }
}

/// Writes one result in one format.
pub struct Writer<W: Write + Send> {
    rows: u64,
    form: Form<W>,
}

enum Form<W: Write + Send> {
    Table(W, TableRows),
    Csv(W, CsvRows),
    Json(W, JsonRows),
    Markdown(W, MarkdownRows),
    Html(W, HtmlRows),
    Parquet(ParquetRows<W>),
}

impl<W: Write + Send> Writer<W> {
    /// Starts a result: writes what comes before the first row.
    pub fn new(format: Format, schema: SchemaRef, options: &RenderOptions, mut out: W) -> Result<Self> {
        let form = match format {
            Format::Table => Form::Table(out, TableRows::new(&schema, options)?),
            Format::Csv => {
                let rows = CsvRows::start(&schema, &options.zone, &mut out)?;
                Form::Csv(out, rows)
            }
            Format::Json => Form::Json(out, JsonRows::new(&schema, true)),
            Format::Ndjson => Form::Json(out, JsonRows::new(&schema, false)),
            Format::Markdown => {
                let rows = MarkdownRows::start(&schema, options, &mut out)?;
                Form::Markdown(out, rows)
            }
            Format::Html => {
                let rows = HtmlRows::start(&schema, options, &mut out)?;
                Form::Html(out, rows)
            }
            Format::Parquet => Form::Parquet(ParquetRows::start(schema, out)?),
        };
        Ok(Self { rows: 0, form })
    }

    /// Writes a batch's rows.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        match &mut self.form {
            Form::Table(out, rows) => rows.batch(batch, out),
            Form::Csv(out, rows) => rows.batch(batch, out),
            Form::Json(out, rows) => rows.batch(batch, out),
            Form::Markdown(out, rows) => rows.batch(batch, out),
            Form::Html(out, rows) => rows.batch(batch, out),
            Form::Parquet(rows) => rows.batch(batch),
        }
    }

    /// Ends the result, flushes it, and gives its row count and the output back.
    pub fn finish(self) -> Result<(u64, W)> {
        let mut out = match self.form {
            Form::Table(mut out, mut rows) => {
                rows.finish(&mut out)?;
                out
            }
            Form::Json(mut out, mut rows) => {
                rows.finish(&mut out)?;
                out
            }
            Form::Html(mut out, rows) => {
                rows.finish(&mut out)?;
                out
            }
            Form::Csv(out, _) | Form::Markdown(out, _) => out,
            Form::Parquet(rows) => rows.finish()?,
        };
        out.flush().map_err(write_failed)?;
        Ok((self.rows, out))
    }
}

/// Writes a whole stream and gives its row count and the output back; rows leave as they come.
pub async fn write_all<W: Write + Send>(
    format: Format,
    schema: SchemaRef,
    mut batches: impl Stream<Item = Result<RecordBatch>> + Unpin,
    options: &RenderOptions,
    out: W,
) -> Result<(u64, W)> {
    let mut writer = Writer::new(format, schema, options, out)?;
    while let Some(batch) = batches.next().await {
        writer.batch(&batch?)?;
    }
    writer.finish()
}

/// An error of the output, with its cause kept: a closed pipe is an end, not a failure, to whoever looks.
pub(super) fn write_failed(cause: io::Error) -> Error {
    Error::io("cannot write the result", cause)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn sample() -> RecordBatch {
        let names: ArrayRef =
            Arc::new(StringArray::from(vec![Some("cart"), Some("a|\"b\",\n\x1b[31m日本"), None, Some("")]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), Some(-2), None, Some(300)]));
        let means: ArrayRef = Arc::new(Float64Array::from(vec![1.5, f64::NAN, 2.0, 0.0]));
        RecordBatch::try_from_iter([("service", names), ("n", counts), ("mean", means)]).expect("a batch")
    }

    fn render(format: Format, options: &RenderOptions, batches: &[RecordBatch]) -> String {
        let mut writer = Writer::new(format, sample().schema(), options, Vec::new()).expect("started");
        for batch in batches {
            writer.batch(batch).expect("written");
        }
        let (rows, out) = writer.finish().expect("finished");
        assert_eq!(rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_table_is_aligned_and_harmless() {
        let text = render(Format::Table, &RenderOptions::default(), &[sample()]);
        let wanted = concat!(
            "       service        |  n   | mean\n",
            "----------------------+------+------\n",
            " cart                 |   10 |  1.5\n",
            " a|\"b\",\\n\\x1b[31m日本 |   -2 |  NaN\n",
            " NULL                 | NULL |    2\n",
            "                      |  300 |    0\n",
            "(4 rows)\n"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_row_wider_than_the_terminal_becomes_a_record() {
        let options = RenderOptions { expanded: Expanded::Auto, width: Some(20), ..RenderOptions::default() };
        let text = render(Format::Table, &options, &[sample().slice(0, 1)]);
        assert_eq!(text, "-[ RECORD 1 ]+-\nservice | cart\nn       | 10\nmean    | 1.5\n(1 row)\n");
    }

    #[test]
    fn csv_quotes_what_it_must_and_tells_null_from_empty() {
        let text = render(Format::Csv, &RenderOptions::default(), &[sample()]);
        assert_eq!(text, "service,n,mean\ncart,10,1.5\n\"a|\"\"b\"\",\n\x1b[31m日本\",-2,NaN\n,,2\n\"\",300,0\n");
    }

    #[test]
    fn json_reads_back() {
        let text = render(Format::Json, &RenderOptions::default(), &[sample(), sample()]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(rows.len(), 8);
        assert_eq!(rows[1]["service"], "a|\"b\",\n\x1b[31m日本");
        assert_eq!(rows[2]["n"], serde_json::Value::Null);
        let lines = render(Format::Ndjson, &RenderOptions::default(), &[sample()]);
        assert_eq!(lines.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count(), 4);
        assert_eq!(render(Format::Json, &RenderOptions::default(), &[]), "[]\n");
    }

    #[test]
    fn markdown_cells_stay_cells() {
        let text = render(Format::Markdown, &RenderOptions::default(), &[sample()]);
        assert_eq!(text.lines().nth(1), Some("| --- | ---: | ---: |"));
        assert_eq!(text.lines().nth(3), Some("| a\\|\"b\",<br>\\x1b[31m日本 | -2 | NaN |"));
    }

    #[test]
    fn a_page_shows_cells_and_runs_nothing_of_them() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("<script>&\u{202e}"), None]));
        let batch = RecordBatch::try_from_iter([("a\"b", column)]).expect("a batch");
        let mut writer =
            Writer::new(Format::Html, batch.schema(), &RenderOptions::default(), Vec::new()).expect("started");
        writer.batch(&batch).expect("written");
        let text = String::from_utf8(writer.finish().expect("finished").1).expect("text");
        assert!(text.contains("<td>&lt;script&gt;&amp;\\u{202e}</td>") && text.contains("<th>a&quot;b</th>"), "{text}");
        assert!(
            text.contains("<span class=\"null\">NULL</span>") && text.ends_with("<p>2 rows</p>\n</body>\n</html>\n"),
            "{text}"
        );
    }

    #[test]
    fn parquet_reads_back() {
        let mut writer =
            Writer::new(Format::Parquet, sample().schema(), &RenderOptions::default(), Vec::new()).expect("started");
        writer.batch(&sample()).expect("written");
        let (_, bytes) = writer.finish().expect("finished");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(bytes), 100);
        let rows: usize = reader.expect("parquet").map(|batch| batch.expect("rows").num_rows()).sum();
        assert_eq!(rows, 4);
    }

    #[test]
    fn a_long_result_is_aligned_chunk_by_chunk() {
        let batches: Vec<RecordBatch> = (0..3000).map(|_| sample()).collect();
        let text = render(Format::Table, &RenderOptions::default(), &batches);
        assert!(text.ends_with("(12000 rows)\n"));
        assert_eq!(text.lines().filter(|line| line.starts_with("---")).count(), 1);
    }
}
