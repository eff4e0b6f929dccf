//! JSON strings, written the same way wherever text becomes JSON.

use std::fmt::Write;

/// Appends `text` as a JSON string with its quotes.
pub fn push_json_string(text: &str, out: &mut impl Write) {
    push_json_string_with(text, out, |_| None);
}

/// Appends `text` as a JSON string; `instead` gives what stands for a character of one byte where that must differ.
pub fn push_json_string_with(text: &str, out: &mut impl Write, instead: impl Fn(u8) -> Option<&'static str>) {
    // Whatever grows in memory takes all that is written.
    let _ = try_push(text, out, instead);
}

fn try_push(text: &str, out: &mut impl Write, instead: impl Fn(u8) -> Option<&'static str>) -> std::fmt::Result {
    out.write_char('"')?;
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match (instead(byte), byte) {
            (Some(escape), _) => escape,
            (None, b'"') => "\\\"",
            (None, b'\\') => "\\\\",
            (None, b'\n') => "\\n",
            (None, b'\r') => "\\r",
            (None, b'\t') => "\\t",
            (None, 0..0x20) => "",
            _ => continue,
        };
        out.write_str(&text[plain_from..at])?;
        match escape {
            "" => write!(out, "\\u{byte:04x}")?,
            escape => out.write_str(escape)?,
        }
        plain_from = at + 1;
    }
    out.write_str(&text[plain_from..])?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_reader_gets_every_character_back() {
        let text: String = (0..0x250_u32).filter_map(char::from_u32).chain("\"\\é€🦀".chars()).collect();
        let mut json = String::new();
        push_json_string(&text, &mut json);
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        assert!(json.bytes().all(|byte| byte >= 0x20));
    }

    #[test]
    fn a_character_can_be_written_otherwise() {
        let mut json = String::new();
        push_json_string_with("a\0\u{1}b", &mut json, |byte| (byte == 0).then_some("\\ufffd"));
        assert_eq!(json, "\"a\\ufffd\\u0001b\"");
    }
}
