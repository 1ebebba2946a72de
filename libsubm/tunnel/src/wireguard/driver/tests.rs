use subm_routing::LinkKind;

use super::*;

fn local() -> Local {
    Local {
        private_ip: [172, 31, 1, 11].into(),
        port: 4501,
        mtu: 1500,
        source: None,
        source6: None,
    }
}

/// Nothing is made yet, so nothing is needed.
async fn driver(key: &PrivateKey) -> WireGuard {
    let secret = PresharedKey::from_text("the cluster set's").unwrap();
    let settings = Settings::new(key.clone(), secret).implementation(Implementation::Userspace);
    WireGuard::open(settings).await.unwrap()
}

/// As in a recorded Endpoint of Submariner, but for what the gateway itself adds.
#[tokio::test]
async fn an_endpoint_publishes_what_submariners_does() {
    let key = PrivateKey::generate();
    let published = driver(&key).await.backend_config(&local());
    let expected = [
        ("interface-name", "submariner".to_owned()),
        ("publicKey", key.public().to_string()),
        ("udp-port", "4501".to_owned()),
    ];
    assert_eq!(
        published,
        expected
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect()
    );
}

/// As a running Submariner left it in the kernel.
#[tokio::test]
async fn the_device_is_submariners() {
    let (network, refusals) = driver(&PrivateKey::generate()).await.plan(&local(), &[]);
    assert!(refusals.is_empty());
    for (network, kind) in [
        (network, LinkKind::External),
        (super::super::plan(&local(), false), LinkKind::WireGuard),
    ] {
        let link = network.links().next().unwrap();
        assert_eq!((link.name, link.mtu), (DEVICE, Some(1420)));
        assert_eq!(link.kind, kind);
        // Those are the route agent's: it has them in table 150.
        assert_eq!(network.routes().count() + network.rules().count(), 0);
    }
}

#[tokio::test]
async fn who_runs_it_is_said() {
    let capabilities = driver(&PrivateKey::generate()).await.capabilities();
    assert_eq!(capabilities.implementation, "userspace (gotatun)");
    assert!(capabilities.encrypts && capabilities.nat && !capabilities.routes);
}

#[tokio::test]
async fn without_a_device_it_says_so() {
    let mut driver = driver(&PrivateKey::generate()).await;
    let cables = [Cable::new("c2", "c2", [172, 31, 2, 11].into(), 4500)];
    assert!(matches!(
        driver.observe(Instant::now()).await,
        Err(Error::Gone { .. })
    ));
    let failed = driver.ensure(&local(), &cables).await.unwrap_err();
    assert!(failed.is_retryable(), "{failed}");
    driver.teardown().await.unwrap();
}
