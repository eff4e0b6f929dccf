//! Heatmaps: how much there is in each cell of time and, mostly, duration.

use super::drawing::{DataTable, Scene};
use super::label::{fitted, width};
use super::lines::{axis_notes, place};
use super::palette::{Ink, RAMP_STEPS};
use super::pen::{Anchor, Pen, Style};
use super::plot::{Horizontal, LABEL, LINE, Plot, nothing};
use super::unit::Unit;

/// Rows that are drawn; of numbers, more are gathered into buckets, of names the first are taken.
pub const MAX_ROWS: usize = 40;
/// Columns that are drawn on a wide page; more are gathered.
const MIN_CELL: f64 = 4.0;
/// Buckets of a doubling.
const PER_OCTAVE: f64 = 2.0;

/// The vertical axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Vertical {
    /// The upper ends of buckets.
    Buckets(Vec<f64>, Unit),
    Names(Vec<String>),
}

/// Cells with a weight each.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    pub horizontal: Horizontal,
    pub vertical: Vertical,
    /// The place, the row from below, the weight: positive and finite. In order of place.
    pub cells: Vec<(f64, usize, f64)>,
    /// What the vertical axis shows.
    pub measure: String,
    /// What is counted.
    pub weight: String,
    pub weight_unit: Unit,
}

/// Puts values into buckets: their own when they are few, else half octaves, so that each bucket is as much wider than the one before as that is itself.
pub fn buckets(values: &[f64]) -> (Vec<f64>, Vec<Option<usize>>) {
    // Nothing is nothing, whatever its sign.
    let values: Vec<f64> = values.iter().map(|value| value + 0.0).collect();
    let mut ends: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    if ends.len() <= MAX_ROWS {
        let ends = without_holes(ends);
        let row = |value: &f64| ends.binary_search_by(|end| end.total_cmp(value)).ok();
        let rows = values.iter().map(row).collect();
        return (ends, rows);
    }
    let bucket = |value: f64| if value > 0.0 { Some((value.log2() * PER_OCTAVE).ceil() as i64) } else { None };
    let positive: Vec<i64> = ends.iter().filter_map(|end| bucket(*end)).collect();
    let (Some(&least), Some(&greatest)) = (positive.first(), positive.last()) else {
        return (vec![0.0], values.iter().map(|value| value.is_finite().then_some(0)).collect());
    };
    // What is below the highest rows, with zero and less, lies in the lowest.
    let lowest = least.max(greatest - MAX_ROWS as i64 + 1);
    let rows = values.iter().map(|value| {
        value.is_finite().then(|| bucket(*value).map_or(0, |bucket| (bucket.max(lowest) - lowest) as usize))
    });
    let ends = (lowest..=greatest).map(|bucket| (bucket as f64 / PER_OCTAVE).exp2()).collect();
    (ends, rows.collect())
}

/// The ends with those between them that no value has, where all are powers of one number: a duration that nothing took is a row, too.
fn without_holes(ends: Vec<f64>) -> Vec<f64> {
    const CLOSE: f64 = 1e-6;
    let ratios: Vec<f64> = ends.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
    let step = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    if ends.len() < 3 || !(CLOSE..=4.0).contains(&step) || ratios.iter().any(|ratio| !ratio.is_finite()) {
        return ends;
    }
    let jumps: Vec<f64> = ratios.iter().map(|ratio| ratio / step).collect();
    let is_regular = jumps.iter().all(|jump| (jump - jump.round()).abs() < CLOSE * jump.max(1.0));
    if !is_regular || jumps.iter().map(|jump| jump.round()).sum::<f64>() >= MAX_ROWS as f64 {
        return ends;
    }
    let mut all = vec![ends[0]];
    for (pair, jump) in ends.windows(2).zip(jumps) {
        let between = 1..jump.round() as i32;
        all.extend(between.map(|at| rounded(pair[0] * (step * f64::from(at)).exp())));
        all.push(pair[1]);
    }
    all
}

/// The number without what computing left in its last digits: a millisecond, and not 999.9999999 µs.
fn rounded(value: f64) -> f64 {
    const DIGITS: i32 = 9;
    let scale = 10f64.powi(DIGITS - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

impl Heatmap {
    fn rows(&self) -> usize {
        match &self.vertical {
            Vertical::Buckets(ends, _) => ends.len(),
            Vertical::Names(names) => names.len(),
        }
    }

    fn row_name(&self, row: usize) -> String {
        match &self.vertical {
            Vertical::Buckets(ends, unit) => {
                ends.get(row).map_or_else(String::new, |end| format!("≤\u{a0}{}", unit.show(*end)))
            }
            Vertical::Names(names) => names.get(row).cloned().unwrap_or_default(),
        }
    }

    fn places(&self) -> Vec<f64> {
        let mut places: Vec<f64> = self.cells.iter().map(|cell| cell.0).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        places
    }

    /// The stretch that begins at the first place and ends after the last, and how wide a column is.
    fn range(&self, places: &[f64]) -> ((f64, f64), f64) {
        let (first, last) = (places[0], places[places.len() - 1]);
        let step = match &self.horizontal {
            Horizontal::Names(_) => 1.0,
            _ => places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min),
        };
        let step = if step.is_finite() && step > 0.0 { step } else { 60_000.0 };
        ((first, last + step), step)
    }

    /// The weights by column and row, columns gathered until each is wide enough.
    fn grid(&self, range: (f64, f64), step: f64, plot_width: f64) -> (Vec<Vec<f64>>, f64) {
        let most = (plot_width / MIN_CELL).max(1.0);
        let gathered = ((range.1 - range.0) / step / most).ceil().max(1.0);
        let column_width = step * gathered;
        let columns = ((range.1 - range.0) / column_width).ceil().clamp(1.0, most + 1.0) as usize;
        let mut grid = vec![vec![0.0; self.rows()]; columns];
        for (place, row, weight) in &self.cells {
            let column = (((place - range.0) / column_width) as usize).min(columns - 1);
            grid[column][*row] += weight;
        }
        (grid, column_width)
    }

    fn legend(&self, pen: &mut Pen, top: f64, (least, greatest): (f64, f64)) -> f64 {
        const SWATCH: f64 = 22.0;
        let y = top + LINE;
        let title = fitted(&self.weight, LABEL, pen.width * 0.3);
        pen.text(0.0, y, &title, Style::new(Ink::Muted, LABEL));
        let mut x = width(&title, LABEL) + 12.0;
        let first = self.weight_unit.show(least);
        pen.text(x, y, &first, Style::new(Ink::Text, LABEL));
        x += width(&first, LABEL) + 8.0;
        // Where all is alike there is one colour.
        let steps = if least < greatest { 0..RAMP_STEPS } else { RAMP_STEPS - 1..RAMP_STEPS };
        for step in steps {
            pen.rect((x, y - 11.0), (SWATCH, 13.0), Ink::Ramp(step));
            x += SWATCH;
        }
        if least < greatest {
            pen.text(x + 8.0, y, &self.weight_unit.show(greatest), Style::new(Ink::Text, LABEL));
        }
        y + 10.0
    }
}

impl Scene for Heatmap {
    fn draw(&self, pen: &mut Pen, top: f64) -> f64 {
        let places = self.places();
        let rows = self.rows();
        if places.is_empty() || rows == 0 {
            return nothing(pen, top, "no values to draw");
        }
        pen.text(0.0, top + LABEL, &fitted(&self.measure, LABEL, pen.width), Style::new(Ink::Muted, LABEL));
        let cell_height = if rows > 24 { 12.0 } else { 17.0 };
        let room = pen.width * 0.3;
        let names: Vec<String> = (0..rows).map(|row| fitted(&self.row_name(row), LABEL, room)).collect();
        let left = names.iter().map(|name| width(name, LABEL)).fold(0.0, f64::max) + 10.0;
        let height = cell_height * rows as f64;
        let plot = Plot { left, top: top + LINE + 6.0, width: (pen.width - left - 14.0).max(20.0), height };
        let (range, step) = self.range(&places);
        let (grid, column_width) = self.grid(range, step, plot.width);
        let weights = grid.iter().flatten().copied().filter(|weight| *weight > 0.0);
        let ends = weights.fold((f64::INFINITY, 0.0), |(a, b), weight| (f64::min(a, weight), f64::max(b, weight)));
        for (column, weights) in grid.iter().enumerate() {
            let from = plot.x(range, range.0 + column as f64 * column_width);
            let to = plot.x(range, range.0 + (column + 1) as f64 * column_width);
            for (row, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let y = plot.bottom() - (row + 1) as f64 * cell_height;
                let step = ramp_step(*weight, ends);
                // Cells lie close, so that no ground shows between them.
                pen.rect(
                    (from, y),
                    (to - from - if to - from > 8.0 { 1.0 } else { 0.0 }, cell_height - 1.0),
                    Ink::Ramp(step),
                );
                let shown = self.weight_unit.show(*weight);
                if cell_height > 14.0 && width(&shown, 11.0) + 4.0 <= to - from {
                    let style = Style::new(Ink::OnRamp(step), 11.0).anchored(Anchor::Middle);
                    pen.text((from + to) / 2.0, y + cell_height - 5.0, &shown, style);
                }
            }
        }
        let every = ((LINE - 4.0) / cell_height).ceil() as usize;
        for (row, name) in names.iter().enumerate().filter(|(row, _)| row.is_multiple_of(every)) {
            let y = plot.bottom() - row as f64 * cell_height - cell_height / 2.0 + 4.0;
            pen.text(left - 8.0, y, name, Style::new(Ink::Muted, LABEL).anchored(Anchor::End));
        }
        pen.line((left, plot.bottom()), (plot.right(), plot.bottom()), Ink::Axis, 1.0);
        let below = plot.horizontal_axis(pen, &self.horizontal, range);
        self.legend(pen, below, ends)
    }

    fn description(&self) -> String {
        let total: f64 = self.cells.iter().map(|cell| cell.2).sum();
        let Some(most) = self.cells.iter().max_by(|a, b| a.2.total_cmp(&b.2)) else {
            return format!("{}: there are no values.", self.measure);
        };
        format!(
            "Heatmap of {}: {} {} in all, most of them, {}, in one cell at {} in the row {}.",
            self.measure,
            self.weight_unit.show(total),
            self.weight,
            self.weight_unit.show(most.2),
            place(&self.horizontal, most.0),
            self.row_name(most.1)
        )
    }

    fn table(&self) -> DataTable {
        let mut totals = vec![0.0; self.rows()];
        for (_, row, weight) in &self.cells {
            totals[*row] += weight;
        }
        let rows = totals.iter().enumerate().rev().filter(|(_, total)| **total > 0.0);
        DataTable {
            columns: vec![self.measure.clone(), self.weight.clone()],
            numeric: vec![false, true],
            rows: rows.map(|(row, total)| vec![self.row_name(row), self.weight_unit.show(*total)]).collect(),
            left_out: 0,
        }
    }

    fn notes(&self) -> Vec<String> {
        let places = self.places();
        let mut notes = axis_notes(&self.horizontal, places.first().copied().zip(places.last().copied()));
        if !places.is_empty() {
            notes.push("Each step of colour stands for as many times more as the one before.".to_owned());
        }
        notes
    }
}

/// The step of the ramp: by the logarithm between the least and the greatest weight, as counts differ by powers.
fn ramp_step(weight: f64, (least, greatest): (f64, f64)) -> usize {
    let span = greatest.ln() - least.ln();
    let share = if span > 0.0 { (weight.ln() - least.ln()) / span } else { 1.0 };
    ((share * RAMP_STEPS as f64) as usize).min(RAMP_STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_their_own_buckets_and_many_are_gathered() {
        let (ends, rows) = buckets(&[4.0, 2.0, f64::NAN, 4.0, 8.0]);
        assert_eq!((ends, rows), (vec![2.0, 4.0, 8.0], vec![Some(1), Some(0), None, Some(1), Some(2)]));
        let many: Vec<f64> = (0..10_000).map(|at| 0.1 * 1.001f64.powi(at)).chain([0.0, -1.0, f64::INFINITY]).collect();
        let (ends, rows) = buckets(&many);
        assert!((2..=MAX_ROWS).contains(&ends.len()), "{} buckets", ends.len());
        for (value, row) in many.iter().zip(rows) {
            let fits = row.is_none_or(|row| {
                *value <= ends[row] * (1.0 + 1e-9) && (row == 0 || *value > ends[row - 1] * (1.0 - 1e-9))
            });
            assert!(fits && row.is_some() == value.is_finite(), "{value}");
        }
        // Of rows that are powers of one number, those without a value are there, too.
        let (ends, rows) = buckets(&[8.0, 1.0, 2.0, 64.0]);
        assert_eq!(ends, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        assert_eq!(rows, [3, 0, 1, 6].map(Some));
        let wide: Vec<f64> = (0..300).map(|power| 10f64.powi(power)).collect();
        let (ends, rows) = buckets(&wide);
        assert_eq!((ends.len(), rows[0], rows[299]), (MAX_ROWS, Some(0), Some(MAX_ROWS - 1)));
        assert_eq!(buckets(&[]), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_ramp_is_used_to_its_end() {
        assert_eq!([1.0, 10.0, 100.0, 1e6].map(|weight| ramp_step(weight, (1.0, 1e6))), [0, 1, 2, 6]);
        assert_eq!([4_000.0, 10_000.0, 27_400.0].map(|weight| ramp_step(weight, (4_000.0, 27_400.0))), [0, 3, 6]);
        assert_eq!(ramp_step(1.0, (1.0, 1.0)), RAMP_STEPS - 1);
        assert_eq!(ramp_step(f64::MAX, (5e-324, f64::MAX)), RAMP_STEPS - 1);
    }
}
