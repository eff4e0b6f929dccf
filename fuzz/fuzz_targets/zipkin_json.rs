#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(found) = spanhouse::formats::fuzzing::zipkin(bytes) {
        panic!("{found}");
    }
});
