//! Bytes that are no component, or one that no host should take.

use bindery_runtime::{LoadError, Runtime, RuntimeConfig};

use crate::common::{assert_unharmed, bytes, config, runtime};

/// Why it does not load.
async fn load(component: Vec<u8>) -> LoadError {
    match runtime().load(component).await {
        Err(error) => error,
        Ok(plugin) => panic!("loaded: {plugin:?}"),
    }
}

/// LEB128.
pub(crate) fn number(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

pub(crate) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], number(content.len()).as_slice(), content].concat()
}

/// A core module with one section.
fn module(section_id: u8, content: &[u8]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".as_slice(), &section(section_id, content)].concat()
}

/// A component with this core module and so many instances of it.
fn component(module: &[u8], instances: usize) -> Vec<u8> {
    let mut out = b"\0asm\x0d\0\x01\0".to_vec();
    out.extend(section(1, module));
    if instances > 0 {
        let mut list = number(instances);
        // `instantiate` of module 0 with no arguments.
        list.extend([0, 0, 0].repeat(instances));
        out.extend(section(2, &list));
    }
    out
}

#[track_caller]
fn assert_no_component(error: &LoadError, what: &str) {
    assert!(
        matches!(error, LoadError::NotAComponent(_)),
        "{what}: {error:?}"
    );
    assert!(error.to_string().len() < 5000, "{what}: a long message");
}

#[tokio::test]
async fn garbage_is_no_component() {
    let mut state = 42_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..100_000).map(|_| random()).collect();
    let headed = [b"\0asm\x0d\0\x01\0".as_slice(), &noise].concat();
    for (what, content) in [
        ("nothing", Vec::new()),
        ("noise", noise),
        ("noise behind the magic number", headed),
        ("text", b"(component)".to_vec()),
        (
            "an ELF file",
            std::fs::read(std::env::current_exe().unwrap()).unwrap()[..4096].to_vec(),
        ),
    ] {
        assert_no_component(&load(content).await, what);
    }
    let core = module(5, &[1, 0, 1]);
    let error = load(core).await;
    assert_no_component(&error, "a core module");
    assert!(error.to_string().contains("module"), "{error}");
    assert_unharmed().await;
}

#[tokio::test]
async fn a_truncated_component_is_none() {
    let whole = bytes("good_validate");
    for part in 1..20 {
        let length = whole.len() * part / 20;
        assert_no_component(
            &load(whole[..length].to_vec()).await,
            &format!("{length} bytes"),
        );
    }
    assert_no_component(
        &load(whole[..whole.len() - 1].to_vec()).await,
        "all but one byte",
    );
}

/// Whatever a flipped byte does: it is a typed failure or a plugin, and the host lives on.
#[tokio::test]
async fn flipped_bytes_do_no_harm() {
    let uncached = RuntimeConfig {
        cache_directory: None,
        ..config()
    };
    let runtime = Runtime::new(&uncached).unwrap();
    let whole = bytes("good_validate");
    let mut loaded = 0;
    for n in 0..40 {
        let mut flipped = whole.clone();
        let at = (n * 2_654_435_761_usize) % whole.len();
        flipped[at] ^= 1 << (n % 8);
        loaded += usize::from(runtime.load(flipped).await.is_ok());
    }
    assert!(loaded < 40);
    assert_eq!(runtime.calls_running(), 0);
    runtime.load(whole).await.unwrap();
}

#[tokio::test]
async fn a_component_must_export_a_facet() {
    let empty = load(b"\0asm\x0d\0\x01\0".to_vec()).await;
    assert!(matches!(empty, LoadError::NothingExported), "{empty:?}");
    let with_module = load(component(&module(5, &[1, 0, 1]), 1)).await;
    assert!(
        matches!(with_module, LoadError::NothingExported),
        "{with_module:?}"
    );
}

#[tokio::test]
async fn an_oversize_component_is_not_looked_at() {
    let size_bytes = (64 << 20) + 1;
    match load(vec![0; size_bytes]).await {
        LoadError::TooLarge { size_bytes: said } => assert_eq!(said, size_bytes),
        other => panic!("{other:?}"),
    }
}

/// Sections and instructions of proposals that are switched off.
#[tokio::test]
async fn proposals_are_refused() {
    for (what, content) in [
        ("memory64", module(5, &[1, 0x04, 1])),
        ("threads (shared memory)", module(5, &[1, 0x03, 1, 1])),
        ("multi-memory", module(5, &[2, 0, 1, 0, 1])),
        ("gc (a struct type)", module(1, &[1, 0x5f, 0])),
        ("exceptions (a tag)", {
            let mut module = module(1, &[1, 0x60, 0, 0]);
            module.extend(section(13, &[1, 0, 0]));
            module
        }),
        ("tail calls", {
            let mut module = module(1, &[1, 0x60, 0, 0]);
            module.extend(section(3, &[1, 0]));
            module.extend(section(10, &[1, 4, 0, 0x12, 0, 0x0b]));
            module
        }),
    ] {
        assert_no_component(&load(component(&content, 0)).await, what);
    }
}

#[tokio::test]
async fn what_no_pool_can_hold_is_refused() {
    let memory = module(5, &[1, 0, 1]);
    let four_gib = module(5, &[[1, 0].as_slice(), &number(65_536)].concat());
    let table = module(4, &[[1, 0x70, 0].as_slice(), &number(9_000_000)].concat());
    for (what, content) in [
        ("9 memories", component(&memory, 9)),
        ("301 instances", component(b"\0asm\x01\0\0\0", 301)),
        ("100,000 instances", component(b"\0asm\x01\0\0\0", 100_000)),
        ("a memory of 4 GiB", component(&four_gib, 1)),
        ("a table of 9,000,000 elements", component(&table, 1)),
    ] {
        assert_no_component(&load(content).await, what);
    }
    assert_unharmed().await;
}
