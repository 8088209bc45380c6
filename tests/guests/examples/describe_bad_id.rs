//! Has an id that would escape from wherever it is used as a name.

use bindery_test_guests::prelude::*;

fn definition() -> TaskDefinition {
    TaskDefinition {
        id: "../../etc/passwd".to_owned(),
        ..bindery_test_guests::any()
    }
}

validate_guest!(|_request| Err(Vec::new()), definition());
