//! Forecasts by exponential smoothing with additive errors, an additive damped trend and additive seasons.
//!
//! R. J. Hyndman, A. B. Koehler, J. K. Ord, R. D. Snyder: "Forecasting with Exponential Smoothing", Springer 2008, as retold in Hyndman and
//! Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, chapter 8, <https://otexts.com/fpp3/ets.html>. Of ETS(A,N,N), ETS(A,Ad,N),
//! ETS(A,N,A) and ETS(A,Ad,A) the one with the least corrected information criterion is taken; the intervals are those of normal errors
//! (section 8.7). The smoothing parameters make the sum of squared errors of one step least; what the series began with is worked out from its
//! first values. A value that is missing changes nothing.

/// What 95 % of normal errors lie within, in standard deviations.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// How much of a trend is left a step later.
const DAMPING: f64 = 0.98;

/// The fewest values that say something of what comes.
const MIN_VALUES: usize = 4;

/// The fewest values that a trend is read from.
const MIN_VALUES_OF_TREND: usize = 10;

/// The seasons that what a series began with is read from, and the fewest.
const FIRST_SEASONS: usize = 3;
const MIN_SEASONS: usize = 2;

/// The parameters: how much of an error goes to the level, the trend and the season.
type Smoothing = [f64; 3];

/// The steps of the search of parameters: from a quarter down to a thousandth.
const FIRST_STEP: f64 = 0.25;
const LAST_STEP: f64 = 1e-3;

/// What is expected of a step to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// The forecast.
    pub value: f64,
    /// What the value lies above, and below, with a probability of 95 %.
    pub low: f64,
    pub high: f64,
}

/// What comes after a series with a value a step, with seasons of `season` steps if that is at least 2.
///
/// `None` with less than 4 values; from 10 on there may be a trend, from two whole seasons and 4 values more on seasons.
pub fn forecast(series: &[Option<f64>], season: usize, steps: usize) -> Option<Vec<Expected>> {
    let known = series.iter().flatten().count();
    if known < MIN_VALUES {
        return None;
    }
    let trends: &[bool] = if known < MIN_VALUES_OF_TREND { &[false] } else { &[false, true] };
    let has_seasons = season >= 2 && series.len() >= MIN_SEASONS * season && known >= MIN_SEASONS * season + MIN_VALUES;
    let seasons: &[usize] = if has_seasons { &[0, season] } else { &[0] };
    let models = seasons.iter().flat_map(|season| trends.iter().map(|trend| Fitted::of(series, *season, *trend)));
    let best = models.min_by(|a, b| a.criterion.total_cmp(&b.criterion))?;
    Some(best.ahead(steps))
}

/// A model's state after a step.
#[derive(Debug, Clone)]
struct State {
    level: f64,
    /// 0 without a trend.
    trend: f64,
    /// The next step's first; empty without seasons.
    seasons: Vec<f64>,
    /// The next step's place in `seasons`.
    at: usize,
}

impl State {
    fn expected(&self) -> f64 {
        self.level + DAMPING * self.trend + self.seasons.get(self.at).copied().unwrap_or(0.0)
    }

    fn step(&mut self, error: f64, [alpha, beta, gamma]: Smoothing) {
        self.level += DAMPING * self.trend + alpha * error;
        self.trend = DAMPING * self.trend + beta * error;
        if let Some(season) = self.seasons.get_mut(self.at) {
            *season += gamma * error;
            self.at = (self.at + 1) % self.seasons.len();
        }
    }
}

/// A model with its best parameters.
#[derive(Debug)]
struct Fitted {
    smoothing: Smoothing,
    /// After the last value.
    state: State,
    /// Of the errors of one step.
    variance: f64,
    /// Akaike's information criterion, corrected for few values: the less the better.
    criterion: f64,
}

impl Fitted {
    fn of(series: &[Option<f64>], season: usize, has_trend: bool) -> Self {
        let first = first_state(series, season, has_trend);
        let is_free = [true, has_trend, season > 0];
        let smoothing = least(is_free, |smoothing| run(series, first.clone(), smoothing).1);
        let (state, squares) = run(series, first, smoothing);
        let known = series.iter().flatten().count() as f64;
        // What was worked out of the series: the parameters, the level, the trend, the seasons (whose sum is nothing), and the variance.
        let parameters = is_free.iter().filter(|free| **free).count() + usize::from(has_trend) + season.max(1);
        let parameters = parameters as f64 + 1.0;
        let correction = match known - parameters - 1.0 {
            rest if rest > 0.0 => 2.0 * parameters * (parameters + 1.0) / rest,
            _ => f64::INFINITY,
        };
        let criterion = known * (squares / known).ln() + 2.0 * parameters + correction;
        Self { smoothing, state, variance: squares / (known - parameters).max(1.0), criterion }
    }

    fn ahead(mut self, steps: usize) -> Vec<Expected> {
        let [alpha, beta, gamma] = self.smoothing;
        let season = self.state.seasons.len();
        let (mut spread, mut damped) = (1.0, 0.0);
        let step = |step: usize| {
            let value = self.state.expected();
            self.state.step(0.0, self.smoothing);
            let reach = NORMAL_95 * (self.variance * spread).sqrt();
            damped += DAMPING.powf(step as f64);
            let of_season = if season > 0 && step.is_multiple_of(season) { gamma } else { 0.0 };
            spread += (alpha + beta * damped + of_season).powi(2);
            Expected { value, low: value - reach, high: value + reach }
        };
        (1..=steps).map(step).collect()
    }
}

/// Follows a series: the state after it, and the sum of the squares of the errors of one step.
fn run(series: &[Option<f64>], mut state: State, smoothing: Smoothing) -> (State, f64) {
    let mut squares = 0.0;
    for value in series {
        let error = value.map_or(0.0, |value| value - state.expected());
        squares += error * error;
        state.step(error, smoothing);
    }
    (state, squares)
}

/// What a series began with: its first seasons' pattern, and the line through what is left of its first values.
fn first_state(series: &[Option<f64>], season: usize, has_trend: bool) -> State {
    let seasons = first_seasons(series, season);
    let first = &series[..series.len().min((FIRST_SEASONS * season).max(MIN_VALUES_OF_TREND))];
    let without_season = |(at, value): (usize, &Option<f64>)| {
        let of_season = if season > 0 { seasons[at % season] } else { 0.0 };
        value.map(|value| (at as f64 + 1.0, value - of_season))
    };
    let mut points: Vec<(f64, f64)> = first.iter().enumerate().filter_map(without_season).collect();
    if points.is_empty() {
        // The series begins with a gap that is longer.
        points = series.iter().enumerate().filter_map(without_season).take(1).collect();
    }
    let (level, slope) = line(&points);
    match has_trend {
        true => State { level, trend: slope / DAMPING, seasons, at: 0 },
        false => State { level: mean(points.iter().map(|point| point.1)), trend: 0.0, seasons, at: 0 },
    }
}

/// By how much the steps of a season differ from its mean, over the first seasons; 0 for a step that is never there.
fn first_seasons(series: &[Option<f64>], season: usize) -> Vec<f64> {
    if season == 0 {
        return Vec::new();
    }
    let whole: Vec<&[Option<f64>]> = series.chunks_exact(season).take(FIRST_SEASONS).collect();
    let means: Vec<f64> = whole.iter().map(|values| mean(values.iter().flatten().copied())).collect();
    let of_step = |step: usize| {
        mean(whole.iter().zip(&means).filter_map(|(values, mean)| values[step].map(|value| value - mean)))
    };
    let pattern: Vec<f64> = (0..season).map(of_step).collect();
    let middle = mean(pattern.iter().copied());
    pattern.into_iter().map(|value| value - middle).collect()
}

/// The least-squares line through points: where it is at 0, and its slope.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let (x, y) = (mean(points.iter().map(|point| point.0)), mean(points.iter().map(|point| point.1)));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if spread == 0.0 {
        return (y, 0.0);
    }
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    (y - slope * x, slope)
}

/// 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

/// The parameters that make something least, by the pattern search of R. Hooke and T. A. Jeeves, "Direct Search Solution of Numerical and
/// Statistical Problems", J. ACM 8 (1961), from two points.
fn least(is_free: [bool; 3], of: impl Fn(Smoothing) -> f64) -> Smoothing {
    let start = |value: Smoothing| std::array::from_fn(|at| if is_free[at] { value[at] } else { 0.0 });
    let searched = [start([0.5, 0.1, 0.1]), start([0.1, 0.01, 0.3])].map(|start| search(start, is_free, &of));
    let [first, second] = searched;
    if second.1 < first.1 { second.0 } else { first.0 }
}

fn search(start: Smoothing, is_free: [bool; 3], of: &impl Fn(Smoothing) -> f64) -> (Smoothing, f64) {
    let mut best = (start, of(start));
    let mut step = FIRST_STEP;
    while step >= LAST_STEP {
        let before = best.1;
        for at in (0..is_free.len()).filter(|at| is_free[*at]) {
            for change in [step, -step] {
                let mut tried = best.0;
                tried[at] += change;
                let tried = within(tried);
                let value = of(tried);
                if value < best.1 {
                    best = (tried, value);
                }
            }
        }
        if best.1 >= before {
            step /= 2.0;
        }
    }
    best
}

/// The usual region: 0 ≤ β ≤ α ≤ 1 and 0 ≤ γ ≤ 1 − α.
fn within([alpha, beta, gamma]: Smoothing) -> Smoothing {
    let alpha = alpha.clamp(0.0, 1.0);
    [alpha, beta.clamp(0.0, alpha), gamma.clamp(0.0, 1.0 - alpha)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    fn known(values: impl Iterator<Item = f64>) -> Vec<Option<f64>> {
        values.map(Some).collect()
    }

    /// A day's wave of 24 steps with noise, on a slope.
    fn days(days: usize, slope: f64, noise: f64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let normal = Normal::new(0.0, noise).expect("valid");
        let wave = |at: usize| 100.0 + slope * at as f64 + 30.0 * (at as f64 * std::f64::consts::TAU / 24.0).sin();
        (0..24 * days).map(|at| wave(at) + normal.sample(&mut random)).collect()
    }

    #[test]
    fn what_does_not_change_goes_on() {
        let expected = forecast(&known(std::iter::repeat_n(5.0, 30)), 0, 3).expect("a forecast");
        assert!(expected.iter().all(|step| [step.value, step.low, step.high] == [5.0; 3]), "{expected:?}");
        assert_eq!(forecast(&known([1.0, 2.0, 3.0].into_iter()), 0, 3), None);
        assert_eq!(forecast(&[], 24, 3), None);
        assert_eq!(forecast(&[None; 100], 24, 3), None);
    }

    #[test]
    fn trends_and_seasons_go_on() {
        let line = forecast(&known((0..50).map(f64::from)), 0, 2).expect("a forecast");
        assert!((line[0].value - 50.0).abs() < 0.5 && line[1].value > line[0].value, "{line:?}");
        let series = days(14, 0.1, 1.0, 1);
        let truth = days(15, 0.1, 0.001, 1);
        let expected = forecast(&known(series.into_iter()), 24, 24).expect("a forecast");
        for (at, step) in expected.iter().enumerate() {
            let truth = truth[24 * 14 + at];
            assert!((step.value - truth).abs() < 3.0, "step {at}: {} for {truth}", step.value);
            assert!(step.high - step.low < 12.0, "step {at}: {step:?}");
        }
    }

    #[test]
    fn a_season_wants_two_of_its_length() {
        let short = days(2, 0.0, 0.1, 2);
        let flat = forecast(&known(short[..40].iter().copied()), 24, 24).expect("a forecast");
        // Without seasons a forecast goes one way.
        let turns = |steps: &[Expected]| {
            let rises: Vec<bool> = steps.windows(2).map(|pair| pair[0].value < pair[1].value).collect();
            rises.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        assert_eq!(turns(&flat), 0);
        let waves = forecast(&known(days(4, 0.0, 0.1, 2).into_iter()), 24, 24).expect("a forecast");
        assert_eq!(turns(&waves), 2);
    }

    #[test]
    fn gaps_change_little() {
        let mut series = known(days(10, 0.0, 1.0, 3).into_iter());
        let whole = forecast(&series, 24, 24).expect("a forecast");
        series.iter_mut().skip(5).step_by(7).for_each(|value| *value = None);
        series[100..110].fill(None);
        let with_gaps = forecast(&series, 24, 24).expect("a forecast");
        for (whole, gaps) in whole.iter().zip(&with_gaps) {
            assert!((whole.value - gaps.value).abs() < 3.0, "{whole:?} {gaps:?}");
        }
        let mut late = vec![None; 200];
        late.extend(known(std::iter::repeat_n(5.0, 20)));
        let late = forecast(&late, 24, 1).expect("a forecast");
        assert!((late[0].value - 5.0).abs() < 1.0, "{late:?}");
    }

    /// Of series that are made as the model says, the next values lie in the interval in about 95 of 100.
    #[test]
    fn intervals_hold_what_they_promise() {
        let (mut inside, mut all) = (0, 0);
        for seed in 0..150 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let normal = Normal::new(0.0, 2.0).expect("valid");
            let mut level = 100.0;
            let mut series = Vec::new();
            for _ in 0..126 {
                let error = normal.sample(&mut random);
                series.push(level + error);
                level += 0.4 * error;
            }
            let expected = forecast(&known(series[..120].iter().copied()), 0, 6).expect("a forecast");
            inside += expected.iter().zip(&series[120..]).filter(|(e, x)| e.low <= **x && **x <= e.high).count();
            all += expected.len();
        }
        let share = f64::from(inside as u32) / all as f64;
        assert!((0.91..0.985).contains(&share), "{share}");
    }
}
