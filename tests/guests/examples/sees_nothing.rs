//! Asserts that there is nothing to see: no environment, no arguments, no real time, no input on
//! stdin, no directory, and chance that follows from the seed.

use std::{
    hash::{BuildHasher, RandomState},
    io::Read,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bindery_test_guests::prelude::*;

validate_guest!(|_request| {
    assert_eq!(std::env::vars_os().count(), 0, "environment");
    assert_eq!(std::env::args_os().count(), 0, "arguments");
    assert!(std::env::var_os("PATH").is_none());

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(now.as_secs(), 946_684_800, "wall clock");
    let start = Instant::now();
    for _ in 0..100_000 {
        std::hint::black_box(0);
    }
    let elapsed = start.elapsed();
    assert_eq!(elapsed.as_micros(), 1, "monotonic clock");

    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    assert!(input.is_empty(), "stdin");

    for path in [
        "/",
        ".",
        "/in",
        "/work",
        "/out",
        "/tmp",
        "/etc",
        "/proc/self",
    ] {
        assert!(std::fs::read_dir(path).is_err(), "{path} can be listed");
    }
    assert!(std::fs::write("/tmp/a", "a").is_err());
    assert!(std::fs::write("a", "a").is_err());
    assert!(std::thread::Builder::new().spawn(|| {}).is_err(), "threads");

    let drawn = RandomState::new().hash_one(1_u8);
    Ok(Normalised {
        parameters: json!({ "drawn": format!("{drawn:016x}") }).to_string(),
        notices: vec![],
    })
});
