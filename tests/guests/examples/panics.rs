//! Panics with a message.

use bindery_test_guests::prelude::*;

validate_guest!(|request| panic!("the guest panics: {}", given(request, "word")));
