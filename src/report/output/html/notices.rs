//! What the alerts of a report say.

use maud::{Markup, html};

use super::paragraph;
use crate::report::alert::{AlertState, Notice};
use crate::report::output::chart::plain;
use crate::report::output::moment;
use crate::report::output::page::Page;

pub(super) fn section(page: &Page<'_>) -> Markup {
    html! {
        section aria-labelledby="alerts" {
            h2 #alerts { "Alerts" }
            ul.notices {
                @for notice in page.notices { (item(notice, page)) }
            }
        }
    }
}

fn item(notice: &Notice, page: &Page<'_>) -> Markup {
    let class = match notice.state {
        AlertState::Ok => "ok",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    };
    html! {
        li.notice.(class) {
            div {
                span.state { (notice.state.name().to_uppercase()) }
                strong { (plain(&notice.rule)) }
                " (" (plain(&notice.severity)) ")"
                @if !notice.labels.is_empty() { " " (plain(&notice.label_text())) }
            }
            p { (paragraph(&notice.summary)) }
            p {
                "Since "
                time datetime=(moment::machine(notice.since_ms)) { (moment::instant(notice.since_ms, page.zone)) }
                "."
                @if let Some(by) = &notice.silenced_by { " Silenced: " (plain(by)) "." }
            }
            @if !notice.exemplars.is_empty() {
                p {
                    "Example traces: "
                    @for (at, id) in notice.exemplars.iter().enumerate() {
                        @if at > 0 { ", " }
                        code { (plain(id)) }
                    }
                }
            }
        }
    }
}
