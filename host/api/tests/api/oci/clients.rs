//! Our own client against the routes.

use super::*;

/// Our client against our routes, over a socket.
#[tokio::test]
async fn our_client_pushes_and_pulls() {
    let setting = setting().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(axum::serve(listener, setting.host.router.clone()).into_future());
    let at = |rest: &str| -> OciReference { format!("oci://{address}/{rest}").parse().unwrap() };
    let token = setting.host.token.clone();
    let credentials = [
        Credentials::Bearer(token.clone()),
        Credentials::Basic {
            user: "anyone".into(),
            password: token,
        },
    ];
    let package = package("text.shout", "1.0.0").sign(&setting.key);
    let reference = at("text.shout");
    for (turn, credentials) in credentials.into_iter().enumerate() {
        let client = Client::new(&reference, credentials, false).unwrap();
        let pushed = client.push(&reference, &package).await.unwrap();
        assert_eq!(pushed.tag.as_str(), "1.0.0");
        assert_eq!(pushed.reused, turn * 4);
        let by_digest = at(&format!("text.shout@{}", pushed.image));
        for reference in [at("text.shout:1.0.0"), at("text.shout"), by_digest] {
            let pulled = client.pull(&reference).await.unwrap();
            assert_eq!(pulled.to_archive().unwrap(), package.to_archive().unwrap());
        }
        let missing = client.pull(&at("text.shout:2.0.0")).await;
        assert!(matches!(missing, Err(ClientError::NotFound(_))));
        let unsigned = crate::oci::package("text.shout", "2.0.0");
        let refused = client.push(&reference, &unsigned).await;
        assert!(
            matches!(&refused, Err(ClientError::Refused { code, .. }) if code == "unsigned"),
            "{refused:?}"
        );
    }
    for credentials in [Credentials::None, Credentials::Bearer("wrong".into())] {
        let client = Client::new(&reference, credentials, false).unwrap();
        let pulled = client.pull(&reference).await;
        assert!(matches!(pulled, Err(ClientError::Unauthorized { .. })));
    }
    serving.abort();
}

/// What a registry in between could do to what is pulled.
#[tokio::test]
async fn our_client_believes_digests_only() {
    let setting = setting().await;
    let package = package("text.shout", "1.0.0").sign(&setting.key);
    let artifact = Artifact::of(&package).unwrap();
    let component = artifact.blobs[1].descriptor.digest;
    let router = setting.host.router.clone();
    setting
        .shelf
        .publish(
            package.to_archive().unwrap(),
            "tok_1",
            PublishOptions::default(),
        )
        .await
        .unwrap();
    for (what, expect) in [
        ("component", "digest"),
        ("manifest", "digest"),
        ("none", ""),
    ] {
        let lie = move |request: axum::extract::Request, next: axum::middleware::Next| async move {
            let path = request.uri().path().to_owned();
            let response = next.run(request).await;
            let hit = match what {
                "component" => path.ends_with(&component.to_string()),
                "manifest" => path.contains("/manifests/sha256:"),
                _ => false,
            };
            if !hit {
                return response;
            }
            let (parts, body) = response.into_parts();
            let mut bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            axum::response::Response::from_parts(parts, Body::from(bytes))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router.clone().layer(axum::middleware::from_fn(lie));
        let serving = tokio::spawn(axum::serve(listener, router).into_future());
        let reference: OciReference = format!("oci://{address}/text.shout").parse().unwrap();
        let credentials = Credentials::Bearer(setting.host.token.clone());
        let client = Client::new(&reference, credentials, false).unwrap();
        let pulled = client.pull(&reference).await;
        if expect.is_empty() {
            pulled.unwrap();
        } else {
            assert!(
                matches!(pulled, Err(ClientError::Digest { .. })),
                "{what}: {pulled:?}"
            );
        }
        serving.abort();
    }
}
