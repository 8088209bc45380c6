//! Takes handles and never gives them back: files, or pollables.

use bindery_test_guests::prelude::*;

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.0")]
unsafe extern "C" {
    #[link_name = "subscribe-duration"]
    fn subscribe_duration(nanoseconds: u64) -> i32;
}

compute_guest!(|request| {
    for n in 0..100_000 {
        if kind(request) == "files" {
            match std::fs::File::open("/in/a.txt") {
                Ok(file) => std::mem::forget(file),
                Err(error) => return Err(Error::Other(format!("after {n}: {error}"))),
            }
        } else {
            #[cfg(target_arch = "wasm32")]
            // SAFETY: the signature is that of WASI 0.2.
            unsafe {
                subscribe_duration(1_000_000_000);
            }
        }
    }
    Ok(ItemResult::json(&json!({})))
});
