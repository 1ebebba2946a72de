use super::*;

fn service() -> ServiceKey {
    ServiceKey::new("shop", "web").unwrap()
}

fn port(name: Option<&str>, protocol: Protocol, number: u16) -> Port {
    Port {
        name: name.and_then(Label::new),
        protocol,
        number,
    }
}

fn slice(endpoints: Vec<Endpoint>) -> Slice {
    Slice {
        service: service(),
        cluster: ClusterId::new("east").unwrap(),
        form: SliceForm::Backends,
        publish_not_ready: true,
        globalnet: true,
        ports: vec![port(None, Protocol::Sctp, 9)],
        endpoints,
        triggered_at: Some(u64::MAX),
    }
}

fn endpoint(addresses: &[&str], hostname: Option<&str>, pod: Option<&str>) -> Endpoint {
    Endpoint {
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        hostname: hostname.and_then(Label::new),
        pod: pod.and_then(Label::new),
        ready: hostname.is_none(),
    }
}

#[test]
fn an_import_comes_back_as_it_was() {
    let long = "l".repeat(200);
    let ids = ["east", "west.example"].map(|id| ClusterId::new(id).unwrap());
    for form in [
        ImportForm::Aggregated,
        ImportForm::PerCluster(ids[1].clone()),
    ] {
        let import = Import {
            service: service(),
            form,
            kind: ServiceType::ClusterSetIp,
            ips: vec!["243.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            ports: vec![
                port(Some("http"), Protocol::Tcp, 65_535),
                port(None, Protocol::Udp, 53),
            ],
            weights: vec![(ids[0].clone(), 0), (ids[1].clone(), 500)],
        };
        for (namespace, name) in [("shop", "web"), ("shop", &*long), ("operator", "web")] {
            let key = ObjectKey::new(namespace, name);
            let object = Object::import(&service(), &key, &import);
            assert_eq!(object.kind(), Kind::Import);
            assert_eq!(ObjectKey::from(object.name(&service())), key);
            assert_eq!(object.read_import(&service()), import);
            assert_eq!(object.globalnet(&service()), None);
        }
    }
}

#[test]
fn a_slice_is_read_in_place() {
    let endpoints = vec![
        endpoint(&["10.0.0.1"], Some("db-0"), Some("not-kept")),
        endpoint(&["fd00::1"], None, Some("pod")),
        endpoint(&["fd00::2", "10.0.0.2", "10.0.0.3"], None, None),
        endpoint(&[], None, None),
    ];
    let many: Vec<_> = (0..300).flat_map(|_| endpoints.clone()).collect();
    let key = ObjectKey::new("shop", "web-abc");
    let service = service();
    let object = Object::slice(&service, &key, &slice(many), Some(513));
    let view = object.read_slice(&service);
    assert_eq!(view.object, ObjectName::from(&key));
    assert_eq!((view.cluster, view.form), (Some(513), SliceForm::Backends));
    assert!(view.publish_not_ready && view.globalnet);
    assert_eq!(view.ports, [port(None, Protocol::Sctp, 9)]);
    assert_eq!(object.globalnet(&service), Some(513));
    assert_eq!(view.endpoints.len(), 1200);
    let v6 = |last| std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).octets();
    let (one, two) = ([v6(1)], [v6(2)]);
    let expected = |a, aaaa, hostname, pod, ready| EndpointView {
        a,
        aaaa,
        hostname,
        pod,
        ready,
    };
    for four in view.endpoints.collect::<Vec<_>>().chunks(4) {
        assert_eq!(
            four,
            [
                expected(&[[10, 0, 0, 1]], &[], Some("db-0"), None, false),
                expected(&[], &one, None, Some("pod"), true),
                expected(&[[10, 0, 0, 2], [10, 0, 0, 3]], &two, None, None, true),
                expected(&[], &[], None, None, true),
            ]
        );
    }
}

#[test]
fn objects_differ_where_facts_do() {
    let (service, key) = (service(), ObjectKey::new("shop", "web-abc"));
    let one = slice(vec![endpoint(&["10.0.0.1"], None, None)]);
    let object = |slice: &Slice| Object::slice(&service, &key, slice, None);
    let others = [
        Slice {
            cluster: ClusterId::new("west").unwrap(),
            ..one.clone()
        },
        Slice {
            triggered_at: Some(1),
            ..one.clone()
        },
        slice(vec![endpoint(&["10.0.0.2"], None, None)]),
        slice(vec![endpoint(&["10.0.0.1"], None, Some("pod"))]),
    ];
    assert_eq!(object(&one), object(&one));
    for other in &others {
        assert_ne!(object(&one), object(other), "{other:?}");
    }
    assert_eq!(object(&one).read_slice(&service).cluster, None);
}

#[test]
fn objects_are_in_order_of_kind_namespace_and_name() {
    let service = service();
    let slice = slice(Vec::new());
    let object = |namespace, name| {
        Object::slice(&service, &ObjectKey::new(namespace, name), &slice, Some(0))
    };
    let name = |namespace, name| ObjectName { namespace, name };
    let web = object("shop", "web");
    assert_eq!(
        web.cmp_key(&service, Kind::Slice, name("shop", "web")),
        Ordering::Equal
    );
    assert_eq!(
        web.cmp_key(&service, Kind::Import, name("a", "a")),
        Ordering::Greater
    );
    assert_eq!(
        web.cmp_key(&service, Kind::LocalSlice, name("a", "a")),
        Ordering::Less
    );
    assert_eq!(
        web.cmp_key(&service, Kind::Slice, name("shop-a", "a")),
        Ordering::Less
    );
    assert_eq!(
        web.cmp_key(&service, Kind::Slice, name("shop", "web-a")),
        Ordering::Less
    );
}
