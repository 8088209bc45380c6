//! Loops in its allocator, which the host calls to hand over a request.

use std::alloc::{GlobalAlloc, Layout, System};

use bindery_test_guests::prelude::*;

/// A block of this many bytes is never found.
const TRIGGER_BYTES: usize = 54_321;

struct Trap;

#[global_allocator]
static ALLOCATOR: Trap = Trap;

// SAFETY: everything but the trigger is left to the system's allocator.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        while layout.size() == TRIGGER_BYTES {
            std::hint::black_box(0);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

validate_guest!(|request| Ok(Normalised {
    parameters: request.parameters.clone(),
    notices: Vec::new()
}));
