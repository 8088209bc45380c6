//! Every guest of `tests/guests` against the runtime: a typed outcome each, and a host that is
//! unharmed afterwards. All tests share one runtime, so the misbehaving ones run beside each
//! other and beside the good ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod cache;
mod catalog;
mod columns;
mod common;
mod components;
mod contract;
mod files;
mod floods;
mod good;
mod http;
mod load;
mod loops;
mod memory;
mod modules;
mod monitors;
mod rubbish;
mod traps;
mod unharmed;
mod warm;

/// Fails to compile where a guest has no test of its name.
macro_rules! assert_test_exists {
    ($name:ident) => {
        #[allow(unused_imports, reason = "only that it is there matters")]
        use self::all::$name as _;
    };
}

mod all {
    pub(super) use super::{
        columns::*, files::*, floods::*, good::*, http::*, load::*, loops::*, memory::*,
        monitors::*, rubbish::*, traps::*, warm::*,
    };
}

bindery_guests_build::foreach_guest!(assert_test_exists);
