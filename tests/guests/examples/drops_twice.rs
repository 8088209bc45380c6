//! Gives a handle back twice, or uses one that was never given out.

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
        #[link_name = "[resource-drop]pollable"]
        pub(super) fn drop(pollable: i32);
        #[link_name = "[method]pollable.block"]
        pub(super) fn block(pollable: i32);
    }
}

validate_guest!(|request| {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the signatures are those of WASI 0.2; the misuse is the point.
    unsafe {
        let pollable = wasi::subscribe_duration(1);
        match kind(request).as_str() {
            "use_after_drop" => {
                wasi::drop(pollable);
                wasi::block(pollable);
            }
            "never_given" => wasi::block(1_000_000),
            _ => {
                wasi::drop(pollable);
                wasi::drop(pollable);
            }
        }
    }
    Ok(Normalised {
        parameters: request.parameters.clone(),
        notices: vec![],
    })
});
