//! Logs far more than anybody reads.

use bindery_test_guests::prelude::*;

validate_guest!(|request| {
    match kind(request).as_str() {
        "empty_lines" => (0..300_000).for_each(|_| log::info("")),
        "long_lines" => {
            let line = "x".repeat(100_000);
            (0..100).for_each(|_| log::info(&line));
        }
        _ => (0..100_000).for_each(|n| log::info(&format!("line {n} of a flood of lines"))),
    }
    Ok(Normalised {
        parameters: request.parameters.clone(),
        notices: vec![],
    })
});
