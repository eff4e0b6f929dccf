//! What the alerts of a report say: those of one rule and one state together, as one cause often has many groups.

use maud::{Markup, html};

use super::breaks::breakable;
use crate::report::alert::{AlertState, Notice};
use crate::report::output::cells::paragraph;
use crate::report::output::chart::{Unit, grouped, plain};
use crate::report::output::moment;
use crate::report::output::page::Page;

pub(super) fn section(page: &Page<'_>) -> Markup {
    html! {
        section aria-labelledby="alerts" {
            h2 #alerts { "Alerts" }
            ul.notices {
                @for notices in groups(page.notices) { (group(&notices, page)) }
            }
        }
    }
}

/// The notices of one rule, severity and state, in the order in which these come.
fn groups(notices: &[Notice]) -> Vec<Vec<&Notice>> {
    let mut groups: Vec<Vec<&Notice>> = Vec::new();
    let key = |notice: &Notice| (notice.rule.clone(), notice.severity.clone(), notice.state.name());
    for notice in notices {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| key(first) == key(notice))) {
            Some(group) => group.push(notice),
            None => groups.push(vec![notice]),
        }
    }
    groups
}

fn group(notices: &[&Notice], page: &Page<'_>) -> Markup {
    let Some(first) = notices.first() else { return html! {} };
    let class = match first.state {
        AlertState::Ok => "ok",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    };
    let one_summary = notices.iter().all(|notice| notice.summary == first.summary);
    let one_since = notices.iter().all(|notice| notice.since_ms == first.since_ms);
    html! {
        li.notice.(class) {
            div {
                span.state { (first.state.name().to_uppercase()) }
                strong { (plain(&first.rule)) }
                " (" (plain(&first.severity)) ")"
                @if notices.len() > 1 { ", " (grouped(&notices.len().to_string())) " alerts" }
            }
            @if one_summary { p { (breakable(&paragraph(&first.summary))) } }
            @if one_since { p.aside { (since(first, page)) } }
            ul.who {
                @for notice in notices { (item(notice, page, !one_summary, !one_since)) }
            }
        }
    }
}

fn item(notice: &Notice, page: &Page<'_>, with_summary: bool, with_since: bool) -> Markup {
    let value = value_text(notice, page);
    html! {
        li {
            @for (at, (name, value)) in notice.labels.iter().enumerate() {
                @if at > 0 { ", " }
                span.aside { (breakable(&plain(name))) "=" }
                strong { (breakable(&plain(value))) }
            }
            @if !notice.labels.is_empty() { " " }
            @if let Some(value) = value { (value) }
            @if let Some(by) = &notice.silenced_by { " Silenced: " (plain(by)) "." }
            @if with_summary { p { (breakable(&paragraph(&notice.summary))) } }
            @if with_since { p.aside { (since(notice, page)) } }
            @if !notice.exemplars.is_empty() {
                p.aside {
                    "Example traces: "
                    @for (at, id) in notice.exemplars.iter().enumerate() {
                        @if at > 0 { ", " }
                        code { (breakable(&plain(id))) }
                    }
                }
            }
        }
    }
}

fn since(notice: &Notice, page: &Page<'_>) -> Markup {
    html! {
        "Since "
        time datetime=(moment::machine(notice.since_ms)) { (moment::instant(notice.since_ms, page.zone)) }
        "."
    }
}

/// What was judged, in its unit: `error_rate 12.3 %`.
fn value_text(notice: &Notice, page: &Page<'_>) -> Option<String> {
    let rule = page.report.alerts.iter().find(|rule| rule.name == notice.rule)?;
    let column = rule.test.column()?;
    Some(format!("{} {}", plain(column), Unit::of(None, column).show(notice.value?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_rule_says_stands_together() {
        let notice = |rule: &str, state, service: &str| Notice {
            report: "health".to_owned(),
            rule: rule.to_owned(),
            severity: "page".to_owned(),
            state,
            labels: vec![("service".to_owned(), service.to_owned())],
            value: None,
            since_ms: 0,
            fired_ms: None,
            summary: String::new(),
            exemplars: Vec::new(),
            silenced_by: None,
            is_news: true,
        };
        let all = [
            notice("errors", AlertState::Firing, "cart"),
            notice("latency", AlertState::Firing, "cart"),
            notice("errors", AlertState::Firing, "web"),
            notice("errors", AlertState::Resolved, "mail"),
        ];
        let sizes: Vec<usize> = groups(&all).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }
}
