//! Outputs: a run's rows as files that people and programs read.
//!
//! CSV, NDJSON and Parquet have every row and nothing else. Markdown, the page and the picture show what a person wants to know first.
//! Everything that comes from data or from a report's text is escaped by what writes it. The same run gives the same bytes, whenever and
//! wherever it is rendered. Knows a run, its rows and its notices; does not know who asked and where files go.

mod cells;
mod chart;
mod html;
mod markdown;
mod moment;
mod naming;
mod page;
mod picture;
mod plots;
mod rows;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod traces;

#[cfg(test)]
use chart::DrawnSpan;
pub use chart::TraceDrawing;
pub use html::unbroken;
pub use markdown::escaped as markdown_text;
pub use moment::window as window_text;
pub use page::{Artifact, Page};
pub use traces::{wanted_traces, worst_traces};

use crate::error::Result;
use crate::render::Format;
use crate::report::definition::{Output, OutputFormat};

/// Renders one output of a run.
///
/// # Errors
/// When a value of the result has no form there, memory is short of it, or its time is over; a chart that cannot be drawn is no error, the page says why.
pub fn render(output: &Output, page: &Page<'_>) -> Result<Artifact> {
    page.deadline.check()?;
    let bytes = match output.format {
        OutputFormat::Markdown => markdown::render(page)?,
        OutputFormat::Csv => rows::render(Format::Csv, page)?,
        OutputFormat::Ndjson => rows::render(Format::Ndjson, page)?,
        OutputFormat::Parquet => rows::render(Format::Parquet, page)?,
        OutputFormat::Html => html::render(page)?,
        OutputFormat::Png => picture::render(page)?,
    };
    Ok(Artifact { file_name: page.file_name(output), media_type: page::media_type(output.format), bytes })
}
