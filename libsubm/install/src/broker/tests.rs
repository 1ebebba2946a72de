use std::collections::BTreeMap;

use super::*;
use crate::names::CONNECTIVITY;

fn settings() -> Settings {
    Settings {
        namespace: "submariner-k8s-broker".to_owned(),
        components: vec![SERVICE_DISCOVERY.to_owned()],
        custom_domains: Vec::new(),
        globalnet: Some(Pool::new("120.0.0.0/8".parse().unwrap(), 65_536).unwrap()),
        clusterset_ip: Pool::new("243.0.0.0/8".parse().unwrap(), 4096).unwrap(),
        clusterset_ip_enabled: false,
    }
}

#[test]
fn members_have_no_way_to_secrets_or_accounts() {
    let objects = objects(&settings());
    let role = objects
        .iter()
        .find(|object| object.kind() == "Role" && object.name() == "submariner-k8s-broker-cluster")
        .unwrap();
    for rule in role.value()["rules"].as_array().unwrap() {
        assert_ne!(rule["apiGroups"], json!([""]), "{rule}");
        assert_ne!(
            rule["apiGroups"],
            json!(["rbac.authorization.k8s.io"]),
            "{rule}"
        );
        assert!(!rule.to_string().contains('*'), "{rule}");
    }
}

#[test]
fn a_member_is_named_as_upstream_names_it() {
    let id = ClusterId::new("c1").unwrap();
    let objects = member_objects("b", &id, Some("uid-1"));
    let names: Vec<_> = objects.iter().map(|o| (o.kind(), o.name())).collect();
    assert_eq!(
        names,
        [
            ("ServiceAccount", "cluster-c1"),
            ("RoleBinding", "cluster-c1-submariner-k8s-broker-cluster"),
            ("Secret", "cluster-c1-token-subctl"),
        ]
    );
    assert_eq!(
        objects[0].value()["metadata"]["annotations"][CLUSTER_UID],
        "uid-1"
    );
}

#[test]
fn info_maps_are_written_as_go_writes_them_and_read_back() {
    let [mut globalnet, clusterset] = settings().info_maps();
    let data = globalnet.data();
    assert_eq!(data["globalnetEnabled"], "true");
    assert_eq!(data["globalnetCidrRange"], "\"120.0.0.0/8\"");
    assert_eq!(data["globalnetClusterSize"], "65536");
    assert_eq!(data["clusterinfo"], "[]");
    globalnet
        .pool
        .as_mut()
        .unwrap()
        .reserve("g1", "120.1.0.0/24".parse().unwrap())
        .unwrap();
    let data = globalnet.data();
    assert_eq!(
        data["clusterinfo"],
        "[\n\t{\n\t\t\"cluster_id\": \"g1\",\n\t\t\"global_cidr\": [\n\t\t\t\"120.1.0.0/24\"\n\t\t]\n\t}\n]"
    );
    assert_eq!(InfoMap::read(Purpose::Globalnet, &data).unwrap(), globalnet);
    assert_eq!(clusterset.data()["clustersetIPEnabled"], "false");
    assert_eq!(
        InfoMap::read(Purpose::ClustersetIp, &clusterset.data()).unwrap(),
        clusterset
    );
}

#[test]
fn a_broken_info_map_is_named() {
    let mut data = settings().info_maps()[0].data();
    data.insert("clusterinfo".to_owned(), "[{".to_owned());
    let error = InfoMap::read(Purpose::Globalnet, &data)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("submariner-globalnet-info") && error.contains("clusterinfo"),
        "{error}"
    );
    let empty = InfoMap::read(Purpose::Globalnet, &BTreeMap::new()).unwrap();
    assert!(!empty.enabled && empty.pool.is_none());
}

#[test]
fn the_policy_knows_the_length_of_its_accounts_prefix() {
    let [policy, binding] = admission_policy("b");
    let id = &policy.value()["spec"]["variables"][0]["expression"];
    let account = "system:serviceaccount:b:cluster-c1";
    let start: usize = id
        .as_str()
        .and_then(|text| text.split(['(', ')']).nth(1))
        .and_then(|number| number.parse().ok())
        .unwrap();
    assert_eq!(&account[start..], "c1");
    assert_eq!(binding.value()["spec"]["policyName"], policy.name());
}

#[test]
fn components_are_known_sorted_and_named_once() {
    let asked = [CONNECTIVITY, SERVICE_DISCOVERY, CONNECTIVITY].map(String::from);
    assert_eq!(
        components(&asked).unwrap(),
        ["connectivity", "service-discovery"]
    );
    assert!(components(&["dns".to_owned()]).is_err());
}
