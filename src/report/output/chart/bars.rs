//! Bars: lying ones with a name each, standing ones over time.

use super::drawing::{DataTable, Scene};
use super::label::{fitted_ends, plain, width};
use super::lines::{axis_notes, place};
use super::palette::Ink;
use super::pen::{Anchor, Pen, Style};
use super::plot::{Horizontal, LABEL, LINE, Plot, legend, nothing};
use super::scale::Scale;
use super::series::{Series, regular_step};
use super::unit::Unit;
use crate::render::count;

/// Lying bars that are drawn; what follows is in the table.
const MAX_NAMES: usize = 40;
/// So many names are drawn whether or not they have values.
const FEW_NAMES: usize = 10;
/// Standing bars of one series that are drawn, the last of them.
const MAX_TIMES: usize = 200;
/// Pixels of a lying bar.
const BAR: f64 = 16.0;

/// Bars that share their axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    pub horizontal: Horizontal,
    /// Fit to be drawn.
    pub series: Vec<Series>,
    /// Whether the bars of one place stand on one another, and not side by side.
    pub stacked: bool,
    /// Whether rows of one name are added up; of others the greatest is drawn.
    pub adds_up: bool,
    /// How many series the last one is made of, when it is made of some.
    pub others: Option<usize>,
    pub unit: Unit,
    /// What the length of a bar shows.
    pub measure: String,
}

/// A part of a bar.
struct Part {
    series: usize,
    from: f64,
    to: f64,
    value: f64,
}

impl Bars {
    /// The places that are drawn, in order: the first or, of times, the last of them.
    fn places(&self) -> Vec<f64> {
        let mut places = self.places_with_values().0;
        match &self.horizontal {
            Horizontal::Names(_) => places.truncate(MAX_NAMES),
            _ => drop(places.drain(..places.len().saturating_sub(MAX_TIMES))),
        }
        places
    }

    /// The places that have bars, in order, and how many are left out since all that they have is 0: of few names none is.
    fn places_with_values(&self) -> (Vec<f64>, usize) {
        let mut places: Vec<f64> = self.series.iter().flat_map(|one| one.points.iter().map(|point| point.x)).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let all = places.len();
        let has_value = |place: &f64| self.parts(*place).iter().any(|part| part.value != 0.0);
        let is_long = matches!(self.horizontal, Horizontal::Names(_)) && all > FEW_NAMES;
        if is_long && places.iter().any(has_value) {
            places.retain(has_value);
        }
        let zeros = all - places.len();
        (places, zeros)
    }

    /// The parts of the bars at a place: one of each series that has rows there.
    fn parts(&self, place: f64) -> Vec<Part> {
        let (mut above, mut below) = (0.0, 0.0);
        let mut parts = Vec::new();
        for (series, one) in self.series.iter().enumerate() {
            let first = one.points.partition_point(|point| point.x < place);
            let here = one.points[first..].iter().take_while(|point| point.x == place);
            let together = |a: f64, b: f64| if self.adds_up { a + b } else { a.max(b) };
            let Some(value) = here.filter_map(|point| point.y).reduce(together) else { continue };
            let base = match (self.stacked, value < 0.0) {
                (false, _) => 0.0,
                (true, true) => below,
                (true, false) => above,
            };
            // A sum beyond all numbers ends where they do.
            let to = (base + value).clamp(f64::MIN, f64::MAX);
            match value < 0.0 {
                true => below = to,
                false => above = to,
            }
            parts.push(Part { series, from: base, to, value });
        }
        parts
    }

    /// The colour of a series.
    fn ink(&self, series: usize) -> Ink {
        let is_rest = self.others.is_some() && series + 1 == self.series.len();
        if is_rest { Ink::Others } else { Ink::Series(series) }
    }

    fn bar(&self, pen: &mut Pen, series: usize, at: (f64, f64), size: (f64, f64)) {
        match self.ink(series) {
            Ink::Others => pen.rect(at, size, Ink::Others),
            _ => bar(pen, series, at, size),
        }
    }

    fn scale(&self, places: &[f64], wanted: usize) -> Option<Scale> {
        let ends = places.iter().flat_map(|place| self.parts(*place)).flat_map(|part| [part.from, part.to]);
        let (least, greatest) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), end| (a.min(end), b.max(end)));
        // Bars begin at 0: their lengths are what is compared.
        (least <= greatest).then(|| Scale::of(least.min(0.0), greatest.max(0.0), &self.unit, wanted))
    }

    fn legend(&self, pen: &mut Pen, top: f64) -> f64 {
        if self.series.len() < 2 {
            return top;
        }
        let names: Vec<&str> = self.series.iter().map(|one| one.name.as_str()).collect();
        legend(pen, &names, top, |pen, at, (x, y)| {
            self.bar(pen, at, (x + 6.0, y - 6.0), (20.0, 12.0));
        })
    }

    fn draw_lying(&self, pen: &mut Pen, top: f64, places: &[f64], names: &[String]) -> f64 {
        let most_beside = places.iter().map(|at| self.parts(*at).len()).max().unwrap_or(1);
        let Some(scale) = self.scale(places, 4) else { return nothing(pen, top, "no values to draw") };
        let is_narrow = pen.width < 500.0;
        let room = if is_narrow { pen.width } else { pen.width * 0.42 };
        let name_of = |place: f64| names.get(place as usize).map_or("", String::as_str);
        let widest = places.iter().map(|at| width(&fitted_ends(name_of(*at), LABEL, room), LABEL)).fold(0.0, f64::max);
        let left = if is_narrow { 0.0 } else { widest + 10.0 };
        let longest = places
            .iter()
            .flat_map(|at| self.parts(*at))
            .map(|part| width(&self.unit.show(part.value), LABEL))
            .fold(0.0, f64::max);
        let length = (pen.width - left - longest - 12.0).max(20.0);
        let thickness = if most_beside > 3 && !self.stacked { 10.0 } else { BAR };
        let zero = left + scale.share(0.0) * length;
        let mut y = top + 6.0;
        for place in places {
            let parts = self.parts(*place);
            let side_by_side = if self.stacked { 1 } else { parts.len().max(1) };
            let name = fitted_ends(name_of(*place), LABEL, room);
            if is_narrow {
                pen.text(0.0, y + LABEL, &name, Style::new(Ink::Text, LABEL));
                y += LINE;
            } else {
                let middle = y + thickness * side_by_side as f64 / 2.0 + 4.0;
                pen.text(left - 8.0, middle, &name, Style::new(Ink::Text, LABEL).anchored(Anchor::End));
            }
            for (row, part) in parts.iter().enumerate() {
                let row = if self.stacked { 0 } else { row };
                let (from, to) = (left + scale.share(part.from) * length, left + scale.share(part.to) * length);
                let at = y + row as f64 * thickness;
                self.bar(pen, part.series, (from.min(to), at), (extent(part.value, from, to), thickness - 2.0));
                if !self.stacked || parts.len() == 1 {
                    let end = if part.value < 0.0 { zero } else { to };
                    pen.text(
                        end + 5.0,
                        at + thickness - 4.0,
                        &self.unit.show(part.value),
                        Style::new(Ink::Muted, LABEL),
                    );
                }
            }
            if self.stacked && parts.len() > 1 {
                let (sum, end) = parts.iter().fold((0.0, zero), |(sum, end), part| {
                    (sum + part.value, f64::max(end, left + scale.share(part.to) * length))
                });
                pen.text(end + 5.0, y + thickness - 4.0, &self.unit.show(sum), Style::new(Ink::Muted, LABEL));
            }
            y += thickness * side_by_side as f64 + 7.0;
        }
        pen.line((zero, top), (zero, y), Ink::Axis, 1.0);
        self.legend(pen, y)
    }

    fn draw_standing(&self, pen: &mut Pen, top: f64, places: &[f64]) -> f64 {
        let Some(scale) = self.scale(places, 5) else { return nothing(pen, top, "no values to draw") };
        pen.text(0.0, top + LABEL, &plain(&self.measure), Style::new(Ink::Muted, LABEL));
        let height = if pen.width < 500.0 { 190.0 } else { 270.0 };
        let plot = Plot::beside(&scale, pen, top + LINE + 8.0, height);
        plot.vertical_axis(pen, &scale);
        let (first, last) = (places[0], places[places.len() - 1]);
        let step = regular_step(&self.series).unwrap_or_else(|| (last - first) / places.len() as f64);
        let step = if step > 0.0 { step } else { 1.0 };
        // Each bar stands on the stretch that begins at its place.
        let range = (first, last + step);
        let band = step / (range.1 - range.0) * plot.width;
        let gap = if band > 6.0 { band * 0.15 } else { 0.0 };
        let side_by_side = if self.stacked { 1 } else { self.series.len().max(1) };
        let thickness = ((band - gap) / side_by_side as f64).max(0.75);
        for place in places {
            for part in self.parts(*place) {
                let row = if self.stacked { 0 } else { part.series };
                let x = plot.x(range, *place) + gap / 2.0 + row as f64 * thickness;
                let (from, to) = (plot.y(&scale, part.from), plot.y(&scale, part.to));
                self.bar(pen, part.series, (x, from.min(to)), (thickness, extent(part.value, from, to)));
            }
        }
        let below = plot.horizontal_axis(pen, &self.horizontal, range);
        self.legend(pen, below)
    }
}

impl Scene for Bars {
    fn draw(&self, pen: &mut Pen, top: f64) -> f64 {
        let places = self.places();
        if places.is_empty() {
            return nothing(pen, top, "no values to draw");
        }
        match &self.horizontal {
            Horizontal::Names(names) => self.draw_lying(pen, top, &places, names),
            _ => self.draw_standing(pen, top, &places),
        }
    }

    fn description(&self) -> String {
        let places = self.places();
        let all = places.iter().flat_map(|at| self.parts(*at).into_iter().map(move |part| (part.value, *at)));
        let Some((value, at)) = all.max_by(|a, b| a.0.total_cmp(&b.0)) else {
            return format!("{}: there are no values.", self.measure);
        };
        format!(
            "Bars of {} at {}. The longest is {} at {}.",
            self.measure,
            count(places.len() as u64, "place"),
            self.unit.show(value),
            place(&self.horizontal, at)
        )
    }

    fn table(&self) -> DataTable {
        let places = self.places();
        let rows =
            places.iter().flat_map(|at| self.parts(*at).into_iter().map(move |part| (*at, part.series, part.value)));
        let rows = rows.map(|(at, series, value)| {
            vec![place(&self.horizontal, at), plain(&self.series[series].name), self.unit.show(value)]
        });
        DataTable {
            columns: vec!["at".to_owned(), "bar".to_owned(), plain(&self.measure)],
            numeric: vec![false, false, true],
            rows: rows.collect(),
            left_out: 0,
        }
    }

    fn notes(&self) -> Vec<String> {
        let places = self.places();
        let range = places.first().copied().zip(places.last().copied());
        let mut notes = axis_notes(&self.horizontal, range);
        let (all, zeros) = self.places_with_values();
        if zeros > 0 {
            let (has, is) = if zeros == 1 { ("has", "is") } else { ("have", "are") };
            notes.push(format!("{zeros} more {has} no value but 0 and {is} not drawn."));
        }
        let left_out = all.len() - places.len();
        if left_out > 0 {
            let which = if matches!(self.horizontal, Horizontal::Names(_)) { "first" } else { "last" };
            notes.push(format!(
                "The {which} {} of {} are drawn.",
                places.len(),
                super::unit::grouped(&all.len().to_string())
            ));
        }
        if let Some(others) = self.others {
            let named = self.series.len() - 1;
            notes
                .push(format!("The {named} with the largest values have a colour each, {others} others one together."));
        }
        let named = &self.series[..self.series.len() - usize::from(self.others.is_some())];
        let comes_twice = |one: &Series| one.points.windows(2).any(|pair| pair[0].x == pair[1].x);
        if named.iter().any(comes_twice) {
            let how = match self.adds_up {
                true => "Rows with the same name are added up.",
                false => "Of rows with the same name the one with the greatest value is drawn.",
            };
            notes.push(how.to_owned());
        }
        notes
    }
}

/// The pixels of a bar: none of nothing, and of little as much as can be seen.
fn extent(value: f64, from: f64, to: f64) -> f64 {
    if value == 0.0 { 0.0 } else { (to - from).abs().max(0.75) }
}

/// A bar of the n-th series. From the fifth on, bars of a like colour are told apart by one or two light lines along them.
fn bar(pen: &mut Pen, series: usize, (x, y): (f64, f64), (width, height): (f64, f64)) {
    const ROOM_FOR_LINES: f64 = 7.0;
    pen.rect((x, y), (width, height), Ink::Series(series));
    let lines = series / 4 % 3;
    if width < ROOM_FOR_LINES || height < ROOM_FOR_LINES {
        return;
    }
    for line in 1..=lines {
        let share = line as f64 / (lines + 1) as f64;
        match width > height {
            true => pen.line((x, y + share * height), (x + width, y + share * height), Ink::Ground, 1.5),
            false => pen.line((x + share * width, y), (x + share * width, y + height), Ink::Ground, 1.5),
        }
    }
}
