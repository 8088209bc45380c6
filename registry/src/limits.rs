//! How large a package may be.
//!
//! A package is held in memory while it is judged and published, so the bounds follow from that:
//! the largest component that is known, of an interpreted language, has 18 MB, and golden cases
//! hold some input files of the same order.

/// Files of one package, the signature included.
pub const FILES_MAX: usize = 1024;
/// All files of one package together.
pub const SIZE_BYTES_MAX: u64 = 256 << 20;
/// One file.
pub const FILE_BYTES_MAX: u64 = 128 << 20;
/// `bindery.toml`: some thousand lines.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// `bindery.sig`: a handful of lines.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 4 << 10;
/// A path within a package. A ustar header has 100 bytes for a name and 155 for the directories
/// before it; any path of at most this length, whose parts are at most `PART_BYTES_MAX`, can be
/// cut into the two at a slash.
pub const PATH_BYTES_MAX: usize = 150;
/// One part of a path.
pub(crate) const PART_BYTES_MAX: usize = 100;
/// Parts of a path.
pub(crate) const DEPTH_MAX: usize = 16;
/// An archive: the files, and for each of them a header and padding, for each at most two blocks,
/// and as many directories again.
pub const ARCHIVE_BYTES_MAX: u64 = SIZE_BYTES_MAX + 4 * 512 * (FILES_MAX as u64) + 10_240;
