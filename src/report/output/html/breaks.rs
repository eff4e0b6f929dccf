//! Where long words of data may be broken: at their joints, and only what has none anywhere.
//!
//! Browsers break a word either nowhere, and the page is as wide as its longest one, or anywhere, and a narrow column has a letter a line.

use std::borrow::Cow;

use maud::{Markup, html};

/// Words of data up to this length stay whole, and names of columns up to that one.
const WHOLE: usize = 20;
const WHOLE_NAME: usize = 8;
/// Of what has no joint, so many characters stay together; of an id so many.
const PIECE: usize = 24;
const ID_PIECE: usize = 16;
/// The least that stands between two breaks.
const LEAST: usize = 4;

/// What stands in a page where a word may be broken. In data it is text, and written otherwise.
const BREAK: &str = "<wbr>";

/// A page without the places where words may be broken, so that each word stands in it as it is.
pub fn unbroken(page: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(page);
    if text.contains(BREAK) { Cow::Owned(text.replace(BREAK, "")) } else { text }
}

/// The text with the places where it may be broken.
pub(super) fn breakable(text: &str) -> Markup {
    marked(text, WHOLE)
}

/// The name of a column, over which its numbers may be much shorter.
pub(super) fn breakable_name(name: &str) -> Markup {
    marked(name, WHOLE_NAME)
}

fn marked(text: &str, whole: usize) -> Markup {
    html! {
        @for (at, piece) in pieces(text, whole).into_iter().enumerate() {
            @if at > 0 { wbr; }
            (piece)
        }
    }
}

/// The text in pieces that stay together; one when it has no long word.
fn pieces(text: &str, whole: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut word_at) = (0, 0);
    for word in text.split_inclusive(char::is_whitespace) {
        if word.trim_end().chars().count() > whole {
            for end in breaks(word.trim_end()) {
                pieces.push(&text[start..word_at + end]);
                start = word_at + end;
            }
        }
        word_at += word.len();
    }
    pieces.push(&text[start..]);
    pieces
}

/// The places in a long word where it may be broken.
fn breaks(word: &str) -> Vec<usize> {
    let piece = if word.bytes().all(|byte| byte.is_ascii_hexdigit()) { ID_PIECE } else { PIECE };
    let mut breaks = Vec::new();
    let (mut since_break, mut since_joint) = (0, 0);
    let mut characters = word.char_indices().peekable();
    while let Some((_, c)) = characters.next() {
        let Some(&(next, after)) = characters.peek() else { break };
        since_break += 1;
        since_joint += 1;
        let ends = if is_joint(c) {
            since_joint = 0;
            since_break >= LEAST && !is_joint(after)
        } else {
            since_joint >= piece
        };
        if ends {
            breaks.push(next);
            (since_break, since_joint) = (0, 0);
        }
    }
    breaks
}

fn is_joint(c: char) -> bool {
    matches!(c, '/' | '.' | '_' | '-' | ':' | ',' | ';' | '=' | '&' | '?' | '|' | '+' | ')' | ']' | '}' | '>')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_at_their_joints_and_ids_anywhere() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[""]),
            ("short words stay whole", &["short words stay whole"]),
            (
                "/api/v1/assuranceservice/assurances/{typeIndex}",
                &["/api/", "v1/assuranceservice/", "assurances/", "{typeIndex}"],
            ),
            ("of 0af7651916cd43dd8448eb211c80319c it", &["of 0af7651916cd43dd", "8448eb211c80319c it"]),
            ("java.lang.NullPointerException: x", &["java.", "lang.", "NullPointerException: x"]),
            ("ts-verification-code-service", &["ts-verification-", "code-", "service"]),
            ("--------------------------", &["--------------------------"]),
            ("ééééééééééééééééééééééééééééé", &["éééééééééééééééééééééééé", "ééééé"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(pieces(text, WHOLE), wanted);
            assert_eq!(pieces(text, WHOLE).concat(), text);
        }
        assert_eq!(pieces("requests_before", WHOLE_NAME), ["requests_", "before"]);
        assert_eq!(breakable("a<b").into_string(), "a&lt;b");
    }
}
