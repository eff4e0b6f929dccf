//! A report as Markdown, for people in places that show it: chat, tickets, pull requests.

use bytes::Bytes;

use super::cells::{Limits, Look, cells};
use super::moment;
use super::page::Page;
use crate::error::Result;
use crate::render::{count, sanitize};
use crate::report::alert::Notice;
use crate::report::definition::OutputFormat;

/// More rows of a table, and longer cells, nobody reads in chat.
const LIMITS: Limits = Limits { rows: 100, columns: 60, cell: 300, bytes: 1 << 20 };
/// Characters of a title or a summary.
const MAX_LINE: usize = 1_000;
/// It has no width, and what it stands in is no word that anybody is called by.
const WORD_JOINER: char = '\u{2060}';

/// Writes the page: title, window, alerts, table, and where the rest is.
pub(super) fn render(page: &Page<'_>) -> Result<Bytes> {
    let mut text = format!("# {}\n\n", escaped(&page.report.title));
    if !page.report.description.is_empty() {
        text.push_str(&format!("{}\n\n", escaped(&page.report.description)));
    }
    if let (Some(from_ms), Some(to_ms)) = (page.run.window_from_ms, page.run.window_to_ms) {
        text.push_str(&format!("- **Window:** {}\n", escaped(&moment::window(from_ms, to_ms, page.zone))));
    }
    text.push_str(&format!("- **Run:** {}\n", escaped(&moment::instant(page.run.started_ms, page.zone))));
    if !page.report.owners.is_empty() {
        text.push_str(&format!("- **Owners:** {}\n", escaped(&page.report.owners.join(", "))));
    }
    for (name, value) in page.parameters() {
        text.push_str(&format!("- **{}:** {}\n", escaped(name), escaped(value)));
    }
    push_alerts(page, &mut text);
    push_rows(page, &mut text)?;
    push_files(page, &mut text);
    Ok(Bytes::from(text))
}

fn push_alerts(page: &Page<'_>, text: &mut String) {
    if page.notices.is_empty() {
        return;
    }
    text.push_str("\n## Alerts\n\n");
    for notice in page.notices {
        text.push_str(&format!("- {}\n", alert_line(notice)));
        if !notice.exemplars.is_empty() {
            let ids: Vec<String> = notice.exemplars.iter().map(|id| escaped(id)).collect();
            text.push_str(&format!("  - Example traces: {}\n", ids.join(", ")));
        }
    }
}

fn alert_line(notice: &Notice) -> String {
    let labels = notice.label_text();
    let labels = if labels.is_empty() { labels } else { format!(" ({})", escaped(&labels)) };
    let silence = notice.silenced_by.as_ref().map_or_else(String::new, |by| format!(" Silenced: {}.", escaped(by)));
    format!(
        "**{}** {} {}{labels}: {}{silence}",
        notice.state.name().to_uppercase(),
        escaped(&notice.severity),
        escaped(&notice.rule),
        escaped(&notice.summary)
    )
}

fn push_rows(page: &Page<'_>, text: &mut String) -> Result<()> {
    text.push_str("\n## Rows\n\n");
    if page.frame.rows == 0 {
        text.push_str("There are none.\n");
        return Ok(());
    }
    let cells = cells(page, LIMITS)?;
    text.push('|');
    cells.columns.iter().for_each(|column| text.push_str(&format!(" {} |", escaped(&column.name))));
    text.push_str("\n|");
    for column in &cells.columns {
        text.push_str(if column.look == Look::Number { " ---: |" } else { " --- |" });
    }
    for row in &cells.rows {
        text.push_str("\n|");
        for cell in row {
            let lines: Vec<String> = cell.as_deref().unwrap_or("–").split('\n').map(escaped).collect();
            text.push_str(&format!(" {} |", lines.join("<br>")));
        }
    }
    text.push('\n');
    if cells.columns.iter().any(|column| column.look == Look::Time) {
        text.push_str(&format!("\nTimes are those of {}.\n", page.zone.name()));
    }
    let left_out_columns = page.frame.schema.fields().len() - cells.columns.len();
    if left_out_columns > 0 {
        text.push_str(&format!("\n{} more are not shown.\n", count(left_out_columns as u64, "column")));
    }
    let shown = cells.rows.len() as u64;
    if shown < page.frame.rows {
        let left_out = count(page.frame.rows - shown, "row");
        text.push_str(&format!("\n{left_out} more are not shown. {}\n", escaped(&page.where_all_are())));
    }
    Ok(())
}

fn push_files(page: &Page<'_>, text: &mut String) {
    let others = page.report.outputs.iter().filter(|output| output.format != OutputFormat::Markdown);
    let files: Vec<String> = others.map(|output| format!("`{}`", page.file_name(output))).collect();
    if !files.is_empty() {
        text.push_str(&format!("\nBeside this file: {}.\n", files.join(", ")));
    }
    text.push_str(&format!("\nRun {}\n", escaped(&page.run.id)));
}

/// Text of a report or of data that is text in Markdown: no tag, no link, no emphasis, nobody's name that calls them, on one line.
pub fn escaped(text: &str) -> String {
    let cut: String = text.chars().take(MAX_LINE).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    let mut out = String::with_capacity(cut.len() + 16);
    let mut before = ' ';
    let text = sanitize(&cut.replace('\n', " ")).into_owned();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let is_inside = before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            // Within a word it is no mark.
            '_' if is_inside => out.push('_'),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Whoever shows Markdown calls people by what follows; the sign that cannot be seen stands between.
            '@' if !before.is_alphanumeric() => out.extend(['@', WORD_JOINER]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => out.extend(['\\', c]),
            c => out.push(c),
        }
        before = c;
    }
    // What looks like an address becomes a link by itself.
    without_www(&out.replace("://", "&#58;//")) + more
}

/// The text with another dot behind each `www`, however it is written.
fn without_www(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in text.match_indices('.') {
        if text[..at].len() >= 3 && text.as_bytes()[at - 3..at].eq_ignore_ascii_case(b"www") {
            out.push_str(&text[end..at]);
            out.push_str("&#46;");
            end = at + 1;
        }
    }
    out + &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_text_in_markdown() {
        let cases = [
            ("plain text, 1.5 ms", "plain text, 1.5 ms"),
            ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
            ("[a](http://evil)", "\\[a\\](http&#58;//evil)"),
            ("at www.evil.example, WWW.x", "at www&#46;evil.example, WWW&#46;x"),
            ("@channel (@here) a@b.example", "@\u{2060}channel (@\u{2060}here) a@b.example"),
            ("*b* _c_ `d` # |", "\\*b\\* \\_c\\_ \\`d\\` \\# \\|"),
            ("error_rate of _a_b_", "error_rate of \\_a_b\\_"),
            ("a\u{1b}[2J\n# b\u{202e}", "a\\\\x1b\\[2J \\# b\\\\u{202e}"),
        ];
        for (text, shown) in cases {
            assert_eq!(escaped(text), shown);
        }
        assert_eq!(escaped(&"x".repeat(1 << 20)).chars().count(), MAX_LINE + 1);
    }
}
