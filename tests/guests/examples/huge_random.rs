//! Asks for 4 GiB of random bytes at once.

use bindery_test_guests::prelude::*;

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "wasi:random/random@0.2.0")]
unsafe extern "C" {
    #[link_name = "get-random-bytes"]
    fn get_random_bytes(length: u64, list: *mut [usize; 2]);
}

validate_guest!(|request| {
    let mut list = [0_usize; 2];
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the signature is that of WASI 0.2; the list is leaked.
    unsafe {
        get_random_bytes(4 << 30, &mut list);
    }
    std::hint::black_box(&mut list);
    Ok(Normalised {
        parameters: request.parameters.clone(),
        notices: vec![],
    })
});
