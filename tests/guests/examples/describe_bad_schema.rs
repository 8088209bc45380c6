//! Has a parameter schema that refers to a file of the host.

use bindery_test_guests::prelude::*;

validate_guest!(
    |_request| Err(Vec::new()),
    bindery_test_guests::any().parameters(json!({
        "type": "object",
        "properties": { "a": { "$ref": "file:///etc/passwd" } }
    }))
);
