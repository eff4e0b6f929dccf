//! A message in the form of Slack's incoming webhooks, which Mattermost and others take too.
//!
//! What data holds stands in code spans or plain text, with `&`, `<` and `>` escaped, so that it mentions nobody and links nowhere. Who
//! knows no blocks shows `text`, which says the same in short.

use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::digest::Digest;
use super::markup::escaped;
use super::{Message, names};
use crate::report::alert::{AlertState, Notice};

/// Slack refuses a whole message for one text that is longer.
const MOST_HEADER: usize = 150;
const MOST_SECTION: usize = 3000;
const MOST_CONTEXT: usize = 2000;
/// Slack cuts a longer one off.
const MOST_TEXT: usize = 4000;
const MOST_ALT: usize = 2000;

/// Slack refuses a whole message for one address that is longer.
const MOST_ADDRESS: usize = 3000;

/// Where a browser finds what a run left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    pub folder: Option<Url>,
    /// The picture of its charts. Slack fetches it, and refuses the whole message where it cannot.
    pub picture: Option<Url>,
}

impl Shown {
    /// What the address of results says of a run.
    pub(super) fn of(message: &Message<'_>, results: Option<&Url>) -> Self {
        let Some(results) = results.filter(|_| message.run.result.is_some()) else { return Self::default() };
        let is_short = |url: &Url| url.as_str().len() <= MOST_ADDRESS;
        let address = |file: &str| names::address(results, message.run, file).filter(is_short);
        let picture = message.artifacts.iter().find(|artifact| artifact.media_type == "image/png");
        Self { folder: address(""), picture: picture.and_then(|picture| address(&names::safe(&picture.file_name))) }
    }
}

/// The body of the request.
pub(super) fn body(digest: &Digest<'_>, shown: &Shown) -> Bytes {
    let lines: Vec<String> = digest.alerts.iter().map(|notice| line(notice)).collect();
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": clip(digest.title, MOST_HEADER), "emoji": false}}),
        section(&outcome(digest)),
    ];
    blocks.extend(lines.iter().map(|line| section(line)));
    if let Some(picture) = &shown.picture {
        let words = clip(&format!("The charts of {}", digest.title), MOST_ALT);
        blocks.push(json!({"type": "image", "image_url": picture.as_str(), "alt_text": words}));
    }
    let mut facts = Vec::new();
    if !digest.more.is_empty() {
        facts.push(format!("and {}", digest.more.join(", ")));
    }
    facts.extend(match &shown.folder {
        Some(folder) => Some(format!("<{}|result>", escaped(&folder.as_str().replace('|', "%7C")))),
        None => digest.result.map(|result| format!("result in {}", code(result))),
    });
    facts.push(format!("run {}", code(digest.run)));
    let facts = clip(&facts.join(" · "), MOST_CONTEXT);
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": facts, "verbatim": true}]}));
    let mut text = vec![escaped(&digest.headline())];
    text.extend(lines);
    Bytes::from(json!({"text": clip(&text.join("\n"), MOST_TEXT), "blocks": blocks}).to_string())
}

fn section(text: &str) -> Value {
    // Verbatim: names of channels and addresses in data stay what they are.
    json!({"type": "section", "text": {"type": "mrkdwn", "text": clip(text, MOST_SECTION), "verbatim": true}})
}

fn outcome(digest: &Digest<'_>) -> String {
    let mut outcome = format!("*{}*", escaped(&digest.outcome));
    if let Some(window) = &digest.window {
        outcome.push_str(&format!(", {}", escaped(window)));
    }
    if let Some(error) = digest.error {
        outcome.push_str(&format!("\n{}", code(error)));
    }
    outcome
}

fn line(notice: &Notice) -> String {
    let sign = match notice.state {
        AlertState::Firing => ":red_circle:",
        _ => ":large_green_circle:",
    };
    let mut line = format!("{sign} *{}* {}", notice.state.name().to_uppercase(), code(&notice.rule));
    if !notice.labels.is_empty() {
        line.push_str(&format!(" {}", code(&notice.label_text())));
    }
    line.push_str(&format!("\n{}", code(&notice.summary)));
    if !notice.exemplars.is_empty() {
        let traces: Vec<_> = notice.exemplars.iter().map(|id| code(id)).collect();
        line.push_str(&format!("\ntraces {}", traces.join(" ")));
    }
    line
}

/// A code span, in which nothing else means anything. Slack knows no way to write a backtick in it.
fn code(text: &str) -> String {
    /// A label or a summary is shorter; a longer error is cut before it is escaped, so that no entity is.
    const MOST_CODE: usize = 500;
    let text = escaped(&clip(text, MOST_CODE)).replace('`', "'");
    match text.trim() {
        "" => String::new(),
        text => format!("`{text}`"),
    }
}

/// At most so many characters; the last is `…` when there were more. Neither an escaped character nor a code span is left half.
fn clip(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most - 1).collect();
    let half = kept.rfind('&').filter(|at| !kept[*at..].contains(';') && kept.len() - at < "&quot;".len());
    kept.truncate(half.unwrap_or(kept.len()));
    let is_open = |text: &str| text.matches('`').count() % 2 == 1;
    if is_open(&kept) {
        kept.pop();
        if is_open(&kept) {
            kept.push('`');
        }
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delivery::testing::{notice, report, run};
    use crate::report::history::{Run, Status};
    use crate::report::output::Artifact;

    fn message(notices: &[Notice], run: &Run) -> Value {
        let report = report();
        serde_json::from_slice(&body(&Digest::of(&report, run, notices), &Shown::default())).expect("JSON")
    }

    #[test]
    fn a_message_shows_the_picture_where_browsers_find_it() {
        let (report, run) = (report(), run());
        let artifact =
            |file_name: &str, media_type| Artifact { file_name: file_name.to_owned(), media_type, bytes: Bytes::new() };
        let artifacts = [artifact("health.html", "text/html"), artifact("health.png", "image/png")];
        let message = |artifacts| Message {
            key: String::new(),
            report: &report,
            run: &run,
            artifacts,
            notices: &[],
            summary: String::new(),
        };
        let results = Url::parse("https://reports.example/a|b").expect("an address");
        let shown = Shown::of(&message(&artifacts), Some(&results));
        let body: Value = serde_json::from_slice(&body(&Digest::of(&report, &run, &[]), &shown)).expect("JSON");
        let folder = "https://reports.example/a|b/health/2026-03-29T050000Z/";
        let picture = json!({"type": "image", "image_url": format!("{folder}health.png"), "alt_text": "The charts of Daily <health>"});
        assert_eq!(body["blocks"][2], picture);
        let facts = body["blocks"][3]["elements"][0]["text"].as_str().expect("facts");
        assert_eq!(facts, format!("<{}|result> · run `health@2026-03-29T05:00:00Z`", folder.replace('|', "%7C")));
        assert_eq!(Shown::of(&message(&artifacts), None), Shown::default());
        assert_eq!(Shown::of(&message(&artifacts[..1]), Some(&results)).picture, None);
    }

    #[test]
    fn a_message_says_what_fires_and_where_the_result_is() {
        let body = message(&[notice("cart", AlertState::Firing)], &run());
        assert_eq!(body["blocks"][0]["text"]["text"], "Daily <health>", "plain text is not escaped");
        assert_eq!(body["blocks"][1]["text"]["text"], "*3 rows*, 2026-03-28 05:00 to 2026-03-29 05:00 UTC");
        let line = ":red_circle: *FIRING* `errors` `service_name=cart`\n`error_rate is 0.25, above 0.05`\n\
                    traces `0af7651916cd43dd8448eb211c80319c`";
        assert_eq!(body["blocks"][2]["text"]["text"], line);
        let facts = "result in `/data/reports/results/health/1` · run `health@2026-03-29T05:00:00Z`";
        assert_eq!(body["blocks"][3]["elements"][0]["text"], facts);
        assert_eq!(body["text"], format!("Daily &lt;health&gt;: 3 rows, 1 firing\n{line}"));
    }

    #[test]
    fn data_mentions_nobody_and_links_nowhere() {
        let hostile = "<!channel> <https://x|y> `*b*` &amp;\n";
        let hostile = Notice { summary: hostile.to_owned(), ..notice(hostile, AlertState::Firing) };
        let run = Run { status: Status::Failed, error: Some("<!here>".to_owned()), ..run() };
        let body = message(&[hostile], &run).to_string();
        assert!(!body.contains("<!") && !body.contains("<https"), "{body}");
        assert!(body.contains("`&lt;!channel&gt; &lt;https://x|y&gt; '*b*' &amp;amp;`"), "{body}");
    }

    #[test]
    fn a_message_keeps_slacks_limits() {
        let long = "<&`".repeat(3000);
        let many: Vec<_> = (0..40)
            .map(|_| Notice { summary: long.clone(), rule: long.clone(), ..notice(&long, AlertState::Firing) })
            .collect();
        let run = Run { error: Some(long.clone()), result: Some(long.clone()), status: Status::Failed, ..run() };
        let report = crate::report::definition::Report { title: long.clone(), ..report() };
        let body: Value =
            serde_json::from_slice(&body(&Digest::of(&report, &run, &many), &Shown::default())).expect("JSON");
        let blocks = body["blocks"].as_array().expect("blocks");
        assert!(blocks.len() <= 50, "{}", blocks.len());
        let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
        for block in blocks {
            let most = if block["type"] == "header" { MOST_HEADER } else { MOST_SECTION };
            let text = &block["text"]["text"];
            assert!(length(text) <= most, "{} {}", length(text), block["type"]);
            let context = &block["elements"][0]["text"];
            assert!(length(context) <= MOST_CONTEXT);
        }
        assert!(length(&body["text"]) <= MOST_TEXT + 1);
    }

    #[test]
    fn a_cut_leaves_nothing_open() {
        for (text, most, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("a&amp;b", 5, "a…"), ("a `code`", 6, "a `c`…"), ("ééé", 2, "é…")]
        {
            assert_eq!(clip(text, most), expected, "{text}");
        }
    }
}
