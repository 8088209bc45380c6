//! Never says what it is.

use bindery_test_guests::prelude::*;

fn describe() -> TaskDefinition {
    loop {
        std::hint::black_box(0);
    }
}

validate_guest!(|_request| Err(Vec::new()), describe());
