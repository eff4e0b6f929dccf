//! Directories, object stores and what trusts an authority by the environment, through the program's own command.

use std::path::Path;
use std::sync::Arc;

use spanhouse::report::{DeliveryStatus, Target};

use super::house::House;
use super::{JumpingClock, courier, deliver_with, delivery, tries};
use crate::support::{ObjectStoreServer, Receivers};

const ANSWER: &str = "SELECT 42 AS answer";

#[tokio::test]
async fn a_directory_has_the_files_of_a_run_whole() {
    let root = tempfile::tempdir().expect("a folder");
    let target = Target::Directory(root.path().join("out"));
    for _ in 0..2 {
        let delivered = deliver_with(&courier(&[]), &delivery(target.clone()), &tries(), &JumpingClock::new()).await;
        assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 1));
    }
    let folder = root.path().join("out/health/2026-03-29T050000Z");
    assert_eq!(names(&folder), ["health.html", "summary.txt"]);
    assert_eq!(names(&root.path().join("out/health")), ["2026-03-29T050000Z"], "nothing half is left");
    let summary = std::fs::read_to_string(folder.join("summary.txt")).expect("a summary");
    assert!(summary.starts_with("**Daily &lt;health&gt;**: 2 rows"), "{summary}");
    let file = root.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let delivered =
        deliver_with(&courier(&[]), &delivery(Target::Directory(file)), &tries(), &JumpingClock::new()).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 3));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All objects below a prefix.
async fn objects(server: &ObjectStoreServer, prefix: &str) -> Vec<String> {
    use datafusion::object_store::ObjectStore;
    use datafusion::object_store::aws::AmazonS3Builder;
    use datafusion::object_store::azure::MicrosoftAzureBuilder;
    use datafusion::object_store::path::Path;
    use futures::TryStreamExt as _;

    let url = server.table_url(prefix);
    let endpoint = format!("http://{}", server.address);
    let store: Arc<dyn ObjectStore> = if url.starts_with("s3:") {
        let builder = AmazonS3Builder::new().with_url(&url).with_endpoint(endpoint).with_allow_http(true);
        let builder = builder.with_access_key_id("test").with_secret_access_key("test").with_region("us-east-1");
        Arc::new(builder.build().expect("a store"))
    } else {
        // The account and the key that every Azurite has.
        let (account, endpoint) = ("devstoreaccount1", format!("{endpoint}/devstoreaccount1"));
        let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        let builder = MicrosoftAzureBuilder::new().with_url(&url).with_endpoint(endpoint).with_allow_http(true);
        let builder = builder.with_account(account).with_access_key(key);
        Arc::new(builder.build().expect("a store"))
    };
    let found: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.expect("a list");
    found.into_iter().map(|object| object.location.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_has_the_files_of_a_run() {
    let servers = [ObjectStoreServer::s3("an_object_store_has"), ObjectStoreServer::azure("an_object_store_has")];
    for server in servers.into_iter().flatten() {
        let delivery = |prefix| format!("to = \"object_store\"\nurl = \"{}\"\nattempts = 1", server.table_url(prefix));
        let house = House::with("", &delivery("reports"), ANSWER);
        let (is_well, delivered) = house.run(&server.environment(server.address));
        assert!(is_well && delivered["status"] == "delivered", "{delivered}");
        let found = objects(&server, "reports").await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("reports/answer/") && found[0].ends_with("/answer.csv"), "{found:?}");
        assert!(found[1].ends_with("/summary.txt"), "{found:?}");
    }
}

#[test]
fn a_store_without_its_credentials_is_told_of() {
    let house = House::with("", "to = \"object_store\"\nurl = \"az://container/reports\"\nattempts = 1", ANSWER);
    let (is_well, delivered) = house.run(&[]);
    assert!(!is_well && delivered["status"] == "failed", "{delivered}");
    let error = delivered["error"].as_str().expect("why");
    assert!(error.contains("az://container/reports") && error.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
}

#[test]
fn authorities_are_trusted_that_the_environment_names() {
    let Some(receivers) = Receivers::start("authorities_are_trusted") else { return };
    let hook = format!("to = \"webhook\"\nurl = \"https://127.0.0.1:{}/hook\"\nattempts = 1", receivers.port("https"));
    let mail = format!(
        "to = \"email\"\nserver = \"127.0.0.1\"\nport = {}\ntls = \"wrapped\"\nuser = \"reports\"\n\
         password = {{ env = \"MAIL_PASSWORD\" }}\nfrom = \"reports@example.com\"\nrecipients = [\"ann@example.com\"]\nattempts = 1",
        receivers.port("wrapped")
    );
    let house = House::with("", &hook, ANSWER);
    let password = ("MAIL_PASSWORD".to_owned(), Receivers::LOGIN.1.to_owned());
    let authority = ("SSL_CERT_FILE".to_owned(), receivers.authority_file().display().to_string());
    for (delivery, receiver) in [(&hook, "https"), (&mail, "wrapped")] {
        house.report("", delivery, ANSWER);
        let (is_well, delivered) = house.run(std::slice::from_ref(&password));
        assert!(!is_well && delivered["status"] == "failed", "{receiver}: {delivered}");
        assert!(receivers.got(receiver).is_empty());
        let (is_well, delivered) = house.run(&[password.clone(), authority.clone()]);
        assert!(is_well && delivered["status"] == "delivered", "{receiver}: {delivered}");
        assert_eq!(receivers.got(receiver).len(), 1, "{receiver}");
    }
}
