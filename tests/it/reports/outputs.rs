//! What a run leaves behind: files that other programs read, and pages that a browser shows without a complaint.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tempfile::TempDir;

use crate::support::browser;

/// Fifteen minutes around the moment when the clocks of Berlin went forward.
const FROM: &str = "2026-03-29T00:55:00Z";
const TO: &str = "2026-03-29T01:10:00Z";
const VISITS: &str = "900";

const TRAFFIC: &str = r#"-- title = "Traffic <of> the shop"
-- description = "Each service, minute by minute."
-- owners = ["shop@example.com"]
-- schedule = { every = "15m", time_zone = "Europe/Berlin" }
-- window = "15m"
-- [[outputs]]
-- format = "html"
-- [[outputs]]
-- format = "markdown"
-- [[outputs]]
-- format = "csv"
-- [[outputs]]
-- format = "ndjson"
-- [[outputs]]
-- format = "parquet"
-- [[outputs]]
-- format = "png"
-- [[charts]]
-- kind = "line"
-- x = "time"
-- y = ["p95_ms"]
-- series = "service_name"
-- [[charts]]
-- kind = "bar"
-- x = "time"
-- y = ["spans"]
-- series = "service_name"
-- [[charts]]
-- kind = "heatmap"
-- x = "time"
-- y = ["p95_ms"]
-- value = "spans"
-- [[charts]]
-- kind = "waterfall"
-- x = "trace_id"
-- [[alerts]]
-- name = "slow"
-- column = "p95_ms"
-- above = 1.0
-- group_by = ["service_name"]
SELECT
    date_bin(INTERVAL '1 minute', timestamp) AS time,
    service_name,
    count(*) AS spans,
    quantile(duration_ms, 0.95) AS p95_ms,
    max(trace_id) AS trace_id
FROM spans
WHERE timestamp >= :from AND timestamp < :to
GROUP BY 1, 2
ORDER BY 1, 2
"#;

const MAP: &str = r#"-- title = "Who calls whom"
-- window = "15m"
-- [[charts]]
-- kind = "service_map"
-- x = "caller"
-- y = ["callee"]
-- value = "calls"
-- [[charts]]
-- kind = "bar"
-- x = "callee"
-- y = ["p50_ms", "p95_ms"]
SELECT caller, callee, calls, errors, error_rate, p50_ms, p95_ms
FROM service_map(:from, :to)
ORDER BY calls DESC
"#;

/// A data directory with the traces of a shop, and a folder of reports.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(reports: &[(&str, &str)]) -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(place.folder.path().join("reports")).expect("a folder");
        for (name, text) in reports {
            std::fs::write(place.folder.path().join("reports").join(format!("{name}.sql")), text).expect("written");
        }
        let shop = ["generate", "--traces", VISITS, "--visits-per-second", "1", "--start", FROM, "--out", "shop.otlp"];
        place.spanhouse(&shop);
        place.spanhouse(&["import", "shop.otlp", "--data-dir", "data"]);
        place
    }

    fn spanhouse(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPANHOUSE_")) {
            command.env_remove(name);
        }
        let output = command.output().expect("spanhouse starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        out.into_owned()
    }

    /// Runs a report over the traces and gives the folder with its files.
    fn run(&self, report: &str) -> PathBuf {
        self.spanhouse(&[
            "report",
            "run",
            report,
            "--from",
            FROM,
            "--to",
            TO,
            "--data-dir",
            "data",
            "--reports-dir",
            "reports",
        ]);
        let results = self.folder.path().join("data/reports/results").join(report);
        let mut runs = std::fs::read_dir(&results).expect("results").map(|entry| entry.expect("a folder").path());
        runs.next().expect("a run")
    }
}

#[test]
fn a_run_leaves_files_that_other_programs_read() {
    let place = Place::new(&[("traffic", TRAFFIC)]);
    let folder = place.run("traffic");
    let read = |name: &str| std::fs::read(folder.join(name)).expect(name);
    let text = |name: &str| String::from_utf8(read(name)).expect("UTF-8");

    let csv = text("traffic.csv");
    let rows = csv.lines().count() - 1;
    assert!(rows > 100, "{rows} rows");
    // Where people read times, the clock goes from two to three.
    assert!(csv.contains("2026-03-29 01:59:00+01") && csv.contains("2026-03-29 03:00:00+02"), "{csv}");
    let objects = text("traffic.ndjson");
    let objects: Vec<serde_json::Value> =
        objects.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects.len(), rows);
    assert_eq!(objects[0]["time"], "2026-03-29T00:55:00Z");
    let reader =
        ParquetRecordBatchReader::try_new(bytes::Bytes::from(read("traffic.parquet")), 1_000).expect("Parquet");
    assert_eq!(reader.map(|batch| batch.expect("rows").num_rows()).sum::<usize>(), rows);

    let markdown = text("traffic.md");
    assert!(markdown.starts_with("# Traffic &lt;of&gt; the shop\n"), "{markdown}");
    assert!(markdown.contains("- **Window:** Sunday 29 March 2026, 01:55 CET to 03:10 CEST\n"), "{markdown}");
    assert!(markdown.contains("**FIRING** warning slow") && markdown.contains("All are in traffic.csv"), "{markdown}");
    let png = read("traffic.png");
    assert_eq!((&png[..8], &png[12..16]), (&b"\x89PNG\r\n\x1a\n"[..], &b"IHDR"[..]));
    let html = text("traffic.html");
    for said in [
        "<h1>Traffic &lt;of&gt; the shop</h1>",
        "On 29 March 2026 the clock went forward from 02:00 to 03:00.",
        "Waterfall of 1 trace.",
        "Worst traces (3 of 3)",
        "on the critical path",
    ] {
        assert!(html.contains(said), "the page does not say {said}");
    }
}

#[test]
fn a_browser_shows_the_pages_of_real_traces() {
    let test = "a_browser_shows_the_pages_of_real_traces";
    // Before the traces are made: without a browser all else is in vain.
    if browser(test).is_none() {
        return;
    }
    let place = Place::new(&[("traffic", TRAFFIC), ("map", MAP)]);
    for report in ["traffic", "map"] {
        let page = place.run(report).join(format!("{report}.html"));
        look(test, &page, None, report);
    }
}

#[test]
fn a_browser_shows_the_charts_as_they_were_approved() {
    let test = "a_browser_shows_the_charts_as_they_were_approved";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The page that a unit test holds to the code.
    let page = root.join("src/report/output/goldens/health.html");
    look(test, &page, Some(&root.join("tests/fixtures/report_charts")), "health");
}

/// Looks at a page in light, at night, on a phone and on paper, and compares pictures of its charts with those in `goldens`, if any.
fn look(test: &str, page: &Path, goldens: Option<&Path>, name: &str) {
    let Some((node, chromium)) = browser(test) else { return };
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report_pages").join(name);
    std::fs::create_dir_all(&out).expect("a folder");
    let font = out.join("font.ttf");
    std::fs::write(&font, charts_rs::DEFAULT_FONT_DATA).expect("written");
    let goldens = goldens.unwrap_or(Path::new("none"));
    let paths = [chromium.as_path(), page, &font, goldens, &out].map(|path| path.to_str().expect("a path"));
    let said = node.run("look.mjs", &paths);
    assert_eq!(said.lines().last(), Some("looked at 5 views"), "{said}");
}
