//! Starts real servers for black-box tests and waits for conditions.
//!
//! - [`TestHost`]: one `bindery serve` with a data directory of its own. It can be killed,
//!   drained and started again on the same data. Dropping it asserts that nothing is left behind.
//! - [`Answer`]: what the server said, with the request in every complaint about it.
//! - [`Socket`]: a WebSocket client.
//! - [`wait_for_condition`]: the only way to wait; there are no sleeps for luck.
//!
//! Nothing here knows a host crate: only the program, its command line and its interfaces.

mod answer;
mod host;
mod paths;
mod processes;
mod socket;
mod wait;

pub use self::{
    answer::Answer,
    host::{HostBuilder, Submitted, TestHost, is_terminal},
    paths::{dist, shared},
    processes::Processes,
    socket::Socket,
    wait::wait_for_condition,
};
