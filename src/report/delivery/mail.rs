//! An e-mail about a run: text and HTML that say the same, with the files attached.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message as Letter};
use xxhash_rust::xxh3::xxh3_128;

use super::digest::Digest;
use super::markup::escaped;
use super::{Message, names};
use crate::report::alert::{AlertState, Notice};

/// Bytes of all attachments. In base64 they are a third more, and most servers take ten megabytes.
const MOST_ATTACHED_BYTES: usize = 7 << 20;

/// Characters of a subject.
const MOST_SUBJECT: usize = 150;

/// A mail as it goes over the wire, with its envelope.
#[derive(Debug)]
pub(super) struct Mail {
    pub from: Address,
    pub to: Vec<Address>,
    pub bytes: Vec<u8>,
}

/// Writes the mail. What data holds is in no header but the subject and the names of attachments, both of which are cleaned of what
/// could begin another header.
pub(super) fn compose(message: &Message<'_>, from: &str, to: &[String], now_ms: i64) -> Result<Mail, String> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>().map_err(|error| format!("{} is no mail address: {error}", text.escape_debug()))
    };
    let from = mailbox(from)?;
    let to = to.iter().map(|to| mailbox(to)).collect::<Result<Vec<_>, _>>()?;
    let digest = Digest::of(message.report, message.run, message.notices);
    let (attached, left_out) = attachments(message);
    let words = MultiPart::alternative()
        .singlepart(SinglePart::plain(text(message, &left_out)))
        .singlepart(SinglePart::html(html(&digest, &left_out)));
    let body = attached.into_iter().fold(MultiPart::mixed().multipart(words), MultiPart::singlepart);
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or_default());
    let mut letter = Letter::builder()
        .from(from.clone())
        .date(now)
        // The same for each attempt, so that who gets it twice sees it once.
        .message_id(Some(format!("<{:032x}@{}>", xxh3_128(message.key.as_bytes()), from.email.domain())))
        .subject(subject(&digest.headline()))
        .raw_header(header("Auto-Submitted", "auto-generated")?)
        .raw_header(header("X-Spanhouse-Key", &subject(&message.key))?);
    for mailbox in &to {
        letter = letter.to(mailbox.clone());
    }
    let letter = letter.multipart(body).map_err(|error| format!("cannot write the mail: {error}"))?;
    Ok(Mail { from: from.email, to: to.into_iter().map(|mailbox| mailbox.email).collect(), bytes: letter.formatted() })
}

fn header(name: &str, value: &str) -> Result<HeaderValue, String> {
    let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|_| format!("{name} is no name of a header"))?;
    Ok(HeaderValue::new(name, value.to_owned()))
}

/// A text for a header: one line of limited length, whatever it holds.
fn subject(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() || is_line_end(c) { ' ' } else { c }).collect();
    line.trim().chars().take(MOST_SUBJECT).collect()
}

/// Line ends beyond the control characters, which some programs take for one.
fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// The files that there is room for, and the names of the others.
fn attachments<'a>(message: &Message<'a>) -> (Vec<SinglePart>, Vec<&'a str>) {
    let (mut attached, mut left_out, mut left) = (Vec::new(), Vec::new(), MOST_ATTACHED_BYTES);
    for artifact in message.artifacts {
        let kind = ContentType::parse(artifact.media_type).or_else(|_| ContentType::parse("application/octet-stream"));
        match (left.checked_sub(artifact.bytes.len()), kind) {
            (Some(rest), Ok(kind)) => {
                left = rest;
                attached.push(Attachment::new(names::safe(&artifact.file_name)).body(artifact.bytes.to_vec(), kind));
            }
            _ => left_out.push(artifact.file_name.as_str()),
        }
    }
    (attached, left_out)
}

fn text(message: &Message<'_>, left_out: &[&str]) -> String {
    let mut text = message.summary.clone();
    if let Some(note) = note(left_out) {
        text.push_str(&format!("\n{note}\n"));
    }
    text
}

fn note(left_out: &[&str]) -> Option<String> {
    let names = left_out.join(", ");
    (!left_out.is_empty()).then(|| format!("Too large to attach, and kept with the result: {names}"))
}

/// A page without scripts, pictures or styles from elsewhere; mail programs allow no more.
fn html(digest: &Digest<'_>, left_out: &[&str]) -> String {
    let mut page = String::from("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    page.push_str(&escaped(digest.title));
    page.push_str("</title></head><body style=\"font:16px/1.5 sans-serif;max-width:45em;margin:0 auto;padding:1em\">");
    page.push_str(&format!("<h1 style=\"font-size:1.3em;margin:0\">{}</h1>", escaped(digest.title)));
    let window = digest.window.as_ref().map(|window| format!(", {}", escaped(window))).unwrap_or_default();
    page.push_str(&format!("<p><strong>{}</strong>{window}</p>", escaped(&digest.outcome)));
    if let Some(error) = digest.error {
        let lines: Vec<_> = error.lines().map(escaped).collect();
        page.push_str(&format!("<pre style=\"white-space:pre-wrap\">{}</pre>", lines.join("\n")));
    }
    if !digest.alerts.is_empty() {
        page.push_str("<ul style=\"padding-left:1em\">");
        page.extend(digest.alerts.iter().map(|notice| item(notice)));
        page.push_str("</ul>");
    }
    let mut facts = Vec::new();
    if !digest.more.is_empty() {
        facts.push(escaped(&format!("and {}", digest.more.join(", "))));
    }
    facts.extend(note(left_out).map(|note| escaped(&note)));
    facts.extend(digest.result.map(|result| format!("Result: {}", code(result))));
    facts.push(format!("Run: {}", code(digest.run)));
    page.push_str(&format!("<p style=\"font-size:.9em\">{}</p></body></html>\n", facts.join("<br>")));
    page
}

fn item(notice: &Notice) -> String {
    // Both are dark enough on white and light enough on black; the word says it without colour.
    let colour = if notice.state == AlertState::Firing { "#c2410c" } else { "#15803d" };
    let mut item = format!(
        "<li><strong style=\"color:{colour}\">{}</strong> <strong>{}</strong>",
        notice.state.name().to_uppercase(),
        escaped(&notice.rule)
    );
    if !notice.labels.is_empty() {
        item.push_str(&format!(" {}", code(&notice.label_text())));
    }
    item.push_str(&format!("<br>{}", escaped(&notice.summary)));
    if !notice.exemplars.is_empty() {
        let traces: Vec<_> = notice.exemplars.iter().map(|id| code(id)).collect();
        item.push_str(&format!("<br>traces {}", traces.join(" ")));
    }
    item.push_str("</li>");
    item
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::report::definition::Report;
    use crate::report::delivery::summarise;
    use crate::report::delivery::testing::{notice, report, run};
    use crate::report::output::Artifact;

    fn artifact(file_name: &str, bytes: impl Into<Bytes>) -> Artifact {
        Artifact { file_name: file_name.to_owned(), media_type: "text/html; charset=utf-8", bytes: bytes.into() }
    }

    fn mail(report: &Report, notices: &[Notice], artifacts: &[Artifact]) -> String {
        let run = run();
        let message = Message {
            key: "health@2026-03-29T05:00:00Z/mail".to_owned(),
            report,
            run: &run,
            artifacts,
            notices,
            summary: summarise(report, &run, notices),
        };
        let to = ["Ann <ann@example.com>".to_owned(), "bob@example.org".to_owned()];
        let mail = compose(&message, "Reports <reports@example.com>", &to, 1_774_760_400_000).expect("a mail");
        assert_eq!(mail.from.to_string(), "reports@example.com");
        assert_eq!(mail.to.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ann@example.com", "bob@example.org"]);
        String::from_utf8(mail.bytes).expect("a mail is ASCII")
    }

    fn headers(mail: &str) -> Vec<&str> {
        mail.split("\r\n\r\n").next().unwrap_or_default().split("\r\n").collect()
    }

    #[test]
    fn a_mail_has_text_html_and_files() {
        let artifacts =
            [artifact("health.html", "<html>x</html>"), artifact("huge.csv", vec![b'a'; MOST_ATTACHED_BYTES])];
        let mail = mail(&report(), &[notice("cart", AlertState::Firing)], &artifacts);
        let headers = headers(&mail);
        assert!(headers.contains(&"Subject: Daily <health>: 3 rows, 1 firing"), "{headers:?}");
        assert!(headers.contains(&"Auto-Submitted: auto-generated"), "{headers:?}");
        assert!(headers.contains(&"Date: Sun, 29 Mar 2026 05:00:00 +0000"), "{headers:?}");
        assert!(headers.iter().any(|header| header.starts_with("Message-ID: <") && header.ends_with("@example.com>")));
        for part in ["text/plain", "text/html", "multipart/alternative", "multipart/mixed", "filename=\"health.html\""]
        {
            assert!(mail.contains(part), "{part}");
        }
        assert!(!mail.contains("filename=\"huge.csv\"") && mail.contains("Too large to attach"));
        assert!(mail.len() < 100_000);
    }

    #[test]
    fn nothing_in_data_becomes_a_header() {
        let hostile = "x\r\nBcc: evil@example.net\r\n\r\n<script>\u{2028}y";
        let report = Report { title: hostile.to_owned(), ..report() };
        let notices =
            [Notice { summary: hostile.to_owned(), rule: hostile.to_owned(), ..notice(hostile, AlertState::Firing) }];
        let artifacts = [artifact(&format!("{hostile}.html"), "x")];
        let mail = mail(&report, &notices, &artifacts);
        for line in mail.split("\r\n") {
            assert!(!line.to_ascii_lowercase().starts_with("bcc"), "{mail}");
        }
        let run = run();
        let page = html(&Digest::of(&report, &run, &notices), &[hostile]);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
        let known = [
            "From",
            "Date",
            "Message-ID",
            "Subject",
            "Auto-Submitted",
            "X-Spanhouse-Key",
            "To",
            "MIME-Version",
            "Content-Type",
        ];
        for header in headers(&mail) {
            let name = header.split(':').next().unwrap_or_default();
            assert!(header.starts_with(' ') || known.contains(&name), "{header}");
        }
    }

    #[test]
    fn long_and_foreign_titles_are_encoded() {
        let report = Report { title: "Größe 📈 ".repeat(100), ..report() };
        let mail = mail(&report, &[], &[]);
        assert!(headers(&mail).iter().all(|line| line.len() <= 998), "{mail}");
        assert!(mail.contains("Subject: =?utf-8?"), "{mail}");
    }

    #[test]
    fn an_address_that_is_none_is_said() {
        let (report, run) = (report(), run());
        let message = Message {
            key: String::new(),
            report: &report,
            run: &run,
            artifacts: &[],
            notices: &[],
            summary: String::new(),
        };
        for wrong in ["nobody", "a@b\r\nBcc: c@d", "a@b>, <c@d"] {
            let error = compose(&message, wrong, &[], 0).expect_err(wrong);
            assert!(error.contains("is no mail address") && !error.contains('\n'), "{error}");
        }
    }
}
