//! What is compared with a week ago, in the weeks in which clocks are set: the week before is one of the calendar.

use std::fs;

use chrono::DateTime;
use serde_json::json;

use super::commands::{Place, SUCCESS};

/// A request of a service at each of these times.
fn requests(service: &str, times: &[&str]) -> serde_json::Value {
    let span = |(number, time): (usize, &&str)| {
        let start_ns = DateTime::parse_from_rfc3339(time).expect(time).timestamp_nanos_opt().expect("a time");
        json!({
            "traceId": format!("{:032x}", start_ns as u128 + number as u128),
            "spanId": format!("{:016x}", number + 1),
            "name": "GET /",
            "kind": 2,
            "startTimeUnixNano": start_ns.to_string(),
            "endTimeUnixNano": (start_ns + 1_000_000).to_string(),
        })
    };
    let spans: Vec<serde_json::Value> = times.iter().enumerate().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

#[test]
fn a_day_is_compared_with_the_same_day_of_the_week_before_also_when_clocks_were_set_between() {
    let place = Place::empty();
    // A quarter past each midnight is in the day that begins, and a quarter to it in the day that ends, by Berlin's clock.
    let edges =
        |day: &str, next: &str| [format!("{day}T00:15:00"), format!("{day}T23:45:00"), format!("{next}T00:15:00")];
    let mut times = Vec::new();
    for (day, next, offsets) in [
        ("2026-03-22", "2026-03-23", ["+01:00", "+01:00", "+01:00"]),
        ("2026-03-29", "2026-03-30", ["+01:00", "+02:00", "+02:00"]),
        ("2026-10-18", "2026-10-19", ["+02:00", "+02:00", "+02:00"]),
        ("2026-10-25", "2026-10-26", ["+02:00", "+01:00", "+01:00"]),
    ] {
        times.extend(edges(day, next).into_iter().zip(offsets).map(|(time, offset)| time + offset));
    }
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    fs::write(place.path().join("a.json"), requests("shop", &times).to_string()).expect("written");
    let imported = place.spanhouse(&["import", "a.json"]);
    assert_eq!(imported.code, SUCCESS, "{}", imported.err);
    let written =
        place.spanhouse(&["report", "init", "daily_service_health", "volume_by_service", "slowest_operations"]);
    assert_eq!(written.code, SUCCESS, "{}", written.err);
    for name in ["daily_service_health", "volume_by_service", "slowest_operations"] {
        let path = place.path().join("reports").join(format!("{name}.sql"));
        let text = fs::read_to_string(&path).expect("readable");
        assert!(text.contains("time_zone = \"UTC\""), "{text}");
        fs::write(&path, text.replace("time_zone = \"UTC\"", "time_zone = \"Europe/Berlin\"")).expect("written");
    }
    for (day, next) in [("2026-03-29", "2026-03-30"), ("2026-10-25", "2026-10-26")] {
        let run = |name: &str, more: &[&str]| {
            place.rows(&[&["report", "run", name, "--dry-run", "--from", day, "--to", next], more].concat())
        };
        let health = run("daily_service_health", &[]);
        assert_eq!(
            (&health[0]["requests"], &health[0]["requests_before"]),
            (&2.into(), &2.into()),
            "{day}: {health:?}"
        );
        let slowest = run("slowest_operations", &["least_requests=1"]);
        assert_eq!(slowest[0]["requests"], 2, "{day}: {slowest:?}");
    }
    // A week with a change is compared with the seven days before it.
    for (from, to, expected) in [("2026-03-23", "2026-03-30", (3, 2)), ("2026-10-19", "2026-10-26", (3, 2))] {
        let volume = place.rows(&["report", "run", "volume_by_service", "--dry-run", "--from", from, "--to", to]);
        let (spans, before) = (volume[0]["spans"].as_i64(), volume[0]["spans_before"].as_i64());
        assert_eq!((spans, before), (Some(expected.0), Some(expected.1)), "{from}: {volume:?}");
    }
}
