//! `error_chain(nset_left, nset_right, is_root, status_code, service_name, span_name, error, is_wanted)`: for the wanted spans of a trace with which an
//! error began, how it went up; NULL for all others.
//!
//! | field | |
//! |---|---|
//! | `errors` | failed spans on the chain, without those on the chain of another wanted origin in this trace with the same service, name and error |
//! | `requests` | 1 when the last of these is a root, which failed for it |
//! | `reached_root` | whether the chain goes up to a root |
//! | `services` | of the failed spans that `errors` counts |
//! | `chain` | service and name of the failed spans from the origin on |
//! | `stopped_at` | service and name of the span above the last, which did not fail |

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringViewArray, StringViewBuilder, StructArray,
    UInt32Array, new_null_array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, exec_err};
use datafusion::error::Result;

use super::{nesting, truths};
use crate::analysis::{ErrorChain, Outcome, error_chains};
use crate::error::{Error, Kind};

/// What a chain shows of itself: so many of its spans, and so much of each name.
const SHOWN_SPANS: usize = 24;
const SHOWN_NAME_CHARS: usize = 80;

/// The most bytes that chains of one trace may show, and services they may name: a trace may have as many errors as it has spans.
const MAX_SHOWN_BYTES: usize = 32 << 20;
const MAX_SERVICES: usize = 1 << 20;

/// The type of a chain.
pub(super) fn chain_type() -> DataType {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    DataType::Struct(Fields::from(vec![
        field("errors", DataType::Int64),
        field("requests", DataType::Int64),
        field("reached_root", DataType::Boolean),
        field("services", DataType::new_list(DataType::Utf8View, true)),
        field("chain", DataType::Utf8View),
        field("stopped_at", DataType::Utf8View),
    ]))
}

/// The chains of the rows of one trace.
pub(super) fn error_chains_of(values: &[ArrayRef]) -> Result<ArrayRef> {
    let [lefts, rights, roots, statuses, services, names, errors, wanted] = values else {
        return exec_err!("error_chain has other arguments");
    };
    let outcomes = outcomes(text(statuses)?);
    if !outcomes.contains(&Outcome::Failed) {
        return Ok(new_null_array(&chain_type(), outcomes.len()));
    }
    let spans = Spans { services: text(services)?, names: text(names)?, errors: text(errors)? };
    let kinds = spans.kinds(&outcomes);
    let (nesting, roots, wanted) = (nesting(lefts, rights)?, truths(roots)?, truths(wanted)?);
    let mut found: Vec<(u32, Found)> = Vec::new();
    let mut held = Held::default();
    let mut is_within = true;
    error_chains(
        &nesting,
        &outcomes,
        |row| wanted[row].then_some(kinds[row]),
        |chain| {
            is_within = is_within && held.has_room();
            if is_within && let Some(origin) = chain.rows.first() {
                found.push((*origin, held.found(&spans, chain, roots[chain.last])));
            }
        },
    );
    if !is_within {
        let message = format!("the errors of a trace of {} spans are too many to follow", outcomes.len());
        let error = Error::new(Kind::TooLarge, message).with_sqlstate("54000");
        return Err(DataFusionError::External(Box::new(error)));
    }
    column(&found, outcomes.len())
}

/// The spans of a trace.
struct Spans<'a> {
    services: &'a StringViewArray,
    names: &'a StringViewArray,
    errors: &'a StringViewArray,
}

impl Spans<'_> {
    /// For each failed span the number of its kind: origins of one service, name and error are alike.
    fn kinds(&self, outcomes: &[Outcome]) -> Vec<u32> {
        let mut numbers = HashMap::new();
        let mut kinds = vec![0; outcomes.len()];
        for (row, _) in outcomes.iter().enumerate().filter(|(_, outcome)| **outcome == Outcome::Failed) {
            let next = numbers.len() as u32;
            let key =
                [self.services, self.names, self.errors].map(|texts| texts.is_valid(row).then(|| texts.value(row)));
            kinds[row] = *numbers.entry(key).or_insert(next);
        }
        kinds
    }

    fn service(&self, row: u32) -> &str {
        self.services.value(row as usize)
    }

    /// Service and name, cut where the name is long.
    fn shown(&self, row: usize) -> String {
        let cut = |text: &str| match text.char_indices().nth(SHOWN_NAME_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        format!("{}: {}", cut(self.services.value(row)), cut(self.names.value(row)))
    }
}

/// What is said of an origin.
struct Found {
    errors: i64,
    is_request: bool,
    reached_root: bool,
    services: Vec<String>,
    chain: String,
    stopped_at: Option<String>,
}

/// How much is held of the chains of a trace.
#[derive(Default)]
struct Held {
    bytes: usize,
    services: usize,
}

impl Held {
    fn has_room(&self) -> bool {
        self.bytes <= MAX_SHOWN_BYTES && self.services <= MAX_SERVICES
    }

    fn found(&mut self, spans: &Spans<'_>, chain: &ErrorChain<'_>, is_root: bool) -> Found {
        let own = &chain.rows[..chain.own];
        let mut services: Vec<&str> = own.iter().map(|row| spans.service(*row)).collect();
        services.sort_unstable();
        services.dedup();
        let shown = chain.rows.iter().take(SHOWN_SPANS).map(|row| spans.shown(*row as usize));
        let more = (chain.rows.len() > SHOWN_SPANS).then(|| "…".to_owned());
        let reached_root = chain.stopped_at.is_none() && is_root;
        let found = Found {
            errors: own.len() as i64,
            is_request: reached_root && own.contains(&(chain.last as u32)),
            reached_root,
            services: services.into_iter().map(str::to_owned).collect(),
            chain: shown.chain(more).collect::<Vec<_>>().join(" → "),
            stopped_at: chain.stopped_at.map(|row| spans.shown(row)),
        };
        self.bytes += found.chain.len() + found.services.iter().map(String::len).sum::<usize>() + size_of::<Found>();
        self.services += found.services.len();
        found
    }
}

/// What is said of origins, in the places of their rows.
fn column(found: &[(u32, Found)], rows: usize) -> Result<ArrayRef> {
    let each = || found.iter().map(|(_, found)| found);
    let mut services = ListBuilder::new(StringViewBuilder::new().with_deduplicate_strings());
    for found in each() {
        found.services.iter().for_each(|service| services.values().append_value(service));
        services.append(true);
    }
    let DataType::Struct(fields) = chain_type() else { return exec_err!("a chain is no row") };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(each().map(|found| found.errors))),
        Arc::new(Int64Array::from_iter_values(each().map(|found| i64::from(found.is_request)))),
        Arc::new(each().map(|found| Some(found.reached_root)).collect::<BooleanArray>()),
        Arc::new(services.finish()),
        Arc::new(StringViewArray::from_iter_values(each().map(|found| &found.chain))),
        Arc::new(each().map(|found| found.stopped_at.as_deref()).collect::<StringViewArray>()),
    ];
    let mut places: Vec<Option<u32>> = vec![None; rows];
    for (at, (row, _)) in found.iter().enumerate() {
        places[*row as usize] = Some(at as u32);
    }
    let chains = StructArray::try_new(fields, columns, None)?;
    Ok(take(&chains, &UInt32Array::from(places), None)?)
}

fn outcomes(statuses: &StringViewArray) -> Vec<Outcome> {
    let outcome = |status: Option<&str>| match status {
        Some("ERROR") => Outcome::Failed,
        Some("OK") => Outcome::Ok,
        _ => Outcome::Unset,
    };
    statuses.iter().map(outcome).collect()
}

fn text(column: &ArrayRef) -> Result<&StringViewArray> {
    match column.as_string_view_opt() {
        Some(texts) => Ok(texts),
        None => exec_err!("error_chain takes texts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int32Array;
    use datafusion::arrow::datatypes::Int64Type;

    /// Spans below one another, each with its status.
    fn chained(statuses: &[&str], name: &str) -> StructArray {
        let count = statuses.len() as i32;
        let all = |text: &str| Arc::new(StringViewArray::from(vec![text; statuses.len()])) as ArrayRef;
        let chains = error_chains_of(&[
            Arc::new(Int32Array::from_iter_values(1..=count)),
            Arc::new(Int32Array::from_iter_values((0..count).map(|row| 2 * count - row))),
            Arc::new(BooleanArray::from_iter((0..count).map(|row| Some(row == 0)))),
            Arc::new(StringViewArray::from(statuses.to_vec())),
            all("shop"),
            all(name),
            all("boom"),
            Arc::new(BooleanArray::from(vec![true; statuses.len()])),
        ]);
        chains.expect("chains").as_struct().clone()
    }

    fn shown<'a>(chains: &'a StructArray, field: &str, row: usize) -> Option<&'a str> {
        let texts = chains.column_by_name(field)?.as_string_view();
        texts.is_valid(row).then(|| texts.value(row))
    }

    #[test]
    fn a_chain_says_how_far_an_error_went() {
        let chains = chained(&["UNSET", "ERROR", "UNSET", "ERROR"], "call");
        assert_eq!((0..4).map(|row| chains.is_valid(row)).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(shown(&chains, "chain", 3), Some("shop: call → shop: call"));
        assert_eq!(shown(&chains, "stopped_at", 3), Some("shop: call"));
        let reached = chained(&["ERROR", "ERROR"], "call");
        let requests = reached.column_by_name("requests").expect("a field").as_primitive::<Int64Type>();
        assert_eq!((requests.value(1), shown(&reached, "stopped_at", 1)), (1, None));
        assert_eq!(chained(&["UNSET", "OK"], "call").null_count(), 2);
    }

    #[test]
    fn what_is_shown_of_a_chain_is_bounded() {
        let chains = chained(&vec!["ERROR"; 5_000], &"n".repeat(10_000));
        let chain = shown(&chains, "chain", 4_999).expect("a chain");
        assert!(chain.len() < SHOWN_SPANS * 2 * SHOWN_NAME_CHARS && chain.ends_with("…"), "{}", chain.len());
    }
}
