//! The rows of a page.

use maud::{Markup, html};

use super::breaks::{breakable, breakable_name};
use super::rows;
use crate::error::Result;
use crate::report::output::cells::{Cells, Column, Limits, Look, cells};
use crate::report::output::chart::grouped;
use crate::report::output::page::Page;

/// More rows and columns nobody reads on a page, and a phone could not show; longer cells and pages neither.
const LIMITS: Limits = Limits { rows: 1_000, columns: 60, cell: 2_000, bytes: 4 << 20 };
/// Rows that are open; of more, the rest is folded.
const OPEN_ROWS: usize = 100;
/// So few are not worth a fold.
const FEW_ROWS: usize = 20;
/// A table with more columns lies on paper of its own, on its side.
const UPRIGHT_COLUMNS: usize = 8;
/// One with more is printed smaller.
const READABLE_COLUMNS: usize = 16;

pub(super) fn section(page: &Page<'_>) -> Result<Markup> {
    let columns = page.frame.schema.fields().len().min(LIMITS.columns);
    let paper = match columns {
        0..=UPRIGHT_COLUMNS => None,
        _ if columns <= READABLE_COLUMNS => Some("broad"),
        _ => Some("broad tiny"),
    };
    Ok(html! {
        section #rows class=[paper] aria-labelledby="rows-title" {
            h2 #rows-title { "Rows" }
            @if page.frame.rows == 0 {
                p { "The report has no rows." }
            } @else {
                (tables(page)?)
            }
        }
    })
}

fn tables(page: &Page<'_>) -> Result<Markup> {
    let cells = cells(page, LIMITS)?;
    let shown = cells.rows.len();
    let open = if shown <= OPEN_ROWS + FEW_ROWS { shown } else { OPEN_ROWS };
    let folded = (shown - open) as u64;
    Ok(html! {
        p.caption { (caption(page, &cells)) }
        (table(&cells.columns, &cells.rows[..open], "Rows of the report"))
        @if folded > 0 {
            details.more {
                summary { "Show " (rows(folded)) " more" }
                (table(&cells.columns, &cells.rows[open..], "More rows of the report"))
            }
            p.on-paper { (rows(folded)) " more are on the page and not on paper." }
        }
    })
}

fn table(columns: &[Column], rows: &[Vec<Option<String>>], label: &str) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead {
                    tr {
                        @for column in columns {
                            th scope="col" class=[class(column.look, false)] { (breakable_name(&column.name)) }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (cell, column) in row.iter().zip(columns) {
                                @match cell {
                                    Some(text) => td class=[class(column.look, false)] { (breakable(text)) },
                                    None => td class=[class(column.look, true)] { "–" },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How many rows there are, which of them are here, and whose times they have.
fn caption(page: &Page<'_>, cells: &Cells) -> String {
    let shown = cells.rows.len() as u64;
    let columns = page.frame.schema.fields().len();
    let of_columns = match columns > LIMITS.columns {
        true => format!(" The first {} of {} columns are shown.", LIMITS.columns, grouped(&columns.to_string())),
        false => String::new(),
    };
    let of_times = match cells.columns.iter().any(|column| column.look == Look::Time) {
        true => format!(" Times are those of {}.", page.zone.name()),
        false => String::new(),
    };
    match page.frame.rows - shown {
        0 => format!("{}.{of_columns}{of_times}", rows(shown)),
        left_out => {
            format!(
                "The first {} of {}; {} more are not shown. {}{of_columns}{of_times}",
                grouped(&shown.to_string()),
                rows(page.frame.rows),
                grouped(&left_out.to_string()),
                page.where_all_are()
            )
        }
    }
}

fn class(look: Look, is_null: bool) -> Option<&'static str> {
    match (look, is_null) {
        (Look::Text, false) => None,
        (Look::Text, true) => Some("null"),
        (Look::Id, false) => Some("id"),
        (Look::Id, true) => Some("id null"),
        (Look::Time, false) => Some("t"),
        (Look::Time, true) => Some("t null"),
        (Look::Number, false) => Some("n"),
        (Look::Number, true) => Some("n null"),
    }
}
