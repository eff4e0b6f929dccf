//! Outputs and charts of a header.

use toml::de::DeValue;

use super::section::Section;
use crate::report::definition::{Chart, ChartKind, Output, OutputFormat};

/// More charts make no page that anybody reads.
const MOST_CHARTS: usize = 50;

/// `outputs = ["html", "csv"]` or `[[outputs]]`; one page when there are none.
pub(super) fn outputs(header: &Section<'_>) -> Vec<Output> {
    let formats = OutputFormat::ALL.map(|format| (format.name(), format));
    let is_list = matches!(header.value("outputs"), Some(DeValue::Array(items)) if items.iter().all(|item| item.get_ref().is_str()));
    let mut outputs: Vec<Output> = Vec::new();
    if is_list {
        for name in header.texts("outputs").unwrap_or_default() {
            match formats.iter().find(|(known, _)| *known == name) {
                Some((_, format)) => outputs.push(Output { format: *format }),
                None => {
                    let names: Vec<&str> = formats.iter().map(|(name, _)| *name).collect();
                    header.mistake(
                        "outputs",
                        format!("there is no \"{name}\": write {}", super::section::listed(&names)),
                    );
                }
            }
        }
    } else {
        for section in header.sections("outputs", &["format"]) {
            if section.needed_text("format").is_some() {
                outputs.extend(section.choice("format", &formats).map(|format| Output { format }));
            }
        }
    }
    let mut known = Vec::new();
    outputs.retain(|output| {
        !known.contains(&output.format) && {
            known.push(output.format);
            true
        }
    });
    // An empty list is a choice: the result is only delivered, judged or recorded.
    if outputs.is_empty() && !header.has("outputs") {
        outputs.push(Output { format: OutputFormat::Html });
    }
    outputs
}

pub(super) fn charts(header: &Section<'_>) -> Vec<Chart> {
    let sections = header.sections("charts", &["kind", "title", "x", "y", "series", "value", "unit"]);
    if sections.len() > MOST_CHARTS {
        header.mistake("charts", format!("there are {}: give {MOST_CHARTS} at most", sections.len()));
    }
    sections.iter().filter_map(chart).collect()
}

fn chart(section: &Section<'_>) -> Option<Chart> {
    let kinds = ChartKind::ALL.map(|kind| (kind.name(), kind));
    if !section.has("kind") {
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        section.mistake_here(format!("kind is missing: write {}", super::section::listed(&names)));
    }
    let kind = section.choice("kind", &kinds);
    let x = section.needed_text("x");
    let y = section.texts("y").unwrap_or_default();
    let (title, unit) = (section.text("title"), section.text("unit"));
    let (series, value) = (section.text("series"), section.text("value"));
    let kind = kind?;
    let needs_y = match kind {
        ChartKind::Waterfall => !y.is_empty(),
        ChartKind::Heatmap | ChartKind::ServiceMap => y.len() != 1,
        ChartKind::Line | ChartKind::Bar => y.is_empty(),
    };
    if needs_y {
        section.mistake_here(match kind {
            ChartKind::Waterfall => "a waterfall has no y: x is the column of trace ids".to_owned(),
            ChartKind::Heatmap => "a heatmap needs one column as y".to_owned(),
            ChartKind::ServiceMap => "a service_map needs one column as y: the one with the called service".to_owned(),
            kind => format!("a {kind} chart needs y: the columns that are drawn"),
        });
    }
    if kind == ChartKind::Heatmap && value.is_none() {
        section.mistake_here("a heatmap needs value: the column that gives the colour".to_owned());
    }
    let is_lines = matches!(kind, ChartKind::Line | ChartKind::Bar);
    if series.is_some() && !is_lines {
        section.mistake("series", format!("a {kind} has none"));
    }
    if value.is_some() && !matches!(kind, ChartKind::Heatmap | ChartKind::ServiceMap) {
        section.mistake("value", format!("a {kind} has none: write y"));
    }
    Some(Chart { kind, title, x: x?, y, series, value, unit })
}
