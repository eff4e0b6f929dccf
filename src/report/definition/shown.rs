//! How a result is shown.

use std::fmt;

/// One file of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    pub format: OutputFormat,
}

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    Markdown,
    Csv,
    Ndjson,
    Parquet,
    /// One page that needs no network, with tables and charts.
    Html,
    /// The charts as a picture, for chat.
    Png,
}

impl OutputFormat {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Html, Self::Markdown, Self::Csv, Self::Ndjson, Self::Parquet, Self::Png];

    /// The name that a header gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
            Self::Html => "html",
            Self::Png => "png",
        }
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A chart of a result; what it names are columns of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    pub kind: ChartKind,
    pub title: Option<String>,
    /// The horizontal axis: a time or a name. The calling service in a service map, the trace id in a waterfall.
    pub x: String,
    /// What is drawn: at least one but in a waterfall. The vertical axis of a heatmap, the called service in a service map.
    pub y: Vec<String>,
    /// The column with a line or a bar for each of its values.
    pub series: Option<String>,
    /// The column that colours a heatmap, or widens the edges of a service map.
    pub value: Option<String>,
    /// What the values are in, such as `ms`.
    pub unit: Option<String>,
}

/// The kinds of chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartKind {
    Line,
    Bar,
    Heatmap,
    /// Who calls whom: `x` calls `y[0]`, `value` times.
    ServiceMap,
    /// The spans of the worst traces, whose ids are in `x`.
    Waterfall,
}

impl ChartKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Line, Self::Bar, Self::Heatmap, Self::ServiceMap, Self::Waterfall];

    /// The name that a header gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Bar => "bar",
            Self::Heatmap => "heatmap",
            Self::ServiceMap => "service_map",
            Self::Waterfall => "waterfall",
        }
    }
}

impl fmt::Display for ChartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
