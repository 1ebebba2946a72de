use std::num::NonZeroU16;

use super::*;
use crate::names::{GATEWAY, IPSEC_PSK, ROUTE_AGENT};

/// Of a member with both components.
pub(super) fn settings() -> Settings {
    Settings {
        connectivity: Some(Connectivity {
            cable_driver: CableDriver::WireGuard,
            tunnel_port: NonZeroU16::new(4501).unwrap(),
            nat: true,
            preferred_server: false,
            force_udp_encaps: false,
            air_gapped: false,
            load_balancer: false,
            health_check: Some(HealthCheck {
                interval_seconds: 1,
                max_packet_loss: 5,
            }),
            psk: Some(b"HUSH".to_vec()),
            cable_debug: false,
        }),
        ..super::settings()
    }
}

fn with(change: impl FnOnce(&mut Connectivity)) -> Settings {
    let mut settings = settings();
    change(settings.connectivity.as_mut().unwrap());
    settings
}

fn pod_of(settings: &Settings, name: &str) -> Value {
    find_of(settings, "DaemonSet", name)["spec"]["template"]["spec"].clone()
}

#[test]
fn the_gateway_has_upstreams_environment() {
    let pod = pod_of(&settings(), GATEWAY);
    let container = &pod["containers"][0];
    let want = BTreeMap::from([
        ("SUBMARINER_NAMESPACE", "submariner-operator"),
        ("SUBMARINER_CLUSTERID", "c1"),
        ("SUBMARINER_CLUSTERCIDR", "10.8.0.0/16"),
        ("SUBMARINER_SERVICECIDR", "10.88.0.0/16"),
        ("SUBMARINER_GLOBALCIDR", ""),
        ("SUBMARINER_CABLEDRIVER", "wireguard"),
        ("SUBMARINER_NATENABLED", "true"),
        ("SUBMARINER_DEBUG", "false"),
        ("SUBMARINER_METRICSPORT", "32780"),
        ("SUBMARINER_HALT_ON_CERT_ERROR", "true"),
        ("SUBMARINER_HEALTHCHECKENABLED", "true"),
        ("SUBMARINER_HEALTHCHECKINTERVAL", "1"),
        ("SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT", "5"),
        ("SUBMARINER_BROKER", "k8s"),
        ("AIR_GAPPED_DEPLOYMENT", "false"),
        ("CE_IPSEC_NATTPORT", "4501"),
        ("CE_IPSEC_DEBUG", "false"),
        ("CE_IPSEC_PREFERREDSERVER", "false"),
        ("CE_IPSEC_FORCEENCAPS", "false"),
        ("CE_IPSEC_PSKSECRET", IPSEC_PSK),
        ("BROKER_K8S_APISERVER", "192.0.2.1:6443"),
        ("BROKER_K8S_REMOTENAMESPACE", "submariner-k8s-broker"),
        ("BROKER_K8S_SECRET", BROKER_SECRET),
        ("BROKER_K8S_INSECURE", "false"),
    ]);
    assert_eq!(plain_env(container), want);
    let fields: Vec<(&Value, &Value)> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|variable| variable.get("valueFrom").is_some())
        .map(|variable| {
            (
                &variable["name"],
                &variable["valueFrom"]["fieldRef"]["fieldPath"],
            )
        })
        .collect();
    assert_eq!(
        fields,
        [
            (&json!("NODE_NAME"), &json!("spec.nodeName")),
            (&json!("POD_NAME"), &json!("metadata.name"))
        ]
    );
}

#[test]
fn the_route_agent_has_upstreams_environment() {
    let pod = pod_of(&settings(), ROUTE_AGENT);
    let want = BTreeMap::from([
        ("SUBMARINER_NAMESPACE", "submariner-operator"),
        ("SUBMARINER_CLUSTERID", "c1"),
        ("SUBMARINER_CLUSTERCIDR", "10.8.0.0/16"),
        ("SUBMARINER_SERVICECIDR", "10.88.0.0/16"),
        ("SUBMARINER_GLOBALCIDR", ""),
        ("SUBMARINER_NETWORKPLUGIN", "kindnet"),
        ("SUBMARINER_DEBUG", "false"),
        ("SUBMARINER_METRICSPORT", "32782"),
        ("SUBMARINER_HEALTHCHECKENABLED", "true"),
        ("SUBMARINER_HEALTHCHECKINTERVAL", "1"),
        ("SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT", "5"),
    ]);
    assert_eq!(plain_env(&pod["containers"][0]), want);
    // It talks to this cluster alone.
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 1);
}

#[test]
fn both_are_on_the_nodes_network_and_may_program_its_kernel() {
    for (name, selector) in [
        (GATEWAY, json!({"submariner.io/gateway": "true"})),
        (ROUTE_AGENT, json!({"kubernetes.io/os": "linux"})),
    ] {
        let pod = pod_of(&settings(), name);
        assert_eq!(pod["hostNetwork"], true, "{name}");
        assert_eq!(pod["nodeSelector"], selector, "{name}");
        assert_eq!(
            pod["tolerations"],
            json!([{"operator": "Exists"}]),
            "{name}"
        );
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["privileged"], true, "{name}");
        // The images' user is nobody.
        assert_eq!(container["securityContext"]["runAsUser"], 0, "{name}");
        assert_eq!(pod["volumes"][0]["hostPath"]["path"], "/run/submariner");
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/run/submariner");
    }
}

#[test]
fn the_gateways_secrets_are_where_it_looks_for_them() {
    let container = &pod_of(&settings(), GATEWAY)["containers"][0];
    let mounts: Vec<&str> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(
        mounts[1..],
        [
            "/run/secrets/submariner.io/submariner-broker-secret",
            "/run/secrets/submariner.io/submariner-ipsec-psk"
        ]
    );
    assert_eq!(
        find_of(&settings(), "Secret", IPSEC_PSK)["data"]["psk"],
        "SFVTSA=="
    );
    assert!(!format!("{:?}", settings()).contains("HUSH"));
    // Without a key nothing is mounted, or the pod would wait for it.
    let keyless = with(|connectivity| connectivity.psk = None);
    let pod = pod_of(&keyless, GATEWAY);
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 2);
    assert!(!plain_env(&pod["containers"][0]).contains_key("CE_IPSEC_PSKSECRET"));
    assert!(
        objects(&keyless)
            .iter()
            .all(|object| object.name() != IPSEC_PSK)
    );
}

#[test]
fn a_load_balancer_leads_to_the_active_gateway() {
    let balanced = with(|connectivity| connectivity.load_balancer = true);
    let service = find_of(&balanced, "Service", GATEWAY);
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": GATEWAY, "gateway.submariner.io/status": "active"})
    );
    let ports: Vec<&Value> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| &port["port"])
        .collect();
    assert_eq!(ports, [4501, 4490]);
    let pod = pod_of(&balanced, GATEWAY);
    let env = plain_env(&pod["containers"][0]);
    assert_eq!(env["SUBMARINER_PUBLICIP"], "lb:submariner-gateway");
    assert_eq!(env["CE_IPSEC_PREFERREDSERVER"], "true");
    assert!(
        find_of(&balanced, "Role", GATEWAY)
            .to_string()
            .contains("services")
    );
    assert!(
        !find_of(&settings(), "Role", GATEWAY)
            .to_string()
            .contains("services")
    );
}

#[test]
fn checks_of_paths_can_be_off() {
    let settings = with(|connectivity| connectivity.health_check = None);
    for name in [GATEWAY, ROUTE_AGENT] {
        let pod = pod_of(&settings, name);
        let env = plain_env(&pod["containers"][0]);
        assert_eq!(env["SUBMARINER_HEALTHCHECKENABLED"], "false");
        assert!(!env.contains_key("SUBMARINER_HEALTHCHECKINTERVAL"));
    }
}

#[test]
fn each_is_probed_where_it_says_how_it_is() {
    for (name, port) in [(GATEWAY, 32780), (ROUTE_AGENT, 32782)] {
        let container = &pod_of(&settings(), name)["containers"][0];
        let env = plain_env(container);
        assert_eq!(env["SUBMARINER_METRICSPORT"], port.to_string());
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let get = &container[probe]["httpGet"];
            assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!(port)));
        }
        let ports = container["ports"].as_array().unwrap();
        let metrics = ports.iter().find(|port| port["name"] == "metrics");
        assert_eq!(metrics.unwrap()["hostPort"], port, "{name}");
    }
}

/// What is written is written in the components' own namespace; of all that is elsewhere, nodes are read.
#[test]
fn rights_of_the_data_plane_are_few() {
    for name in [GATEWAY, ROUTE_AGENT] {
        let all = find_of(&settings(), "ClusterRole", name)["rules"].clone();
        assert_eq!(
            all,
            json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]),
            "{name}"
        );
        let own = find_of(&settings(), "Role", name).to_string();
        assert!(!own.contains('*') && !own.contains("secrets"), "{own}");
        let binding = find_of(&settings(), "RoleBinding", name);
        assert_eq!(binding["subjects"][0]["name"], name);
        assert_eq!(pod_of(&settings(), name)["serviceAccountName"], name);
    }
}

#[test]
fn each_component_is_installed_alone_or_with_the_other() {
    let workloads = |settings: &Settings| -> Vec<String> {
        let objects = objects(settings);
        let workloads = objects
            .iter()
            .filter(|object| ["Deployment", "DaemonSet"].contains(&object.kind()));
        workloads.map(|object| object.name().to_owned()).collect()
    };
    let both = settings();
    let discovery = super::settings();
    let connectivity = Settings {
        service_discovery: false,
        ..settings()
    };
    assert_eq!(workloads(&both), [AGENT, DNS, GATEWAY, ROUTE_AGENT]);
    assert_eq!(workloads(&discovery), [AGENT, DNS]);
    assert_eq!(workloads(&connectivity), [GATEWAY, ROUTE_AGENT]);
    for (settings, components, driver) in [
        (both, "connectivity,service-discovery", "wireguard"),
        (discovery, "service-discovery", ""),
        (connectivity, "connectivity", "wireguard"),
    ] {
        let record = find_of(&settings, "ConfigMap", SETTINGS);
        assert_eq!(record["data"]["components"], components);
        assert_eq!(record["data"]["cableDriver"], driver);
    }
}
