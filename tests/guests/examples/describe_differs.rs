//! Describes itself differently each time: it has no clock, but can count how often it looks
//! before a pollable that waits a moment is ready.

use bindery_test_guests::prelude::*;

#[cfg(target_arch = "wasm32")]
mod wasi {
    #[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.0")]
    unsafe extern "C" {
        #[link_name = "subscribe-duration"]
        pub(super) fn subscribe_duration(nanoseconds: u64) -> i32;
    }

    #[link(wasm_import_module = "wasi:io/poll@0.2.0")]
    unsafe extern "C" {
        #[link_name = "[method]pollable.ready"]
        pub(super) fn ready(pollable: i32) -> i32;
    }
}

fn looks() -> u64 {
    let mut looks = 0;
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the signatures are those of WASI 0.2.
    unsafe {
        let pollable = wasi::subscribe_duration(3_000_000);
        while wasi::ready(pollable) == 0 {
            looks += 1;
        }
    }
    looks
}

validate_guest!(
    |_request| Err(Vec::new()),
    bindery_test_guests::any().summary(&format!("ready after {} looks", looks()))
);
