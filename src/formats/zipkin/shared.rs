//! Spans that both sides of a call share become two.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::convert::ZipkinSide;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// The trace's and the span's id.
type Ids = (Vec<u8>, Vec<u8>);

/// What became of a shared id.
struct Separated {
    caller: String,
    server_id: Vec<u8>,
}

/// Gives the server's side of each shared span an id of its own, below the client's.
///
/// What names the shared id as its parent is below the server, unless it is of the service that called.
pub(super) fn separate(sides: &mut [ZipkinSide]) {
    let callers = callers(sides);
    let mut separated: HashMap<Ids, Separated> = HashMap::new();
    let mut servers = vec![false; sides.len()];
    for (side, is_server) in sides.iter_mut().zip(&mut servers) {
        let ids = (side.span.trace_id.clone(), side.span.span_id.clone());
        let caller = callers.get(&ids).filter(|(kind, _)| is_answer_to(side.span.kind, *kind));
        if let Some((_, caller)) = caller {
            *is_server = true;
            side.span.parent_span_id.clone_from(&side.span.span_id);
            side.span.span_id = server_id(&ids);
            let server_id = side.span.span_id.clone();
            separated.insert(ids, Separated { caller: caller.clone(), server_id });
        }
    }
    for (side, is_server) in sides.iter_mut().zip(servers) {
        let parent = (side.span.trace_id.clone(), side.span.parent_span_id.clone());
        match separated.get(&parent) {
            Some(shared) if !is_server && (side.service.is_empty() || side.service != shared.caller) => {
                side.span.parent_span_id.clone_from(&shared.server_id);
            }
            _ => {}
        }
    }
}

/// The spans that may be the client's side of a shared one: their kinds and services.
fn callers(sides: &[ZipkinSide]) -> HashMap<Ids, (i32, String)> {
    let calls = sides.iter().filter(|side| matches!(side.span.kind, CLIENT | PRODUCER));
    calls
        .map(|side| ((side.span.trace_id.clone(), side.span.span_id.clone()), (side.span.kind, side.service.clone())))
        .collect()
}

fn is_answer_to(kind: i32, caller: i32) -> bool {
    matches!((caller, kind), (CLIENT, SERVER) | (PRODUCER, CONSUMER))
}

/// The id of the server's side: the same each time, and the same on every machine.
fn server_id((trace_id, span_id): &Ids) -> Vec<u8> {
    let hash = xxh3_64(&[trace_id, span_id, b"server".as_slice()].concat());
    hash.max(1).to_be_bytes().to_vec()
}
