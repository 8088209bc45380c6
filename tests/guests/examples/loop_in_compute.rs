//! Never comes back from `compute`.

use bindery_test_guests::prelude::*;

compute_guest!(|_request| {
    loop {
        std::hint::black_box(0);
    }
});
