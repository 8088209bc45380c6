//! Never comes back from `validate`.

use bindery_test_guests::prelude::*;

validate_guest!(|_request| {
    loop {
        std::hint::black_box(0);
    }
});
