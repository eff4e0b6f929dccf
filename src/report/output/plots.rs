//! From the rows of a result, and what a report says of its charts, to drawings.

use chrono_tz::Tz;
use datafusion::arrow::datatypes::DataType;

use super::chart::{
    Bars, Calls, Drawing, Heatmap, Horizontal, Lines, MAX_ROWS, MAX_SERIES, Point, Series, ServiceMap, TraceDrawing,
    Unit, Vertical, Waterfall, buckets, fit, gathered, plain,
};
use super::naming::{NO_NAME, adds_up, interned, joined, numbered, told_apart};
use super::page::Page;
use super::traces::ids_of;
use crate::error::{Error, Result};
use crate::report::definition::{Chart, ChartKind};
use crate::report::frame::Frame;

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
    let figures = |chart: &Chart| match drawings(chart, page) {
        Ok(drawings) => drawings.into_iter().map(Figure::Drawn).collect(),
        Err(error) => vec![Figure::Failed { title: title(chart), why: plain(&error.message) }],
    };
    page.report.charts.iter().flat_map(figures).collect()
}

fn drawings(chart: &Chart, page: &Page<'_>) -> Result<Vec<Drawing>> {
    let source = Source { chart, frame: page.frame, zone: page.zone };
    let drawing = match chart.kind {
        ChartKind::Line => source.lines(),
        ChartKind::Bar => source.bars(),
        ChartKind::Heatmap => source.heatmap(),
        ChartKind::ServiceMap => source.service_map(),
        ChartKind::Waterfall => return waterfalls(chart, page),
    };
    Ok(vec![drawing?])
}

/// A drawing for each trace, so that none is longer than a sheet of paper.
fn waterfalls(chart: &Chart, page: &Page<'_>) -> Result<Vec<Drawing>> {
    let ids = ids_of(page.frame, &chart.x)?;
    let traces: Vec<_> = ids.iter().filter_map(|id| page.traces.iter().find(|trace| trace.trace_id == *id)).collect();
    let title = title(chart);
    if traces.len() < 2 {
        let traces = traces.into_iter().cloned().collect();
        return Ok(vec![Drawing::new(&title, Vec::new(), Waterfall { traces })]);
    }
    let all = traces.len();
    let drawing = |(at, trace): (usize, &&TraceDrawing)| {
        let title = format!("{title} ({} of {all})", at + 1);
        Drawing::new(&title, Vec::new(), Waterfall { traces: vec![(*trace).clone()] })
    };
    Ok(traces.iter().enumerate().map(drawing).collect())
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
        let told = self.told_apart(&places, false)?;
        let fit = fit(self.series(&places, told.as_deref())?);
        let notes = [without_place(&self.chart.x, &places), fit.notes].concat();
        let scene = Lines { horizontal, series: fit.series, unit: self.unit()?, measure: self.measure() };
        Ok(Drawing::new(&title(self.chart), notes, scene))
    }

    fn bars(&self) -> Result<Drawing> {
        let (horizontal, places) = self.places(&self.chart.x, false)?;
        let notes = without_place(&self.chart.x, &places);
        let unit = self.unit()?;
        let adds_up = self.adds_up(&unit)?;
        let stacked = adds_up && self.chart.series.is_some() && self.chart.y.len() == 1;
        let (horizontal, series) = match (adds_up, horizontal) {
            (true, horizontal) => (horizontal, self.series(&places, None)?),
            (false, Horizontal::Names(_)) => self.bars_of_rows(&places)?,
            (false, horizontal) => {
                let told = self.told_apart(&places, false)?;
                (horizontal, self.series(&places, told.as_deref())?)
            }
        };
        let (series, others) = if stacked { gathered(series) } else { (series, None) };
        let fit = fit(series);
        let notes = [notes, fit.notes].concat();
        let scene = Bars { horizontal, series: fit.series, stacked, adds_up, others, unit, measure: self.measure() };
        Ok(Drawing::new(&title(self.chart), notes, scene))
    }

    /// Lying bars of what does not add up: one for each row, named by all that names it.
    fn bars_of_rows(&self, places: &[Option<f64>]) -> Result<(Horizontal, Vec<Series>)> {
        let mut names = self.own_names(&self.chart.x)?;
        // More series than there are colours are told apart by their names, too.
        let by_name = match &self.chart.series {
            Some(column) => {
                let of_series = self.own_names(column)?;
                let is_many = interned(of_series.clone()).0.len() > MAX_SERIES;
                is_many.then_some(of_series)
            }
            None => None,
        };
        if let Some(of_series) = &by_name {
            names = names.iter().zip(of_series).map(|(name, more)| joined(name, more)).collect();
        }
        if let Some(told) = self.told_apart(places, true)? {
            names = names.iter().zip(&told).map(|(name, more)| joined(name, more)).collect();
        }
        if by_name.is_some() || self.chart.series.is_none() {
            names = numbered(names);
        }
        let (names, rows) = interned(names);
        let places: Vec<Option<f64>> = rows.into_iter().map(|row| Some(row as f64)).collect();
        let series = match by_name {
            Some(_) => self.series_of(&places, (vec![String::new()], vec![0; places.len()]))?,
            None => self.series(&places, None)?,
        };
        Ok((Horizontal::Names(names), series))
    }

    /// Whether values of rows with the same name may be added up.
    fn adds_up(&self, unit: &Unit) -> Result<bool> {
        let mut all = !matches!(unit, Unit::Share | Unit::Percent);
        for column in &self.chart.y {
            all &= adds_up(column, self.frame.value_type(column)?);
        }
        Ok(all)
    }

    /// What tells the rows of one place and one series apart.
    fn told_apart(&self, places: &[Option<f64>], by_times: bool) -> Result<Option<Vec<String>>> {
        let series = match &self.chart.series {
            Some(column) => self.own_names(column)?,
            None => vec![String::new(); places.len()],
        };
        // A row without a place is not drawn, and like no other.
        let key = |(row, (place, series)): (usize, (&Option<f64>, &String))| match place {
            Some(place) => format!("{place} {series}"),
            None => format!("row {row}"),
        };
        let keys = places.iter().zip(&series).enumerate().map(key);
        let taken = [&self.chart.x].into_iter().chain(&self.chart.series).chain(&self.chart.y);
        let taken: Vec<&str> = taken.map(String::as_str).collect();
        told_apart(self.frame, self.zone, interned(keys).1, &taken, by_times)
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
        Ok(interned(self.own_names(column)?))
    }

    /// The text of a column in each row.
    fn own_names(&self, column: &str) -> Result<Vec<String>> {
        Ok(self.frame.texts(column)?.into_iter().map(|text| text.unwrap_or_else(|| NO_NAME.to_owned())).collect())
    }

    /// A series for each value of the series' column and of what tells rows apart, for each column of values.
    fn series(&self, places: &[Option<f64>], told: Option<&[String]>) -> Result<Vec<Series>> {
        let mut names = match &self.chart.series {
            Some(column) => self.own_names(column)?,
            None => vec![String::new(); places.len()],
        };
        if let Some(told) = told {
            names = names.iter().zip(told).map(|(name, more)| joined(name, more)).collect();
        }
        self.series_of(places, interned(names))
    }

    fn series_of(&self, places: &[Option<f64>], (names, rows): (Vec<String>, Vec<usize>)) -> Result<Vec<Series>> {
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
        match (name, self.chart.y.len()) {
            ("", _) => column.to_owned(),
            (name, 1) => name.to_owned(),
            (name, _) => format!("{name} {column}"),
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
