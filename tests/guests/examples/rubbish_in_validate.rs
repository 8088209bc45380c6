//! Answers `validate` with what is no answer.

use bindery_test_guests::prelude::*;

validate_guest!(|request| {
    let parameters = match kind(request).as_str() {
        "not_json" => "{ this is not JSON".to_owned(),
        "empty" => String::new(),
        "not_object" => "[1, 2, 3]".to_owned(),
        "no_violation" => return Err(Vec::new()),
        "many_violations" => {
            return Err((0..10_000)
                .map(|n| Violation::new(format!("/parameters/{n}"), "bad", "bad"))
                .collect());
        }
        "deep_json" => format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        _ => request.parameters.clone(),
    };
    Ok(Normalised {
        parameters,
        notices: Vec::new(),
    })
});
