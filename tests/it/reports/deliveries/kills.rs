//! A process that dies between two attempts at a delivery: the next one makes it, with the same key and the same words.

use std::process::Stdio;
use std::time::{Duration, Instant};

use spanhouse::report::DeliveryStatus;

use super::house::House;
use super::receiver::{Answer, Receiver, ok, status};

/// A debug build on a busy machine takes some seconds to start.
const GIVE_UP: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_cut_off_is_made_by_the_next_process_with_the_same_key() {
    // It refuses once, is waited for when the process dies, and fails once more before it takes the message.
    let receiver = Receiver::answering(vec![status(500), Answer::Hang, status(500), ok()]);
    let delivery =
        format!("to = \"webhook\"\nurl = \"{}\"\nsign_with = {{ env = \"SIGNING_KEY\" }}", receiver.url("/hook"));
    let house = House::with("", &delivery, "SELECT 42 AS answer");
    let key = ("SIGNING_KEY".to_owned(), "k3y-of-the-hook".to_owned());
    let mut command = house.command(&["report", "run", "answer"], std::slice::from_ref(&key));
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spanhouse starts");
    wait("the second attempt", || receiver.requests().len() == 2);
    first.kill().expect("a running process");
    first.wait().expect("an ended process");
    let told = house.deliveries().expect("the run is known");
    assert_eq!((&told[0]["status"], &told[0]["error"]), (&"pending".into(), &serde_json::Value::Null), "{told}");

    let server = house.serve(&[(&key.0, &key.1)]);
    let is_over = |told: &serde_json::Value| told[0]["status"] != DeliveryStatus::Pending.name();
    wait("the end of the delivery", || house.deliveries().is_some_and(|told| is_over(&told)));
    server.stop();
    let told = house.deliveries().expect("the run is known");
    assert_eq!(told[0]["status"], "delivered", "{told}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 4, "two attempts of each process");
    for request in &requests {
        assert_eq!(request.header("idempotency-key"), told[0]["key"].as_str());
        assert_eq!(request.body, requests[0].body, "the same words");
        assert!(request.header("x-spanhouse-signature").is_some());
    }
    let kept = house.kept();
    assert!(kept.contains("answer@") && !kept.contains(&key.1), "the key that signs is nowhere: {kept}");
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + GIVE_UP;
    while !is_so() {
        assert!(Instant::now() < give_up, "{what} does not come within {GIVE_UP:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
