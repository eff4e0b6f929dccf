//! Bound parameters: from the wire's text and binary forms to the engine's values.

use bytes::Bytes;
use datafusion::arrow::array::types::IntervalMonthDayNano;
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;

use super::row::Format;
use super::statement::Parameter;
use crate::error::{Error, Result};
use crate::pg::{DAY_SECONDS, POSTGRES_EPOCH_DAYS, array_elements, arrow_of_oid};

/// Most elements of an array parameter: what a long `= ANY($1)` has, with room.
const MAX_ARRAY_ELEMENTS: usize = 1_000_000;
/// Nanoseconds from 1970-01-01 to 2000-01-01, PostgreSQL's time zero.
const POSTGRES_EPOCH_NS: i64 = POSTGRES_EPOCH_DAYS * DAY_SECONDS * 1_000_000_000;

/// Reads times as constants in the session's statements are read; `None` for another type or no such time.
pub(super) type ReadTime<'a> = &'a dyn Fn(&str, &DataType) -> Option<ScalarValue>;

/// Reads the value of parameter `$number`.
pub(super) fn decode(
    bytes: Option<&Bytes>,
    format: Format,
    parameter: &Parameter,
    number: usize,
    times: ReadTime<'_>,
) -> Result<ScalarValue> {
    let data_type = arrow_of_oid(parameter.oid);
    let Some(bytes) = bytes else {
        let wanted = parameter.wanted.as_ref().or(data_type.as_ref()).unwrap_or(&DataType::Utf8);
        return ScalarValue::try_from(wanted).map_err(|e| Error::internal(format!("NULL of {wanted}: {e}")));
    };
    let value = match (format, &data_type) {
        (Format::Binary, Some(data_type)) => Binary { bytes, number }.value(data_type, parameter.oid)?,
        // What has no binary form here is taken as the text it most likely is.
        (Format::Binary, None) => ScalarValue::Utf8(Some(utf8(bytes)?.to_owned())),
        (Format::Text, Some(data_type)) => from_text(utf8(bytes)?, data_type, times)?,
        (Format::Text, None) => ScalarValue::Utf8(Some(utf8(bytes)?.to_owned())),
    };
    fit(value, parameter, times)
}

/// Brings a value to the type that the statement takes, where that loses nothing.
pub(super) fn fit(value: ScalarValue, parameter: &Parameter, times: ReadTime<'_>) -> Result<ScalarValue> {
    if parameter.may_be_number
        && let Some(number) = value.try_as_str().flatten().and_then(number)
    {
        return Ok(number);
    }
    let Some(wanted) = &parameter.wanted else { return Ok(value) };
    let given = value.data_type();
    if matches!(wanted, DataType::Interval(_)) && matches!(given, DataType::Timestamp(..)) {
        return Err(Error::bad_input("a parameter beside a time is an interval, not another time")
            .with_sqlstate("42804")
            .with_hint("write $1::timestamptz to subtract one time from another"));
    }
    if given == *wanted || value.is_null() {
        return match value.is_null() {
            true => ScalarValue::try_from(wanted).map_err(|e| Error::internal(format!("NULL of {wanted}: {e}"))),
            false => Ok(value),
        };
    }
    if let (Some(Some(text)), false) = (value.try_as_str(), is_text(wanted)) {
        return from_text(text, wanted, times);
    }
    // A fraction for a whole number is the statement's to compare, not ours to cut.
    let cuts = wanted.is_integer() && !given.is_integer() || matches!(wanted, DataType::Date32) && given.is_temporal();
    if cuts {
        return Ok(value);
    }
    value.cast_to(wanted).map_err(|_| {
        Error::bad_input(format!("value \"{value}\" is out of range for type {wanted}")).with_sqlstate("22003")
    })
}

/// Reads a text as the number that it would be as a constant in a statement.
fn number(text: &str) -> Option<ScalarValue> {
    let text = text.trim();
    if !text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let whole = text.parse().ok().map(|number| ScalarValue::Int64(Some(number)));
    whole.or_else(|| text.parse().ok().map(|number| ScalarValue::Float64(Some(number))))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|_| Error::bad_input("invalid byte sequence for encoding \"UTF8\"").with_sqlstate("22021"))
}

fn invalid(text: &str, what: &str) -> Error {
    let shown: String = text.chars().take(64).collect();
    Error::bad_input(format!("invalid input syntax for type {what}: \"{shown}\"")).with_sqlstate("22P02")
}

/// Reads PostgreSQL's text form.
fn from_text(text: &str, data_type: &DataType, times: ReadTime<'_>) -> Result<ScalarValue> {
    let trimmed = text.trim();
    if let Some(time) = times(trimmed, data_type) {
        return Ok(time);
    }
    Ok(match data_type {
        DataType::Boolean => ScalarValue::Boolean(Some(boolean(trimmed).ok_or_else(|| invalid(text, "boolean"))?)),
        DataType::Binary => ScalarValue::Binary(Some(bytea(text).ok_or_else(|| invalid(text, "bytea"))?)),
        DataType::Decimal128(_, _) => decimal(trimmed).ok_or_else(|| invalid(text, "numeric"))?,
        DataType::List(field) => array_from_text(trimmed, field.data_type(), times)?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => return text_as(text, data_type),
        other => ScalarValue::try_from_string(trimmed.to_owned(), other).map_err(|_| invalid(text, &name_of(other)))?,
    })
}

fn text_as(text: &str, data_type: &DataType) -> Result<ScalarValue> {
    Ok(match data_type {
        DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_owned())),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(text.to_owned())),
        _ => ScalarValue::Utf8(Some(text.to_owned())),
    })
}

fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::UInt32 => "oid".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Interval(_) => "interval".into(),
        other => other.to_string(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else { return Some(text.as_bytes().to_vec()) };
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

/// Reads a decimal with the scale that it is written with.
fn decimal(text: &str) -> Option<ScalarValue> {
    if text.eq_ignore_ascii_case("nan") || text.to_ascii_lowercase().ends_with("infinity") || text.contains(['e', 'E'])
    {
        return Some(ScalarValue::Float64(Some(text.parse().ok()?)));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = i8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)?;
    let digits = format!("{whole}{fraction}");
    if !digits.trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(ScalarValue::Decimal128(Some(digits.parse().ok()?), 38, scale))
}

/// Reads `{a,"b c",NULL}` of one dimension.
fn array_from_text(text: &str, element: &DataType, times: ReadTime<'_>) -> Result<ScalarValue> {
    let elements = array_elements(text).ok_or_else(|| invalid(text, "array"))?;
    if elements.len() > MAX_ARRAY_ELEMENTS {
        return Err(too_many());
    }
    let value = |item: Option<String>| match item {
        None => ScalarValue::try_from(element).map_err(|e| Error::internal(e.to_string())),
        Some(item) => from_text(&item, element, times),
    };
    let values = elements.into_iter().map(value).collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list(&values, element, true)))
}

fn too_many() -> Error {
    Error::new(crate::error::Kind::TooLarge, format!("an array parameter has more than {MAX_ARRAY_ELEMENTS} elements"))
}

/// A parameter's binary form.
struct Binary<'a> {
    bytes: &'a [u8],
    number: usize,
}

impl Binary<'_> {
    fn fixed<const N: usize>(&self) -> Result<[u8; N]> {
        self.bytes.try_into().map_err(|_| self.malformed())
    }

    fn malformed(&self) -> Error {
        Error::bad_input(format!("incorrect binary data format in bind parameter {}", self.number))
            .with_sqlstate("22P03")
    }

    fn value(&self, data_type: &DataType, oid: u32) -> Result<ScalarValue> {
        Ok(match data_type {
            DataType::Boolean => ScalarValue::Boolean(Some(self.fixed::<1>()?[0] != 0)),
            DataType::Int16 => ScalarValue::Int16(Some(i16::from_be_bytes(self.fixed()?))),
            DataType::Int32 => ScalarValue::Int32(Some(i32::from_be_bytes(self.fixed()?))),
            DataType::Int64 => ScalarValue::Int64(Some(i64::from_be_bytes(self.fixed()?))),
            DataType::UInt32 => ScalarValue::UInt32(Some(u32::from_be_bytes(self.fixed()?))),
            DataType::Float32 => ScalarValue::Float32(Some(f32::from_be_bytes(self.fixed()?))),
            DataType::Float64 => ScalarValue::Float64(Some(f64::from_be_bytes(self.fixed()?))),
            DataType::Binary => ScalarValue::Binary(Some(self.bytes.to_vec())),
            DataType::Date32 => {
                let days = i32::from_be_bytes(self.fixed()?).checked_add(POSTGRES_EPOCH_DAYS as i32);
                ScalarValue::Date32(Some(days.ok_or_else(|| self.malformed())?))
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                let micros = i64::from_be_bytes(self.fixed()?);
                ScalarValue::Time64Nanosecond(Some(micros.checked_mul(1_000).ok_or_else(|| self.malformed())?))
            }
            DataType::Timestamp(_, zone) => ScalarValue::TimestampNanosecond(Some(self.timestamp()?), zone.clone()),
            DataType::Interval(IntervalUnit::MonthDayNano) => ScalarValue::IntervalMonthDayNano(Some(self.interval()?)),
            DataType::Decimal128(_, _) => self.numeric()?,
            DataType::List(field) => self.array(field.data_type())?,
            _ => ScalarValue::Utf8(Some(self.text(oid)?)),
        })
    }

    /// Reads a point in time; beyond what nanoseconds reach (years 1677‥2262) it is the last one they do.
    fn timestamp(&self) -> Result<i64> {
        let micros = i64::from_be_bytes(self.fixed()?);
        let nanos = i128::from(micros) * 1_000 + i128::from(POSTGRES_EPOCH_NS);
        Ok(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    fn interval(&self) -> Result<IntervalMonthDayNano> {
        let bytes: [u8; 16] = self.fixed()?;
        let (micros, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| self.malformed())?;
        let (days, rest) = rest.split_first_chunk::<4>().ok_or_else(|| self.malformed())?;
        let months = rest.first_chunk::<4>().ok_or_else(|| self.malformed())?;
        let nanos = i64::from_be_bytes(*micros).checked_mul(1_000).ok_or_else(|| self.malformed())?;
        Ok(IntervalMonthDayNano::new(i32::from_be_bytes(*months), i32::from_be_bytes(*days), nanos))
    }

    fn text(&self, oid: u32) -> Result<String> {
        match (oid, self.bytes) {
            // jsonb has a version byte before its text.
            (3802, [1, text @ ..]) => utf8(text).map(str::to_owned),
            (3802, _) => Err(self.malformed()),
            (2950, bytes) => {
                let id: [u8; 16] = bytes.try_into().map_err(|_| self.malformed())?;
                Ok(uuid::Uuid::from_bytes(id).to_string())
            }
            (_, bytes) => utf8(bytes).map(str::to_owned),
        }
    }

    fn numeric(&self) -> Result<ScalarValue> {
        let out_of_range = || Error::bad_input("a numeric parameter has more than 38 digits").with_sqlstate("22003");
        let mut words = self.bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let mut word = || words.next().ok_or_else(|| self.malformed());
        let (groups, weight, sign, scale) = (word()?, word()?.cast_signed(), word()?, word()?);
        match sign {
            0xC000 => return Ok(ScalarValue::Float64(Some(f64::NAN))),
            0xD000 => return Ok(ScalarValue::Float64(Some(f64::INFINITY))),
            0xF000 => return Ok(ScalarValue::Float64(Some(f64::NEG_INFINITY))),
            _ => {}
        }
        let scale = i8::try_from(scale).ok().filter(|scale| *scale <= 38).ok_or_else(out_of_range)?;
        let mut unscaled: i128 = 0;
        for index in 0..groups {
            let group = i128::from(word()?);
            // The group stands for group · 10000^(weight − index); bring it to units of 10^−scale.
            let power = (i32::from(weight) - i32::from(index)) * 4 + i32::from(scale);
            let scaled = match power {
                0.. => 10i128.checked_pow(power.unsigned_abs()).and_then(|factor| group.checked_mul(factor)),
                _ => 10i128.checked_pow(power.unsigned_abs()).map(|factor| group / factor).or(Some(0)),
            };
            unscaled = scaled.and_then(|scaled| unscaled.checked_add(scaled)).ok_or_else(out_of_range)?;
        }
        Ok(ScalarValue::Decimal128(Some(if sign == 0x4000 { -unscaled } else { unscaled }), 38, scale))
    }

    fn array(&self, element: &DataType) -> Result<ScalarValue> {
        let mut rest = self.bytes;
        let word = |rest: &mut &[u8]| -> Result<i32> {
            let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(|| self.malformed())?;
            *rest = tail;
            Ok(i32::from_be_bytes(*head))
        };
        let (dimensions, _has_nulls, oid) = (word(&mut rest)?, word(&mut rest)?, word(&mut rest)?.cast_unsigned());
        let mut values = Vec::new();
        match dimensions {
            0 => {}
            1 => {
                let (length, _lower_bound) = (word(&mut rest)?, word(&mut rest)?);
                let length = usize::try_from(length).map_err(|_| self.malformed())?;
                if length > MAX_ARRAY_ELEMENTS {
                    return Err(too_many());
                }
                for _ in 0..length {
                    let bytes = word(&mut rest)?;
                    let Ok(bytes) = usize::try_from(bytes) else {
                        values.push(ScalarValue::try_from(element).map_err(|e| Error::internal(e.to_string()))?);
                        continue;
                    };
                    let (head, tail) = rest.split_at_checked(bytes).ok_or_else(|| self.malformed())?;
                    rest = tail;
                    values.push(Binary { bytes: head, number: self.number }.value(element, oid)?);
                }
            }
            _ => {
                return Err(
                    Error::bad_input("arrays of more than one dimension are not supported").with_sqlstate("0A000")
                );
            }
        }
        Ok(ScalarValue::List(ScalarValue::new_list(&values, element, true)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use postgres_types_oracle::encoded;

    use super::*;

    /// The client library's own encoders, as the truth about binary forms.
    mod postgres_types_oracle {
        use super::*;

        pub(super) fn encoded(value: &(dyn tokio_postgres::types::ToSql + Sync), oid: u32) -> Bytes {
            let pg_type = tokio_postgres::types::Type::from_oid(oid).expect("a known type");
            let mut out = BytesMut::new();
            value.to_sql_checked(&pg_type, &mut out).expect("encodes");
            out.freeze()
        }
    }

    fn read(bytes: &[u8], format: Format, oid: u32) -> Result<ScalarValue> {
        let parameter = Parameter { oid, wanted: None, may_be_number: false };
        decode(Some(&Bytes::copy_from_slice(bytes)), format, &parameter, 1, &|_, _| None)
    }

    #[test]
    fn binary_values_of_a_real_client_are_read() {
        let cases: [(Bytes, u32, ScalarValue); 7] = [
            (encoded(&true, 16), 16, ScalarValue::Boolean(Some(true))),
            (encoded(&-7i16, 21), 21, ScalarValue::Int16(Some(-7))),
            (encoded(&i64::MIN, 20), 20, ScalarValue::Int64(Some(i64::MIN))),
            (encoded(&1.5f64, 701), 701, ScalarValue::Float64(Some(1.5))),
            (encoded(&"héllo", 25), 25, ScalarValue::Utf8(Some("héllo".into()))),
            (encoded(&vec![1u8, 0, 255], 17), 17, ScalarValue::Binary(Some(vec![1, 0, 255]))),
            (
                encoded(&vec![Some(1i64), None], 1016),
                1016,
                ScalarValue::List(ScalarValue::new_list(
                    &[ScalarValue::Int64(Some(1)), ScalarValue::Int64(None)],
                    &DataType::Int64,
                    true,
                )),
            ),
        ];
        for (bytes, oid, expected) in cases {
            assert_eq!(read(&bytes, Format::Binary, oid).expect("reads"), expected);
        }
    }

    #[test]
    fn times_shift_their_zero() {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_123_456);
        let value = read(&encoded(&at, 1184), Format::Binary, 1184).expect("reads");
        assert_eq!(value, ScalarValue::TimestampNanosecond(Some(1_700_000_000_123_456_000), Some("+00:00".into())));
        let text = read(b"2023-11-14 22:13:20.123456789+00", Format::Text, 1184).expect("reads");
        assert_eq!(text, ScalarValue::TimestampNanosecond(Some(1_700_000_000_123_456_789), Some("+00:00".into())));
    }

    #[test]
    fn numerics_survive_their_own_encoding() {
        for text in ["0", "1", "-12345.678", "0.0001", "99999999999999999999.5", "10000", "0.00000001"] {
            let from_text = read(text.as_bytes(), Format::Text, 1700).expect("text");
            let ScalarValue::Decimal128(Some(unscaled), _, scale) = from_text else { panic!("{text}") };
            let mut binary = BytesMut::new();
            crate::pg::put_numeric_binary(&mut binary, &unscaled.to_string(), scale);
            assert_eq!(read(&binary, Format::Binary, 1700).expect("binary"), from_text, "{text}");
        }
        assert!(matches!(read(b"1e3", Format::Text, 1700), Ok(ScalarValue::Float64(Some(1000.0)))));
    }

    #[test]
    fn wrong_values_have_postgresql_states() {
        for (bytes, format, oid, state) in [
            (&b"abc"[..], Format::Text, 23, "22P02"),
            (b"\0\0", Format::Binary, 23, "22P03"),
            (b"\xff", Format::Text, 25, "22021"),
            (b"{1,2", Format::Text, 1007, "22P02"),
            (b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01", Format::Binary, 1007, "54000"),
            (b"\0\0\0\x02\0\0\0\0\0\0\0\x17", Format::Binary, 1007, "0A000"),
        ] {
            assert_eq!(read(bytes, format, oid).expect_err("wrong").sqlstate(), state, "{bytes:?}");
        }
    }

    #[test]
    fn array_texts() {
        let list = |text: &str| read(text.as_bytes(), Format::Text, 1009).expect(text);
        let expected = [Some("a"), Some("b,\"c\\"), None, Some("NULL"), Some("")]
            .map(|item| ScalarValue::Utf8(item.map(str::to_owned)));
        assert_eq!(
            list(r#"{a,"b,\"c\\",NULL,"NULL",""}"#),
            ScalarValue::List(ScalarValue::new_list(&expected, &DataType::Utf8, true))
        );
        assert_eq!(list("{}"), ScalarValue::List(ScalarValue::new_list(&[], &DataType::Utf8, true)));
    }

    #[test]
    fn a_text_that_is_a_number_is_one_where_the_client_leaves_it_open() {
        let open = Parameter { oid: 25, wanted: Some(DataType::Utf8), may_be_number: true };
        for (text, shown) in [("500", "500"), (" -1.5e3 ", "-1500"), (".5", "0.5")] {
            let value = fit(ScalarValue::from(text), &open, &|_, _| None).expect("taken");
            assert_eq!((value.data_type().is_numeric(), value.to_string().as_str()), (true, shown));
        }
        for text in ["v1", "", "-", "nan", "infinity", "1.2.3"] {
            let value = fit(ScalarValue::from(text), &open, &|_, _| None).expect("taken");
            assert_eq!(value, ScalarValue::from(text));
        }
        let text = Parameter { may_be_number: false, ..open };
        assert_eq!(fit(ScalarValue::from("500"), &text, &|_, _| None).expect("taken"), ScalarValue::from("500"));
    }
}
