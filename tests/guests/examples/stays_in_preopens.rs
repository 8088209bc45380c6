//! Asserts that there is no way out of the three directories. The test puts these into `/in`:
//! `a.txt`, and the symlinks `passwd` -> `/etc/passwd`, `up` -> `..`, `inside` -> `a.txt`.

use std::{fs, path::Path};

use bindery_test_guests::prelude::*;

#[cfg(target_arch = "wasm32")]
unsafe extern "C" {
    /// `std::os::wasi::fs::symlink_path` is not stable.
    fn symlink(target: *const std::ffi::c_char, link: *const std::ffi::c_char) -> i32;
}

compute_guest!(|_request| {
    assert_eq!(fs::read_to_string("/in/a.txt").unwrap(), "a");
    assert_eq!(
        fs::read_to_string("/in/inside").unwrap(),
        "a",
        "links within are followed"
    );

    for path in [
        "/etc/passwd",
        "/in/../etc/passwd",
        "/in/../../../../../../etc/passwd",
        "/in/passwd",
        "/in/up/etc/passwd",
        "/in/up",
        "/in/..",
        "/in/up/secret.txt",
        "/in/../secret.txt",
        "/in//etc/passwd/../../etc/passwd",
        "/in/.././.././secret.txt",
        "/proc/self/environ",
        "/in/../../proc/self/environ",
        "/work/../secret.txt",
        "/out/../secret.txt",
        "secret.txt",
        "../secret.txt",
        "/in/a.txt/../../secret.txt",
        "\\..\\secret.txt",
    ] {
        assert!(fs::read(path).is_err(), "{path} can be read");
        assert!(fs::read_dir(path).is_err(), "{path} can be listed");
    }
    // What a link says may be read, but it leads nowhere.
    assert!(
        fs::metadata("/in/passwd").is_err(),
        "metadata beyond the link"
    );

    for path in [
        "/in/a.txt",
        "/in/new.txt",
        "/in/inside",
        "/in/passwd",
        "/in/sub/new.txt",
    ] {
        assert!(fs::write(path, "b").is_err(), "{path} can be written");
    }
    assert!(
        fs::OpenOptions::new()
            .append(true)
            .open("/in/a.txt")
            .is_err()
    );
    assert!(
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/in/a.txt")
            .is_err()
    );
    assert!(fs::remove_file("/in/a.txt").is_err());
    assert!(fs::rename("/in/a.txt", "/work/a.txt").is_err());
    assert!(fs::rename("/in/a.txt", "/in/b.txt").is_err());
    assert!(
        fs::hard_link("/in/a.txt", "/work/a.txt").is_err(),
        "a link would be writable"
    );
    assert!(fs::create_dir("/in/new").is_err());
    assert!(fs::remove_dir_all("/in/sub").is_err());
    assert_eq!(fs::read_to_string("/in/a.txt").unwrap(), "a");

    // Links made by the guest itself lead nowhere either, even where they can be made.
    for (target, link) in [
        (c"/etc/passwd", c"/work/absolute"),
        (c"../secret.txt", c"/work/relative"),
        (c"..", c"/work/up"),
    ] {
        #[cfg(target_arch = "wasm32")]
        // SAFETY: both are C strings; the function is that of wasi-libc.
        unsafe {
            symlink(target.as_ptr(), link.as_ptr());
        }
        let _ = target;
        let link = link.to_str().unwrap();
        assert!(fs::read(link).is_err(), "{link} leads out");
        // Where it could not be made there is room for a plain file.
        if fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink()) {
            assert!(fs::write(link, "b").is_err(), "{link} leads out");
        }
    }
    assert!(fs::read("/work/up/secret.txt").is_err());
    assert!(fs::rename("/work", "/out/work").is_err());
    for path in ["/work/../new.txt", "/out/../new.txt", "/new.txt"] {
        assert!(fs::write(path, "b").is_err(), "{path} can be written");
    }

    fs::write("/work/w.txt", "w").unwrap();
    fs::write("/out/o.txt", "o").unwrap();
    fs::rename("/work/w.txt", "/out/w.txt").unwrap();
    assert!(Path::new("/out/w.txt").is_file());
    Ok(ItemResult::json(&json!({ "ok": true })))
});
