use super::*;

fn settings(more: &[(&str, &str)]) -> Settings {
    let least = [
        ("SUBMARINER_CLUSTERID", "c1"),
        ("SUBMARINER_NAMESPACE", "submariner-operator"),
        ("SUBMARINER_CLUSTERCIDR", "10.8.0.0/16"),
        ("SUBMARINER_SERVICECIDR", "10.88.0.0/16"),
        ("SUBMARINER_CABLEDRIVER", "vxlan"),
        ("SUBMARINER_NATENABLED", "true"),
    ];
    Settings::read(|name| {
        let mut all = more
            .iter()
            .chain(&least)
            .filter(|(known, _)| *known == name);
        all.next().map(|(_, value)| (*value).to_owned())
    })
    .expect("settings")
}

fn node(annotations: &[(&str, &str)]) -> NodeSettings {
    let (settings, problems) = NodeSettings::read(&BTreeMap::new(), &texts(annotations));
    assert_eq!(problems, []);
    settings
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn here() -> Here {
    Here {
        node: "c1-gw1".to_owned(),
        private_ip: "172.31.1.11".parse().expect("IPv4"),
        public_ip: "198.51.100.11".parse().ok(),
        cni_ip: "10.8.1.1".parse().ok(),
        global_ip: None,
        driver: BTreeMap::new(),
        answers_discovery: true,
    }
}

/// endpoint: "GetLocalSpec › should return a valid EndpointSpec object", as a running Submariner wrote it.
#[test]
fn endpoint_98_220_an_endpoint_is_as_submariner_writes_it() {
    let node = node(&[("gateway.submariner.io/public-ip", "ipv4:198.51.100.11")]);
    let (spec, problems) = endpoint(&settings(&[]), &node, &here());
    assert_eq!(problems, []);
    let recorded = serde_json::json!({
        "backend": "vxlan",
        "backend_config": {"natt-discovery-port": "4490", "public-ip": "ipv4:198.51.100.11", "udp-port": "4500"},
        "cable_name": "submariner-cable-c1-172-31-1-11",
        "cluster_id": "c1",
        "healthCheckIP": "10.8.1.1",
        "hostname": "c1-gw1",
        "nat_enabled": true,
        "private_ip": "172.31.1.11",
        "public_ip": "198.51.100.11",
        "subnets": ["10.88.0.0/16", "10.8.0.0/16"],
    });
    assert_eq!(serde_json::to_value(&spec).expect("JSON"), recorded);
    assert_eq!(
        endpoint_name(&spec).as_deref(),
        Some("c1-submariner-cable-c1-172-31-1-11")
    );
}

/// A Go Submariner would ask for a minute.
#[test]
fn who_does_not_answer_nat_discovery_publishes_no_port_for_it() {
    let here = Here {
        answers_discovery: false,
        ..here()
    };
    let (spec, _) = endpoint(&settings(&[]), &node(&[]), &here);
    assert_eq!(spec.backend_config, texts(&[("udp-port", "4500")]));
}

/// The Cluster object of the same recording.
#[test]
fn a_cluster_is_as_submariner_writes_it() {
    let recorded = serde_json::json!({
        "cluster_id": "c1",
        "cluster_cidr": ["10.8.0.0/16"],
        "service_cidr": ["10.88.0.0/16"],
        "global_cidr": [],
        "color_codes": ["blue"],
    });
    assert_eq!(
        serde_json::to_value(cluster(&settings(&[]))).expect("JSON"),
        recorded
    );
}

/// endpoint: "the gateway node is not annotated with udp port › should return the udp-port backend config of the cluster", and
/// "no NAT discovery port label is set on the node".
#[test]
fn endpoint_118_130_ports_are_the_nodes_else_the_clusters_else_the_default() {
    let settings = settings(&[("CE_IPSEC_NATTPORT", "4501")]);
    for (annotations, udp, discovery) in [
        (&[][..], "4501", "4490"),
        (
            &[("gateway.submariner.io/udp-port", "4502")],
            "4502",
            "4490",
        ),
        (
            &[("gateway.submariner.io/natt-discovery-port", "1234")],
            "4501",
            "1234",
        ),
    ] {
        let (spec, _) = endpoint(&settings, &node(annotations), &here());
        assert_eq!(spec.backend_config[UDP_PORT], udp);
        assert_eq!(spec.backend_config[NATT_DISCOVERY_PORT], discovery);
    }
}

/// endpoint: "health check is enabled › should set the HealthCheckIP" and "and globalnet is enabled › should not set the
/// HealthCheckIP"; Globalnet's address of the gateway comes later.
#[test]
fn endpoint_166_177_echo_requests_go_to_the_pod_network_or_to_the_global_address() {
    let plain = settings(&[]);
    let off = settings(&[("SUBMARINER_HEALTHCHECKENABLED", "false")]);
    let globalnet = settings(&[("SUBMARINER_GLOBALCIDR", "242.0.0.0/16")]);
    let global = Here {
        global_ip: "242.0.255.1".parse().ok(),
        ..here()
    };
    let bare = Here {
        cni_ip: None,
        ..here()
    };
    let missing = [Problem::NoHealthCheckAddress];
    for (settings, here, address, problems) in [
        (&plain, here(), "10.8.1.1", &[][..]),
        (&plain, bare.clone(), "", &missing),
        (&off, here(), "", &[]),
        (&off, bare, "", &[]),
        (&globalnet, here(), "", &[]),
        (&globalnet, global, "242.0.255.1", &[]),
    ] {
        let (spec, said) = endpoint(settings, &NodeSettings::default(), &here);
        assert_eq!(
            (spec.health_check_ip.as_str(), said.as_slice()),
            (address, problems)
        );
    }
}

/// endpoint: "the gateway node is not annotated with public-ip › should use empty public-ip".
#[test]
fn endpoint_137_a_public_address_that_is_not_known_is_empty() {
    let unknown = Here {
        public_ip: None,
        ..here()
    };
    let (spec, problems) = endpoint(&settings(&[]), &NodeSettings::default(), &unknown);
    assert_eq!((spec.public_ip.as_str(), problems), ("", Vec::new()));
    assert!(!spec.backend_config.contains_key(PUBLIC_IP));
}

/// endpoint: "the gateway node is annotated with public-ip": it is preferred to the cluster's.
#[test]
fn endpoint_152_the_nodes_way_to_its_public_address_counts() {
    let settings = settings(&[("SUBMARINER_PUBLICIP", "lb:submariner-gateway")]);
    let plain = NodeSettings::default();
    assert_eq!(plain.public_ip_sources(&settings), settings.public_ip);
    let (spec, _) = endpoint(&settings, &plain, &here());
    assert_eq!(spec.backend_config[USING_LOAD_BALANCER], "true");
    let own = node(&[("gateway.submariner.io/public-ip", "dns:gw.example.com")]);
    assert_eq!(own.public_ip_sources(&settings), own.public_ip);
    let (spec, _) = endpoint(&settings, &own, &here());
    assert!(!spec.backend_config.contains_key(USING_LOAD_BALANCER));
}

#[test]
fn endpoint_249_before_addresses_are_known_there_is_an_outline() {
    let settings = settings(&[]);
    let outline = outline(&settings, "c1-gw1");
    assert_eq!(endpoint_name(&outline), None);
    let (spec, _) = endpoint(&settings, &NodeSettings::default(), &here());
    assert_eq!(
        (outline.cluster_id, outline.hostname, outline.subnets),
        (spec.cluster_id, spec.hostname, spec.subnets)
    );
}

#[test]
fn annotations_win_over_labels() {
    let labels = texts(&[
        ("gateway.submariner.io/udp-port", "4501"),
        ("gateway.submariner.io/natt-discovery-port", "4491"),
        ("submariner.io/gateway", "true"),
    ]);
    let annotations = texts(&[
        ("gateway.submariner.io/udp-port", "4502"),
        ("gateway.submariner.io/preferred-server", "true"),
    ]);
    let (settings, problems) = NodeSettings::read(&labels, &annotations);
    assert_eq!(problems, []);
    assert_eq!(
        (
            settings.udp_port,
            settings.natt_discovery_port,
            settings.preferred_server
        ),
        (Some(4502), Some(4491), Some(true))
    );
}

/// Submariner ends for each of them.
#[test]
fn what_a_node_cannot_mean_is_said_and_the_rest_works() {
    for (name, value) in [
        ("udp-port", "0"),
        ("udp-port", "65536"),
        ("udp-port", "+1"),
        ("natt-discovery-port", "NaN"),
        ("preferred-server", "maybe"),
        ("public-ip", "198.51.100.11"),
        ("colour", "blue"),
    ] {
        let key = format!("{GATEWAY_PREFIX}{name}");
        let labels = texts(&[
            (&key, value),
            ("gateway.submariner.io/preferred-server", "true"),
        ]);
        let annotations = texts(&[(&key, value)]);
        let (node, problems) = NodeSettings::read(&labels, &annotations);
        assert_eq!(problems.len(), 1, "{name}");
        let text = problems[0].to_string();
        assert!(text.contains(&key) && text.contains("; "), "{text}");
        let (spec, _) = endpoint(&settings(&[]), &node, &here());
        assert_eq!(spec.backend_config[UDP_PORT], "4500");
        assert_eq!(spec.backend_config[NATT_DISCOVERY_PORT], "4490");
    }
}

#[test]
fn a_driver_publishes_beside_us_and_overrides_nothing() {
    let driver = texts(&[
        ("publicKey", "OkgXxslohUfJpfbk0lNGjgoFsvkz5gI6uOWJtArQ+y8="),
        ("interface-name", "submariner"),
        ("udp-port", "9"),
    ]);
    let with_driver = Here { driver, ..here() };
    let (spec, _) = endpoint(&settings(&[]), &NodeSettings::default(), &with_driver);
    assert_eq!(spec.backend_config["interface-name"], "submariner");
    assert_eq!(spec.backend_config[UDP_PORT], "4500");
}

#[test]
fn both_families_are_told() {
    let settings = settings(&[("SUBMARINER_CLUSTERCIDR", "10.8.0.0/16,fd08::/48")]);
    let six = Here {
        private_ip: "fd31::1:11".parse().expect("IPv6"),
        ..here()
    };
    let (spec, _) = endpoint(&settings, &NodeSettings::default(), &six);
    let subnets: Vec<&String> = spec.subnets.iter().collect();
    assert_eq!(subnets, ["10.88.0.0/16", "10.8.0.0/16", "fd08::/48"]);
    assert_eq!(spec.cable_name, "submariner-cable-c1-fd31--1-11");
}

/// apis/submariner.io/v1: "EndpointSpec › GenerateName".
#[test]
fn endpoints_are_named_after_cluster_and_cable() {
    let named = |cluster: &str, cable: &str| {
        endpoint_name(&EndpointSpec {
            cluster_id: cluster.to_owned(),
            cable_name: cable.to_owned(),
            ..EndpointSpec::default()
        })
    };
    assert_eq!(
        named("ClusterID", "CableName").as_deref(),
        Some("clusterid-cablename")
    );
    assert_eq!(named("", "CableName"), None, "the ClusterID is empty");
    assert_eq!(named("ClusterID", ""), None, "the CableName is empty");
}

/// Defect 18: written by one name, deleted by another.
#[test]
fn names_of_objects_are_valid_and_for_all_uses_the_same() {
    for (text, name) in [
        ("c1-gw1", Some("c1-gw1")),
        ("GW_1.Example", Some("gw-1.example")),
        ("-a-", Some("a")),
        ("\u{c4}b", Some("b")),
        ("a b", Some("a-b")),
        ("__", None),
        ("", None),
    ] {
        assert_eq!(gateway_name(text).as_deref(), name, "{text:?}");
        // A valid name is its own.
        assert_eq!(name.and_then(gateway_name).as_deref(), name);
    }
}

/// endpoint: "an IPv4 entry specified in air-gapped deployment › should return the IP and not an empty value".
#[test]
fn endpoint_126_nobody_outside_is_asked_where_there_is_nobody() {
    let asked = |public_ip: &str, nat: &str, air_gapped: bool| {
        let settings = settings(&[
            ("SUBMARINER_PUBLICIP", public_ip),
            ("SUBMARINER_NATENABLED", nat),
        ]);
        let list = node(&[]).lookups(&settings, air_gapped);
        list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = "api:api.example.com,ipv4:198.51.100.1";
    assert_eq!(asked(both, "true", false).join(","), both);
    assert_eq!(asked(both, "true", true), ["ipv4:198.51.100.1"]);
    assert_eq!(asked("", "true", true), [""; 0]);
    // Without translation nobody needs to know it.
    assert_eq!(asked("", "false", false), [""; 0]);
    assert!(
        asked("", "true", false)
            .iter()
            .all(|source| source.starts_with("api:"))
    );
    assert!(!asked("", "true", false).is_empty());
}
