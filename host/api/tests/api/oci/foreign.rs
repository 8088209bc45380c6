use std::collections::HashMap;

use axum::{
    Router,
    extract::{Path, Query, Request, State},
    response::{IntoResponse, Response},
    routing::get,
};

use super::*;

#[derive(Clone)]
struct Foreign {
    address: String,
    registry: Arc<oci::Registry>,
    /// Scopes that were asked for.
    scopes: Arc<Mutex<Vec<String>>>,
}

async fn token(
    State(foreign): State<Foreign>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let expect = format!("Basic {}", BASE64.encode("robot:secret"));
    let shown = request.headers().get("authorization");
    if shown.is_none_or(|shown| shown.to_str().unwrap() != expect) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!(query["service"], "foreign");
    foreign.scopes.lock().unwrap().push(query["scope"].clone());
    axum::Json(json!({ "access_token": format!("for {}", query["scope"]) })).into_response()
}

/// Manifests and blobs, as far as our client asks.
async fn serve(
    State(foreign): State<Foreign>,
    Path(path): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let write = matches!(*request.method(), Method::PUT | Method::POST);
    let name = "text.shout";
    let actions = if write { "pull,push" } else { "pull" };
    let shown = request.headers().get("authorization");
    let shown = shown.map(|shown| shown.to_str().unwrap().to_owned());
    let allowed = shown
        .is_some_and(|shown| shown.starts_with(&format!("Bearer for repository:{name}:{actions}")));
    if !allowed {
        let challenge = format!(
            "Bearer realm=\"http://{}/token\",service=\"foreign\",scope=\"repository:{name}:{actions}\"",
            foreign.address
        );
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    }
    let method = request.method().clone();
    let media_type = request.headers().get("content-type");
    let media_type = media_type
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let registry = &foreign.registry;
    let repository: oci::Repository = name.parse().unwrap();
    let rest = path.strip_prefix("text.shout/").unwrap();
    match (method.as_str(), rest.split_once('/').unwrap()) {
        ("HEAD", ("blobs", digest)) => match registry.blob(&repository, digest) {
            Ok(_) => StatusCode::OK.into_response(),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        },
        ("GET", ("blobs", digest)) => {
            let (digest, size) = registry.blob(&repository, digest).unwrap();
            let size = usize::try_from(size).unwrap();
            registry.read_blob(digest, 0, size).unwrap().into_response()
        }
        ("POST", ("blobs", "uploads/")) => {
            let id = registry.begin_upload(&repository).unwrap();
            // Absolute, and with a query of its own, as some registries do.
            let place = format!(
                "http://{}/v2/{name}/blobs/uploads/{id}?state=x",
                foreign.address
            );
            (StatusCode::ACCEPTED, [("location", place)]).into_response()
        }
        ("PUT", ("blobs", upload)) => {
            assert_eq!(query["state"], "x");
            let (id, _) = registry
                .upload(&repository, upload.strip_prefix("uploads/").unwrap())
                .unwrap();
            registry.append(&repository, &id, 0, &body).unwrap();
            registry
                .finish_upload(&repository, &id, &query["digest"])
                .unwrap();
            StatusCode::CREATED.into_response()
        }
        ("PUT", ("manifests", reference)) => {
            // Says nothing of subjects.
            match registry.prepare(&repository, reference, &media_type, body) {
                Ok(pending) => {
                    registry.store(&pending).unwrap();
                    StatusCode::CREATED.into_response()
                }
                Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
            }
        }
        ("GET", ("manifests", reference)) => match registry.manifest(&repository, reference) {
            Ok(found) => ([("content-type", found.media_type)], found.content).into_response(),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn our_client_speaks_with_token_services_and_without_referrers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = tempfile::tempdir().unwrap();
    let storage = oci::DirectoryStorage::open(place.path().to_owned()).unwrap();
    let foreign = Foreign {
        address: address.clone(),
        registry: Arc::new(oci::Registry::open(Arc::new(storage), OCI_BYTES_MAX).unwrap()),
        scopes: Arc::default(),
    };
    let scopes = Arc::clone(&foreign.scopes);
    let router = Router::new()
        .route("/token", get(token))
        .route("/v2/{*path}", axum::routing::any(serve))
        .with_state(foreign);
    let serving = tokio::spawn(axum::serve(listener, router).into_future());
    let reference: OciReference = format!("oci://{address}/text.shout:stable")
        .parse()
        .unwrap();
    let credentials = Credentials::Basic {
        user: "robot".into(),
        password: "secret".into(),
    };
    let client = Client::new(&reference, credentials, false).unwrap();
    let key = SigningKey::generate().unwrap();
    let package = crate::oci::package("text.shout", "1.0.0").sign(&key);
    client.push(&reference, &package).await.unwrap();
    let pulled = client.pull(&reference).await.unwrap();
    assert_eq!(pulled.to_archive().unwrap(), package.to_archive().unwrap());
    // A token is asked for once for each scope.
    let asked = scopes.lock().unwrap().clone();
    assert_eq!(
        asked,
        [
            "repository:text.shout:pull,push",
            "repository:text.shout:pull"
        ]
    );
    let wrong = Credentials::Basic {
        user: "robot".into(),
        password: "wrong".into(),
    };
    let client = Client::new(&reference, wrong, false).unwrap();
    assert!(matches!(
        client.pull(&reference).await,
        Err(ClientError::Unauthorized { .. })
    ));
    serving.abort();
}
