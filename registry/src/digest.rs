//! The digest of a package.

use bindery_core::Digest;

/// Digest of a package's files: SHA-256 over one line for each file, `HEX  PATH\n`, sorted by
/// path, as `sha256sum` prints them. So anybody can check it with standard tools:
/// `find . -type f | sort | xargs sha256sum | sha256sum`, with the `./` left out.
#[must_use]
pub fn package_digest<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let mut files: Vec<(&str, Digest)> = files.into_iter().collect();
    files.sort_unstable_by_key(|(path, _)| *path);
    let mut listing = String::new();
    for (path, digest) in files {
        listing.push_str(&digest.hex());
        listing.push_str("  ");
        listing.push_str(path);
        listing.push('\n');
    }
    Digest::of(listing.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_content_and_names_do() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let digest = package_digest([("x", a), ("y", b)]);
        assert_eq!(digest, package_digest([("y", b), ("x", a)]));
        assert_ne!(digest, package_digest([("x", b), ("y", a)]));
        assert_ne!(digest, package_digest([("x", a), ("z", b)]));
    }
}
