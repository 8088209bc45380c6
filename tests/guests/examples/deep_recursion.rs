//! Recurses without end: with frames in wasm's own stack, or with frames in linear memory.

use bindery_test_guests::prelude::*;

#[inline(never)]
fn lean(n: u64) -> u64 {
    if n == u64::MAX {
        0
    } else {
        lean(n + 1).rotate_left(3) ^ n
    }
}

#[inline(never)]
fn fat(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 64]);
    if n == u64::MAX {
        0
    } else {
        fat(n + 1).rotate_left(3) ^ frame[(n % 64) as usize]
    }
}

validate_guest!(|request| {
    let start = request.seed;
    let found = if kind(request) == "fat" {
        fat(start)
    } else {
        lean(start)
    };
    Ok(Normalised {
        parameters: json!({ "found": found }).to_string(),
        notices: vec![],
    })
});
