//! Wants to talk to the network.

use std::io::{Read, Write};

use bindery_test_guests::prelude::*;

validate_guest!(|request| {
    let mut answer = String::new();
    if let Ok(mut stream) = std::net::TcpStream::connect("127.0.0.1:80") {
        let _ = stream.write_all(request.parameters.as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    Ok(Normalised {
        parameters: json!({ "answer": answer }).to_string(),
        notices: vec![],
    })
});
