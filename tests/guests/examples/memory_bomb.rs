//! Takes memory until there is none.

use bindery_test_guests::prelude::*;

validate_guest!(|_request| {
    let mut taken = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
});
