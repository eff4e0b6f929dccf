//! The summary of a run in plain Markdown.

use super::digest::Digest;
use crate::report::alert::Notice;
use crate::report::definition::Report;
use crate::report::history::Run;
use crate::report::output::markdown_text as escaped;

/// A few lines of Markdown about a run: what it is, its outcome and window, its alerts with traces, and where the result lies.
///
/// What data holds is in code spans, and what an alert says of it is escaped, so that it is read as it is.
pub fn summarise(report: &Report, run: &Run, notices: &[Notice]) -> String {
    let digest = Digest::of(report, run, notices);
    let mut lines = vec![format!("**{}**: {}", escaped(digest.title), digest.outcome)];
    if let Some(window) = &digest.window {
        lines[0].push_str(&format!(", {}", escaped(window)));
    }
    lines.push(String::new());
    if let Some(error) = digest.error {
        lines.push(format!("- {}", code(error)));
    }
    lines.extend(digest.alerts.iter().map(|notice| alert_line(notice)));
    if !digest.more.is_empty() {
        lines.push(format!("- {}", digest.more.join(", ")));
    }
    if lines.len() > 2 {
        lines.push(String::new());
    }
    if let Some(result) = digest.result {
        lines.push(format!("Result: {}", code(result)));
    }
    lines.push(format!("Run: {}", code(digest.run)));
    lines.push(String::new());
    lines.join("\n")
}

fn alert_line(notice: &Notice) -> String {
    let mut line = format!("- {} **{}**", notice.state.name().to_uppercase(), escaped(&notice.rule));
    if !notice.labels.is_empty() {
        line.push_str(&format!(" {}", code(&notice.label_text())));
    }
    line.push_str(&format!(": {}", escaped(&notice.summary)));
    if !notice.exemplars.is_empty() {
        let traces: Vec<_> = notice.exemplars.iter().map(|id| code(id)).collect();
        line.push_str(&format!("; traces {}", traces.join(", ")));
    }
    line
}

/// A code span with the text as it is: fenced by more backticks than it has in a row.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    // A space keeps the fence from the backticks of the text; a reader of Markdown takes one away from each side.
    let pad = if text.is_empty() || text.contains('`') || text.starts_with(' ') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::alert::AlertState;
    use crate::report::delivery::testing::{notice, report, run};

    #[test]
    fn a_summary_is_a_few_lines() {
        let notices = [notice("a`b", AlertState::Firing), notice("cart", AlertState::Resolved)];
        assert_eq!(
            summarise(&report(), &run(), &notices),
            "\
**Daily &lt;health&gt;**: 3 rows, 2026-03-28 05:00 to 2026-03-29 05:00 UTC

- FIRING **errors** `` service_name=a`b ``: error_rate is 0.25, above 0.05; traces `0af7651916cd43dd8448eb211c80319c`
- RESOLVED **errors** `service_name=cart`: error_rate is 0.25, above 0.05; traces `0af7651916cd43dd8448eb211c80319c`

Result: `/data/reports/results/health/1`
Run: `health@2026-03-29T05:00:00Z`
"
        );
    }

    #[test]
    fn a_run_without_alerts_is_shorter_still() {
        let run = Run { result: None, window_to_ms: None, ..run() };
        let expected = "**Daily &lt;health&gt;**: 3 rows\n\nRun: `health@2026-03-29T05:00:00Z`\n";
        assert_eq!(summarise(&report(), &run, &[]), expected);
    }

    #[test]
    fn data_is_text() {
        for (text, as_code) in [
            ("a", "`a`"),
            ("``", "``` `` ```"),
            ("", "`  `"),
            ("a\nb", "`a b`"),
            ("[x](javascript:y)", "`[x](javascript:y)`"),
            ("<b>&amp;</b>", "`<b>&amp;</b>`"),
        ] {
            assert_eq!(code(text), as_code, "{text:?}");
        }
        let hostile = Notice { summary: "https://x www.y @all <b>".to_owned(), ..notice("cart", AlertState::Firing) };
        let summary = summarise(&report(), &run(), &[hostile]);
        assert!(summary.contains(": https&#58;//x www&#46;y @\u{2060}all &lt;b&gt;; traces"), "{summary}");
    }
}
