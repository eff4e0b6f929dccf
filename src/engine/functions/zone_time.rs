//! `timezone(zone, t)`: what `t AT TIME ZONE zone` means. A `timestamptz` becomes what a clock in that zone shows; a `timestamp` is read on such a
//! clock.

use std::sync::Arc;

use chrono::{DateTime, Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, AsArray, TimestampNanosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::common::{DataFusionError, ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::engine::times::to_utc;
use crate::error::Error;

const NAME: &str = "timezone";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(Timezone { signature: Signature::user_defined(Volatility::Immutable) })
}

/// What a clock in `zone` shows at `time`.
pub(in crate::engine) fn at_time_zone(zone: &str, time: Expr) -> Expr {
    let zone = Expr::Literal(ScalarValue::from(zone), None);
    udf().call(vec![zone, time])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timezone {
    signature: Signature,
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let time = match types {
            [_, DataType::Timestamp(_, None)] => DataType::Timestamp(TimeUnit::Nanosecond, None),
            // A date is midnight in UTC here, as the session's zone is not known.
            [_, DataType::Timestamp(_, Some(_)) | DataType::Date32] => utc(),
            [_, text] if text.is_string() || text.is_null() => utc(),
            _ => return plan_err!("AT TIME ZONE takes a time and the name of a zone"),
        };
        Ok(vec![DataType::Utf8View, time])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, DataType::Timestamp(_, None)] => Ok(utc()),
            _ => Ok(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [zone, time] = args.args.as_slice() else { return exec_err!("{NAME} takes a zone and a time") };
        let is_constant = matches!((zone, time), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let shows_clock = matches!(time.data_type(), DataType::Timestamp(_, Some(_)));
        let times = cast(&time.to_array(rows)?, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        let moved = match zone {
            ColumnarValue::Scalar(zone) => match zone.try_as_str().flatten() {
                None => TimestampNanosecondArray::new_null(rows),
                Some(zone) => {
                    let zone = zone_of(zone)?;
                    times.unary_opt::<_, TimestampNanosecondType>(|ns| moved(ns, zone, shows_clock))
                }
            },
            ColumnarValue::Array(zones) => {
                let zones = zones.as_string_view();
                let move_row = |(row, ns): (usize, Option<i64>)| match (ns, zones.is_valid(row)) {
                    (Some(ns), true) => Ok(moved(ns, zone_of(zones.value(row))?, shows_clock)),
                    _ => Ok(None),
                };
                times.iter().enumerate().map(move_row).collect::<Result<_>>()?
            }
        };
        let moved = if shows_clock { moved } else { moved.with_timezone("UTC") };
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&moved, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(moved))),
        }
    }
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn zone_of(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        let error = Error::bad_input(format!("time zone \"{name}\" not recognized")).with_sqlstate("22023");
        DataFusionError::External(Box::new(error.with_hint("use an IANA name or an offset like +02:00")))
    })
}

/// The clock's reading at an instant, or the instant of a clock's reading; `None` beyond the range of nanoseconds.
fn moved(ns: i64, zone: Tz, shows_clock: bool) -> Option<i64> {
    let time = DateTime::from_timestamp_nanos(ns).naive_utc();
    let moved = match shows_clock {
        true => time + zone.offset_from_utc_datetime(&time).fix(),
        false => to_utc(time, zone),
    };
    moved.and_utc().timestamp_nanos_opt()
}
