//! A report as one page that needs nothing but itself: no script, no font, no picture from anywhere.
//!
//! Written with `maud`: its templates are Rust, what is not text of the template is escaped, and a name that does not exist does not
//! compile. A template engine at run time would be one more thing that can fail at seven in the morning, and one `|safe` away from a hole.
//! The page says to browsers that it loads and runs nothing.

mod breaks;
mod figures;
mod notices;
mod table;

pub use breaks::unbroken;

use bytes::Bytes;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::cells::paragraph;
use super::chart::{dark_rules, plain};
use super::moment;
use super::page::Page;
use super::plots;
use crate::error::Result;
use crate::render::count;
use crate::report::definition::OutputFormat;

const STYLE: &str = include_str!("style.css");
/// What of a page a browser may load: the style that is in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Writes the page.
pub(super) fn render(page: &Page<'_>) -> Result<Bytes> {
    let figures = plots::figures(page);
    let title = plain(&page.report.title);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                meta name="generator" content="spanhouse";
                title { (title) }
                style { (style()) }
            }
            body {
                a.skip href="#rows" { "Skip to the rows" }
                header { (header(page, &title)) }
                main {
                    @if !page.notices.is_empty() { (notices::section(page)) }
                    @if !figures.is_empty() { (figures::section(&figures)?) }
                    (table::section(page)?)
                }
                footer { (footer(page)) }
            }
        }
    };
    Ok(Bytes::from(markup.into_string()))
}

/// The style sheet, and the colours of drawings on a dark page. Neither has anything of a report in it.
fn style() -> PreEscaped<String> {
    PreEscaped(format!("\n{STYLE}@media screen and (prefers-color-scheme: dark) {{\n{}}}\n", dark_rules(".chart")))
}

fn header(page: &Page<'_>, title: &str) -> Markup {
    let run = page.run;
    html! {
        h1 { (title) }
        @if !page.report.description.is_empty() {
            p.lead { (paragraph(&page.report.description)) }
        }
        dl.facts {
            @if let (Some(from_ms), Some(to_ms)) = (run.window_from_ms, run.window_to_ms) {
                dt { "Window" }
                dd { (moment::window(from_ms, to_ms, page.zone)) }
            }
            dt { "Run" }
            dd { time datetime=(moment::machine(run.started_ms)) { (moment::instant(run.started_ms, page.zone)) } }
            @for (name, value) in page.parameters() {
                dt { (plain(name)) }
                dd { (plain(value)) }
            }
            dt { "Rows" }
            dd { (super::chart::grouped(&page.frame.rows.to_string())) }
            @if !page.report.owners.is_empty() {
                dt { (if page.report.owners.len() == 1 { "Owner" } else { "Owners" }) }
                dd { (plain(&page.report.owners.join(", "))) }
            }
        }
    }
}

fn footer(page: &Page<'_>) -> Markup {
    let others: Vec<String> = page
        .report
        .outputs
        .iter()
        .filter(|output| output.format != OutputFormat::Html)
        .map(|output| page.file_name(output))
        .collect();
    html! {
        @if !others.is_empty() {
            p { "Beside this page: " (others.join(", ")) "." }
        }
        p {
            "Run " code { (plain(&page.run.id)) } " of version " code { (plain(&page.run.report_version)) }
            ". Times are those of " (page.zone.name()) "."
        }
    }
}

/// `12,345 rows`.
fn rows(number: u64) -> String {
    let words = count(number, "row");
    super::chart::grouped(&words)
}
