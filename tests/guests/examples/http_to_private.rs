//! Tries to reach what is beside the host: every address of the parameter `urls`, and whatever a
//! redirect points to.

use bindery_test_guests::{http, prelude::*};

compute_guest!(|request| {
    let parameters = request.parameters_value();
    let mut heard = Vec::new();
    for url in parameters["urls"].as_array().into_iter().flatten() {
        let mut url = url.as_str().unwrap_or_default().to_owned();
        let mut hops = Vec::new();
        // A client that follows redirects, as libraries do.
        for _hop in 0..5 {
            match http::ask(&url, 0) {
                Ok(answer) => {
                    hops.push(answer.status.to_string());
                    match answer.location {
                        Some(next) => url = next,
                        None => break,
                    }
                }
                Err(error) => {
                    hops.push(error);
                    break;
                }
            }
        }
        heard.push(hops.join(" "));
    }
    Ok(ItemResult::json(&json!({ "heard": heard })))
});
