//! Tenants of one server: each sends and sees its own spans only, whatever it names, and what happens to one is no matter of another.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spanhouse::access::TenantName;
use spanhouse::error::Kind;
use spanhouse::ingest::{ClientSettings, Doors, ExportClient, Ingest, IngestSettings, ShareLimits};
use spanhouse::store::{SnapshotSource, Store, StoreSettings};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{House, eventually};
use crate::otlp_server::{request, request_of, send, span, text};
use crate::support::Server;

fn name(text: &str) -> TenantName {
    text.parse().expect("a name")
}

/// Sends an export that shows a token and names a tenant, over both protocols; gives what became of each.
async fn export(server: &Server, token: &str, tenant: Option<&str>, payload: &[u8]) -> [Result<(), Kind>; 2] {
    let mut outcomes = Vec::new();
    for endpoint in [server.otlp_grpc_url(), format!("{}/v1/traces", server.otlp_http_url())] {
        let tenant = tenant.map(name);
        let settings = ClientSettings { retry_for: Duration::ZERO, tenant, ..ClientSettings::default() };
        let settings = if token.is_empty() { settings } else { settings.with_token(token).expect("a token") };
        let client = ExportClient::new(&endpoint, &settings).expect("an endpoint");
        outcomes.push(client.export(Bytes::from(payload.to_vec())).await.map(drop).map_err(|error| error.kind));
    }
    outcomes.try_into().expect("two")
}

/// Logs in; the error is an SQLSTATE.
async fn login(server: &Server, user: &str, password: &str, database: &str) -> Result<Client, String> {
    let port = server.postgres_port();
    let parameters = format!("host=127.0.0.1 port={port} user={user} password='{password}' dbname={database}");
    match tokio_postgres::connect(&parameters, NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            Ok(client)
        }
        Err(error) => Err(error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())),
    }
}

/// All values of a statement's rows, as text.
async fn values(client: &Client, statement: &str) -> Vec<String> {
    let messages = client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.flat_map(|row| (0..row.len()).map(move |at| row.get(at).unwrap_or_default().to_owned())).collect()
}

/// A trace that both tenants have, of a caller and whom it calls, marked with whose it is.
fn trace(mark: &str) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let of = |number: u64, parent: u64, kind: i32| Span {
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: format!("{mark} operation"),
        kind,
        attributes: vec![text(&format!("{mark}.key"), mark)],
        start_time_unix_nano: now - 1_000_000 + number,
        end_time_unix_nano: now,
        ..span(7)
    };
    let mut request = request_of(&format!("{mark}-front"), vec![of(1, 0, 2), of(2, 1, 3)]);
    request.resource_spans.extend(request_of(&format!("{mark}-back"), vec![of(3, 2, 2)]).resource_spans);
    request.encode_to_vec()
}

struct Tokens {
    own: String,
    acme: String,
    zeta: String,
}

/// Two tenants with a token and a reader each, the same of the default one, and an admin of none.
fn two_tenants(house: &House) -> Tokens {
    for tenant in ["acme", "zeta"] {
        house.must(&["tenant", "add", tenant], "");
    }
    for (user, role, tenant) in [
        ("ada", "reader", Some("acme")),
        ("zoe", "admin", Some("zeta")),
        ("dan", "reader", None),
        ("root", "admin", None),
    ] {
        let of_tenant = tenant.map(|tenant| vec!["--tenant", tenant]).unwrap_or_default();
        let arguments = ["user", "add", user, "--role", role, "--password-file", "-"];
        house.must(&[&arguments[..], &of_tenant].concat(), "pencil");
    }
    Tokens {
        own: house.token(&["own"]),
        acme: house.token(&["acme", "--tenant", "acme"]),
        zeta: house.token(&["zeta", "--tenant", "zeta"]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_no_tenant_sends_to_another_or_sees_it_also_after_a_kill() {
    let house = House::new();
    let tokens = two_tenants(&house);
    let quiet = [("SPANHOUSE_SEAL_AFTER", "1h"), ("SPANHOUSE_AUDIT", "statements")];
    let server = house.serve(&quiet);
    for (token, tenant, wanted) in [
        (&tokens.acme, Some("zeta"), Err(Kind::Denied)),
        (&tokens.acme, Some("nobody"), Err(Kind::Denied)),
        (&tokens.own, Some("acme"), Err(Kind::Denied)),
        (&String::new(), Some("acme"), Err(Kind::Unauthenticated)),
        (&String::new(), None, Err(Kind::Unauthenticated)),
    ] {
        let outcomes = export(&server, token, tenant, &trace("refused")).await;
        assert_eq!(outcomes, [wanted, wanted], "{tenant:?}");
    }
    for (token, tenant, mark) in
        [(&tokens.acme, None, "acme"), (&tokens.zeta, Some("zeta"), "zeta"), (&tokens.own, None, "dflt")]
    {
        // The second one is a retry of the first, whichever way it comes.
        assert_eq!(export(&server, token, tenant, &trace(mark)).await.map(|outcome| outcome.is_ok()), [true; 2]);
    }
    sees_only_its_own(&server).await;
    server.kill_9();
    drop(server);
    let server = house.serve(&quiet);
    sees_only_its_own(&server).await;
    server.stop();
    let server = house.serve(&quiet);
    sees_only_its_own(&server).await;
    // What was asked is noted with whose it was, and only that one's admin reads of it.
    let zoe = login(&server, "zoe", "pencil", "zeta").await.expect("let in");
    let tenants = values(&zoe, "SELECT DISTINCT tenant FROM system.audit").await;
    assert_eq!(tenants, ["zeta"], "an admin of a tenant reads about that one");
    let root = login(&server, "root", "pencil", "spanhouse").await.expect("let in");
    let mut tenants = values(&root, "SELECT DISTINCT coalesce(tenant, '-') FROM system.audit").await;
    tenants.sort_unstable();
    assert_eq!(tenants, ["-", "acme", "zeta"]);
    // Who is no admin any more stays in no database that a reader of none has no right to.
    let in_acme = login(&server, "root", "pencil", "acme").await.expect("let in");
    assert_eq!(values(&in_acme, "SELECT count(*) FROM spans").await, ["3"]);
    house.must(&["user", "grant", "root", "reader"], "");
    house.must(&["user", "revoke", "root", "admin"], "");
    for tries in 0.. {
        if let Err(error) = in_acme.simple_query("SELECT count(*) FROM spans").await {
            assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{error:?}");
            break;
        }
        assert!(tries < 600, "it still sees what is of acme");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(values(&root, "SELECT count(*) FROM spans").await, ["3"], "its own go on");
    server.stop();
}

/// Asks everything of each tenant's database that there is to ask, and looks for what is not its own.
async fn sees_only_its_own(server: &Server) {
    let marks = ["acme", "zeta", "dflt", "refused"];
    for (user, database, mark) in [
        ("ada", "acme", "acme"),
        ("zoe", "zeta", "zeta"),
        ("dan", "spanhouse", "dflt"),
        ("root", "acme", "acme"),
        ("root", "zeta", "zeta"),
        ("root", "spanhouse", "dflt"),
        // The database of none in particular is the user's own.
        ("ada", "ada", "acme"),
        ("zoe", "postgres", "zeta"),
        ("dan", "dan", "dflt"),
    ] {
        let client = login(server, user, "pencil", database).await.unwrap_or_else(|error| panic!("{user}: {error}"));
        let own = if mark == "dflt" { "spanhouse" } else { mark };
        assert_eq!(values(&client, "SELECT current_database()").await, [own]);
        assert_eq!(values(&client, "SELECT datname FROM pg_database").await, [own]);
        assert_eq!(values(&client, "SELECT DISTINCT table_catalog FROM information_schema.tables").await, [own]);
        assert_eq!(values(&client, "SELECT DISTINCT datname FROM pg_stat_activity").await, [own]);
        assert_eq!(values(&client, &format!("SELECT count(*) FROM {own}.traces.spans")).await.len(), 1);
        let spans = values(&client, "SELECT count(*), count(DISTINCT trace_id) FROM spans").await;
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[1], "1", "{user} in {database}: one trace, whose id all tenants have");
        let relations = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
                         WHERE table_schema IN ('traces', 'system')";
        let mut asked = vec![
            "SELECT * FROM trace_tree('00000000000000000000000000000007')".to_owned(),
            "SELECT * FROM critical_path('00000000000000000000000000000007')".to_owned(),
        ];
        for relation in values(&client, relations).await {
            // What was asked of the audit log names whom it was asked about.
            let is_told_apart = relation != "system.audit";
            let may = user != "ada" && user != "dan";
            asked.extend((is_told_apart || may && own != "spanhouse").then(|| format!("SELECT * FROM {relation}")));
        }
        assert!(asked.len() > 15, "{asked:?}");
        for statement in asked {
            let text = values(&client, &statement).await.join("\n");
            for other in marks.iter().filter(|other| **other != mark) {
                let found = text.contains(&format!("{other}-")) || text.contains(&format!("{other} operation"));
                assert!(!found, "{user} in {database} sees what is of {other}: {statement}: {text}");
            }
        }
    }
    for (user, database) in [
        ("ada", "zeta"),
        ("ada", "spanhouse"),
        ("ada", "nobody"),
        ("zoe", "acme"),
        ("zoe", "spanhouse"),
        ("dan", "acme"),
        ("dan", "nobody"),
        ("root", "nobody"),
    ] {
        assert_eq!(login(server, user, "pencil", database).await.err().as_deref(), Some("3D000"), "{user} {database}");
    }
    assert_eq!(login(server, "ada", "wrong", "zeta").await.err().as_deref(), Some("28P01"), "first who, then what");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_a_tenant_is_no_matter_of_another_and_may_change() {
    let house = House::new();
    for tenant in ["acme", "zeta"] {
        house.must(&["tenant", "add", tenant, "--retention", if tenant == "acme" { "2h" } else { "off" }], "");
    }
    let server = house.serve(&[("SPANHOUSE_SEAL_AFTER", "1h")]);
    let old = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") - Duration::from_secs(3 * 3600);
    let started = old.as_nanos() as u64;
    let spans = |from: u64| {
        let span = |number| Span { start_time_unix_nano: started, end_time_unix_nano: started, ..span(number) };
        request((from..from + 10).map(span).collect())
    };
    // Nobody has to show anything here: what is named counts, if it is there.
    for tenant in ["acme", "zeta"] {
        assert_eq!(export(&server, "", Some(tenant), &spans(1)).await, [Ok(()); 2]);
    }
    assert_eq!(export(&server, "", Some("nobody"), &spans(1)).await, [Err(Kind::Denied); 2]);
    let count = async |tenant: &str| {
        let client = login(&server, "test", "", tenant).await.expect("let in");
        values(&client, "SELECT count(*) FROM spans").await.remove(0)
    };
    assert_eq!([count("acme").await, count("zeta").await, count("spanhouse").await], ["0", "10", "0"]);
    house.must(&["tenant", "set", "acme", "--retention", "default", "--spans-per-second", "1"], "");
    for tries in 0.. {
        if count("acme").await == "10" {
            break;
        }
        assert!(tries < 600, "the retention stays what it was");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // One of both is within the rate; then it is over.
    let sent = export(&server, "", Some("acme"), &spans(100)).await;
    assert_eq!(sent.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{sent:?}");
    assert!(sent.iter().any(|outcome| matches!(outcome, Err(Kind::Overloaded { .. }))), "{sent:?}");
    assert_eq!(export(&server, "", Some("zeta"), &spans(100)).await, [Ok(()); 2]);
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let metrics = send(client, "GET", format!("{}/metrics", server.admin_url()), &[], Vec::new()).await;
    let metrics = String::from_utf8(metrics.body.to_vec()).expect("UTF-8");
    for line in [
        "spanhouse_tenant_accepted_spans_total{tenant=\"acme\"} 30.0",
        "spanhouse_tenant_accepted_spans_total{tenant=\"zeta\"} 40.0",
        "spanhouse_tenant_accepted_spans_total{tenant=\"spanhouse\"} 0.0",
        "spanhouse_tenant_fresh_spans{tenant=\"zeta\"} 20.0",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}: {metrics}");
    }
    server.stop();
    let told = house.must(&["sql", "--tenant", "zeta", "--format", "csv", "SELECT count(*) FROM spans"], "");
    assert_eq!(told.lines().last(), Some("20"));
    for command in [&["check"][..], &["table"], &["compact"], &["status"], &["redact", "--dry-run", "--trace-id", "7"]]
    {
        let output = house.run(&[command, &["--tenant", "nobody"]].concat(), "");
        assert!(!output.status.success(), "{command:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("there is no tenant"), "{command:?}");
    }
    house.must(&["check", "--tenant", "zeta"], "");
    house.must(&["compact", "--tenant", "zeta"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_budget_is_full_keeps_no_other_from_sending() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || StoreSettings { seal_after: Duration::from_secs(3600), ..StoreSettings::default() };
    let own = Store::open(&folder.path().join("own"), settings()).await.expect("a store");
    let doors = Doors::new(Ingest::new(own.clone(), IngestSettings::default()), 64 << 20);
    let mut stores: Vec<Arc<Store>> = vec![own.clone()];
    let mut tenants = Vec::new();
    let limits = |log_bytes| ShareLimits { fresh_bytes: 32 << 20, log_bytes };
    for tenant in ["acme", "zeta"] {
        let store = own.open_beside(&folder.path().join(tenant), settings()).await.expect("a store");
        tenants.push(doors.open(&name(tenant), store.clone(), limits(1 << 30)));
        stores.push(store);
    }
    let payload = |number: u64| Bytes::from(request(vec![span(number)]));
    tenants[0].export(payload(1)).await.expect("there is room");
    tenants[0].limit(limits(1));
    let refused = tenants[0].export(payload(2)).await.expect_err("its log has its size");
    assert!(matches!(refused.kind, Kind::Overloaded { .. }), "{refused}");
    for number in 1..20 {
        tenants[1].export(payload(number)).await.expect("the other has room");
        doors.own().export(payload(number)).await.expect("the default one has room");
    }
    tenants[0].limit(limits(1 << 30));
    tenants[0].export(payload(2)).await.expect("more was allowed");
    let mut spans = Vec::new();
    for store in &stores {
        store.seal().await.expect("sealed");
        let snapshot = store.snapshot().await.expect("a snapshot");
        spans.push(snapshot.files.iter().map(|file| file.rows).sum::<u64>());
    }
    assert_eq!(spans, [19, 2, 19]);
    for store in stores.into_iter().rev() {
        store.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_come_and_go_while_a_server_runs() {
    let house = House::new();
    let server = house.serve(&[("SPANHOUSE_SEAL_AFTER", "1h")]);
    for (wrong, why) in
        [("../acme", "must begin"), ("Acme", "must begin"), ("a b", "may have"), ("spanhouse", "a database's name")]
    {
        let output = house.run(&["tenant", "add", wrong], "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(why), "{wrong}: {told}");
    }
    let output = house.run(&["token", "add", "shop", "--tenant", "acme"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no tenant \"acme\""));
    house.must(&["tenant", "add", "acme"], "");
    assert!(!house.run(&["tenant", "add", "acme"], "").status.success(), "there is one");
    for tries in 0.. {
        if export(&server, "", Some("acme"), &trace("acme")).await == [Ok(()); 2] {
            break;
        }
        assert!(tries < 600, "the new tenant is not there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let session = login(&server, "test", "", "acme").await.expect("let in");
    assert_eq!(values(&session, "SELECT count(*) FROM spans").await, ["3"]);
    house.must(&["token", "add", "shop", "--tenant", "acme"], "");
    assert!(house.must(&["tenant", "list"], "").contains("acme: 0 users, 1 token"));
    let refused = |arguments: &[&str], why: &str| {
        let output = house.run(arguments, "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(why), "{arguments:?}: {told}");
    };
    refused(&["tenant", "drop", "acme", "--with-data"], "still has tokens shop");
    house.must(&["token", "drop", "shop"], "");
    refused(&["tenant", "drop", "acme"], "has 3 spans in");
    refused(&["tenant", "drop", "nobody"], "there is no tenant \"nobody\"");
    let dir = house.data_dir().join("tenants/acme");
    assert!(dir.join("wal").is_dir());
    let told = house.must(&["tenant", "drop", "acme", "--with-data"], "");
    assert!(told.contains("acme is no tenant any more") && told.contains("with 3 spans"), "{told}");
    assert!(!dir.exists());
    eventually("its session goes on", || session.is_closed());
    assert_eq!(export(&server, "", Some("acme"), &trace("acme")).await, [Err(Kind::Denied); 2]);
    assert_eq!(login(&server, "test", "", "spanhouse").await.map(drop), Ok(()), "the others go on");
    server.stop();
}

#[test]
fn psql_lists_the_own_database_only() {
    const TEST: &str = "psql_lists_the_own_database_only";
    if !crate::pg::has_psql(TEST) {
        return;
    }
    let house = House::new();
    two_tenants(&house);
    let server = house.serve(&[]);
    let psql = |user: &str, database: &str, command: &str| {
        let target = format!("host=127.0.0.1 port={} user={user} dbname={database}", server.postgres_port());
        let mut psql = Command::new("psql");
        let output = psql.args(["-X", "-w", "-At", "-c", command]).arg(target).env("PGPASSWORD", "pencil").output();
        output.expect("psql runs")
    };
    let listed = psql("ada", "acme", "\\l");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.starts_with("acme|") && !listed.contains("zeta") && !listed.contains("spanhouse|UTF8"), "{listed}");
    let moved = psql("ada", "acme", "\\c zeta");
    let told = String::from_utf8_lossy(&moved.stderr).into_owned();
    assert!(told.contains("database \"zeta\" does not exist"), "{told}");
    server.stop();
}
