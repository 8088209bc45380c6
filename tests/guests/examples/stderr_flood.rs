//! Prints without end to its standard error and output.

use std::io::Write;

use bindery_test_guests::prelude::*;

validate_guest!(|request| {
    let line = [b'x'; 4096];
    for _ in 0..4096 {
        let _ = std::io::stderr().write_all(&line);
        let _ = std::io::stdout().write_all(&line);
    }
    if kind(request) == "panic" {
        panic!("after the flood");
    }
    Ok(Normalised {
        parameters: request.parameters.clone(),
        notices: vec![],
    })
});
