//! Text of data made fit to be drawn: harmless, and no longer than there is room for.

use charts_rs::{DEFAULT_FONT_FAMILY, measure_text_width_family};
use unicode_width::UnicodeWidthChar;

use crate::render::sanitize;

/// The fonts of drawings: the one that widths are measured with and pictures are drawn with, then what every browser has.
pub const FONTS: &str = "Roboto, Helvetica, Arial, sans-serif";
/// A name is read this far; no drawing shows more.
const MAX_CHARS: usize = 200;
/// What the measured width of a character that the font lacks is at most short of, in parts of the size.
const WIDE_EXTRA: f64 = 0.5;
/// How much wider other fonts are: DejaVu and Verdana, which are there when nothing else is, by about a seventh.
const OTHER_FONTS: f64 = 1.15;
/// How much wider bold letters are.
pub const BOLD: f64 = 1.08;

/// The text with what would drive a terminal or turn the line around spelled out, on one line, cut after a bounded number of characters.
pub fn plain(text: &str) -> String {
    let mut characters = text.chars();
    let start: String =
        characters.by_ref().take(MAX_CHARS).map(|c| if is_no_character(c) { '\u{fffd}' } else { c }).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", sanitize(&start))
}

/// What XML does not allow and [`sanitize`] lets pass.
fn is_no_character(c: char) -> bool {
    matches!(c as u32 & 0xffff, 0xfffe | 0xffff)
}

/// The width in pixels, with room for the wider font of a reader who has not the one that is measured.
pub fn width(text: &str, size: f64) -> f64 {
    let measured = measure_text_width_family(DEFAULT_FONT_FAMILY, size as f32, text);
    let wide = text.chars().filter(|c| c.width() == Some(2)).count() as f64;
    let measured = measured.map_or(text.chars().count() as f64 * size * 0.6, |extent| f64::from(extent.width()));
    (measured + wide * WIDE_EXTRA * size) * OTHER_FONTS
}

/// The text of data, cut with an ellipsis where it is wider than `room` pixels.
pub fn fitted(text: &str, size: f64, room: f64) -> String {
    fitted_by(text, size, room, |characters, count| {
        characters[..count].iter().collect::<String>().trim_end().to_owned() + "…"
    })
}

/// The text of data with an ellipsis in its middle where it is wider than `room` pixels: names of operations often differ at their ends only.
pub fn fitted_ends(text: &str, size: f64, room: f64) -> String {
    fitted_by(text, size, room, |characters, count| {
        let part = |part: &[char]| part.iter().collect::<String>();
        let (start, end) = (count.div_ceil(2), count / 2);
        format!("{}…{}", part(&characters[..start]), part(&characters[characters.len() - end..]))
    })
}

/// The text of data, or what `cut` leaves of it with the most of its characters that is no wider than `room` pixels.
fn fitted_by(text: &str, size: f64, room: f64, cut: impl Fn(&[char], usize) -> String) -> String {
    let text = plain(text);
    if width(&text, size) <= room {
        return text;
    }
    let characters: Vec<char> = text.chars().collect();
    let (mut low, mut high) = (0, characters.len().saturating_sub(1));
    while low < high {
        let middle = (low + high).div_ceil(2);
        match width(&cut(&characters, middle), size) <= room {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    cut(&characters, low)
}

/// Whether the font of pictures has no shape for a character: it has those of Latin, Greek and Cyrillic.
pub fn is_foreign(c: char) -> bool {
    let is_known = matches!(c as u32, 0..=0x52f | 0x1e00..=0x1fff | 0x2070..=0x218f);
    !is_known && (c.is_alphanumeric() || c.width() == Some(2))
}

/// A sentence in lines that are no wider than `room` pixels.
pub fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sanitize(text).split(' ') {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fitted(word, size, room)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_harmless_and_short() {
        assert_eq!(plain("a\u{0}b\u{1b}[2J\n\u{202e}c"), "a\\x00b\\x1b[2J\\n\\u{202e}c");
        assert_eq!(plain("a\u{ffff}\u{1fffe}"), "a\u{fffd}\u{fffd}");
        assert_eq!(plain("<b>&"), "<b>&", "escaping is left to what writes the drawing");
        assert_eq!(plain(&"x".repeat(1 << 20)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn what_the_font_lacks_is_known() {
        assert!("Größe, ώρα, час: 2 ≤ 3 × 1.5 µs … −∞".chars().all(|c| !is_foreign(c)));
        for c in ['日', 'ん', '한', 'ع', 'ש', '🚀', 'ไ'] {
            assert!(is_foreign(c), "{c}");
        }
    }

    #[test]
    fn a_label_fits_its_room() {
        for text in ["checkout", "日本語のサービス", "W".repeat(500).as_str(), ""] {
            for room in [0.0, 10.0, 40.0, 100.0] {
                for shown in [fitted(text, 12.0, room), fitted_ends(text, 12.0, room)] {
                    assert!(shown == "…" || width(&shown, 12.0) <= room, "{shown} in {room}");
                }
            }
        }
        let shown = fitted_ends("POST /api/v1/travelservice/trips/left_parallel", 12.0, 150.0);
        assert!(shown.starts_with("POST /api") && shown.ends_with("parallel"), "{shown}");
        assert_eq!(fitted("short", 12.0, 100.0), "short");
    }
}
