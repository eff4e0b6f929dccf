//! `\map`, `\flame`, `\heatmap` and `\hist`: from what a user types to rows, and from rows to a drawing.

use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::backend::{Backend, literal};
use super::bins::Bins;
use super::charts::{self, Bar, Call, Cell, Heatmap, Stack};
use super::query::{self, filled};
use super::shell::Shell;
use super::text::{Line, Style, fit};
use crate::error::{Error, Result};
use crate::render::{count, sanitize};
use crate::typed::parse_duration;

/// Values are drawn one by one when there are at most so many.
const FEW_VALUES: u64 = 20;
/// The intervals of time that a histogram has at most.
const TIMES: usize = 24;
/// What times are to the engine.
const INSTANT: &str = "Timestamp(Nanosecond, Some(\"UTC\"))";
/// Lengths of an interval of a heat map, in nanoseconds.
const INTERVALS_NS: [i64; 22] = {
    const MS: i64 = 1_000_000;
    const S: i64 = 1000 * MS;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;
    [
        MS,
        10 * MS,
        100 * MS,
        S,
        2 * S,
        5 * S,
        10 * S,
        15 * S,
        30 * S,
        M,
        2 * M,
        5 * M,
        10 * M,
        15 * M,
        30 * M,
        H,
        2 * H,
        3 * H,
        6 * H,
        12 * H,
        24 * H,
        7 * 24 * H,
    ]
};

impl Shell {
    /// Draws who calls whom.
    pub async fn draw_map(&mut self, from: Option<&str>, to: Option<&str>) -> Result<()> {
        let time = |text: Option<&str>| text.map_or("NULL".to_owned(), time_of);
        let sql = filled(query::MAP, &[("since", &time(from)), ("until", &time(to))]);
        let rows = self.drawn_from(&sql).await?;
        let call = |row: &Vec<String>| {
            let number = |at: usize| row[at].parse().unwrap_or(0_u64);
            let (calls, links) = (number(2), number(4));
            Call {
                caller: row[0].clone(),
                callee: row[1].clone(),
                calls: if calls > 0 { calls } else { links },
                errors: number(3),
                callee_type: Some(row[5].clone()).filter(|of_type| of_type != "service"),
                is_link: calls == 0,
            }
        };
        let calls: Vec<Call> = rows.iter().filter(|row| row.len() == 6).map(call).collect();
        let lines = charts::map(&calls, self.terminal.paper(self.columns));
        self.show_drawing(lines, "no service called another then")
    }

    /// Draws what the time went to.
    pub async fn draw_flame(&mut self, condition: &str) -> Result<()> {
        let rows = self.drawn_from(&filled(query::FLAME, &[("condition", condition)])).await?;
        let stack = |row: &Vec<String>| {
            let number = |at: usize| row[at].parse().unwrap_or(0);
            Stack { names: row[0].clone(), self_us: number(1), spans: number(2) }
        };
        let stacks: Vec<Stack> = rows.iter().filter(|row| row.len() == 3).map(stack).collect();
        let mut lines = charts::flame(&stacks, self.terminal.paper(self.columns));
        if !lines.is_empty() {
            let spans = stacks.iter().map(|stack| stack.spans).sum::<u64>();
            lines.insert(0, Line::of(Style::Bold, format!("Own time of {}", count(spans, "span"))));
        }
        self.show_drawing(lines, "there are no such spans, or they took no time")
    }

    /// Draws when spans took how long.
    pub async fn draw_heatmap(&mut self, condition: &str) -> Result<()> {
        let relation = self.relation_with(condition).await;
        let of_spans = [("relation", relation), ("condition", condition)];
        let range = self.backend.batches(&filled(query::TIME_RANGE, &of_spans), &[]).await.map_err(placeless)?;
        let times = |column: usize| integers(&range, column);
        let (Some(first), Some(last)) = (times(0)?.first().copied().flatten(), times(1)?.first().copied().flatten())
        else {
            return self.show_drawing(Vec::new(), "there are no such spans");
        };
        let paper = self.terminal.paper(self.columns);
        let (start_ns, interval_ns, intervals) = intervals(first, last, Heatmap::room(paper));
        let (start, width) = (start_ns.to_string(), interval_ns.to_string());
        let of_intervals = [of_spans[0], of_spans[1], ("start", start.as_str()), ("width", width.as_str())];
        let rows = self.drawn_from(&filled(query::HEATMAP, &of_intervals)).await?;
        let cell = |row: &Vec<String>| {
            let cell = (row[0].parse().ok()?, row[1].parse().ok()?, row[2].parse().ok()?);
            Some(Cell { interval: cell.0, le_ms: cell.1, spans: cell.2 })
        };
        let cells: Vec<Cell> = rows.iter().filter(|row| row.len() == 3).filter_map(cell).collect();
        let spans = cells.iter().map(|cell| cell.spans).sum::<u64>();
        let each = crate::typed::duration_text(Duration::from_nanos(interval_ns.unsigned_abs()));
        let mut lines = charts::heatmap(&Heatmap { start_ns, interval_ns, intervals, cells }, paper);
        let mut title = Line::of(Style::Bold, format!("Latency of {}", count(spans, "span")));
        title.push(Style::Dim, format!(", {each} a column"));
        lines.insert(0, title);
        self.show_drawing(lines, "there are no such spans")
    }

    /// Draws how often each value, or each range of numbers, came.
    pub async fn draw_histogram(&mut self, value: &str, condition: &str) -> Result<()> {
        let both = format!("({value}) IS NOT NULL AND ({condition})");
        let relation = self.relation_with(&both).await;
        let is_time = self.is_time(value, relation).await;
        let asked = if is_time {
            format!("arrow_cast(arrow_cast({value}, '{INSTANT}'), 'Int64')")
        } else {
            format!("({value})")
        };
        let of_values = [("relation", relation), ("value", asked.as_str()), ("condition", condition)];
        let about = self.drawn_from(&filled(query::NUMBERS, &of_values)).await?;
        let Some([all, numbers, different, low, high, middle]) = about.first().map(Vec::as_slice) else {
            return Err(Error::internal("the query of numbers gives no row"));
        };
        let number = |text: &String| text.parse::<u64>().unwrap_or(0);
        let (all, numbers, different) = (number(all), number(numbers), number(different));
        let paper = self.terminal.paper(self.columns);
        let text = format!("{}: {}, {different} different", sanitize(value), count(all, "value"));
        let mut title = vec![Line::of(Style::Bold, fit(&text, paper.columns(), paper.ellipsis()))];
        if all == 0 {
            return self.show_drawing(Vec::new(), "there are no such values");
        }
        let float = |text: &String| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let bars = match (float(low), float(high), float(middle)) {
            (Some(low), Some(high), _) if is_time => {
                let (start_ns, interval_ns, count) = intervals(low as i64, high as i64, TIMES);
                self.binned(Bins::Times { start_ns, interval_ns, count }, of_values).await?
            }
            (Some(low), Some(high), Some(middle)) if numbers == all && different > FEW_VALUES => {
                self.binned(Bins::over(low, high, middle), of_values).await?
            }
            _ => {
                let rows = self.drawn_from(&filled(query::TEXT_VALUES, &of_values)).await?;
                let bar = |row: &Vec<String>| Bar { label: row[0].clone(), count: row[1].parse().unwrap_or(0) };
                let mut bars: Vec<Bar> = rows.iter().filter(|row| row.len() == 2).map(bar).collect();
                let shown: u64 = bars.iter().map(|bar| bar.count).sum();
                if numbers == all {
                    let key = |bar: &Bar| bar.label.parse::<f64>().unwrap_or(f64::MAX);
                    bars.sort_by(|a, b| key(a).total_cmp(&key(b)));
                }
                if shown < all {
                    bars.push(Bar { label: "(all others)".to_owned(), count: all - shown });
                }
                bars
            }
        };
        title.extend(charts::histogram(&bars, all, paper));
        self.show_drawing(title, "there are no such values")
    }

    /// A bar for every range of numbers.
    async fn binned(&self, bins: Bins, [relation, value, condition]: [(&str, &str); 3]) -> Result<Vec<Bar>> {
        let bin = bins.sql();
        let sql = filled(query::NUMBER_BINS, &[relation, value, condition, ("bin", bin.as_str())]);
        let rows = self.drawn_from(&sql).await?;
        let counted = rows.iter().filter(|row| row.len() == 2);
        Ok(bins.bars(counted.filter_map(|row| Some((row[0].parse().ok()?, row[1].parse().ok()?)))))
    }

    /// Whether a value is a time. What is wrong with it is told when it is asked for.
    async fn is_time(&self, value: &str, relation: &str) -> bool {
        let columns = self.backend.columns(&format!("SELECT ({value}) FROM {relation}")).await;
        columns.is_ok_and(|columns| {
            columns.fields().iter().all(|field| matches!(field.data_type(), DataType::Timestamp(..)))
        })
    }

    /// The rows of a query, of which a part is the user's: where it is wrong is told of that part, and not of a text that the user did not write.
    async fn drawn_from(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        query::texts(&self.backend, sql, &[]).await.map_err(placeless)
    }

    /// The relation whose columns a condition names: that of spans when it has them all, else the one that knows a span's place in its tree.
    async fn relation_with(&self, condition: &str) -> &'static str {
        let asked = |relation: &str| format!("SELECT 1 FROM {relation} WHERE {condition}");
        let backend: &Backend = &self.backend;
        match backend.columns(&asked("spans")).await {
            Err(error) if error.sqlstate() == "42703" => match backend.columns(&asked("span_tree")).await {
                Ok(_) => "span_tree",
                Err(_) => "spans",
            },
            _ => "spans",
        }
    }

    fn show_drawing(&self, lines: Vec<Line>, nothing: &str) -> Result<()> {
        match lines.is_empty() {
            true => self.say(&[Line::of(Style::Plain, format!("({nothing})"))]),
            false => self.show_lines(&lines),
        }
    }
}

fn placeless(mut error: Error) -> Error {
    error.position = None;
    error
}

/// A time as SQL: how long ago, or what is a time to the engine.
fn time_of(text: &str) -> String {
    match parse_duration(text.strip_prefix('-').unwrap_or(text)) {
        Ok(ago) => format!("now() - INTERVAL '{} milliseconds'", ago.as_millis()),
        Err(_) => format!("CAST({} AS TIMESTAMPTZ)", literal(text)),
    }
}

/// The integers, or the nanoseconds of times, in a column.
fn integers(batches: &[RecordBatch], column: usize) -> Result<Vec<Option<i64>>> {
    let mut values = Vec::new();
    for batch in batches {
        let column =
            cast(batch.column(column), &DataType::Int64).map_err(|error| Error::internal(error.to_string()))?;
        values.extend(
            (0..column.len()).map(|row| column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))),
        );
    }
    Ok(values)
}

/// Where intervals begin, how long each is and how many there are, so that there is room for all of them.
fn intervals(first_ns: i64, last_ns: i64, room: usize) -> (i64, i64, usize) {
    let room = i64::try_from(room.max(1)).unwrap_or(i64::MAX);
    let fits = |interval: &i64| last_ns.div_euclid(*interval) - first_ns.div_euclid(*interval) < room;
    let longest = INTERVALS_NS[INTERVALS_NS.len() - 1];
    let interval = INTERVALS_NS.into_iter().find(fits).unwrap_or_else(|| {
        // As many weeks as it takes.
        let weeks = (last_ns / longest - first_ns / longest) / (room - 1).max(1) + 1;
        longest.saturating_mul(weeks)
    });
    let start = first_ns.div_euclid(interval) * interval;
    let intervals = (i128::from(last_ns) - i128::from(start)) / i128::from(interval) + 1;
    (start, interval, usize::try_from(intervals).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_room() {
        const S: i64 = 1_000_000_000;
        assert_eq!(intervals(10 * S, 69 * S, 60), (10 * S, S, 60));
        assert_eq!(intervals(10 * S, 70 * S, 60), (10 * S, 2 * S, 31));
        assert_eq!(intervals(5, 5, 60), (0, 1_000_000, 1));
        for (first, last, room) in [(0, i64::MAX, 29), (i64::MIN / 2, i64::MAX / 2, 29), (-5 * S, 5 * S, 1)] {
            let (start, interval, count) = intervals(first, last, room);
            assert!(start <= first && count <= room.max(2), "{start} {interval} {count}");
        }
    }

    #[test]
    fn a_time_is_one_or_how_long_ago() {
        assert_eq!(time_of("2h"), "now() - INTERVAL '7200000 milliseconds'");
        assert_eq!(time_of("-15m"), "now() - INTERVAL '900000 milliseconds'");
        assert_eq!(time_of("2026-01-05 09:00"), "CAST('2026-01-05 09:00' AS TIMESTAMPTZ)");
        assert_eq!(time_of("it's"), "CAST('it''s' AS TIMESTAMPTZ)");
    }
}
