//! Benchmarks against baselines in the same run.
//!
//! Figures of two machines, or of two moments on a shared one, say nothing about each other. So
//! every benchmark here measures its baseline as well, in turns with what it compares, and its
//! result is the ratio.

mod samples;

pub use samples::{Samples, table};
