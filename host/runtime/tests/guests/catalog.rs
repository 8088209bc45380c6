//! Versions and names that two plugins claim.

use std::sync::Arc;

use bindery_runtime::{Catalog, CatalogError};

use crate::common::{good_parameters, load, validate};

#[tokio::test]
async fn a_task_version_has_one_plugin() {
    let catalog = Catalog::default();
    let first = load("good_validate").await;
    catalog.add(&first).unwrap();
    // The same component once more changes nothing.
    catalog.add(&load("good_validate").await).unwrap();
    assert_eq!(catalog.plugins().len(), 1);

    let second = load("good_compute").await;
    match catalog.add(&second) {
        Err(CatalogError::TaskTaken { task, package }) => {
            assert_eq!(
                (task.as_str(), package),
                ("test.guest", first.digest().to_string())
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(catalog.plugins().len(), 1);

    for name in ["test.guest", "test.guest@1.0.0"] {
        let entry = catalog.task(&name.parse().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&entry.plugin, &first));
        validate(&entry.plugin, good_parameters()).await.unwrap();
    }
    assert!(catalog.task(&"test.guest@2.0.0".parse().unwrap()).is_none());
    assert!(catalog.task(&"test.other".parse().unwrap()).is_none());
}
