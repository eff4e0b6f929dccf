//! Text from data made harmless for a terminal: a span's name must not move the cursor or turn the line around.

use std::borrow::Cow;

/// Escapes control characters, ANSI sequences and direction marks, as `\n`, `\x1b` or `\u{202e}`.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    push_sanitized(text, &mut out);
    Cow::Owned(out)
}

/// Appends `text` with everything escaped that [`sanitize`] escapes.
pub fn push_sanitized(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_harmful(c) => out.push(c),
            c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
        }
    }
}

/// Whether a terminal would do something with `c` other than show it.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks that change the direction of the text around them, line separators, and what shows as nothing.
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped_and_the_rest_stays() {
        assert!(matches!(sanitize("GET /häuser/日本 🚀"), Cow::Borrowed(_)));
        assert_eq!(sanitize("a\x1b[2Jb\r\nc\td\u{7f}"), "a\\x1b[2Jb\\r\\nc\\td\\x7f");
        assert_eq!(sanitize("\u{202e}evil\u{9b}"), "\\u{202e}evil\\x9b");
    }
}
