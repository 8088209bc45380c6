//! Documents that the command line makes of the same records.

use serde_json::json;

use crate::support::TestHost;

#[tokio::test]
async fn the_library_gives_the_document_of_the_route() {
    let host = TestHost::start().await;
    let (execution, _) = host.finished(json!({ "count": 4 })).await;
    let store = host
        .services
        .dispatcher
        .store(bindery_core::OrgId::BUILT_IN);
    let record = store
        .execution(execution.parse().unwrap())
        .unwrap()
        .unwrap();
    let document = bindery_api::documents::results(&store, &host.services.blobs, record)
        .await
        .unwrap();
    let route = host
        .get(&format!("/api/v1/executions/{execution}/results"))
        .await
        .json();
    assert_eq!(serde_json::to_value(document).unwrap(), route);
}
