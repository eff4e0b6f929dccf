//! The OpenTelemetry Collector in front, as `packaging/` has it: what is refused for a while waits in it and comes again, once.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Collector, Server, go};

const SPANS: i64 = 1_000;
const SPANS_A_SECOND: &str = "400";
/// What the token makes it wait is seconds; a loaded machine takes longer.
const COMES_WITHIN: Duration = Duration::from_secs(180);

#[test]
fn the_shipped_settings_are_settings_of_the_collector() {
    let Some(program) = Collector::program("the_shipped_settings_are_settings_of_the_collector") else { return };
    Collector::validate(&program);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_a_while_comes_again_once() {
    let test = "what_is_refused_for_a_while_comes_again_once";
    let Some(program) = Collector::program(test) else { return };
    let Some(sender) = go("sdk", test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut token = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    token.args(["token", "add", "collector", "--spans-per-second", SPANS_A_SECOND, "--data-dir"]).arg(folder.path());
    let token = String::from_utf8(token.output().expect("spanhouse runs").stdout).expect("UTF-8");
    let server = Server::start_in(folder.path(), &[]);
    let collector = Collector::start(&program, &server, token.trim());
    for service in ["first", "second", "third"] {
        sender.run(&["grpc", &collector.grpc_url(), service, &SPANS.to_string()]);
    }
    let sql = server.postgres().await;
    let (counts, give_up) = ("SELECT count(*), count(DISTINCT span_id) FROM spans", Instant::now() + COMES_WITHIN);
    loop {
        let row = sql.query_one(counts, &[]).await.expect("counts");
        let (all, different) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        if different == 3 * SPANS {
            assert_eq!(all, different, "some came twice");
            break;
        }
        assert!(Instant::now() < give_up, "{different} of {} spans came", 3 * SPANS);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let refused = "SELECT sum(count)::bigint FROM system.ingest WHERE reason = 'over_rate'";
    assert!(sql.query_one(refused, &[]).await.expect("a count").get::<_, i64>(0) > 0, "nothing was refused");

    let other = tempfile::tempdir().expect("a folder");
    let mut import = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    let done =
        import.arg("import").arg(collector.file()).arg("--data-dir").arg(other.path()).output().expect("imports");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut count = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    count
        .args(["sql", "--format", "csv", "SELECT count(DISTINCT span_id) AS n FROM spans", "--data-dir"])
        .arg(other.path());
    let count = String::from_utf8(count.output().expect("counts").stdout).expect("UTF-8");
    assert_eq!(count, format!("n\n{}\n", 3 * SPANS), "the file exporter's file");
}
