//! The inputs of `fuzz/corpus` and some thousand mutations of them, through the bodies that fuzzers run: a little fuzzing without a fuzzer.
//!
//! A mutation of which the body tells something new is mutated further. `SPANHOUSE_FUZZ_SECONDS` has each target run for that long, with another
//! seed each time; what is found lies in the folder that the failure names.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spanhouse::fuzzing::{TARGETS, Target};

/// An input that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// Bytes of a mutated input: room for depth, and little enough to be quick.
const MOST_BYTES: usize = 16 << 10;
/// Inputs that are kept to be mutated further.
const MOST_KEPT: usize = 4_000;

#[test]
fn each_target_has_a_program_and_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    for Target { name, .. } in TARGETS {
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} has no program");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in the manifest");
        assert!(corpus(name).len() >= 10, "{name} has hardly any corpus");
    }
    let named: HashSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let there: HashSet<_> = files(&fuzz.join("corpus")).iter().map(|path| file_name(path)).collect();
    assert_eq!(there, named, "folders of the corpus, and targets");
}

#[test]
fn otlp_protobuf_is_read_as_prost_reads_it() {
    run("otlp_protobuf", 20_000);
}

#[test]
fn otlp_json_that_is_taken_is_json() {
    run("otlp_json", 20_000);
}

#[test]
fn jaeger_files_become_requests_that_are_read() {
    run("jaeger_json", 10_000);
}

#[test]
fn zipkin_files_become_requests_that_are_read() {
    run("zipkin_json", 10_000);
}

#[test]
fn logs_are_read_alike_by_a_start_and_by_a_check() {
    run("wal", 10_000);
}

#[test]
fn statements_end_for_the_engine_where_they_end_on_the_wire() {
    run("sql", 5_000);
}

#[test]
fn nobody_gets_in_by_startup_messages() {
    run("pg_startup", 5_000);
}

#[test]
fn messages_of_sessions_are_read_or_refused() {
    run("pg_messages", 3_000);
}

/// Judges the corpus of a target, and then mutations of it: as many as this, or for as long as was asked.
fn run(name: &str, mutations: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seconds = std::env::var("SPANHOUSE_FUZZ_SECONDS").ok().map(|text| text.parse().expect("whole seconds"));
    let seed = if seconds.is_some() { rand::random() } else { 0x5eed };
    let (began, mut random) = (Instant::now(), ChaCha8Rng::seed_from_u64(seed));
    let mut pool: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
    let mut told: HashSet<String> = pool.iter().map(|bytes| kind_of(&judge(target, bytes))).collect();
    let (corpus, mut done, mut longest) = (pool.len(), 0, Duration::ZERO);
    while seconds.map_or(done < mutations, |seconds| began.elapsed() < Duration::from_secs(seconds)) {
        let input = mutated(&pool, &mut random);
        let began = Instant::now();
        let is_new = told.insert(kind_of(&judge(target, &input)));
        longest = longest.max(began.elapsed());
        if is_new && pool.len() < MOST_KEPT {
            pool.push(input);
        }
        done += 1;
    }
    println!(
        "{name}: {corpus} inputs of the corpus and {done} mutations in {:.0?}, seed {seed}; {} answers, the slowest in {longest:.1?}",
        began.elapsed(),
        told.len()
    );
}

/// What the body says of an input; a finding ends the test, and the input is kept.
fn judge(target: &Target, input: &[u8]) -> String {
    let began = Instant::now();
    let judged = catch_unwind(AssertUnwindSafe(|| (target.body)(input))).unwrap_or_else(|_| Err("it panics".into()));
    let found = match judged {
        Ok(told) if began.elapsed() < HANGS_AFTER => return told,
        Ok(_) => format!("it takes {:?}", began.elapsed()),
        Err(found) => found,
    };
    let path = std::env::temp_dir().join(format!("{}-{:016x}", target.name, hash(input)));
    fs::write(&path, input).expect("the input is kept");
    panic!("{}: {found}; the input is {}: {}", target.name, path.display(), input.escape_ascii());
}

/// What is said, without what differs from input to input: numbers and what stands in quotes.
fn kind_of(told: &str) -> String {
    let unquoted = told.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    unquoted.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// One of the pool, changed in one to eight places.
fn mutated(pool: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = pool.choose(random).cloned().unwrap_or_default();
    for _ in 0..1 << random.random_range(0..4) {
        change(&mut input, pool, random);
    }
    input.truncate(MOST_BYTES);
    input
}

/// What lengths, counts and ids hold when somebody means ill.
const NUMBERS: [u64; 10] = [0, 1, 4, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
/// What opens, closes, quotes or ends something in one of the formats.
const TOKENS: [&[u8]; 24] = [
    b"(",
    b")",
    b"[",
    b"]",
    b"{",
    b"}",
    b"'",
    b"\"",
    b"$$",
    b";",
    b"--",
    b"/*",
    b"*/",
    b"\\",
    b",",
    b"\0",
    b" ",
    b"\n",
    b"null",
    b"SELECT ",
    b"spanwal\n",
    b"\x0a",
    b"\x12",
    b"e'",
];

fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut ChaCha8Rng) {
    let at = random.random_range(0..=input.len());
    let end = (at + random.random_range(0..=32)).min(input.len());
    match random.random_range(0..11) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => drop(input.drain(at..end)),
        3 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        4 => {
            let other = pool.choose(random).map_or(&[][..], Vec::as_slice);
            let from = random.random_range(0..=other.len());
            let to = (from + random.random_range(0..=256)).min(other.len());
            input.splice(at..if random.random() { end } else { at }, other[from..to].iter().copied());
        }
        5 => input.truncate(at),
        6 => {
            let number = NUMBERS.choose(random).copied().unwrap_or_default();
            let bytes = if random.random() { number.to_be_bytes() } else { number.to_le_bytes() };
            let bytes = if random.random() { &bytes[..4] } else { &bytes[4..] };
            input.splice(at..(at + 4).min(input.len()), bytes.iter().copied());
        }
        7 => {
            let token = TOKENS.choose(random).copied().unwrap_or_default();
            input.splice(at..at, token.iter().copied());
        }
        8 => {
            let token = TOKENS.choose(random).copied().unwrap_or_default();
            let times = 1 << random.random_range(0..11);
            input.splice(at..at, token.repeat(times));
        }
        9 => {
            let other = random.random_range(0..=input.len());
            let other_end = (other + (end - at)).min(input.len());
            let moved = input[other..other_end].to_vec();
            input.splice(at..end, moved);
        }
        _ => {
            let new: Vec<u8> = (0..random.random_range(1..9)).map(|_| random.random()).collect();
            input.splice(at..at, new);
        }
    }
}

/// The files of a target's corpus, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    files(&folder).iter().map(|path| (file_name(path), fs::read(path).expect("readable"))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}
