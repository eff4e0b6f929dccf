//! Lines over time, numbers or names.

use super::drawing::{DataTable, Scene};
use super::label::plain;
use super::palette::{Ink, dash};
use super::pen::{Pen, Style};
use super::plot::{Horizontal, LABEL, LINE, Plot, legend, nothing};
use super::scale::Scale;
use super::series::{Series, regular_step, runs, thinned};
use super::time_axis;
use super::unit::Unit;
use crate::render::count;

/// When all lines together have no more points, each has its mark; else each line has so many marks.
const MARKS: usize = 120;
const FEW_MARKS: usize = 8;

/// Lines that share their axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    pub horizontal: Horizontal,
    /// Fit to be drawn.
    pub series: Vec<Series>,
    pub unit: Unit,
    /// What the vertical axis shows.
    pub measure: String,
}

impl Lines {
    fn range(&self) -> Option<(f64, f64)> {
        let places = self.series.iter().flat_map(|one| one.points.iter().map(|point| point.x));
        let range = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        (range.0 <= range.1).then_some(range)
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.series.iter().flat_map(|one| one.points.iter().filter_map(|point| point.y))
    }
}

impl Scene for Lines {
    fn draw(&self, pen: &mut Pen, top: f64) -> f64 {
        let (least, greatest) =
            self.values().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        let Some(range) = self.range().filter(|_| least <= greatest) else {
            return nothing(pen, top, "no values to draw");
        };
        let height = if pen.width < 500.0 { 190.0 } else { 270.0 };
        let scale = Scale::of(least, greatest, &self.unit, 5);
        pen.text(0.0, top + LABEL, &plain(&self.measure), Style::new(Ink::Muted, LABEL));
        let top = top + LINE + 8.0;
        let plot = Plot::beside(&scale, pen, top, height);
        plot.vertical_axis(pen, &scale);
        let below = plot.horizontal_axis(pen, &self.horizontal, range);
        let step = regular_step(&self.series);
        let few = self.values().count() <= MARKS;
        for (at, one) in self.series.iter().enumerate() {
            draw_line(pen, &plot, (&scale, range), at, &runs(&one.points, step), few);
        }
        if self.series.len() == 1 {
            return below;
        }
        let names: Vec<&str> = self.series.iter().map(|one| one.name.as_str()).collect();
        legend(pen, &names, below, |pen, at, place| pen.sample(at, place, 26.0))
    }

    fn description(&self) -> String {
        let Some(range) = self.range() else { return format!("{}: there are no values.", self.measure) };
        let (from, to) = (place(&self.horizontal, range.0), place(&self.horizontal, range.1));
        let greatest = self
            .series
            .iter()
            .flat_map(|one| one.points.iter().filter_map(|point| point.y.map(|y| (y, point.x, one.name.as_str()))));
        let Some((y, x, name)) = greatest.max_by(|a, b| a.0.total_cmp(&b.0)) else {
            return format!("{}: there are no values.", self.measure);
        };
        let of = if self.series.len() == 1 { String::new() } else { format!(" of {}", plain(name)) };
        format!(
            "{}, {} from {from} to {to}. The greatest value is {}{of} at {}.",
            self.measure,
            count(self.series.len() as u64, "line"),
            self.unit.show(y),
            place(&self.horizontal, x)
        )
    }

    fn table(&self) -> DataTable {
        let rows = self.series.iter().map(|one| {
            let values: Vec<f64> = one.points.iter().filter_map(|point| point.y).collect();
            let show = |value: Option<f64>| value.map_or("–".to_owned(), |value| self.unit.show(value));
            let least = values.iter().copied().min_by(f64::total_cmp);
            let greatest = values.iter().copied().max_by(f64::total_cmp);
            vec![plain(&one.name), values.len().to_string(), show(least), show(greatest), show(values.last().copied())]
        });
        DataTable {
            columns: ["line", "values", "least", "greatest", "last"].map(str::to_owned).to_vec(),
            numeric: vec![false, true, true, true, true],
            rows: rows.collect(),
            left_out: 0,
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = axis_notes(&self.horizontal, self.range());
        let (least, greatest) =
            self.values().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        if least <= greatest && Scale::of(least, greatest, &self.unit, 5).leaves_zero_out() {
            notes.push("The vertical axis does not begin at 0.".to_owned());
        }
        let most = self.series.iter().map(|one| one.points.len()).max().unwrap_or(0);
        if most > 4 * 800 {
            notes.push(format!(
                "A line has up to {} points: of each stretch of its axis the first, the least, the greatest and the last are drawn.",
                super::unit::grouped(&most.to_string())
            ));
        }
        notes
    }
}

/// What has to be said of a time axis: whose time it is, and that its clock changed.
pub fn axis_notes(axis: &Horizontal, range: Option<(f64, f64)>) -> Vec<String> {
    let Horizontal::Time { zone, is_zoned: true } = axis else { return Vec::new() };
    let Some((from, to)) = range else { return Vec::new() };
    let changes = time_axis::clock_changes(from as i64, to as i64, *zone);
    let mut notes = vec![format!("Times are those of {zone}.")];
    notes.extend(changes.iter().take(2).map(|(at_ms, minutes)| {
        let (after, before) = (time_axis::local(*at_ms, *zone), time_axis::local(at_ms - 1, *zone));
        let way = if *minutes > 0 { "forward" } else { "back" };
        let before = (before + chrono::Duration::milliseconds(1)).format("%H:%M");
        format!("On {} the clock went {way} from {before} to {}.", after.format("%-d %B %Y"), after.format("%H:%M"))
    }));
    notes
}

/// A place of the horizontal axis in words.
pub fn place(axis: &Horizontal, x: f64) -> String {
    match axis {
        Horizontal::Time { zone, .. } => time_axis::local(x as i64, *zone).format("%Y-%m-%d %H:%M").to_string(),
        Horizontal::Numbers(unit) => unit.show(x),
        Horizontal::Names(names) => names.get(x as usize).map_or_else(String::new, |name| plain(name)),
    }
}

fn draw_line(
    pen: &mut Pen,
    plot: &Plot,
    (scale, range): (&Scale, (f64, f64)),
    series: usize,
    runs: &[Vec<(f64, f64)>],
    few: bool,
) {
    let count: usize = runs.iter().map(Vec::len).sum();
    let every = if few { 1 } else { count.div_ceil(FEW_MARKS).max(1) };
    let mut seen = 0;
    for run in runs {
        let pixel = |&(x, y): &(f64, f64)| (plot.x(range, x), plot.y(scale, y));
        let drawn: Vec<(f64, f64)> = thinned(run, plot.width as usize, range.0, range.1).iter().map(pixel).collect();
        if drawn.len() > 1 {
            pen.path(&drawn, Ink::Series(series), 2.0, dash(series));
        }
        for point in run {
            // The marks of different lines stand at different places; a point on its own always has one.
            if run.len() == 1 || (seen + series).is_multiple_of(every) {
                pen.mark(series, pixel(point), 3.2);
            }
            seen += 1;
        }
    }
}
