//! Start-up latency: runs `/bin/true` plainly and at each level, in turn, and prints percentiles.
//!
//! `cargo run --release -p bindery-sandbox --example start_latency [RUNS]`, after building the binaries.

#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and its percentiles are in range"
)]

use std::time::{Duration, Instant};

use bindery_sandbox::{RunSpec, Sandbox, SandboxConfig, SandboxLevel, TestKnobs, find_helper};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = "/bin/true";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = std::env::args()
        .nth(1)
        .map_or(Ok(300), |text| text.parse())?;
    let scratch = std::env::temp_dir().join(format!("latency-{}", std::process::id()));
    let helper = find_helper().ok_or("no helper beside this program")?;
    let mut sandboxes = Vec::new();
    for level in [SandboxLevel::None, SandboxLevel::L1, SandboxLevel::L2] {
        let config = SandboxConfig {
            minimum: SandboxLevel::L1,
            test_knobs: TestKnobs {
                force_level: Some(level),
                ..TestKnobs::default()
            },
            ..SandboxConfig::new(&helper, &scratch)
        };
        sandboxes.push((level.to_string(), Sandbox::probe(config).await, Vec::new()));
    }
    let mut plain = Vec::new();
    for _ in 0..runs {
        let started = Instant::now();
        tokio::process::Command::new(PROGRAM)
            .stdin(std::process::Stdio::null())
            .output()
            .await?;
        plain.push(started.elapsed());
        // In turn, so that a busy moment of the machine meets all alike.
        for (_, sandbox, times) in &mut sandboxes {
            let started = Instant::now();
            let spec = RunSpec::new(PROGRAM, &scratch);
            sandbox.run(spec, &mut (), CancellationToken::new()).await?;
            times.push(started.elapsed());
        }
    }
    println!("{runs} runs of {PROGRAM}, ms      p50     p90     p99");
    print("plain spawn", plain);
    for (name, _, times) in sandboxes {
        print(&name, times);
    }
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("{name:<28} {:>7.2} {:>7.2} {:>7.2}", at(50), at(90), at(99));
}
