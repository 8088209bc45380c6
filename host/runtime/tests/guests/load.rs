//! Components that are no plugins.

use bindery_runtime::LoadError;

use crate::common::{assert_unharmed, try_load};

#[tokio::test]
pub(crate) async fn describe_differs() {
    let refused = try_load("describe_differs").await;
    assert!(
        matches!(refused, Err(LoadError::NotDeterministic)),
        "{refused:?}"
    );
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn describe_bad_version() {
    match try_load("describe_bad_version").await {
        Err(LoadError::Contract(fault)) => assert!(fault.contains("one point oh"), "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn describe_bad_id() {
    match try_load("describe_bad_id").await {
        Err(LoadError::Contract(fault)) => assert!(fault.contains("kebab-case"), "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn describe_bad_schema() {
    match try_load("describe_bad_schema").await {
        Err(LoadError::Schema { task, .. }) => assert_eq!(task, "test.guest"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn describe_twins() {
    match try_load("describe_twins").await {
        Err(LoadError::Contract(fault)) => assert!(fault.contains("same id"), "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn imports_sockets() {
    match try_load("imports_sockets").await {
        Err(LoadError::ImportNotGranted(import)) => {
            assert!(import.starts_with("wasi:sockets/"), "{import}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn imports_http() {
    match try_load("imports_http").await {
        Err(LoadError::ImportNotGranted(import)) => {
            assert!(import.starts_with("wasi:http/"), "{import}");
        }
        other => panic!("{other:?}"),
    }
}
