//! Text where markup is read: in an HTML page and in a chat's message.

/// The text with the characters escaped that begin markup, and with blanks for control characters. It may stand between tags, and not in an
/// attribute: quotes are left.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
