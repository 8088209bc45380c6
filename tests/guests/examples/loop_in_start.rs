//! Loops before any function is called, while the component is being instantiated.

use bindery_test_guests::prelude::*;

extern "C" fn forever() {
    loop {
        std::hint::black_box(0);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = forever;

validate_guest!(|_request| Err(Vec::new()));
