//! Wants `wasi:http`, which is granted to no task of these worlds.

use bindery_test_guests::prelude::*;

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "wasi:http/types@0.2.0")]
unsafe extern "C" {
    #[link_name = "[constructor]fields"]
    fn fields() -> i32;
}

validate_guest!(|request| {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the signature is that of WASI 0.2.
    unsafe {
        fields();
    }
    Ok(Normalised {
        parameters: request.parameters.clone(),
        notices: vec![],
    })
});
