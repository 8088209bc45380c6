//! Leaves more on disk than it may, in plain sight and hidden in several ways.

use std::{fs, io::Write, path::PathBuf};

use bindery_test_guests::prelude::*;

/// Not really written: the file has a hole.
const HUGE_BYTES: u64 = 1 << 40;

fn forever() {
    loop {
        std::hint::black_box(0);
    }
}

fn write_forever(mut file: fs::File) -> std::io::Result<()> {
    let piece = vec![1_u8; 1 << 16];
    loop {
        file.write_all(&piece)?;
    }
}

compute_guest!(|request| {
    match kind(request).as_str() {
        "written" => write_forever(fs::File::create("/work/a")?)?,
        "at_the_end" => fs::File::create("/out/a")?.set_len(HUGE_BYTES)?,
        "sparse" => {
            fs::File::create("/work/a")?.set_len(HUGE_BYTES)?;
            forever();
        }
        "deep" => {
            let mut path = PathBuf::from("/work");
            for _ in 0..60 {
                path.push("d");
            }
            fs::create_dir_all(&path)?;
            fs::File::create(path.join("a"))?.set_len(HUGE_BYTES)?;
            forever();
        }
        "unlinked" => {
            let file = fs::File::create("/work/a")?;
            fs::remove_file("/work/a")?;
            write_forever(file)?;
        }
        "many_files" => {
            for n in 0_u32.. {
                fs::write(format!("/work/{n}"), "")?;
            }
        }
        _ => fs::write("/work/a", "a few bytes")?,
    }
    Ok(ItemResult::json(&json!({})))
});
