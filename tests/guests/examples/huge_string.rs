//! Hands the host one string of 24 MiB, or very many small ones.

use bindery_test_guests::prelude::*;

validate_guest!(|request| {
    match kind(request).as_str() {
        "log" => {
            log::info(&"x".repeat(24 << 20));
            Ok(Normalised {
                parameters: "{}".to_owned(),
                notices: vec![],
            })
        }
        "list" => Err((0..600_000)
            .map(|_| Violation::new("/parameters", "a", "b"))
            .collect()),
        _ => Ok(Normalised {
            parameters: "x".repeat(24 << 20),
            notices: vec![],
        }),
    }
});
