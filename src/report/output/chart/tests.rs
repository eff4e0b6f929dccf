//! Drawings as they were approved, and what no value and no name may do to them.

use std::f64::consts::TAU;

use chrono_tz::Tz;

use super::drawing::Scene;
use super::*;
use crate::report::output::testing::drawn_span;

const HOUR_MS: f64 = 3_600_000.0;
/// Sunday 2026-03-29 00:00 in Berlin, where that day has 23 hours.
const SHORT_DAY: f64 = 1_774_738_800_000.0;

/// Compares with the file in `goldens`; `UPDATE_GOLDENS=1` writes the files anew, for a person to look at.
#[track_caller]
fn check(name: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/output/goldens").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&file, text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap_or_default(), "{name}");
}

fn berlin() -> Horizontal {
    Horizontal::Time { zone: chrono_tz::Europe::Berlin, is_zoned: true }
}

fn series(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
    let points = points.into_iter().map(|(x, y)| Point { x, y: Some(y) });
    Series { name: name.to_owned(), points: points.collect() }
}

fn lines() -> Drawing {
    let wave = |phase: f64, height: f64| {
        (0..92).map(move |at| {
            (SHORT_DAY + f64::from(at) * HOUR_MS / 4.0, height * (1.2 + (f64::from(at) / 92.0 * TAU + phase).sin()))
        })
    };
    let mut cart = series("cart", wave(0.0, 40.0));
    // An hour and a half without spans, and a value that is no number.
    cart.points.drain(40..46);
    cart.points[10].y = Some(f64::NAN);
    let all = vec![cart, series("checkout <b>&\u{202e}", wave(1.0, 90.0)), series("shipping", wave(2.5, 15.0))];
    let fit = fit(all);
    let scene = Lines { horizontal: berlin(), series: fit.series, unit: Unit::Time(1e6), measure: "p95_ms".to_owned() };
    Drawing::new("p95 by service", fit.notes, scene)
}

fn lying_bars() -> Drawing {
    let names =
        ["GET /cart", "POST /checkout with a name that is longer than there is room for on any screen", "日本語", ""];
    let places = |values: [f64; 4]| values.into_iter().enumerate().map(|(at, y)| (at as f64, y));
    let scene = Bars {
        horizontal: Horizontal::Names(names.map(str::to_owned).to_vec()),
        series: vec![
            series("ok", places([1_200.0, 900.0, 40.0, 0.0])),
            series("failed", places([30.0, 200.0, 1.0, 0.0])),
        ],
        stacked: true,
        adds_up: true,
        others: None,
        unit: Unit::Other(String::new()),
        measure: "requests".to_owned(),
    };
    Drawing::new("Requests by operation", Vec::new(), scene)
}

fn standing_bars() -> Drawing {
    let day = 24.0 * HOUR_MS;
    let bytes = (0..14).map(|at| (SHORT_DAY + f64::from(at) * day, 1024.0 * 1024.0 * f64::from(at * at - 20)));
    let scene = Bars {
        horizontal: Horizontal::Time { zone: Tz::UTC, is_zoned: false },
        series: vec![series("grown_bytes", bytes)],
        stacked: false,
        adds_up: true,
        others: None,
        unit: Unit::Bytes,
        measure: "grown_bytes".to_owned(),
    };
    Drawing::new("Growth", Vec::new(), scene)
}

fn heatmap() -> Drawing {
    let ends: Vec<f64> = (0..10).map(|at| f64::powi(2.0, at)).collect();
    let cells = (0..23).flat_map(|at| (0..10).map(move |row| (at, row)));
    let cells = cells.map(|(at, row)| {
        (SHORT_DAY + f64::from(at) * HOUR_MS, row, f64::from((at * 7 + row as i32 * 13) % 29).powi(3))
    });
    let scene = Heatmap {
        horizontal: berlin(),
        vertical: Vertical::Buckets(ends, Unit::Time(1e6)),
        cells: cells.filter(|cell| cell.2 > 0.0).collect(),
        measure: "le_ms".to_owned(),
        weight: "spans".to_owned(),
        weight_unit: Unit::Other(String::new()),
    };
    Drawing::new("Latency", Vec::new(), scene)
}

fn service_map() -> Drawing {
    let calls = [
        ("web", "cart", 1_200.0, Some(0.0)),
        ("web", "checkout", 300.0, Some(0.031)),
        ("checkout", "cart", 280.0, None),
        ("checkout", "payment", 290.0, Some(0.2)),
        ("payment", "checkout", 3.0, Some(0.0)),
        ("cart", "redis", 5_000.0, Some(0.0)),
        ("payment", "payment", 4.0, Some(0.0)),
    ];
    let calls = calls.map(|(caller, callee, calls, error_share)| Calls {
        caller: caller.to_owned(),
        callee: callee.to_owned(),
        calls,
        error_share,
    });
    Drawing::new("Who calls whom", Vec::new(), ServiceMap::new(calls.to_vec(), Unit::Other(String::new())))
}

fn waterfall() -> Drawing {
    let spans = vec![
        drawn_span((0, "web", "GET /checkout"), [0.0, 1_450.0, 120.0], true),
        drawn_span((1, "cart", "load"), [20.0, 60.0, 60.0], false),
        drawn_span((1, "checkout", "POST /checkout"), [90.0, 1_300.0, 40.0], true),
        drawn_span((2, "payment", "charge \u{1b}[31m<i>"), [120.0, 1_230.0, 1_230.0], true),
        drawn_span((2, "mail", "send"), [130.0, 300.0, 0.0], false),
    ];
    let trace = TraceDrawing { trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(), span_count: 214, spans };
    Drawing::new("Worst traces", Vec::new(), Waterfall { traces: vec![trace] })
}

#[test]
fn drawings_are_as_they_were_approved() {
    let drawings = [
        ("lines", lines()),
        ("lying_bars", lying_bars()),
        ("standing_bars", standing_bars()),
        ("heatmap", heatmap()),
        ("service_map", service_map()),
        ("waterfall", waterfall()),
    ];
    for (name, drawing) in drawings {
        check(&format!("{name}.svg"), &drawing.svg(WIDE).expect("drawn"));
        check(&format!("{name}_narrow.svg"), &drawing.svg(NARROW).expect("drawn"));
        let said = format!("{}\n\n{}\n\n{}\n", drawing.description, drawing.notes.join("\n"), in_lines(&drawing.table));
        check(&format!("{name}.txt"), &said);
    }
}

fn in_lines(table: &DataTable) -> String {
    let rows = std::iter::once(&table.columns).chain(&table.rows).map(|row| row.join(" | "));
    rows.collect::<Vec<_>>().join("\n")
}

/// Every coordinate lies near the drawing, every element is closed, and nothing of the names is markup.
fn check_sound(what: &str, drawing: &Drawing) {
    for width in [WIDE, NARROW] {
        let svg = drawing.svg(width).expect("drawn");
        assert!(svg.len() < 2 << 20, "{what}: {} bytes", svg.len());
        let parsed =
            resvg::usvg::roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{what}: {error}\n{svg}"));
        for element in parsed.descendants().filter(roxmltree_is_element) {
            let known = ["svg", "title", "desc", "g", "line", "rect", "path", "polygon", "circle", "text"];
            assert!(known.contains(&element.tag_name().name()), "{what}: <{}>", element.tag_name().name());
            for attribute in element.attributes() {
                let value = attribute.value();
                assert!(!value.contains("NaN") && !value.contains("inf"), "{what}: {}={value}", attribute.name());
                let is_place =
                    ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"].contains(&attribute.name());
                let place = value.parse::<f64>().unwrap_or_default();
                assert!(!is_place || (-600.0..=20_000.0).contains(&place), "{what}: {}={value}", attribute.name());
            }
        }
    }
}

fn roxmltree_is_element(node: &resvg::usvg::roxmltree::Node<'_, '_>) -> bool {
    node.is_element()
}

#[test]
fn no_values_spoil_a_drawing() {
    let ends =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e300, -1e-300, 5e-324, 0.0, -1.0, 42.0];
    let sets: Vec<(String, Vec<f64>)> = vec![
        ("nothing".to_owned(), vec![]),
        ("one".to_owned(), vec![7.0]),
        ("all equal".to_owned(), vec![7.0; 50]),
        ("zeros".to_owned(), vec![0.0; 3]),
        ("all kinds".to_owned(), ends.to_vec()),
        ("no numbers".to_owned(), vec![f64::NAN; 4]),
        ("huge".to_owned(), vec![f64::MAX, f64::MAX]),
        ("from end to end".to_owned(), vec![f64::MIN, f64::MAX]),
        ("tiny".to_owned(), vec![5e-324, 1e-320]),
        ("many".to_owned(), (0..100_000).map(|at| f64::from(at % 977)).collect()),
    ];
    let axes = [
        berlin(),
        Horizontal::Numbers(Unit::Other(String::new())),
        Horizontal::Names((0..100_000).map(|at| at.to_string()).collect()),
    ];
    for (name, values) in &sets {
        for (kind, horizontal) in axes.iter().enumerate() {
            let start = if kind == 0 { SHORT_DAY } else { 0.0 };
            let step = if kind == 0 { 60_000.0 } else { 1.0 };
            let points = values.iter().enumerate().map(|(at, y)| (start + at as f64 * step, *y));
            let fit = fit(vec![series("a", points.clone()), series("b", points.take(3))]);
            let unit = Unit::Time(1e6);
            let measure = "y".to_owned();
            let lines = Lines {
                horizontal: horizontal.clone(),
                series: fit.series.clone(),
                unit: unit.clone(),
                measure: measure.clone(),
            };
            check_sound(&format!("lines of {name}"), &Drawing::new("t", Vec::new(), lines));
            for stacked in [false, true] {
                let bars = Bars {
                    horizontal: horizontal.clone(),
                    series: fit.series.clone(),
                    stacked,
                    adds_up: stacked,
                    others: None,
                    unit: unit.clone(),
                    measure: measure.clone(),
                };
                check_sound(&format!("bars of {name}"), &Drawing::new("t", Vec::new(), bars));
            }
            let (ends, rows) = buckets(values);
            let cells = rows.iter().enumerate().filter_map(|(at, row)| Some((start + at as f64 * step, (*row)?, 1.0)));
            let heatmap = Heatmap {
                horizontal: horizontal.clone(),
                vertical: Vertical::Buckets(ends, unit),
                cells: cells.collect(),
                measure,
                weight: "n".to_owned(),
                weight_unit: Unit::Other(String::new()),
            };
            check_sound(&format!("heatmap of {name}"), &Drawing::new("t", Vec::new(), heatmap));
        }
    }
}

#[test]
fn no_name_spoils_a_drawing() {
    let long = "x".repeat(1 << 20);
    let names = [
        "<script>alert(1)</script>",
        "\u{202e}\u{0}\u{1b}[31m\u{ffff}",
        "\"><svg onload=x>",
        long.as_str(),
        "",
        "a\nb\tc",
        "مرحبا 日本語 🚀",
    ];
    let place = |at: usize| [(at as f64, 1.0 + at as f64)];
    let all: Vec<Series> = names.iter().enumerate().map(|(at, name)| series(name, place(at))).collect();
    let horizontal = Horizontal::Names(names.map(str::to_owned).to_vec());
    let unit = Unit::of(Some(names[0]), "");
    let lines =
        Lines { horizontal: horizontal.clone(), series: all.clone(), unit: unit.clone(), measure: plain(names[1]) };
    check_sound("lines", &Drawing::new(names[0], vec![names[1].to_owned()], lines));
    let bars = Bars {
        horizontal: horizontal.clone(),
        series: all,
        stacked: false,
        adds_up: false,
        others: None,
        unit: unit.clone(),
        measure: plain(names[2]),
    };
    check_sound("bars", &Drawing::new(&long, Vec::new(), bars));
    let calls = names.iter().flat_map(|caller| {
        names.iter().map(|callee| Calls {
            caller: (*caller).to_owned(),
            callee: (*callee).to_owned(),
            calls: 1.0,
            error_share: Some(0.5),
        })
    });
    check_sound("service map", &Drawing::new("t", Vec::new(), ServiceMap::new(calls.collect(), unit)));
    let spans = names.iter().enumerate().map(|(at, name)| DrawnSpan {
        depth: at * 1_000,
        service: (*name).to_owned(),
        name: (*name).to_owned(),
        start_ms: at as f64,
        duration_ms: 1e18,
        critical_ms: 0.0,
        is_error: at % 2 == 0,
    });
    let trace = TraceDrawing { trace_id: names[0].to_owned(), span_count: 7, spans: spans.collect() };
    check_sound("waterfall", &Drawing::new("t", Vec::new(), Waterfall { traces: vec![trace] }));
}

#[test]
fn of_many_bars_those_of_nothing_are_left_out_and_said() {
    let bars = |count: usize| Bars {
        horizontal: Horizontal::Names((0..count).map(|at| format!("service-{at}")).collect()),
        series: vec![series("errors", (0..count).map(|at| (at as f64, if at % 3 == 0 { 1.0 } else { 0.0 })))],
        stacked: false,
        adds_up: true,
        others: None,
        unit: Unit::Other(String::new()),
        measure: "errors".to_owned(),
    };
    let shown = |count: usize| {
        let drawing = Drawing::new("t", Vec::new(), bars(count));
        (drawing.table.rows.len(), drawing.notes)
    };
    assert_eq!(shown(10), (10, Vec::new()));
    assert_eq!(shown(12), (4, vec!["8 more have no value but 0 and are not drawn.".to_owned()]));
    let both = ["200 more have no value but 0 and are not drawn.", "The first 40 of 100 are drawn."].map(str::to_owned);
    assert_eq!(shown(300), (40, both.to_vec()));
}

#[test]
fn a_map_of_many_services_says_what_it_leaves_out() {
    let calls = (0..500).map(|at| Calls {
        caller: format!("service-{}", at % 70),
        callee: format!("service-{}", at * 7 % 90),
        calls: f64::from(at),
        error_share: None,
    });
    let drawing = Drawing::new("t", Vec::new(), ServiceMap::new(calls.collect(), Unit::Other(String::new())));
    check_sound("many services", &drawing);
    assert_eq!(drawing.notes, ["The 40 services with the most calls of 90 are drawn."]);
    assert!(drawing.table.rows.len() == 60 && drawing.table.left_out > 0);
}

#[test]
fn what_a_chart_shows_is_said_in_words() {
    let said = Waterfall { traces: Vec::new() }.description();
    assert_eq!(said, "There is no trace to draw.");
    assert_eq!(Waterfall { traces: Vec::new() }.table().rows.len(), 0);
    let drawing = lines();
    assert!(
        drawing.notes.contains(&"One value is no finite number and is not drawn.".to_owned()),
        "{:?}",
        drawing.notes
    );
    assert!(
        drawing.notes.contains(&"On 29 March 2026 the clock went forward from 02:00 to 03:00.".to_owned()),
        "{:?}",
        drawing.notes
    );
    let svg = drawing.svg(WIDE).expect("drawn");
    assert!(
        svg.contains("role=\"img\"")
            && svg.contains("<title>p95 by service</title>")
            && svg.contains("<desc>p95_ms, 3 lines")
    );
}
