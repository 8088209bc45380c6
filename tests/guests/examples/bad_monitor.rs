//! Plans and parses well, but its monitor breaks in every way.

use bindery_test_guests::prelude::*;

struct Bad(String);

impl StepMonitor for Bad {
    fn new(request: &Request, _step: &str) -> Self {
        let kind = kind(request);
        assert!(kind != "panic_in_new", "the monitor panics in new");
        Self(kind)
    }

    fn feed(&mut self, _stream: OutputStream, _bytes: &[u8]) -> Vec<Signal> {
        match self.0.as_str() {
            "panic" => panic!("the monitor panics"),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "nan" => vec![Signal::Progress(f32::NAN)],
            "flood" => (0..10_000)
                .map(|n| Signal::Progress(n as f32 / 10_000.0))
                .collect(),
            "beyond" => vec![Signal::Progress(-5.0), Signal::Progress(17.0)],
            _ => vec![Signal::Progress(0.5)],
        }
    }
}

engine_guest!(
    next: |_, _| Ok(Decision::Finished),
    parse: |_, _| Ok(single(ItemResult::json(&json!({})))),
    monitor: Bad
);
