//! Wants `wasi:http`, which a component gets only where its package was granted hosts.

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
