//! SQL functions of ours, one file a family.

mod adjusted_count;
mod arithmetic;
mod attribute;
mod bounded;
mod bucket_width;
mod by_pattern;
mod checked;
mod contains;
mod contrasts;
mod covered;
mod dictionary;
mod distinct_ids;
mod exact;
mod exception_text;
mod forecast_series;
mod format;
mod given;
mod graph;
mod groups;
mod heatmap;
mod histogram;
mod ids;
mod intervals;
mod isolation;
mod json;
mod json_lists;
mod levels;
mod literals;
mod nested;
mod nested_sets;
mod ordered;
mod orphans;
mod promoted;
mod quotient;
mod range_from;
mod readers;
mod sample;
mod session_info;
mod shown;
mod significance;
mod similar;
mod sketches;
mod sum;
mod texts;
mod texts_by_first;
mod to_char;
mod traces_with;
mod within;
mod without_ids;
mod wrapped;
mod zone_time;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

pub(super) use arithmetic::{arithmetic, arithmetic_type, has_arithmetic};
pub(super) use attribute::{attribute_of, attribute_read, is_attribute};
pub(super) use bounded::{bounded_function, constant_list_bytes, is_bounded};
pub(super) use checked::{checked, is_checked_sum};
pub(super) use contains::{MOST_CONDITIONS, attributes_contain, has_attributes, no_object, wanted_attributes};
pub(super) use distinct_ids::distinct_ids;
pub(super) use given::{GIVEN_TIME, GIVEN_TRUTH};
pub(super) use graph::stoppable_graph;
pub(super) use ids::{hex_bytes, id_argument, id_bytes, id_text, id_text_argument, shown_id};
pub(super) use intervals::{date_part_udf, days_of_duration, interval_length, interval_scaled, justified};
pub(super) use json::{json_part, json_part_at, json_text, json_text_at};
pub(super) use json_lists::{JSON_ELEMENTS, JSON_ELEMENTS_TEXT, JSON_KEYS, JSON_VALUES, JSON_VALUES_TEXT};
pub(super) use promoted::{text_of_scalar, whole_map, whole_types};
pub(super) use quotient::quotients_in_one_pass;
pub(super) use range_from::RANGE_FROM;
pub(super) use readers::{bytes_length, bytes_of, read_bytes, read_interval};
pub(super) use shown::{VALUE_JSON, cast_to_json, value_json, value_text};
pub(super) use sketches::{is_quantile, quantiles_udaf};
pub(super) use traces_with::{conditions_on_traces, traces_with};
pub(super) use zone_time::at_time_zone;

/// The scalar functions that every session has.
pub(super) fn scalar_functions() -> Vec<ScalarUDF> {
    let ours = vec![
        adjusted_count::udf(),
        session_info::version_udf(),
        session_info::typeof_udf(),
        attribute::udf(),
        contains::udf(),
        ids::udf(),
        nested::events_udf(),
        nested::links_udf(),
        bounded::text_concat_udf(),
        bucket_width::udf(),
        exception_text::udf(),
        range_from::udf(),
        literals::udf(),
        to_char::udf(),
        sample::udf(),
        similar::udf(),
        traces_with::udf(),
        within::udf(),
        without_ids::udf(),
        zone_time::udf(),
        format::udf(),
        isolation::udf(),
    ];
    ours.into_iter()
        .chain(by_pattern::udfs())
        .chain(given::udfs())
        .chain(intervals::udfs())
        .chain(readers::udfs())
        .chain(sketches::udfs())
        .chain(significance::udfs())
        .chain(checked::udfs())
        .chain(json_lists::udfs())
        .chain(shown::udfs())
        .chain(json::scalar_udfs())
        .collect()
}

/// DataFusion's own functions by name, where they need a bound.
pub(super) fn bounded_functions(known: &dyn Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    bounded::bound(known)
}

/// The aggregate functions that every session has.
pub(super) fn aggregate_functions() -> Vec<AggregateUDF> {
    sketches::udafs()
        .into_iter()
        .chain(exact::udafs())
        .chain([covered::udaf(), ordered::mode_udaf(), orphans::udaf(), sum::udaf(), texts::udaf()])
        .chain([heatmap::udaf(), histogram::udaf()])
        .chain([contrasts::udaf(), forecast_series::udaf(), graph::udaf(), isolation::udaf(), texts_by_first::udaf()])
        .chain([bounded::bounded_string_agg(), bounded::counted_array_agg()])
        .collect()
}

/// The window functions that every session has beside DataFusion's.
pub(super) fn window_functions() -> Vec<WindowUDF> {
    nested_sets::udwfs()
}
