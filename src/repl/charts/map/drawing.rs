//! The map as a drawing: names in layers, and between two layers a channel in which each caller has a line of its own that branches.
//!
//! A relation over several layers passes through those between. Those that lead back are told below the drawing. Where there is no room, or lines
//! would lie on each other whatever is tried, there is no drawing.

use std::collections::BTreeMap;

use super::super::Paper;
use super::super::bars::{amount, percent};
use super::Call;
use super::grid::{DOWN, Grid, LEFT, RIGHT, UP};
use super::layers::Layers;
use crate::repl::text::{Line, Style, fit, width};

/// A drawing of more relations is a tangle.
const MAX_RELATIONS: usize = 40;
const MAX_ROWS: usize = 120;
/// How names may be cut and lines be apart, from the airiest.
const TRIES: [(usize, usize); 4] = [(24, 2), (16, 2), (16, 1), (12, 1)];
/// A layer is moved down by at most so many rows, so that no two lines lie on each other.
const MAX_SHIFT: usize = 6;
const SWEEPS: usize = 6;
/// What joins the lines that come to a name, and the spaces around the name.
const AROUND_NAME: usize = 3;

/// What stands in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Name(usize),
    /// The line of a caller further left that goes on.
    Pass(usize),
}

/// Where a line goes in at the right of a channel.
struct Entry {
    /// Whose line it is.
    net: usize,
    row: usize,
    /// The relation that ends here; none where the line passes on.
    relation: Option<usize>,
}

/// A layer with its rows.
struct Placed {
    items: Vec<Item>,
    /// The first row of each item.
    rows: Vec<usize>,
    entries: Vec<Entry>,
    columns: usize,
}

/// The lines between two layers.
struct Channel {
    /// The order of the lines that turn, from the left.
    tracks: Vec<usize>,
    label_columns: usize,
}

/// Draws the relations, where that is possible.
pub fn draw(calls: &[Call], layers: &Layers<'_>, paper: Paper) -> Option<Vec<Line>> {
    if calls.len() > MAX_RELATIONS {
        return None;
    }
    TRIES.into_iter().find_map(|(name_columns, pitch)| {
        let plan = Plan::of(calls, layers, name_columns, pitch, paper)?;
        (plan.columns() <= paper.columns()).then(|| plan.lines())
    })
}

struct Plan<'a> {
    calls: &'a [Call],
    layers: &'a Layers<'a>,
    paper: Paper,
    pitch: usize,
    placed: Vec<Placed>,
    channels: Vec<Channel>,
}

impl<'a> Plan<'a> {
    fn of(calls: &'a [Call], layers: &'a Layers<'a>, name_columns: usize, pitch: usize, paper: Paper) -> Option<Self> {
        let mut plan = Self { calls, layers, paper, pitch, placed: Vec::new(), channels: Vec::new() };
        let items = ordered(layers);
        for items in items {
            let names = items.iter().filter_map(|item| match item {
                Item::Name(name) => Some(width(layers.names[*name])),
                Item::Pass(_) => None,
            });
            let columns = names.max().unwrap_or(1).min(name_columns) + AROUND_NAME;
            plan.place(items, columns)?;
        }
        let rows = plan.placed.iter().map(Placed::height).max().unwrap_or(0);
        (rows <= MAX_ROWS).then_some(plan)
    }

    /// Gives a layer its rows, and the channel before it its lines.
    fn place(&mut self, items: Vec<Item>, columns: usize) -> Option<()> {
        let Some(before) = self.placed.last() else {
            self.placed.push(self.at_rows(items, 0, columns));
            return Some(());
        };
        let exits = before.exits(self.layers);
        let (placed, tracks) = (0..=MAX_SHIFT).find_map(|shift| {
            let placed = self.at_rows(items.clone(), shift, columns);
            tracks(&exits, &placed.entries).map(|tracks| (placed, tracks))
        })?;
        let labels = placed.entries.iter().filter_map(|entry| entry.relation);
        let label_columns = labels.map(|relation| width(&label(&self.calls[relation]))).max().unwrap_or(0);
        self.channels.push(Channel { tracks, label_columns });
        self.placed.push(placed);
        Some(())
    }

    fn at_rows(&self, items: Vec<Item>, shift: usize, columns: usize) -> Placed {
        let above = |net: usize| self.placed.last().and_then(|placed| placed.exit_row(net, self.layers)).unwrap_or(0);
        let (mut rows, mut entries, mut next) = (Vec::new(), Vec::new(), shift);
        for item in &items {
            rows.push(next);
            match *item {
                Item::Pass(net) => {
                    entries.push(Entry { net, row: next, relation: None });
                    next += 1;
                }
                Item::Name(name) => {
                    let mut into: Vec<usize> = (0..self.layers.ends.len())
                        .filter(|&relation| self.layers.ends[relation].1 == name && !self.layers.is_back[relation])
                        .collect();
                    into.sort_by_key(|relation| above(self.layers.ends[*relation].0));
                    let each = into.iter().enumerate().map(|(at, relation)| Entry {
                        net: self.layers.ends[*relation].0,
                        row: next + at,
                        relation: Some(*relation),
                    });
                    entries.extend(each);
                    next += into.len().max(1) + 1;
                }
            }
        }
        Placed { items, rows, entries, columns }
    }

    fn channel_columns(&self, channel: &Channel) -> usize {
        // A line's start, its turns, the space around its label, the arrow and a space.
        1 + channel.tracks.len() * self.pitch + channel.label_columns + 4
    }

    fn columns(&self) -> usize {
        let layers: usize = self.placed.iter().map(|placed| placed.columns).sum();
        layers + self.channels.iter().map(|channel| self.channel_columns(channel)).sum::<usize>()
    }

    fn lines(&self) -> Vec<Line> {
        let rows = self.placed.iter().map(Placed::height).max().unwrap_or(0);
        let mut grid = Grid::new(rows, self.columns(), self.paper);
        let mut at = 0;
        for (depth, placed) in self.placed.iter().enumerate() {
            if let Some(channel) = depth.checked_sub(1).and_then(|before| self.channels.get(before)) {
                self.draw_channel(&mut grid, at, channel, &self.placed[depth - 1].exits(self.layers), &placed.entries);
                at += self.channel_columns(channel);
            }
            self.draw_layer(&mut grid, at, placed);
            at += placed.columns;
        }
        let mut lines = grid.lines();
        lines.extend(self.below());
        lines
    }

    fn draw_layer(&self, grid: &mut Grid, at: usize, placed: &Placed) {
        for (item, &row) in placed.items.iter().zip(&placed.rows) {
            match *item {
                Item::Pass(net) => grid.across(row, at, at + placed.columns, net),
                Item::Name(name) => self.draw_name(grid, at, row, name, placed),
            }
        }
    }

    fn draw_name(&self, grid: &mut Grid, at: usize, row: usize, name: usize, placed: &Placed) {
        let ends_here = |entry: &&Entry| entry.relation.is_some_and(|relation| self.layers.ends[relation].1 == name);
        let into = placed.entries.iter().filter(ends_here).count();
        for port in 0..into {
            grid.put(row + port, at, joint(port, into, self.paper.ascii), Style::Dim);
        }
        // Beside a joint stands a space.
        let from = if into > 1 { at + 2 } else { at + 1 };
        let shown = fit(self.layers.names[name], placed.columns - AROUND_NAME, self.paper.ellipsis());
        let shown = shown.trim_end();
        let style = if self.is_service(name) { Style::Bold } else { Style::Plain };
        grid.put(row, from, shown, style);
        if self.goes_on(name) {
            grid.across(row, from + width(shown) + 1, at + placed.columns, name);
        }
    }

    fn draw_channel(&self, grid: &mut Grid, at: usize, channel: &Channel, exits: &[(usize, usize)], entries: &[Entry]) {
        let end = at + self.channel_columns(channel);
        for &(net, from) in exits {
            let own: Vec<&Entry> = entries.iter().filter(|entry| entry.net == net).collect();
            if own.is_empty() {
                continue;
            }
            let turn = channel.tracks.iter().position(|track| *track == net).map(|track| at + 1 + track * self.pitch);
            let start = turn.map_or(at, |turn| turn + 1);
            if let Some(turn) = turn {
                grid.across(from, at, turn, net);
                grid.mark(from, turn, LEFT, net);
                let rows = || own.iter().map(|entry| entry.row).chain([from]);
                let (top, bottom) = (rows().min().unwrap_or(from), rows().max().unwrap_or(from));
                for row in top..=bottom {
                    let up = if row > top { UP } else { 0 };
                    let down = if row < bottom { DOWN } else { 0 };
                    grid.mark(row, turn, up | down, net);
                }
                own.iter().for_each(|entry| grid.mark(entry.row, turn, RIGHT, net));
            }
            for entry in own {
                match entry.relation {
                    None => grid.across(entry.row, start, end, net),
                    Some(relation) => self.draw_end(grid, entry.row, start, end, &self.calls[relation], net),
                }
            }
        }
    }

    /// The last part of a line, with its label and arrow.
    fn draw_end(&self, grid: &mut Grid, row: usize, start: usize, end: usize, call: &Call, net: usize) {
        let label = label(call);
        let label_at = end - 2 - width(&label);
        grid.across(row, start, label_at - 1, net);
        let style = if call.errors > 0 { Style::Error } else { Style::Plain };
        grid.put(row, label_at, &label, style);
        let arrow = match (self.paper.ascii, call.is_link) {
            (true, false) => ">",
            (true, true) => ")",
            (false, false) => "▶",
            (false, true) => "▷",
        };
        grid.put(row, end - 1, arrow, Style::Dim);
    }

    /// What the drawing cannot show.
    fn below(&self) -> Vec<Line> {
        let arrow = if self.paper.ascii { "->" } else { "→" };
        let mut lines = Vec::new();
        for (call, is_back) in self.calls.iter().zip(&self.layers.is_back) {
            if *is_back {
                let text = format!("{} {arrow} {} {}", call.caller, call.callee, label(call));
                let text = format!("back: {text}");
                lines.push(Line::of(
                    Style::Dim,
                    fit(&text, width(&text).min(self.paper.columns()), self.paper.ellipsis()),
                ));
            }
        }
        if self.calls.iter().any(|call| call.is_link) {
            let arrow = if self.paper.ascii { ")" } else { "▷" };
            lines.push(Line::of(Style::Dim, format!("{arrow} spans that link to others")));
        }
        lines
    }

    fn is_service(&self, name: usize) -> bool {
        let mut into = self.calls.iter().zip(&self.layers.ends).filter(|(_, ends)| ends.1 == name);
        into.all(|(call, _)| call.callee_type.is_none())
    }

    fn goes_on(&self, name: usize) -> bool {
        goes_on(self.layers, name)
    }
}

fn goes_on(layers: &Layers<'_>, name: usize) -> bool {
    layers.ends.iter().zip(&layers.is_back).any(|((caller, _), is_back)| *caller == name && !is_back)
}

/// How often, and the share that failed.
fn label(call: &Call) -> String {
    match call.errors {
        0 => amount(call.calls),
        _ => format!("{} {}", amount(call.calls), percent(call.errors, call.calls).replace(' ', "")),
    }
}

/// What joins the lines that come to a name.
fn joint(port: usize, ports: usize, ascii: bool) -> &'static str {
    match (port, ports) {
        (_, 0 | 1) => " ",
        _ if ascii => "+",
        (0, _) => "┬",
        (port, ports) if port + 1 == ports => "┘",
        _ => "┤",
    }
}

impl Placed {
    fn height(&self) -> usize {
        let last = self.entries.iter().map(|entry| entry.row).chain(self.rows.iter().copied()).max();
        last.map_or(0, |row| row + 1)
    }

    /// The lines that leave the layer, with their rows.
    fn exits(&self, layers: &Layers<'_>) -> Vec<(usize, usize)> {
        let exit = |(item, row): (&Item, &usize)| match *item {
            Item::Pass(net) => Some((net, *row)),
            Item::Name(name) => goes_on(layers, name).then_some((name, *row)),
        };
        self.items.iter().zip(&self.rows).filter_map(exit).collect()
    }

    fn exit_row(&self, net: usize, layers: &Layers<'_>) -> Option<usize> {
        self.exits(layers).into_iter().find(|(own, _)| *own == net).map(|(_, row)| row)
    }
}

/// What stands in each layer, in an order that crosses few lines: each goes to the middle of what it is joined to, back and forth.
fn ordered(layers: &Layers<'_>) -> Vec<Vec<Item>> {
    let count = layers.count();
    let mut items: Vec<Vec<Item>> = vec![Vec::new(); count];
    for (name, &layer) in layers.layer.iter().enumerate() {
        items[layer].push(Item::Name(name));
        let reach =
            |(ends, is_back): (&(usize, usize), &bool)| (ends.0 == name && !is_back).then(|| layers.layer[ends.1]);
        let furthest = layers.ends.iter().zip(&layers.is_back).filter_map(reach).max().unwrap_or(layer);
        (layer + 1..furthest).for_each(|between| items[between].push(Item::Pass(name)));
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for step in 1..count {
            let (layer, fixed) = if down { (step, step - 1) } else { (count - 1 - step, count - step) };
            let place = |item: Item| items[fixed].iter().position(|other| *other == item);
            let middle = |item: &Item| -> f64 {
                let joined: Vec<usize> = joined(layers, *item, down).into_iter().filter_map(place).collect();
                match joined.len() {
                    0 => f64::MAX,
                    several => joined.iter().sum::<usize>() as f64 / several as f64,
                }
            };
            let keys: BTreeMap<usize, f64> =
                items[layer].iter().enumerate().map(|(at, item)| (at, middle(item))).collect();
            let mut order: Vec<usize> = (0..items[layer].len()).collect();
            order.sort_by(|a, b| keys[a].total_cmp(&keys[b]));
            items[layer] = order.into_iter().map(|at| items[layer][at]).collect();
        }
    }
    items
}

/// What may stand beside an item in the layer before it, or behind it.
fn joined(layers: &Layers<'_>, item: Item, before: bool) -> Vec<Item> {
    let forward = || layers.ends.iter().zip(&layers.is_back).filter(|(_, is_back)| !**is_back).map(|(ends, _)| *ends);
    match (item, before) {
        (Item::Pass(net), true) => vec![Item::Name(net), Item::Pass(net)],
        (Item::Pass(net), false) => forward()
            .filter(|(caller, _)| *caller == net)
            .flat_map(|(_, callee)| [Item::Name(callee), Item::Pass(net)])
            .collect(),
        (Item::Name(name), true) => forward()
            .filter(|(_, callee)| *callee == name)
            .flat_map(|(caller, _)| [Item::Name(caller), Item::Pass(caller)])
            .collect(),
        (Item::Name(name), false) => forward()
            .filter(|(caller, _)| *caller == name)
            .flat_map(|(_, callee)| [Item::Name(callee), Item::Pass(name)])
            .collect(),
    }
}

/// The order in which the lines of a channel turn: a line that leaves on a row has to turn before another that comes in on that row does. `None` when
/// they wait for each other.
fn tracks(exits: &[(usize, usize)], entries: &[Entry]) -> Option<Vec<usize>> {
    let turns = |net: usize, row: usize| entries.iter().any(|entry| entry.net == net && entry.row != row);
    let turning: Vec<(usize, usize)> = exits.iter().copied().filter(|(net, row)| turns(*net, *row)).collect();
    let mut left: Vec<(usize, usize)> = turning.clone();
    let mut order = Vec::new();
    while !left.is_empty() {
        // The one that no other has to come before.
        let free = left.iter().position(|(net, _)| {
            let own_rows = || entries.iter().filter(|entry| entry.net == *net).map(|entry| entry.row);
            !left.iter().any(|(other, row)| other != net && own_rows().any(|own| own == *row))
        })?;
        order.push(left.remove(free).0);
    }
    // A line that does not turn lies on its row from end to end.
    let straight =
        exits.iter().filter(|(net, row)| !turns(*net, *row) && entries.iter().any(|entry| entry.net == *net));
    let mut straight = straight.map(|(_, row)| *row);
    straight.all(|row| entries.iter().filter(|entry| entry.row == row).count() == 1).then_some(order)
}
