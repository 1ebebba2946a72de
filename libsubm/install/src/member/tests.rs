use serde_json::Value;

use super::*;
use crate::names::{AGENT, DNS, INSTALLER, MANAGED_BY};

mod connectivity;

fn settings() -> Settings {
    Settings {
        cluster_id: ClusterId::new("c1").unwrap(),
        broker: BrokerAccess {
            url: "https://192.0.2.1:6443/".to_owned(),
            namespace: "submariner-k8s-broker".to_owned(),
            token: "HUSH".to_owned(),
            expires: None,
            ca: Some("PEM".to_owned()),
            insecure: false,
            halt_on_certificate_error: true,
        },
        addresses: Addresses {
            pods: vec!["10.8.0.0/16".to_owned()],
            services: vec!["10.88.0.0/16".to_owned()],
            global: Vec::new(),
        },
        network_plugin: "kindnet".to_owned(),
        service_discovery: true,
        connectivity: None,
        custom_domains: vec!["a.example".to_owned(), CLUSTERSET_DOMAIN.to_owned()],
        clusterset_ip: ClustersetIp {
            enabled: false,
            cidr: Some("243.0.0.0/20".to_owned()),
            by_service: false,
        },
        globalnet: false,
        images: Images {
            repository: crate::images::REPOSITORY.to_owned(),
            version: "0.1.0".to_owned(),
            overrides: BTreeMap::new(),
        },
        namespaces_allowed: Vec::new(),
        debug: false,
        replicas: Replicas::default(),
        proxies: BTreeMap::new(),
        choices: Map::new(),
    }
}

fn find(kind: &str, name: &str) -> Value {
    find_of(&settings(), kind, name)
}

fn find_of(settings: &Settings, kind: &str, name: &str) -> Value {
    let objects = objects(settings);
    let found = objects
        .iter()
        .find(|object| object.kind() == kind && object.name() == name);
    found
        .unwrap_or_else(|| panic!("{kind} {name}"))
        .value()
        .clone()
}

/// Variables with a value of their own.
fn plain_env(container: &Value) -> BTreeMap<&str, &str> {
    let variables = container["env"].as_array().unwrap().iter();
    let plain = variables
        .filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?)));
    plain.collect()
}

#[test]
fn the_agent_has_upstreams_environment() {
    let deployment = find("Deployment", AGENT);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let env = plain_env(container);
    assert_eq!(
        env,
        BTreeMap::from([
            ("SUBMARINER_CLUSTERID", "c1"),
            ("SUBMARINER_NAMESPACE", "submariner-operator"),
            ("SUBMARINER_CLUSTERSET_IP_CIDR", "243.0.0.0/20"),
            ("SUBMARINER_CLUSTERSET_IP_ENABLED", "false"),
            ("SUBMARINER_GLOBALNET_ENABLED", "false"),
            ("SUBMARINER_HALT_ON_CERT_ERROR", "true"),
            ("BROKER_K8S_APISERVER", "192.0.2.1:6443"),
            ("BROKER_K8S_REMOTENAMESPACE", "submariner-k8s-broker"),
            ("BROKER_K8S_SECRET", "submariner-broker-secret"),
            ("BROKER_K8S_INSECURE", "false"),
        ])
    );
    assert_eq!(
        container["volumeMounts"][0]["mountPath"],
        "/run/secrets/submariner.io/submariner-broker-secret"
    );
    assert!(container.get("args").is_none());
}

#[test]
fn the_dns_server_has_a_block_per_domain() {
    let corefile = find("ConfigMap", DNS)["data"]["Corefile"]
        .as_str()
        .unwrap()
        .to_owned();
    let heads: Vec<&str> = corefile
        .lines()
        .filter(|line| line.ends_with(":53 {"))
        .collect();
    assert_eq!(heads, ["clusterset.local:53 {", "a.example:53 {"]);
    let ports = find("Service", DNS)["spec"]["ports"].clone();
    assert_eq!(
        (&ports[0]["protocol"], &ports[1]["protocol"]),
        (&json!("UDP"), &json!("TCP"))
    );
}

#[test]
fn what_deploy_has_and_what_join_installs_are_the_same_rights() {
    let manifest = include_str!("../../../../deploy/lighthouse-dns.yaml");
    let role = manifest
        .split("\n---\n")
        .find(|document| document.contains("kind: ClusterRole\n"))
        .unwrap();
    let role: Value = serde_saphyr::from_str(role).unwrap();
    assert_eq!(find("ClusterRole", DNS)["rules"], role["rules"]);
}

#[test]
fn objects_are_named_once_carry_our_label_and_keep_the_token_to_the_secret() {
    let objects = objects(&connectivity::settings());
    let mut seen = std::collections::BTreeSet::new();
    for object in &objects {
        let key = (
            object.api_version(),
            object.kind(),
            object.namespace(),
            object.name(),
        );
        assert!(seen.insert(key), "{key:?} twice");
        assert_eq!(
            object.value()["metadata"]["labels"][MANAGED_BY],
            INSTALLER,
            "{key:?}"
        );
        assert!(!object.value().to_string().contains("HUSH"), "{key:?}");
    }
    assert_eq!(find("Secret", BROKER_SECRET)["data"]["token"], "SFVTSA==");
    assert!(!format!("{:?}", settings()).contains("HUSH"));
}

#[test]
fn rights_name_what_they_are_for() {
    for name in [AGENT, DNS] {
        let role = find("ClusterRole", name).to_string();
        assert!(!role.contains('*') && !role.contains("secrets"), "{role}");
    }
}

#[test]
fn choices_are_written_down_for_the_next_time() {
    let mut chosen = settings();
    let choices = json!({"cable-driver": "vxlan", "pod-debug": true});
    chosen.choices = choices.as_object().unwrap().clone();
    let record = find_of(&chosen, "ConfigMap", SETTINGS);
    let written = record["data"]["choices"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(written).unwrap(), choices);
    assert_eq!(find("ConfigMap", SETTINGS)["data"]["choices"], "{}");
}
