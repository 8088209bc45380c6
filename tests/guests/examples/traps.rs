//! Traps in every other way a program can.

#![allow(
    clippy::disallowed_methods,
    reason = "ending the process is one of the behaviours"
)]

use std::hint::black_box;

use bindery_test_guests::prelude::*;

fn divide(a: i32, b: i32) -> i32 {
    // SAFETY: a lie. It removes Rust's own check, so that wasm's instruction meets the zero.
    unsafe { std::hint::assert_unchecked(b != 0 && b != -1) };
    a / b
}

validate_guest!(|request| {
    match kind(request).as_str() {
        "unreachable" =>
        {
            #[cfg(target_arch = "wasm32")]
            core::arch::wasm32::unreachable()
        }
        "divide" => {
            black_box(divide(black_box(1), black_box(0)));
        }
        "out_of_bounds" => {
            let nowhere = black_box(0xffff_fff0_usize) as *const u64;
            // SAFETY: none. Reading where there is no memory is what this variant is for.
            black_box(unsafe { nowhere.read_volatile() });
        }
        "wrong_function" => {
            let index = black_box(1_usize);
            // SAFETY: none. Calling a function of another type is what this variant is for.
            let function: fn(f64, f64, f64) -> f64 = unsafe { std::mem::transmute(index) };
            black_box(function(1.0, 2.0, 3.0));
        }
        "abort" => std::process::abort(),
        "exit_0" => std::process::exit(0),
        "exit_1" => std::process::exit(1),
        _ => {}
    }
    Ok(Normalised {
        parameters: request.parameters.clone(),
        notices: vec![],
    })
});
