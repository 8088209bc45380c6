//! Shows what the self-test finds here and runs one program: `run_in_sandbox [LEVEL] PROGRAM ARGUMENTS...`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints"
)]

use bindery_sandbox::{
    OutputSink, RunSpec, Sandbox, SandboxConfig, SandboxLevel, Stream, find_helper,
};
use tokio_util::sync::CancellationToken;

struct Print;

impl OutputSink for Print {
    fn bytes(&mut self, stream: Stream, chunk: &[u8]) {
        println!("{stream:?}: {}", chunk.escape_ascii());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let scratch = std::env::temp_dir().join(format!("run-in-sandbox-{}", std::process::id()));
    let mut config = SandboxConfig::new(
        find_helper().ok_or("no helper beside this program")?,
        &scratch,
    );
    if let Some(level) = arguments.peek().and_then(|text| text.parse().ok()) {
        arguments.next();
        config.minimum = SandboxLevel::L1;
        config.test_knobs.force_level = Some(level);
    }
    let sandbox = Sandbox::probe(config).await;
    println!("{:#?}", sandbox.status());
    if let Some(program) = arguments.next() {
        let mut spec = RunSpec::new(program, scratch.join("out"));
        spec.arguments = arguments.map(Into::into).collect();
        let report = sandbox
            .run(spec, &mut Print, CancellationToken::new())
            .await;
        println!("{report:#?}");
    }
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}
