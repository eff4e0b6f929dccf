//! Outputs as they were approved, and what no data may do to them.

use std::sync::Arc;

use datafusion::arrow::array::*;

use super::testing::{HOSTILE, Parts, parts};
use super::*;
use crate::report::frame::Frame;

fn rendered(parts: &Parts, format: OutputFormat) -> Artifact {
    render(&Output { format }, &parts.page()).expect("rendered")
}

fn text(parts: &Parts, format: OutputFormat) -> String {
    String::from_utf8(rendered(parts, format).bytes.to_vec()).expect("text")
}

/// Compares with the file in `goldens`; `UPDATE_GOLDENS=1` writes the files anew, for a person to look at.
#[test]
fn pages_are_as_they_were_approved() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/output/goldens");
    for format in [OutputFormat::Html, OutputFormat::Markdown, OutputFormat::Csv] {
        let artifact = rendered(&parts(), format);
        let file = folder.join(&artifact.file_name);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&file, &artifact.bytes).expect("written");
        }
        let wanted = std::fs::read(&file).unwrap_or_default();
        assert!(artifact.bytes == wanted, "{} is not as it was approved", artifact.file_name);
    }
}

#[test]
fn what_data_contains_is_text() {
    let html = text(&parts(), OutputFormat::Html);
    assert!(!html.contains("<img") && !html.contains('\u{202e}') && !html.contains('\u{1b}'));
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;\\u{202e}\\x1b[31m"));
    for forbidden in
        ["<script", "<link", "<iframe", "<object", " onload=", "javascript:", "http://", "https://", "url(", "@import"]
    {
        let allowed = html.matches("http://www.w3.org/2000/svg").count();
        let found = html.matches(forbidden).count() - if forbidden == "http://" { allowed } else { 0 };
        assert_eq!(found, 0, "{forbidden}");
    }
    let markdown = text(&parts(), OutputFormat::Markdown);
    assert!(!markdown.contains("<img") && !markdown.contains('\u{202e}') && !markdown.contains('\u{1b}'));
}

#[test]
fn a_chart_that_cannot_be_drawn_says_why_and_spoils_no_other() {
    let html = text(&parts(), OutputFormat::Html);
    assert!(html.contains(
        "This chart cannot be drawn: the result has no column \"no_such_column\"".replace('"', "&quot;").as_str()
    ));
    // Each of the six others is there for wide windows and for phones.
    assert_eq!(html.matches("role=\"img\"").count(), 12);
    assert_eq!(html.matches("<h1").count(), 1);
}

#[test]
fn a_page_shows_the_first_rows_and_says_where_all_are() {
    let mut parts = parts();
    let long: ArrayRef = Arc::new(StringArray::from_iter_values((0..3_000).map(|at| format!("row {at}"))));
    let batch = RecordBatch::try_from_iter([("name", long)]).expect("a batch");
    parts.frame = Frame { schema: batch.schema(), rows: 3_000, batches: vec![batch] };
    parts.report.charts.clear();
    let html = text(&parts, OutputFormat::Html);
    assert!(
        html.contains("The first 1000 of 3000 rows; 2000 more are not shown. All are in health.csv, beside this file.")
    );
    assert!(html.contains("row 999<") && !html.contains("row 1000<"));
    let markdown = text(&parts, OutputFormat::Markdown);
    assert!(markdown.contains("2900 rows more are not shown. All are in health.csv, beside this file."), "{markdown}");
    assert_eq!(text(&parts, OutputFormat::Csv).lines().count(), 3_001);
    parts.report.outputs.retain(|output| output.format == OutputFormat::Html);
    assert!(
        text(&parts, OutputFormat::Html)
            .contains("Add an output of the format csv or parquet to the report to keep all.")
    );
}

#[test]
fn large_texts_make_no_large_page() {
    let mut parts = parts();
    let cell = "<&".repeat(512 << 10);
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(cell.as_str(), 50)));
    let batch = RecordBatch::try_from_iter([("text", texts)]).expect("a batch");
    parts.frame = Frame { schema: batch.schema(), rows: 50, batches: vec![batch] };
    parts.report.charts.clear();
    let html = text(&parts, OutputFormat::Html);
    assert!(html.len() < 2 << 20, "{} bytes", html.len());
    assert!(html.contains("(1,048,576 characters)"));
    assert!(text(&parts, OutputFormat::Markdown).len() < 1 << 20);
}

#[test]
fn a_result_without_rows_has_every_output() {
    let mut parts = parts();
    parts.frame = Frame { batches: Vec::new(), rows: 0, ..parts.frame };
    parts.traces.clear();
    for format in OutputFormat::ALL {
        let artifact = rendered(&parts, format);
        assert_eq!(artifact.file_name.split_once('.').map(|(name, _)| name), Some("health"));
        assert!(!artifact.bytes.is_empty() || format == OutputFormat::Ndjson, "{format}");
    }
    assert!(text(&parts, OutputFormat::Html).contains("The report has no rows."));
    assert!(text(&parts, OutputFormat::Markdown).contains("There are none."));
}

#[test]
fn values_that_are_missing_or_no_numbers_are_shown_as_such() {
    let mut parts = parts();
    let values: ArrayRef =
        Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(f64::INFINITY), Some(-2_000_000.25)]));
    let batch = RecordBatch::try_from_iter_with_nullable([("value", values, true)]).expect("a batch");
    parts.frame = Frame { schema: batch.schema(), rows: 5, batches: vec![batch] };
    parts.report.charts.clear();
    let html = text(&parts, OutputFormat::Html);
    let cells: Vec<&str> =
        html.split("<td").skip(1).map(|cell| cell.split("</td>").next().unwrap_or_default()).collect();
    assert_eq!(
        cells,
        [" class=\"n\">1.5", " class=\"n null\">–", " class=\"n\">NaN", " class=\"n\">∞", " class=\"n\">−2,000,000"]
    );
}

#[test]
fn a_picture_is_the_same_wherever_it_is_drawn() {
    let first = rendered(&parts(), OutputFormat::Png);
    let second = rendered(&parts(), OutputFormat::Png);
    assert_eq!((first.file_name.as_str(), first.media_type), ("health.png", "image/png"));
    assert!(first.bytes == second.bytes && first.bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let mut without = parts();
    without.report.charts.clear();
    assert!(rendered(&without, OutputFormat::Png).bytes.len() < first.bytes.len());
}

#[test]
fn trace_ids_are_found_in_whatever_holds_them() {
    let mut parts = parts();
    assert_eq!(wanted_traces(&parts.report, &parts.frame), ["0af7651916cd43dd8448eb211c80319c"]);
    let id = |digit: &str| digit.repeat(32);
    let texts = [
        Some(format!("{{{},{}}}", id("A"), id("b"))),
        None,
        Some(HOSTILE.to_owned()),
        Some(id("a")),
        Some(id("c")),
        Some(id("d")),
    ];
    let column: ArrayRef = Arc::new(StringArray::from_iter(texts));
    let batch = RecordBatch::try_from_iter_with_nullable([("trace_id", column, true)]).expect("a batch");
    parts.frame = Frame { schema: batch.schema(), rows: 6, batches: vec![batch] };
    assert_eq!(wanted_traces(&parts.report, &parts.frame), [id("a"), id("b"), id("c")]);
}
