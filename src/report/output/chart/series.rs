//! What lines and bars are drawn from, made fit: at most so many series, only finite numbers, gaps where nothing was measured.

use std::cmp::Ordering;

use super::palette::MAX_SERIES;

/// Points of one name, in order of their place.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub name: String,
    pub points: Vec<Point>,
}

/// A value at a place of the horizontal axis; `None` where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: Option<f64>,
}

/// Series that can be drawn, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fit {
    pub series: Vec<Series>,
    pub notes: Vec<String>,
}

/// Keeps the series with the largest values and the values that are numbers.
pub fn fit(mut series: Vec<Series>) -> Fit {
    let mut notes = Vec::new();
    let mut not_finite = 0;
    for one in &mut series {
        one.points.retain(|point| point.x.is_finite());
        for point in &mut one.points {
            if point.y.is_some_and(|y| !y.is_finite()) {
                point.y = None;
                not_finite += 1;
            }
        }
        one.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    if not_finite > 0 {
        notes.push(match not_finite {
            1 => "One value is no finite number and is not drawn.".to_owned(),
            _ => format!("{not_finite} values are no finite numbers and are not drawn."),
        });
    }
    if series.len() > MAX_SERIES {
        let others = series.len() - MAX_SERIES;
        keep_largest(&mut series);
        notes.push(format!(
            "The {MAX_SERIES} with the largest values are drawn; {others} {} in the table alone.",
            if others == 1 { "other is" } else { "others are" }
        ));
    }
    Fit { series, notes }
}

/// Puts together the smallest of more series than there are colours, for values that add up; gives how many the last one is made of.
pub fn gathered(mut series: Vec<Series>) -> (Vec<Series>, Option<usize>) {
    if series.len() <= MAX_SERIES {
        return (series, None);
    }
    let kept = largest(&series, MAX_SERIES - 1);
    let mut at = 0;
    let others: Vec<Series> = series
        .extract_if(.., |_| {
            at += 1;
            !kept.contains(&(at - 1))
        })
        .collect();
    let name = format!("{} others", others.len());
    let count = others.len();
    series.push(Series { name, points: others.into_iter().flat_map(|one| one.points).collect() });
    (series, Some(count))
}

/// Leaves those of the greatest sums, in the order that they came in.
fn keep_largest(series: &mut Vec<Series>) {
    let kept = largest(series, MAX_SERIES);
    let mut at = 0;
    series.retain(|_| {
        at += 1;
        kept.contains(&(at - 1))
    });
}

/// Where those of the greatest sums are.
fn largest(series: &[Series], count: usize) -> Vec<usize> {
    let sum = |one: &Series| {
        let values = one.points.iter().filter_map(|point| point.y).filter(|y| y.is_finite());
        values.map(f64::abs).sum::<f64>()
    };
    let mut by_weight: Vec<(usize, f64)> = series.iter().map(sum).enumerate().collect();
    by_weight.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0)));
    by_weight.iter().take(count).map(|(at, _)| *at).collect()
}

/// The distance that most neighbours of all series have, when there is one: what is farther apart has a gap between.
pub fn regular_step(series: &[Series]) -> Option<f64> {
    /// Of so many hundredths of the distances, none is far from the middle one.
    const MOST: usize = 80;
    let mut places: Vec<f64> = series.iter().flat_map(|one| one.points.iter().map(|point| point.x)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut steps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let middle = *steps.get(steps.len() / 2)?;
    let alike = steps.iter().filter(|step| (0.5 * middle..=1.5 * middle).contains(*step)).count();
    (alike * 100 >= steps.len() * MOST).then_some(middle)
}

/// The runs of points between gaps: a missing value, or more than a step and a half without a point.
pub fn runs(points: &[Point], step: Option<f64>) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut is_open = false;
    for point in points {
        let Some(y) = point.y else {
            is_open = false;
            continue;
        };
        let last = runs.last().and_then(|run| run.last()).map(|last| last.0);
        let is_far = last.zip(step).is_some_and(|(last, step)| point.x - last > 1.5 * step);
        match runs.last_mut().filter(|_| is_open && !is_far) {
            Some(run) => run.push((point.x, y)),
            None => runs.push(vec![(point.x, y)]),
        }
        is_open = true;
    }
    runs
}

/// At most four points for each of `columns` stretches of the axis: the first, the least, the greatest and the last.
pub fn thinned(run: &[(f64, f64)], columns: usize, from: f64, to: f64) -> Vec<(f64, f64)> {
    if run.len() <= 4 * columns.max(1) || to <= from {
        return run.to_vec();
    }
    let column = |x: f64| (((x - from) / (to - from) * columns as f64) as usize).min(columns - 1);
    let mut out = Vec::with_capacity(4 * columns);
    let mut rest = run;
    while let Some(first) = rest.first() {
        let here = column(first.0);
        let (stretch, after) = rest.split_at(rest.partition_point(|point| column(point.0) <= here).max(1));
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut kept: Vec<(f64, f64)> =
            [stretch.first(), stretch.iter().min_by(by_value), stretch.iter().max_by(by_value), stretch.last()]
                .into_iter()
                .flatten()
                .copied()
                .collect();
        kept.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.dedup();
        out.extend(kept);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[f64]) -> Series {
        let points = values.iter().enumerate().map(|(at, y)| Point { x: at as f64, y: Some(*y) });
        Series { name: name.to_owned(), points: points.collect() }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let many: Vec<Series> = (0..20).map(|at| series(&at.to_string(), &[f64::from(at)])).collect();
        let fit = fit(many);
        let names: Vec<&str> = fit.series.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"]);
        assert_eq!(fit.notes, ["The 12 with the largest values are drawn; 8 others are in the table alone."]);
        let fit = super::fit(vec![series("a", &[1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0])]);
        assert_eq!(fit.notes, ["3 values are no finite numbers and are not drawn."]);
        assert_eq!(runs(&fit.series[0].points, None), [vec![(0.0, 1.0)], vec![(4.0, 2.0)]]);
    }

    #[test]
    fn what_is_gathered_keeps_its_sum() {
        let many: Vec<Series> = (0..20).map(|at| series(&at.to_string(), &[f64::from(at), 1.0])).collect();
        let (series, others) = gathered(many);
        assert_eq!((series.len(), others), (MAX_SERIES, Some(9)));
        assert_eq!((series[0].name.as_str(), series[11].name.as_str()), ("9", "9 others"));
        let sum = |all: &[Series]| all.iter().flat_map(|one| &one.points).filter_map(|point| point.y).sum::<f64>();
        assert_eq!(sum(&series), 190.0 + 20.0);
        assert_eq!(gathered(series[..3].to_vec()), (series[..3].to_vec(), None));
    }

    #[test]
    fn gaps_stay_gaps() {
        let mut one = series("a", &[1.0; 10]);
        one.points.remove(5);
        let step = regular_step(&[one.clone(), series("b", &[2.0; 10])]);
        assert_eq!(step, Some(1.0));
        assert_eq!(runs(&one.points, step).iter().map(Vec::len).collect::<Vec<_>>(), [5, 4]);
        // Points at any time have no step, and none is missing.
        let uneven = [0.0, 1.0, 5.0, 6.5, 30.0, 31.0, 100.0].map(|x| Point { x, y: Some(1.0) });
        assert_eq!(regular_step(&[Series { name: String::new(), points: uneven.to_vec() }]), None);
        assert_eq!(regular_step(&[]), None);
    }

    #[test]
    fn many_points_keep_their_peaks() {
        let run: Vec<(f64, f64)> =
            (0..100_000).map(|at| (f64::from(at), if at == 77_777 { 9.0 } else { 1.0 })).collect();
        let thin = thinned(&run, 500, 0.0, 99_999.0);
        assert!(thin.len() <= 2_000, "{} points", thin.len());
        assert!(thin.contains(&(77_777.0, 9.0)));
        assert_eq!((thin.first(), thin.last()), (run.first(), run.last()));
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
