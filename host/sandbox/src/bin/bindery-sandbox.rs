//! The helper that builds a sandbox and supervises one engine in it. Started by the host only.

fn main() -> std::process::ExitCode {
    bindery_sandbox::helper::main()
}
