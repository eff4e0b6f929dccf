//! Anomalies, baselines, deviations, forecasts and sampled counts against `tests/clients/predictions.py`, which works them out with scikit-learn,
//! scipy and numpy; and that they do not depend on where the spans lie.

use crate::support::{Server, python};

/// All that the functions say, each as one text.
const ALL: [&str; 3] = [
    "SELECT string_agg(trace_id || score || reasons::text, ',' ORDER BY trace_id)
        FROM anomalies(timestamp < '2026-02-08', timestamp >= '2026-02-08', threshold => 0)",
    "SELECT string_agg(service_name || time::text || rate_high || coalesce(p95_high_ms, -1), ',' ORDER BY service_name, time) FROM forecast()",
    "SELECT string_agg(span_name || hour_of_week || p95_ms || rate, ',' ORDER BY service_name, span_name, hour_of_week) FROM baseline()
        WHERE service_name NOT LIKE 'sampled%'",
];

async fn all(server: &Server) -> Vec<String> {
    let client = server.postgres().await;
    let mut answers = Vec::new();
    for sql in ALL {
        answers.push(client.query_one(sql, &[]).await.expect("an answer").get(0));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_those_that_another_program_makes() {
    let Some(python) = python("predictions_are_those_that_another_program_makes") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    let said = python.run("predictions.py", &[&server.otlp_http_url(), server.postgres_port()]);
    assert!(said.contains("rank agreement") && said.contains("bounds hold"), "{said}");
    let fresh = all(&server).await;
    assert!(fresh.iter().all(|answer| answer.len() > 5_000), "{fresh:?}");
    server.stop();
    let server = Server::start_in(folder.path(), &[]);
    assert!(all(&server).await == fresh, "other answers once the spans are stored");
}
