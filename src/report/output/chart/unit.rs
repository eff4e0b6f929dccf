//! Numbers with their units, as axes and labels have them: `1.5 s`, `12 %`, `3.2 GiB`, `1.2 M`.

/// What a number counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Unit {
    /// Time; a one is so many nanoseconds.
    Time(f64),
    Bytes,
    /// A one is one of a hundred.
    Percent,
    /// A one is all.
    Share,
    /// What the report calls it; empty for a mere number.
    Other(String),
}

/// A number of which multiples are shown, and what they are called.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// So much of the unit is one of the measure.
    pub factor: f64,
    pub name: String,
}

const TIMES: [(f64, &str); 7] =
    [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"), (60e9, "min"), (3_600e9, "h"), (86_400e9, "d")];
const BYTES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const THOUSANDS: [(f64, &str); 5] = [(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")];
/// From here on, and below its inverse, numbers are written as powers of ten.
const SCIENTIFIC_FROM: f64 = 1e15;

impl Unit {
    /// The unit that a report names, else the one that the name of the column ends in, or a share that it has.
    pub fn of(named: Option<&str>, column: &str) -> Self {
        if let Some(named) = named {
            return Self::named(named).unwrap_or_else(|| Self::Other(super::label::plain(named)));
        }
        let words: Vec<&str> = column.split('_').collect();
        let last = words.last().copied().unwrap_or_default();
        if let Some(unit) = Self::named(last).filter(|_| words.len() > 1) {
            return unit;
        }
        // What the ready-made reports call a change is one relative to what was before.
        let is_share = words.iter().any(|word| matches!(*word, "share" | "ratio" | "change"));
        let is_error_rate = words.windows(2).any(|pair| pair[0].starts_with("error") && pair[1] == "rate");
        if is_share || is_error_rate {
            return Self::Share;
        }
        if words.contains(&"percent") { Self::Percent } else { Self::Other(String::new()) }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ns" => Self::Time(1.0),
            "us" | "µs" => Self::Time(1e3),
            "ms" => Self::Time(1e6),
            "s" | "seconds" => Self::Time(1e9),
            "min" | "minutes" => Self::Time(60e9),
            "h" | "hours" => Self::Time(3_600e9),
            "bytes" | "B" => Self::Bytes,
            "%" | "percent" => Self::Percent,
            "share" | "ratio" => Self::Share,
            _ => return None,
        })
    }

    /// The measure in which a value of that size reads well.
    pub fn measure(&self, greatest: f64) -> Measure {
        let size = greatest.abs();
        let measure = |factor: f64, name: &str| Measure { factor, name: name.to_owned() };
        match self {
            Self::Time(one_ns) => {
                let ns = size * one_ns;
                // Two minutes are 120 s, as are two hours 120 min: a unit begins with the second one of the next, but for seconds and below.
                let from = |unit: f64| if unit > 1e9 { 2.0 * unit } else { unit };
                let found = TIMES
                    .iter()
                    .rev()
                    .find(|(unit, _)| ns >= from(*unit))
                    .unwrap_or(&TIMES[usize::from(ns == 0.0) * 2]);
                measure(found.0 / one_ns, found.1)
            }
            Self::Bytes => {
                let power = (size.max(1.0).log2() / 10.0).floor().clamp(0.0, 6.0) as usize;
                measure(1024f64.powi(power as i32), BYTES[power])
            }
            Self::Percent => measure(1.0, "%"),
            Self::Share => measure(0.01, "%"),
            Self::Other(name) => {
                // Thousands are written out up to ten of them.
                let from = |unit: f64| if unit == 1e3 { 10.0 * unit } else { unit };
                let found = THOUSANDS.iter().rev().find(|(unit, _)| size >= from(*unit));
                let (factor, prefix) = found.copied().unwrap_or((1.0, ""));
                measure(
                    factor,
                    &[prefix, name.as_str()]
                        .iter()
                        .filter(|part| !part.is_empty())
                        .copied()
                        .collect::<Vec<_>>()
                        .join(" "),
                )
            }
        }
    }

    /// A value on its own, with three digits that count.
    pub fn show(&self, value: f64) -> String {
        if !value.is_finite() {
            return number(value, 0);
        }
        let measure = self.measure(value);
        let shown = value / measure.factor;
        let decimals = match shown.abs() {
            size if shown.fract() == 0.0 && size < 1e6 => 0,
            size if size < 9.995 => 2,
            size if size < 99.95 => 1,
            _ => 0,
        };
        // What three digits would make nothing of is written as a power of ten.
        let decimals = if shown != 0.0 && shown.abs() < 0.005 { usize::MAX } else { decimals };
        let decimals = decimals.max(self.decimals_to_all(shown));
        measure.with_name(&number(shown, decimals))
    }

    /// The decimals that show how little a percentage lacks of all: 99.95 % is not 100 %.
    fn decimals_to_all(&self, percent: f64) -> usize {
        let lacks = 100.0 - percent;
        match self {
            Self::Share | Self::Percent if lacks > 1e-6 && lacks < 1.0 => (1.0 - lacks.log10().floor()) as usize,
            _ => 0,
        }
    }

    /// A value in a column of a table, with as many decimals as [`Self::column_decimals`] found. Percentages and bytes have their sign there;
    /// other units are in the name of the column.
    pub fn cell(&self, value: f64, decimals: usize) -> String {
        match self {
            _ if !value.is_finite() => number(value, 0),
            Self::Bytes => self.show(value),
            Self::Share | Self::Percent => {
                let percent = if *self == Self::Share { value * 100.0 } else { value };
                let decimals = own_decimals(percent, decimals).max(self.decimals_to_all(percent));
                format!("{}\u{a0}%", number(percent, decimals))
            }
            Self::Time(_) | Self::Other(_) => number(value, own_decimals(value, decimals)),
        }
    }

    /// The decimals for a column of values: four digits for the greatest, one decimal for percentages, none that no value needs.
    pub fn column_decimals(&self, values: &[f64]) -> usize {
        let factor = if *self == Self::Share { 100.0 } else { 1.0 };
        let greatest =
            values.iter().map(|value| (value * factor).abs()).filter(|value| value.is_finite()).fold(0.0, f64::max);
        let most = match self {
            Self::Share | Self::Percent if greatest >= 1.0 || greatest == 0.0 => 1,
            Self::Share | Self::Percent => (1 - greatest.log10().floor().max(-6.0) as i32) as usize,
            _ if greatest >= 1.0 => (3 - greatest.log10().floor().min(3.0) as i32) as usize,
            _ if greatest > 0.0 => (2 - greatest.log10().floor().max(-6.0) as i32) as usize,
            _ => 0,
        };
        let needed = |value: &f64| {
            let text = format!("{:.most$}", value * factor);
            text.split_once('.').map_or(0, |(_, decimals)| decimals.trim_end_matches('0').len())
        };
        values.iter().map(needed).max().unwrap_or(0)
    }
}

/// The decimals of a column, or more where they would leave fewer than two digits of a value that has them.
fn own_decimals(value: f64, decimals: usize) -> usize {
    let size = value.abs();
    if value.fract() == 0.0 || size >= 10f64.powi(1 - decimals as i32) {
        return decimals;
    }
    if size < 1e-4 {
        return usize::MAX;
    }
    let most = decimals.max((1.0 - size.log10().floor()) as usize);
    let rounded = |decimals: usize| format!("{value:.decimals$}").parse::<f64>().unwrap_or(f64::NAN);
    (decimals..most).find(|fewer| rounded(*fewer) == rounded(most)).unwrap_or(most)
}

impl Measure {
    /// A number with the name of the measure.
    pub fn with_name(&self, number: &str) -> String {
        match self.name.as_str() {
            "" => number.to_owned(),
            // A prefix stands at its number: 12k, and a unit after a space.
            "k" | "M" | "G" | "T" => format!("{number}{}", self.name),
            name => format!("{number}\u{a0}{name}"),
        }
    }
}

/// A number with so many decimals, as a power of ten when it is beyond reading otherwise.
pub fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".to_owned() } else { "−∞".to_owned() };
    }
    let text = match value.abs() {
        size if size >= SCIENTIFIC_FROM || decimals > 15 => format!("{value:.2e}").replace(".00e", "e"),
        _ => format!("{value:.decimals$}"),
    };
    match text.strip_prefix('-') {
        // Nothing is below nothing after rounding.
        Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.to_owned(),
        Some(rest) => format!("−{}", grouped(rest)),
        None => grouped(&text),
    }
}

/// Digits in groups of three, from five on: `1234`, `12,345`.
pub fn grouped(text: &str) -> String {
    let whole = text.bytes().take_while(u8::is_ascii_digit).count();
    if whole < 5 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + whole / 3);
    for (at, digit) in text[..whole].chars().enumerate() {
        if at > 0 && (whole - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + &text[whole..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_tells_its_unit() {
        let cases: [(Option<&str>, &str, Unit); 13] = [
            (None, "error_rate_before", Unit::Share),
            (None, "p95_change", Unit::Share),
            (None, "share_of_ms", Unit::Time(1e6)),
            (None, "exchange", Unit::Other(String::new())),
            (None, "p95_ms", Unit::Time(1e6)),
            (None, "stored_bytes", Unit::Bytes),
            (None, "error_rate", Unit::Share),
            (None, "request_rate", Unit::Other(String::new())),
            (None, "share", Unit::Share),
            (None, "spans", Unit::Other(String::new())),
            (None, "s", Unit::Other(String::new())),
            (Some("ms"), "took", Unit::Time(1e6)),
            (Some("req/s"), "rate", Unit::Other("req/s".to_owned())),
        ];
        for (named, column, unit) in cases {
            assert_eq!(Unit::of(named, column), unit, "{column}");
        }
    }

    #[test]
    fn values_read_well() {
        let ms = Unit::Time(1e6);
        let cases = [
            (&ms, 0.0, "0\u{a0}ms"),
            (&ms, 0.0005, "500\u{a0}ns"),
            (&ms, 1.5, "1.50\u{a0}ms"),
            (&ms, 999.0, "999\u{a0}ms"),
            (&ms, 1_500.0, "1.50\u{a0}s"),
            (&ms, 90_000.0, "90\u{a0}s"),
            (&ms, 180_000.0, "3\u{a0}min"),
            (&ms, -20.0, "−20\u{a0}ms"),
            (&Unit::Share, 0.1234, "12.3\u{a0}%"),
            (&Unit::Percent, 12.34, "12.3\u{a0}%"),
            (&Unit::Percent, 99.96, "99.960\u{a0}%"),
            (&Unit::Share, 0.99953, "99.953\u{a0}%"),
            (&Unit::Share, 1.0, "100\u{a0}%"),
            (&Unit::Bytes, 3.2 * 1024.0 * 1024.0, "3.20\u{a0}MiB"),
            (&Unit::Other(String::new()), 1_234.0, "1234"),
            (&Unit::Other(String::new()), 1_234_567.0, "1.23M"),
            (&Unit::Other("req/s".to_owned()), 12_000.0, "12\u{a0}k req/s"),
            (&Unit::Other(String::new()), 1e300, "1e288T"),
            (&Unit::Other(String::new()), 1e-9, "1e-9"),
            (&Unit::Other(String::new()), f64::NAN, "NaN"),
            (&Unit::Other(String::new()), f64::NEG_INFINITY, "−∞"),
            (&Unit::Other(String::new()), -0.0, "0"),
        ];
        for (unit, value, shown) in cases {
            assert_eq!(unit.show(value), shown, "{value} in {unit:?}");
        }
    }

    #[test]
    fn columns_have_the_digits_that_tell() {
        let plain = Unit::Other(String::new());
        let cases: [(&Unit, &[f64], &[&str]); 8] = [
            (&plain, &[80_740.12, 34.81, 2.13, 0.5, 3.0, 0.0, 1e-9], &["80,740", "35", "2.1", "0.5", "3", "0", "1e-9"]),
            (&Unit::Time(1e6), &[318.04, 34.777, 0.1234], &["318.0", "34.8", "0.12"]),
            (&plain, &[0.0533, 0.43674, 1.05], &["0.053", "0.437", "1.050"]),
            (&plain, &[0.5, 0.25, -1.75], &["0.50", "0.25", "−1.75"]),
            (&plain, &[3.0, 1e15, f64::NAN], &["3", "1e15", "NaN"]),
            (&Unit::Share, &[0.2139, 0.0, 1.0, 0.0042], &["21.4\u{a0}%", "0.0\u{a0}%", "100.0\u{a0}%", "0.42\u{a0}%"]),
            (&Unit::Share, &[0.99953, -0.5], &["99.953\u{a0}%", "−50\u{a0}%"]),
            (&Unit::Bytes, &[3_355_443.2, 0.0], &["3.20\u{a0}MiB", "0\u{a0}B"]),
        ];
        for (unit, values, shown) in cases {
            let decimals = unit.column_decimals(values);
            assert_eq!(values.iter().map(|value| unit.cell(*value, decimals)).collect::<Vec<_>>(), shown);
        }
        assert_eq!([plain.column_decimals(&[]), plain.column_decimals(&[0.0])], [0, 0]);
    }

    #[test]
    fn digits_are_grouped_from_five_on() {
        for (text, shown) in
            [("1234", "1234"), ("12345", "12,345"), ("1234567.891", "1,234,567.891"), ("1e300", "1e300")]
        {
            assert_eq!(grouped(text), shown);
        }
    }
}
