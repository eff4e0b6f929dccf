//! From the rows of a result, and what a report says of its charts, to drawings.

use std::collections::HashMap;

use chrono_tz::Tz;
use datafusion::arrow::datatypes::DataType;

use super::chart::{
    Bars, Calls, Drawing, Heatmap, Horizontal, Lines, MAX_ROWS, Point, Series, ServiceMap, Unit, Vertical, Waterfall,
    buckets, fit, plain,
};
use super::page::Page;
use super::traces::ids_of;
use crate::error::{Error, Result};
use crate::report::definition::{Chart, ChartKind};
use crate::report::frame::Frame;

/// What a name is called that is NULL.
const NO_NAME: &str = "(none)";
/// Where the share of failed calls is looked for in a service map, and where their number.
const ERROR_SHARE: &str = "error_rate";
const ERRORS: &str = "errors";

/// A chart of a report, or why there is none.
pub(super) enum Figure {
    Drawn(Drawing),
    Failed { title: String, why: String },
}

/// The charts of a page, in the order of the report. One that cannot be drawn says why and spoils no other.
pub(super) fn figures(page: &Page<'_>) -> Vec<Figure> {
    let figure = |chart: &Chart| match drawing(chart, page) {
        Ok(drawing) => Figure::Drawn(drawing),
        Err(error) => Figure::Failed { title: title(chart), why: plain(&error.message) },
    };
    page.report.charts.iter().map(figure).collect()
}

fn drawing(chart: &Chart, page: &Page<'_>) -> Result<Drawing> {
    let source = Source { chart, frame: page.frame, zone: page.zone };
    match chart.kind {
        ChartKind::Line => source.lines(),
        ChartKind::Bar => source.bars(),
        ChartKind::Heatmap => source.heatmap(),
        ChartKind::ServiceMap => source.service_map(),
        ChartKind::Waterfall => {
            let ids = ids_of(page.frame, &chart.x)?;
            let traces = ids.iter().filter_map(|id| page.traces.iter().find(|trace| trace.trace_id == *id)).cloned();
            Ok(Drawing::new(&title(chart), Vec::new(), Waterfall { traces: traces.collect() }))
        }
    }
}

/// The title of a chart, or what it shows.
fn title(chart: &Chart) -> String {
    if let Some(title) = &chart.title {
        return plain(title);
    }
    let what = chart.y.join(", ");
    plain(&match (chart.kind, &chart.series) {
        (ChartKind::Line | ChartKind::Bar, Some(series)) => format!("{what} by {series}"),
        (ChartKind::Line | ChartKind::Bar, None) => format!("{what} by {}", chart.x),
        (ChartKind::Heatmap, _) => format!("{what} over {}", chart.x),
        (ChartKind::ServiceMap, _) => "Who calls whom".to_owned(),
        (ChartKind::Waterfall, _) => "Worst traces".to_owned(),
    })
}

struct Source<'a> {
    chart: &'a Chart,
    frame: &'a Frame,
    zone: Tz,
}

/// The horizontal axis and the place of each row on it; `None` for a row without.
type Places = (Horizontal, Vec<Option<f64>>);

impl Source<'_> {
    fn lines(&self) -> Result<Drawing> {
        let (horizontal, places) = self.places(&self.chart.x, true)?;
        let fit = fit(self.series(&places)?);
        let notes = [without_place(&self.chart.x, &places), fit.notes].concat();
        let scene = Lines { horizontal, series: fit.series, unit: self.unit()?, measure: self.measure() };
        Ok(Drawing::new(&title(self.chart), notes, scene))
    }

    fn bars(&self) -> Result<Drawing> {
        let (horizontal, places) = self.places(&self.chart.x, false)?;
        let fit = fit(self.series(&places)?);
        let notes = [without_place(&self.chart.x, &places), fit.notes].concat();
        let stacked = self.chart.series.is_some() && self.chart.y.len() == 1;
        let scene = Bars { horizontal, series: fit.series, stacked, unit: self.unit()?, measure: self.measure() };
        Ok(Drawing::new(&title(self.chart), notes, scene))
    }

    fn heatmap(&self) -> Result<Drawing> {
        let (horizontal, places) = self.places(&self.chart.x, true)?;
        let y = self.first_y()?;
        let weights = self.weights()?;
        let (vertical, rows) = match self.is_number(y)? {
            true => {
                let values: Vec<f64> =
                    self.frame.numbers(y)?.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
                let (ends, rows) = buckets(&values);
                (Vertical::Buckets(ends, self.unit()?), rows)
            }
            false => {
                let (names, rows) = self.names(y)?;
                let rows = rows.into_iter().map(|row| Some(row).filter(|row| *row < MAX_ROWS)).collect();
                (Vertical::Names(names.into_iter().take(MAX_ROWS).collect()), rows)
            }
        };
        let mut notes = without_place(&self.chart.x, &places);
        let without_row = rows.iter().filter(|row: &&Option<usize>| row.is_none()).count();
        if without_row > 0 {
            notes.push(format!(
                "{without_row} rows are not drawn: \"{}\" has no number there, or more names than fit.",
                plain(y)
            ));
        }
        let cells = places
            .iter()
            .zip(&rows)
            .zip(weights)
            .filter_map(|((place, row), weight)| Some(((*place)?, (*row)?, weight)));
        let mut cells: Vec<(f64, usize, f64)> = cells.filter(|cell| cell.2 > 0.0 && cell.2.is_finite()).collect();
        cells.sort_by(|a, b| a.0.total_cmp(&b.0));
        let weight = self.chart.value.as_deref().unwrap_or("rows");
        let scene = Heatmap {
            horizontal,
            vertical,
            cells,
            measure: plain(y),
            weight: plain(weight),
            weight_unit: Unit::of(None, weight),
        };
        Ok(Drawing::new(&title(self.chart), notes, scene))
    }

    fn service_map(&self) -> Result<Drawing> {
        let (callers, callees) = (self.frame.texts(&self.chart.x)?, self.frame.texts(self.first_y()?)?);
        let calls = self.weights()?;
        let shares: Vec<Option<f64>> = if self.frame.has(ERROR_SHARE) {
            self.frame.numbers(ERROR_SHARE)?
        } else if self.frame.has(ERRORS) {
            let errors = self.frame.numbers(ERRORS)?;
            errors
                .into_iter()
                .zip(&calls)
                .map(|(errors, calls)| errors.filter(|_| *calls > 0.0).map(|errors| errors / calls))
                .collect()
        } else {
            vec![None; calls.len()]
        };
        let rows =
            callers.into_iter().zip(callees).zip(calls.iter().zip(shares)).map(|((caller, callee), (calls, share))| {
                Calls {
                    caller: caller.unwrap_or_else(|| NO_NAME.to_owned()),
                    callee: callee.unwrap_or_else(|| NO_NAME.to_owned()),
                    calls: if calls.is_finite() { calls.max(0.0) } else { 0.0 },
                    error_share: share.filter(|share| share.is_finite()),
                }
            });
        let unit = Unit::of(self.chart.unit.as_deref(), self.chart.value.as_deref().unwrap_or_default());
        Ok(Drawing::new(&title(self.chart), Vec::new(), ServiceMap::new(rows.collect(), unit)))
    }

    fn first_y(&self) -> Result<&str> {
        let first = self.chart.y.first().map(String::as_str);
        first.ok_or_else(|| Error::bad_input(format!("a chart of kind {} needs \"y\"", self.chart.kind)))
    }

    /// Where each row lies on the horizontal axis: by its time, its number or its name.
    fn places(&self, column: &str, numbers_count: bool) -> Result<Places> {
        let kind = self.frame.value_type(column)?;
        match kind {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                let is_zoned = matches!(kind, DataType::Timestamp(_, Some(_)));
                let zone = if is_zoned { self.zone } else { Tz::UTC };
                let times = self.frame.times_ms(column)?.into_iter().map(|time| time.map(|ms| ms as f64)).collect();
                Ok((Horizontal::Time { zone, is_zoned }, times))
            }
            kind if numbers_count && kind.is_numeric() => {
                let numbers =
                    self.frame.numbers(column)?.into_iter().map(|number| number.filter(|number| number.is_finite()));
                Ok((Horizontal::Numbers(Unit::of(None, column)), numbers.collect()))
            }
            _ => {
                let (names, rows) = self.names(column)?;
                Ok((Horizontal::Names(names), rows.into_iter().map(|row| Some(row as f64)).collect()))
            }
        }
    }

    /// The different texts of a column, in the order in which they come, and which of them each row has.
    fn names(&self, column: &str) -> Result<(Vec<String>, Vec<usize>)> {
        let mut names: Vec<String> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let rows = self.frame.texts(column)?.into_iter().map(|text| {
            *known.entry(text.unwrap_or_else(|| NO_NAME.to_owned())).or_insert_with_key(|name| {
                names.push(name.clone());
                names.len() - 1
            })
        });
        let rows = rows.collect();
        Ok((names, rows))
    }

    /// A series for each value of the series' column, for each column of values.
    fn series(&self, places: &[Option<f64>]) -> Result<Vec<Series>> {
        let (names, rows) = match &self.chart.series {
            Some(column) => self.names(column)?,
            None => (vec![String::new()], vec![0; places.len()]),
        };
        let mut all: Vec<Series> = Vec::new();
        for column in &self.chart.y {
            let values = self.frame.numbers(column)?;
            let mut of_column: Vec<Series> =
                names.iter().map(|name| Series { name: self.series_name(name, column), points: Vec::new() }).collect();
            for ((place, row), value) in places.iter().zip(&rows).zip(values) {
                if let Some(x) = *place {
                    of_column[*row].points.push(Point { x, y: value });
                }
            }
            all.extend(of_column);
        }
        Ok(all)
    }

    fn series_name(&self, name: &str, column: &str) -> String {
        match (&self.chart.series, self.chart.y.len()) {
            (None, _) => column.to_owned(),
            (Some(_), 1) => name.to_owned(),
            (Some(_), _) => format!("{name} {column}"),
        }
    }

    /// What each row counts: its value, or one.
    fn weights(&self) -> Result<Vec<f64>> {
        match &self.chart.value {
            Some(column) => Ok(self.frame.numbers(column)?.into_iter().map(|value| value.unwrap_or(0.0)).collect()),
            None => Ok(vec![1.0; self.frame.rows as usize]),
        }
    }

    fn unit(&self) -> Result<Unit> {
        let y = self.first_y()?;
        // A duration tells its own unit: it is read in seconds.
        match self.frame.value_type(y)? {
            DataType::Duration(_) => Ok(Unit::Time(1e9)),
            _ => Ok(Unit::of(self.chart.unit.as_deref(), y)),
        }
    }

    fn measure(&self) -> String {
        plain(&self.chart.y.join(", "))
    }

    fn is_number(&self, column: &str) -> Result<bool> {
        let kind = self.frame.value_type(column)?;
        Ok(kind.is_numeric() || matches!(kind, DataType::Duration(_)))
    }
}

fn without_place(column: &str, places: &[Option<f64>]) -> Vec<String> {
    match places.iter().filter(|place| place.is_none()).count() {
        0 => Vec::new(),
        1 => vec![format!("One row is not drawn: it has no \"{}\".", plain(column))],
        rows => vec![format!("{rows} rows are not drawn: they have no \"{}\".", plain(column))],
    }
}
