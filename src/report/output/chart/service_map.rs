//! Service maps: callers to callees, layer by layer.

use std::collections::HashMap;

use super::drawing::{DataTable, Scene};
use super::label::{fitted, plain, width};
use super::layers::Layering;
use super::palette::Ink;
use super::pen::{Anchor, Pen, Style};
use super::plot::{LABEL, LINE, nothing};
use super::unit::{Unit, grouped};
use crate::render::count;

/// Services that are drawn: those with the most calls.
const MAX_NODES: usize = 40;
/// Calls that are drawn with their number; of more, widths and colours have to do.
const MAX_LABELS: usize = 30;
const NODE_HEIGHT: f64 = 30.0;
const NODE_PADDING: f64 = 10.0;
/// The narrowest box that is not for a phone.
const MIN_NODE: f64 = 70.0;

/// Calls from one service to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    pub caller: String,
    pub callee: String,
    /// Not negative.
    pub calls: f64,
    /// Which share of them failed, when it is known.
    pub error_share: Option<f64>,
}

/// The services that are drawn and the calls between them.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceMap {
    names: Vec<String>,
    edges: Vec<Edge>,
    layering: Layering,
    unit: Unit,
    notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    from: usize,
    to: usize,
    calls: f64,
    error_share: Option<f64>,
}

/// A box: its middle and half of its width.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    x: f64,
    y: f64,
    half: f64,
}

impl ServiceMap {
    /// Gathers the calls between the same two services.
    pub fn new(calls: Vec<Calls>, unit: Unit) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut edges: Vec<Edge> = Vec::new();
        let mut by_ends: HashMap<(usize, usize), usize> = HashMap::new();
        for call in calls {
            let mut node = |name: String| {
                *known.entry(name).or_insert_with_key(|name| {
                    names.push(name.clone());
                    names.len() - 1
                })
            };
            let (from, to) = (node(call.caller), node(call.callee));
            let new = Edge { from, to, calls: call.calls, error_share: call.error_share };
            match by_ends.get(&(from, to)) {
                Some(&at) => edges[at] = edges[at].with(new),
                None => {
                    by_ends.insert((from, to), edges.len());
                    edges.push(new);
                }
            }
        }
        let mut notes = Vec::new();
        let (names, edges) = keep_busiest(names, edges, &mut notes);
        let ends: Vec<(usize, usize)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let layering = Layering::of(names.len(), &ends);
        Self { names, edges, layering, unit, notes }
    }

    /// Layers from left to right when they fit side by side, else from top to bottom; gives the places and the end.
    fn places(&self, pen_width: f64, top: f64) -> (Vec<Place>, bool, f64) {
        let layers = &self.layering.layers;
        let mut places = vec![Place::default(); self.layering.count];
        // A bend has no extent.
        let wanted =
            |node: usize| self.names.get(node).map_or(0.0, |name| width(&plain(name), LABEL) + 2.0 * NODE_PADDING);
        let of_layer = |layer: &Vec<usize>| layer.iter().map(|node| wanted(*node)).fold(MIN_NODE, f64::max).min(180.0);
        let widest: Vec<f64> = layers.iter().map(of_layer).collect();
        const GAP: f64 = 70.0;
        let sideways = widest.iter().sum::<f64>() + GAP * (widest.len().max(1) - 1) as f64 <= pen_width;
        if sideways {
            let free = pen_width - widest.iter().sum::<f64>();
            let gap = (free / (widest.len().max(2) - 1) as f64).min(190.0);
            let tallest = layers.iter().map(Vec::len).max().unwrap_or(0) as f64 * (NODE_HEIGHT + 26.0);
            let mut x = 0.0;
            for (layer, layer_width) in layers.iter().zip(&widest) {
                let pitch = tallest / layer.len() as f64;
                for (at, node) in layer.iter().enumerate() {
                    let least = if *node < self.names.len() { MIN_NODE.min(*layer_width) } else { 0.0 };
                    let half = wanted(*node).clamp(least, *layer_width) / 2.0;
                    places[*node] = Place { x: x + layer_width / 2.0, y: top + (at as f64 + 0.5) * pitch, half };
                }
                x += layer_width + gap;
            }
            return (places, true, top + tallest);
        }
        let mut y = top;
        for layer in layers {
            let nodes = layer.iter().copied().filter(|node| *node < self.names.len());
            for row in in_rows(nodes.map(|node| (node, wanted(node).max(MIN_NODE))), pen_width) {
                let widths: f64 = row.iter().map(|(_, width)| width).sum();
                // What is free lies between the boxes and beside them.
                let gap = (pen_width - widths) / (row.len() + 1) as f64;
                let mut x = gap;
                for (node, width) in row {
                    places[node] = Place { x: x + width / 2.0, y: y + NODE_HEIGHT / 2.0 + 4.0, half: width / 2.0 };
                    x += width + gap;
                }
                y += NODE_HEIGHT + 12.0;
            }
            y += 38.0;
        }
        (places, false, y - 30.0)
    }

    fn draw_edge(&self, pen: &mut Pen, edge: &Edge, places: &[Place], sideways: bool, most: f64) {
        let fails = edge.error_share.is_some_and(|share| share > 0.0);
        let ink = if fails { Ink::Error } else { Ink::Axis };
        let thickness = 1.2 + 2.8 * if most > 0.0 { (1.0 + edge.calls).ln() / (1.0 + most).ln() } else { 0.0 };
        let points = self.way(edge, places, sideways);
        pen.path(&points, ink, thickness, fails.then_some("6,3"));
        let [.., before, end] = points.as_slice() else { return };
        let (dx, dy) = (end.0 - before.0, end.1 - before.1);
        let length = dx.hypot(dy).max(1e-6);
        let (dx, dy) = (dx / length, dy / length);
        let size = 5.0 + thickness;
        let (back_x, back_y) = (end.0 - size * dx, end.1 - size * dy);
        let (side_x, side_y) = (-dy * size * 0.5, dx * size * 0.5);
        pen.shape(&[*end, (back_x + side_x, back_y + side_y), (back_x - side_x, back_y - side_y)], ink);
    }

    fn label_edge(&self, pen: &mut Pen, edge: &Edge, places: &[Place], sideways: bool, at: usize) {
        let points = self.way(edge, places, sideways);
        // Labels of neighbouring lines stand at different places along them.
        let share = [0.5, 0.38, 0.62][at % 3];
        let (x, y) = points[((points.len() - 1) as f64 * share) as usize];
        let text = self.edge_text(edge);
        let half = width(&text, 11.0) / 2.0 + 3.0;
        let x = x.clamp(half.min(pen.width / 2.0), (pen.width - half).max(pen.width / 2.0));
        pen.outlined((x - half, y - 8.0), (2.0 * half, 15.0), Ink::Ground, None, 3.0);
        let ink = if edge.error_share.is_some_and(|share| share > 0.0) { Ink::Error } else { Ink::Muted };
        pen.text(x, y + 3.5, &text, Style::new(ink, 11.0).anchored(Anchor::Middle));
    }

    /// From box to box, through the bends between them.
    fn way(&self, edge: &Edge, places: &[Place], sideways: bool) -> Vec<(f64, f64)> {
        let bends = self.layering.bends.get(&(edge.from, edge.to)).filter(|_| sideways);
        let stops = std::iter::once(&edge.from).chain(bends.into_iter().flatten()).chain(std::iter::once(&edge.to));
        let stops: Vec<Place> = stops.map(|stop| places[*stop]).collect();
        let legs = stops.windows(2).flat_map(|leg| curve(leg[0], leg[1], sideways, edge.from == edge.to));
        let mut points: Vec<(f64, f64)> = legs.collect();
        points.dedup();
        points
    }

    fn edge_text(&self, edge: &Edge) -> String {
        match edge.error_share.filter(|share| *share > 0.0) {
            Some(share) => format!("{}, {} fail", self.unit.show(edge.calls), Unit::Share.show(share)),
            None => self.unit.show(edge.calls),
        }
    }
}

impl Edge {
    /// Both together.
    fn with(self, other: Self) -> Self {
        let calls = self.calls + other.calls;
        let error_share = match (self.error_share, other.error_share) {
            (Some(a), Some(b)) if calls > 0.0 => Some((a * self.calls + b * other.calls) / calls),
            (a, b) => a.or(b),
        };
        Self { calls, error_share, ..self }
    }
}

impl Scene for ServiceMap {
    fn draw(&self, pen: &mut Pen, top: f64) -> f64 {
        if self.edges.is_empty() {
            return nothing(pen, top, "no calls to draw");
        }
        let (places, sideways, end) = self.places(pen.width, top + 6.0);
        let most = self.edges.iter().map(|edge| edge.calls).fold(0.0, f64::max);
        for edge in &self.edges {
            self.draw_edge(pen, edge, &places, sideways, most);
        }
        for (name, place) in self.names.iter().zip(&places) {
            let (at, size) = ((place.x - place.half, place.y - NODE_HEIGHT / 2.0), (2.0 * place.half, NODE_HEIGHT));
            pen.outlined(at, size, Ink::Panel, Some(Ink::Axis), 6.0);
            let shown = fitted(name, LABEL, size.0 - NODE_PADDING);
            pen.text(place.x, place.y + 4.0, &shown, Style::new(Ink::Text, LABEL).anchored(Anchor::Middle));
        }
        if self.edges.len() <= MAX_LABELS {
            for (at, edge) in self.edges.iter().enumerate() {
                self.label_edge(pen, edge, &places, sideways, at);
            }
        }
        let y = end + LINE;
        pen.dashed_line((4.0, y - 4.0), (34.0, y - 4.0), Ink::Error, 2.5, Some("6,3"));
        pen.text(40.0, y, "some calls failed", Style::new(Ink::Text, LABEL));
        pen.line((170.0, y - 4.0), (200.0, y - 4.0), Ink::Axis, 2.5);
        pen.text(206.0, y, "none failed", Style::new(Ink::Text, LABEL));
        y + 8.0
    }

    fn description(&self) -> String {
        let Some(most) = self.edges.iter().max_by(|a, b| a.calls.total_cmp(&b.calls)) else {
            return "A service map without calls.".to_owned();
        };
        let fail = self.edges.iter().filter(|edge| edge.error_share.is_some_and(|share| share > 0.0)).count();
        format!(
            "Service map: {} and {} between them, {fail} of which with failed calls. Most calls go from {} to {}: {}.",
            count(self.names.len() as u64, "service"),
            count(self.edges.len() as u64, "line"),
            plain(&self.names[most.from]),
            plain(&self.names[most.to]),
            self.unit.show(most.calls)
        )
    }

    fn table(&self) -> DataTable {
        let mut edges: Vec<&Edge> = self.edges.iter().collect();
        edges.sort_by(|a, b| b.calls.total_cmp(&a.calls));
        let rows = edges.into_iter().map(|edge| {
            vec![
                plain(&self.names[edge.from]),
                plain(&self.names[edge.to]),
                grouped(&format!("{}", edge.calls)),
                edge.error_share.map_or_else(|| "–".to_owned(), |share| Unit::Share.show(share)),
            ]
        });
        DataTable {
            columns: ["caller", "callee", "calls", "failed"].map(str::to_owned).to_vec(),
            numeric: vec![false, false, true, true],
            rows: rows.collect(),
            left_out: 0,
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// Boxes with their widths in rows of about as many: as few rows as hold them side by side.
fn in_rows(boxes: impl Iterator<Item = (usize, f64)>, room: f64) -> Vec<Vec<(usize, f64)>> {
    const GAP: f64 = 10.0;
    let boxes: Vec<(usize, f64)> = boxes.map(|(node, width)| (node, width.min(room - GAP))).collect();
    let packed = |most: usize| {
        let mut rows: Vec<Vec<(usize, f64)>> = Vec::new();
        let mut used = 0.0;
        for &(node, width) in &boxes {
            match rows.last_mut().filter(|row| row.len() < most && used + width + GAP <= room) {
                Some(row) => row.push((node, width)),
                None => {
                    rows.push(vec![(node, width)]);
                    used = GAP;
                }
            }
            used += width + GAP;
        }
        rows
    };
    let fewest = packed(boxes.len());
    packed(boxes.len().div_ceil(fewest.len().max(1)))
}

/// Leaves the services with the most calls and the calls between them.
fn keep_busiest(names: Vec<String>, edges: Vec<Edge>, notes: &mut Vec<String>) -> (Vec<String>, Vec<Edge>) {
    if names.len() <= MAX_NODES {
        return (names, edges);
    }
    let mut weights: Vec<(f64, usize)> = (0..names.len()).map(|node| (0.0, node)).collect();
    for edge in &edges {
        weights[edge.from].0 += edge.calls;
        weights[edge.to].0 += edge.calls;
    }
    weights.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept: Vec<usize> = weights.iter().take(MAX_NODES).map(|(_, node)| *node).collect();
    kept.sort_unstable();
    let place = |node: usize| kept.binary_search(&node).ok();
    let edges = edges.iter().filter_map(|edge| Some(Edge { from: place(edge.from)?, to: place(edge.to)?, ..*edge }));
    let edges: Vec<Edge> = edges.collect();
    notes.push(format!("The {MAX_NODES} services with the most calls of {} are drawn.", names.len()));
    (kept.iter().map(|node| names[*node].clone()).collect(), edges)
}

/// A line from the edge of one box to that of another, bent so that it leaves and enters straight; round about for a box that calls itself.
fn curve(from: Place, to: Place, sideways: bool, is_loop: bool) -> Vec<(f64, f64)> {
    const POINTS: usize = 18;
    let half = NODE_HEIGHT / 2.0;
    let (start, bend_start, bend_end, end) = if is_loop {
        let (left, right) = (from.x - from.half * 0.4, from.x + from.half * 0.4);
        let above = from.y - half;
        ((right, above), (right + 14.0, above - 22.0), (left - 14.0, above - 22.0), (left, above))
    } else if sideways {
        let way = if to.x > from.x { 1.0 } else { -1.0 };
        let (a, b) = ((from.x + way * from.half, from.y), (to.x - way * to.half, to.y));
        // Against the layers, or within one, the line goes round below.
        let dip = if to.x > from.x { 0.0 } else { 34.0 };
        let reach = ((b.0 - a.0).abs() / 2.0).max(24.0) * way;
        (a, (a.0 + reach, a.1 + dip), (b.0 - reach, b.1 + dip), b)
    } else {
        let way = if to.y > from.y { 1.0 } else { -1.0 };
        let (a, b) = ((from.x, from.y + way * half), (to.x, to.y - way * half));
        let dip = if to.y > from.y { 0.0 } else { 40.0 };
        let reach = ((b.1 - a.1).abs() / 2.0).max(16.0) * way;
        (a, (a.0 + dip, a.1 + reach), (b.0 + dip, b.1 - reach), b)
    };
    (0..=POINTS)
        .map(|at| {
            let t = at as f64 / POINTS as f64;
            let u = 1.0 - t;
            let (a, b, c, d) = (u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t);
            (
                a * start.0 + b * bend_start.0 + c * bend_end.0 + d * end.0,
                a * start.1 + b * bend_start.1 + c * bend_end.1 + d * end.1,
            )
        })
        .collect()
}
