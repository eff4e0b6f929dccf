//! Numbers in PostgreSQL's text form, and `numeric` in its binary form.

use bytes::{BufMut, BytesMut};

/// Longest text of a 128-bit integer: sign and 39 digits.
const INTEGER_TEXT_BYTES: usize = 40;

/// Writes an integer in decimal.
pub(super) fn put_integer(out: &mut BytesMut, value: i128) {
    let mut digits = [0u8; INTEGER_TEXT_BYTES];
    let mut at = digits.len();
    // Almost all numbers fit 64 bits, where a division costs a tenth.
    let mut rest = value.unsigned_abs();
    while rest > u128::from(u64::MAX) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut rest = rest as u64;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.put_slice(&digits[at..]);
}

/// Writes `value` with exactly `width` digits, zeros in front.
pub(super) fn put_padded(out: &mut BytesMut, value: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let mut rest = value;
    let mut at = digits.len();
    while rest > 0 && at > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.put_slice(&digits[digits.len() - width.min(digits.len())..]);
}

/// Writes the shortest text that reads back as the same double, as `extra_float_digits = 1` does.
pub(super) fn put_float8(out: &mut BytesMut, value: f64) {
    if put_special(out, value) {
        return;
    }
    put_shortest(out, &format!("{value:e}"), 15);
}

/// Writes the shortest text that reads back as the same single.
pub(super) fn put_float4(out: &mut BytesMut, value: f32) {
    if put_special(out, f64::from(value)) {
        return;
    }
    put_shortest(out, &format!("{value:e}"), 6);
}

fn put_special(out: &mut BytesMut, value: f64) -> bool {
    let text: &[u8] = match value {
        v if v.is_nan() => b"NaN",
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        _ => return false,
    };
    out.put_slice(text);
    true
}

/// Lays out `d.ddde±x` plainly while the exponent is in −4‥`plain_below`, as PostgreSQL does.
fn put_shortest(out: &mut BytesMut, scientific: &str, plain_below: i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.strip_prefix('-') {
        Some(rest) => {
            out.put_u8(b'-');
            rest
        }
        None => mantissa,
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !(-4..plain_below).contains(&exponent) {
        out.put_slice(mantissa.as_bytes());
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        put_padded(out, exponent.unsigned_abs(), if exponent.abs() >= 100 { 3 } else { 2 });
        return;
    }
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-exponent - 1) as usize);
        out.put_slice(whole.as_bytes());
        out.put_slice(fraction.as_bytes());
        return;
    }
    let shift = exponent as usize;
    out.put_slice(whole.as_bytes());
    if fraction.len() <= shift {
        out.put_slice(fraction.as_bytes());
        out.put_bytes(b'0', shift - fraction.len());
    } else {
        out.put_slice(&fraction.as_bytes()[..shift]);
        out.put_u8(b'.');
        out.put_slice(&fraction.as_bytes()[shift..]);
    }
}

/// The digits that a `numeric` has when nobody declared how many: 10 behind the point, and more once it was multiplied or divided.
const UNDECLARED_SCALE: i8 = 10;

/// A decimal without the zeros at its end that nobody asked for: a `numeric` without a declared scale has what its value needs.
fn without_padding(unscaled: &str, scale: i8) -> (&str, i8) {
    if scale < UNDECLARED_SCALE {
        return (unscaled, scale);
    }
    let digits = unscaled.trim_start_matches('-');
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let dropped = if digits == "0" { scale } else { scale.min(i8::try_from(zeros).unwrap_or(scale)) };
    let kept = if digits == "0" { unscaled } else { &unscaled[..unscaled.len() - usize::from(dropped.unsigned_abs())] };
    (kept, scale - dropped)
}

/// Writes a decimal of `unscaled · 10^−scale`.
pub(super) fn put_decimal(out: &mut BytesMut, unscaled: &str, scale: i8) {
    let (unscaled, scale) = without_padding(unscaled, scale);
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", unscaled),
    };
    out.put_slice(sign.as_bytes());
    if scale <= 0 {
        out.put_slice(digits.as_bytes());
        if digits != "0" {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.put_slice(whole.as_bytes());
        out.put_u8(b'.');
        out.put_slice(fraction.as_bytes());
    } else {
        out.put_slice(b"0.");
        out.put_bytes(b'0', scale - digits.len());
        out.put_slice(digits.as_bytes());
    }
}

/// Writes a decimal in the binary form of `numeric`, without its length:
///
/// ```text
/// groups i16 | weight i16 | sign u16 | display scale u16 | group i16 …      (groups in base 10,000)
/// ```
pub(crate) fn put_numeric_binary(out: &mut BytesMut, unscaled: &str, scale: i8) {
    let (unscaled, scale) = without_padding(unscaled, scale);
    let (negative, digits) = match unscaled.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, unscaled),
    };
    let mut digits = digits.trim_start_matches('0').as_bytes().to_vec();
    let mut fraction_digits = usize::from(scale.max(0).unsigned_abs());
    if scale < 0 && !digits.is_empty() {
        digits.resize(digits.len() + usize::from(scale.unsigned_abs()), b'0');
    }
    let display_scale = fraction_digits as u16;
    // Pad both sides so that the decimal point falls between two groups.
    while !fraction_digits.is_multiple_of(4) {
        digits.push(b'0');
        fraction_digits += 1;
    }
    let whole_digits = digits.len() as i64 - fraction_digits as i64;
    let pad = (4 - whole_digits.rem_euclid(4)) % 4;
    digits.splice(0..0, std::iter::repeat_n(b'0', pad as usize));
    let mut weight = (whole_digits + pad) / 4 - 1;
    let mut groups: Vec<i16> =
        digits.chunks(4).map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))).collect();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i64;
    if groups.is_empty() {
        weight = 0;
    }
    out.put_i16(groups.len() as i16);
    out.put_i16(weight as i16);
    out.put_u16(if negative && !groups.is_empty() { 0x4000 } else { 0 });
    out.put_u16(display_scale);
    groups.into_iter().for_each(|group| out.put_i16(group));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn doubles_read_as_postgresql_writes_them() {
        // What PostgreSQL 16 prints for each of these.
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-12.5, "-12.5"),
            (100000000000000.0, "100000000000000"),
            (1e15, "1e+15"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(|out| put_float8(out, value)), expected);
        }
        assert_eq!(text(|out| put_float4(out, 1e6)), "1e+06");
        assert_eq!(text(|out| put_float4(out, 0.1)), "0.1");
        assert_eq!(text(|out| put_float4(out, 123456.0)), "123456");
    }

    #[test]
    fn integers_reach_both_ends() {
        for value in [0, 7, -7, i128::from(i64::MIN), i128::from(u64::MAX), i128::MIN, i128::MAX] {
            assert_eq!(text(|out| put_integer(out, value)), value.to_string());
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (unscaled, scale, expected) in [
            ("12345", 2, "123.45"),
            ("-5", 3, "-0.005"),
            ("0", 2, "0.00"),
            ("12", -2, "1200"),
            ("7", 0, "7"),
            ("15000000000", 10, "1.5"),
            ("-20000000000", 10, "-2"),
            ("0", 10, "0"),
            ("1", 12, "0.000000000001"),
        ] {
            assert_eq!(text(|out| put_decimal(out, unscaled, scale)), expected);
        }
    }

    #[test]
    fn binary_numerics_are_what_postgresql_sends() {
        // (digits, scale) → header and groups as `numeric_send` gives them.
        let cases: [(&str, i8, Vec<i32>); 6] = [
            ("0", 0, vec![0, 0, 0, 0]),
            ("12345", 2, vec![2, 0, 0, 2, 123, 4500]),
            ("-12345678", 0, vec![2, 1, 0x4000, 0, 1234, 5678]),
            ("1", 4, vec![1, -1, 0, 4, 1]),
            ("1", 8, vec![1, -2, 0, 8, 1]),
            ("10000", 0, vec![1, 1, 0, 0, 1]),
        ];
        for (unscaled, scale, expected) in cases {
            let mut out = BytesMut::new();
            put_numeric_binary(&mut out, unscaled, scale);
            let got: Vec<i32> = out.chunks(2).map(|pair| i32::from(i16::from_be_bytes([pair[0], pair[1]]))).collect();
            assert_eq!(got, expected, "{unscaled} scale {scale}");
        }
    }
}
