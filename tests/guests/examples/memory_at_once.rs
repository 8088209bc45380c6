//! Asks for nearly all of the address space in one go.

use bindery_test_guests::prelude::*;

validate_guest!(|_request| {
    let block: Vec<u8> = std::hint::black_box(Vec::with_capacity(2_000_000_000));
    Ok(Normalised {
        parameters: json!({ "got": block.capacity() }).to_string(),
        notices: vec![],
    })
});
