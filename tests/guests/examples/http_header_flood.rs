//! Fills the host's memory with header fields: one that is too long, too many, and many full sets
//! of them. With `answer`, asks a server that does the same.

use bindery_test_guests::{http, prelude::*, wasip2::http::types::Fields};

compute_guest!(|request| {
    match kind(request).as_str() {
        "one_long" => {
            let fields = Fields::new();
            let _ = fields.append("x-long", &[b'x'; 1 << 20]);
        }
        "many" => {
            let fields = Fields::new();
            for n in 0..1_000_000 {
                let _ = fields.append(&format!("x-{n}"), b"");
            }
        }
        "many_sets" => {
            let mut kept = Vec::new();
            for _ in 0..100_000 {
                let fields = Fields::new();
                let _ = fields.append("x-long", &[b'x'; 8 << 10]);
                kept.push(fields);
            }
        }
        "answer" => {
            let heard = http::ask(&given(request, "url"), 0).map(|answer| answer.status);
            return Ok(ItemResult::json(&json!({ "heard": format!("{heard:?}") })));
        }
        _ => {
            let fields = Fields::new();
            let _ = fields.append("x-short", b"x");
        }
    }
    Ok(ItemResult::json(&json!({})))
});
