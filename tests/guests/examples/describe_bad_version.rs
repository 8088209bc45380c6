//! Has a version that is none.

use bindery_test_guests::prelude::*;

fn definition() -> TaskDefinition {
    TaskDefinition {
        version: "one point oh".to_owned(),
        ..bindery_test_guests::any()
    }
}

validate_guest!(|_request| Err(Vec::new()), definition());
