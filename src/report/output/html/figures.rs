//! The charts of a page: each twice, for wide windows and for phones, and once as a table.

use maud::{Markup, PreEscaped, html};

use super::breaks::{breakable, breakable_name};
use crate::error::Result;
use crate::render::count;
use crate::report::output::chart::{DataTable, Drawing, NARROW, WIDE};
use crate::report::output::plots::Figure;

pub(super) fn section(figures: &[Figure]) -> Result<Markup> {
    let drawn = figures.iter().enumerate().map(|(at, figure)| one(figure, at + 1)).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        section aria-labelledby="charts" {
            h2 #charts { "Charts" }
            @for figure in drawn { (figure) }
        }
    })
}

fn one(figure: &Figure, number: usize) -> Result<Markup> {
    let id = format!("chart-{number}");
    Ok(match figure {
        Figure::Drawn(drawing) => html! {
            figure aria-labelledby=(id) {
                h3 id=(id) { (drawing.title) }
                div.chart.wide { (svg(drawing, WIDE)?) }
                div.chart.narrow { (svg(drawing, NARROW)?) }
                @if !drawing.notes.is_empty() {
                    ul.notes { @for note in &drawing.notes { li { (note) } } }
                }
                @if !drawing.table.rows.is_empty() { (alternative(drawing)) }
            }
        },
        Figure::Failed { title, why } => html! {
            figure aria-labelledby=(id) {
                h3 id=(id) { (title) }
                p.failed { "This chart cannot be drawn: " (why) "." }
            }
        },
    })
}

/// The drawing. What it has of data was escaped by the crate that wrote it.
fn svg(drawing: &Drawing, width: f64) -> Result<PreEscaped<String>> {
    drawing.svg(width).map(PreEscaped)
}

fn alternative(drawing: &Drawing) -> Markup {
    let label = format!("Data of {}", drawing.title);
    html! {
        details {
            summary { "Data of this chart" }
            div.scroll tabindex="0" role="region" aria-label=(label) { (small_table(&drawing.table, &label)) }
        }
    }
}

fn small_table(table: &DataTable, caption: &str) -> Markup {
    let class = |at: usize| table.numeric.get(at).copied().unwrap_or(false).then_some("n");
    html! {
        table {
            caption {
                (caption)
                @if table.left_out > 0 { "; " (count(table.left_out as u64, "row")) " more are not shown" }
            }
            thead {
                tr { @for (at, name) in table.columns.iter().enumerate() { th scope="col" class=[class(at)] { (breakable_name(name)) } } }
            }
            tbody {
                @for row in &table.rows {
                    tr { @for (at, cell) in row.iter().enumerate() { td class=[class(at)] { (breakable(cell)) } } }
                }
            }
        }
    }
}
