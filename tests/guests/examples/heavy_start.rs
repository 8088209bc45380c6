//! Takes long to start, as interpreters do, and remembers: a table that is made before the first
//! answer, and how often this instance was asked.

use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicU32, Ordering},
};

use bindery_test_guests::prelude::*;

static TABLE: LazyLock<u64> = LazyLock::new(|| {
    let mut sum = 1_u64;
    for n in 0..30_000_000_u64 {
        sum = std::hint::black_box(sum.rotate_left(5) ^ n);
    }
    sum
});
static ASKED: AtomicU32 = AtomicU32::new(0);
static HELD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

validate_guest!(
    |request| {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
        match kind(request).as_str() {
            "trap" => panic!("asked to"),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "refuse" => return Err(vec![Violation::new("/parameters/kind", "no", "no")]),
            "hold" => {
                let held = HELD.lock().map(|mut held| held.push(vec![1; 40 << 20]));
                std::hint::black_box(held.is_ok());
            }
            "rubbish" => {
                return Ok(Normalised {
                    parameters: "no JSON".to_owned(),
                    notices: vec![],
                });
            }
            "say" => {
                log::info("said");
                eprintln!("said");
            }
            _ => {}
        }
        Ok(Normalised {
            parameters: json!({ "asked": asked, "table": TABLE.to_string() }).to_string(),
            notices: vec![],
        })
    },
    {
        std::hint::black_box(*TABLE);
        bindery_test_guests::any()
    }
);
