//! What the time went to: stacks of names one below the other, as wide as the time that they took with all below them.

use std::collections::BTreeMap;

use super::Paper;
use super::bars::{amount, bar, percent};
use crate::render::sanitize;
use crate::repl::text::{Line, Style, fit, width};

/// Deeper stacks are not drawn: more than a screen.
const MAX_LEVELS: usize = 40;
/// The names with the most own time that are listed.
const LISTED: usize = 10;
/// A name that has fewer columns is not written.
const MIN_NAME_COLUMNS: usize = 3;

/// A stack of names from the root down, as `flamegraph` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The names with `;` between them.
    pub names: String,
    /// The time that no callee took.
    pub self_us: u64,
    pub spans: u64,
}

/// A name below others.
struct Frame {
    name: String,
    /// With all below.
    total_us: u64,
    children: Vec<usize>,
}

/// A frame's place in its line.
struct Segment {
    frame: usize,
    from: usize,
    to: usize,
}

/// Draws the stacks, widest first, and lists the names with the most own time.
pub fn flame(stacks: &[Stack], paper: Paper) -> Vec<Line> {
    let frames = frames(stacks);
    let total_us = frames[0].total_us;
    if total_us == 0 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut level = vec![Segment { frame: 0, from: 0, to: paper.columns() }];
    for depth in 0.. {
        level = below(&frames, &level, total_us, paper.columns());
        if level.is_empty() {
            break;
        }
        if depth == MAX_LEVELS {
            lines.push(Line::of(Style::Dim, format!("{} deeper stacks are not drawn", paper.ellipsis())));
            break;
        }
        lines.push(drawn(&frames, &level, paper));
    }
    lines.push(Line::default());
    lines.extend(hottest(stacks, total_us, paper));
    lines
}

/// The tree of names; its first is all of them together. A name is added where it is first met, so that children follow their parents.
fn frames(stacks: &[Stack]) -> Vec<Frame> {
    let mut frames = vec![Frame { name: String::new(), total_us: 0, children: Vec::new() }];
    let mut known: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for stack in stacks {
        let mut at = 0;
        frames[0].total_us += stack.self_us;
        for name in stack.names.split(';') {
            at = *known.entry((at, name)).or_insert_with(|| {
                let frame = frames.len();
                frames.push(Frame { name: sanitize(name).into_owned(), total_us: 0, children: Vec::new() });
                frames[at].children.push(frame);
                frame
            });
            frames[at].total_us += stack.self_us;
        }
    }
    let totals: Vec<u64> = frames.iter().map(|frame| frame.total_us).collect();
    for frame in &mut frames {
        frame.children.sort_by_key(|child| (std::cmp::Reverse(totals[*child]), *child));
    }
    frames
}

/// The frames below a line of frames, each at least one column wide or not there.
fn below(frames: &[Frame], level: &[Segment], total_us: u64, columns: usize) -> Vec<Segment> {
    let mut segments = Vec::new();
    for segment in level {
        let mut used_us = 0;
        for &child in &frames[segment.frame].children {
            let at = |us: u64| segment.from + (us as f64 / total_us as f64 * columns as f64).round() as usize;
            let (from, to) = (at(used_us), at(used_us + frames[child].total_us).min(segment.to));
            used_us += frames[child].total_us;
            if to > from {
                segments.push(Segment { frame: child, from, to });
            }
        }
    }
    segments
}

fn drawn(frames: &[Frame], level: &[Segment], paper: Paper) -> Line {
    let edge = if paper.ascii { "|" } else { "▏" };
    let mut line = Line::default();
    let mut at = 0;
    for segment in level {
        line.push(Style::Plain, " ".repeat(segment.from - at));
        let (name, columns) = (&frames[segment.frame].name, segment.to - segment.from);
        let shown = match columns {
            0..MIN_NAME_COLUMNS => " ".repeat(columns - 1),
            _ => fit(if name.is_empty() { "(no name)" } else { name }, columns - 1, paper.ellipsis()),
        };
        line.push(Style::Block(tint(name)), format!("{edge}{shown}"));
        at = segment.to;
    }
    line
}

/// A colour that a name keeps from line to line.
fn tint(name: &str) -> u8 {
    name.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 6
}

/// The names with the most own time.
fn hottest(stacks: &[Stack], total_us: u64, paper: Paper) -> Vec<Line> {
    let mut names: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for stack in stacks {
        let name = stack.names.rsplit(';').next().unwrap_or_default();
        let own = names.entry(name).or_default();
        *own = (own.0 + stack.self_us, own.1 + stack.spans);
    }
    let mut names: Vec<(&str, (u64, u64))> = names.into_iter().collect();
    names.sort_by_key(|(name, (self_us, _))| (std::cmp::Reverse(*self_us), *name));
    let shown = &names[..names.len().min(LISTED)];
    // The own time, its share, the spans.
    let numbers = 9 + 7 + 8;
    let room = paper.columns() - numbers - 1;
    let widest = shown.iter().map(|(name, _)| width(&sanitize(name))).max().unwrap_or(0);
    let bar_columns = if paper.columns() >= 60 { 10 } else { 0 };
    let name_columns = widest.clamp(8, room - bar_columns);
    let mut head = Line::of(Style::Dim, fit("own time", name_columns, ""));
    head.push(Style::Dim, format!(" {:>8} {:>6} {:>7}", "took", "share", "spans"));
    let mut lines = vec![head];
    for (name, (self_us, spans)) in shown {
        let mut line = Line::of(Style::Plain, fit(&sanitize(name), name_columns, paper.ellipsis()));
        let took = paper.duration(i64::try_from(self_us.saturating_mul(1000)).unwrap_or(i64::MAX));
        line.push(Style::Plain, format!(" {took:>8} {:>6}", percent(*self_us, total_us)));
        line.push(Style::Dim, format!(" {:>7} ", amount(*spans)));
        if bar_columns > 0 {
            line.push(Style::Tint(0), bar(*self_us as f64 / total_us as f64, bar_columns, paper));
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::charts::golden;

    fn stack(names: &str, self_us: u64, spans: u64) -> Stack {
        Stack { names: names.to_owned(), self_us, spans }
    }

    #[test]
    fn stacks_are_as_they_were_approved() {
        let stacks = [
            stack("page view", 1_500_000, 580),
            stack("page view;GET /", 500_000, 155),
            stack("page view;GET /;SELECT products", 400_000, 2_612),
            stack("page view;POST /checkout", 1_800_000, 52),
            stack("page view;POST /checkout;Charge", 840_000, 52),
            stack("page view;POST /checkout;Charge;POST /v1/charges", 600_000, 52),
            stack("page view;POST /checkout;\x1b[31mPlaceOrder 日本", 1_000, 3),
            stack("process orders;send", 208_000, 43),
        ];
        for columns in [40, 80, 120] {
            golden::check(&format!("flame_{columns}"), &flame(&stacks, Paper::new(columns, false)), columns);
        }
        golden::check("flame_ascii", &flame(&stacks, Paper::new(60, true)), 60);
        assert!(flame(&[], Paper::new(80, false)).is_empty());
        assert!(flame(&[stack("a", 0, 1)], Paper::new(80, false)).is_empty(), "there is no time to be drawn");
    }

    #[test]
    fn a_stack_without_end_is_cut() {
        let names = vec!["f"; 10_000].join(";");
        let lines = flame(&[stack(&names, 1, 1)], Paper::new(80, false));
        assert!(lines.len() < 60, "{}", lines.len());
    }
}
