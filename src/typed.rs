//! What people type into flags, settings and headers: sizes, durations, and names that are nearly right.

use std::time::Duration;

/// Reads a number of bytes, with or without a unit.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size: write a number with KiB, MiB, GiB or TiB, such as 256MiB");
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kib" | "k" | "kb" => 10,
        "mib" | "m" | "mb" => 20,
        "gib" | "g" | "gb" => 30,
        "tib" | "t" | "tb" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Writes a number of bytes in the largest unit that divides it: `16MiB`.
pub fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes >> shift << shift == bytes && bytes > 0) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// Reads a length of time: `500ms`, `60s`, `5m`, `2h`, `7d`, `2 weeks`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration: write a number with ms, s, m, h or d, such as 60s");
    let (number, unit) = split_unit(text);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 7 * 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// Writes a length of time in the largest unit that divides it: `90s`, `5m`, `7d`.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// The digits and what follows them.
pub fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// The known name that is at most a third of its length in edits away.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, near) = known.map(|known| (edits(name, known), known)).min()?;
    (distance * 3 <= near.len()).then_some(near)
}

/// How many letters must be added, removed, changed, or swapped with the next one.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    // The edits from the letters of `left` so far to each beginning of `right`, and the same one and two letters before.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut least = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && left[i - 1] == *b && right[j - 1] == *a {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_need_a_known_unit() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_size("12"), Ok(12));
        for text in ["0B", "1023B", "1KiB", "1025B", "16MiB", "3GiB", "1025GiB", "2TiB"] {
            assert_eq!(parse_size(text).map(size_text).as_deref(), Ok(text));
        }
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 weeks"), parse_duration("14d"));
        for text in ["0ms", "1500ms", "90s", "5m", "36h", "7d"] {
            assert_eq!(parse_duration(text).map(duration_text).as_deref(), Ok(text));
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "5 parsecs", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "5", "s", "1 fortnight"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_not_far() {
        let known = ["schedule", "title"];
        assert_eq!(nearest("shedule", known.into_iter()), Some("schedule"));
        assert_eq!(nearest("titel", known.into_iter()), Some("title"), "two letters that changed places are one slip");
        for (left, right, expected) in
            [("", "abc", 3), ("abc", "", 3), ("ab", "ba", 1), ("ca", "abc", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(edits(left, right), expected, "{left} {right}");
        }
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
