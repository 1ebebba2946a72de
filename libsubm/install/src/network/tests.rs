use serde_json::json;

use super::*;

fn pod(name: &str, args: &[&str]) -> Pod {
    Pod {
        name: name.to_owned(),
        args: args.iter().map(ToString::to_string).collect(),
        ..Pod::default()
    }
}

fn labelled(label: &str, env: (&str, &str)) -> Pod {
    Pod {
        name: "x".to_owned(),
        labels: vec![label.to_owned()],
        env: vec![(env.0.to_owned(), env.1.to_owned())],
        ..Pod::default()
    }
}

fn told(facts: &Facts) -> (String, String, String) {
    let network = discover(facts);
    (
        network.plugin.to_string(),
        joined(&network.pods),
        joined(&network.services),
    )
}

fn are(plugin: &str, pods: &str, services: &str) -> (String, String, String) {
    (plugin.to_owned(), pods.to_owned(), services.to_owned())
}

#[test]
fn kind_is_read_as_the_article_shows_it() {
    let facts = Facts {
        pods: vec![
            labelled("app=kindnet", ("POD_SUBNET", "10.8.0.0/16")),
            pod(
                "kube-apiserver-c1",
                &["kube-apiserver", "--service-cluster-ip-range=10.88.0.0/16"],
            ),
        ],
        ..Facts::default()
    };
    assert_eq!(told(&facts), are("kindnet", "10.8.0.0/16", "10.88.0.0/16"));
}

#[test]
fn flags_are_found_in_any_form() {
    let facts = Facts {
        pods: vec![
            pod(
                "kube-controller-manager-a",
                &[
                    "sh",
                    "-c",
                    "exec kcm --cluster-cidr 10.1.0.0/16,fd00:1::/48 --v=2",
                ],
            ),
            pod(
                "kube-apiserver-a",
                &["--service-cluster-ip-range", "10.2.0.0/16"],
            ),
        ],
        ..Facts::default()
    };
    assert_eq!(
        told(&facts),
        are("generic", "10.1.0.0/16, fd00:1::/48", "10.2.0.0/16")
    );
}

#[test]
fn service_cidr_objects_come_before_flags_and_kubeadm_before_nodes() {
    let facts = Facts {
        service_cidrs: vec!["10.96.0.0/16".to_owned(), "fd00::/112".to_owned()],
        kubeadm: Some("networking:\n  dnsDomain: cluster.local\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.9.0.0/16\n".to_owned()),
        node_pod_cidrs: vec![vec!["10.244.3.0/24".to_owned()]],
        pods: vec![pod("kube-apiserver-a", &["--service-cluster-ip-range=10.3.0.0/16"])],
        ..Facts::default()
    };
    assert_eq!(
        told(&facts),
        are("generic", "10.244.0.0/16", "10.96.0.0/16, fd00::/112")
    );
}

#[test]
fn the_parts_of_nodes_are_joined_where_they_join() {
    let part = |text: &str| vec![text.to_owned()];
    let facts = Facts {
        node_pod_cidrs: vec![
            part("10.4.1.0/24"),
            part("10.4.0.0/24"),
            part("10.4.5.0/24"),
            part("fd00::/64"),
        ],
        ..Facts::default()
    };
    assert_eq!(
        told(&facts),
        are("generic", "10.4.0.0/23, 10.4.5.0/24, fd00::/64", "")
    );
}

#[test]
fn plugins_tell_their_own() {
    let ovn = Facts {
        pods: vec![labelled("app=ovnkube-node", ("", ""))],
        ovn: Some(
            [
                ("net_cidr", "10.128.0.0/14/23"),
                ("svc_cidr", "172.30.0.0/16"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ),
        ..Facts::default()
    };
    assert_eq!(
        told(&ovn),
        are("OVNKubernetes", "10.128.0.0/14", "172.30.0.0/16")
    );
    let openshift = Facts {
        openshift: Some(json!({"spec": {
            "networkType": "OpenShiftSDN",
            "clusterNetwork": [{"cidr": "10.128.0.0/14", "hostPrefix": 23}],
            "serviceNetwork": ["172.30.0.0/16"],
        }})),
        ..ovn.clone()
    };
    assert_eq!(
        told(&openshift),
        are("OpenShiftSDN", "10.128.0.0/14", "172.30.0.0/16")
    );
    let flannel = Facts {
        daemon_sets: vec!["kube-flannel-ds".to_owned()],
        flannel: Some(r#"{"Network": "10.5.0.0/16"}"#.to_owned()),
        ..Facts::default()
    };
    assert_eq!(told(&flannel), are("flannel", "10.5.0.0/16", ""));
    let canal = Facts {
        daemon_sets: vec!["canal".to_owned()],
        ..flannel.clone()
    };
    assert_eq!(told(&canal), are("canal-flannel", "10.5.0.0/16", ""));
    let calico = Facts {
        calico_config: true,
        calico_pools: vec!["10.6.0.0/16".to_owned()],
        ..Facts::default()
    };
    assert_eq!(told(&calico), are("calico", "10.6.0.0/16", ""));
    let weave = Facts {
        pods: vec![labelled(
            "name=weave-net",
            ("IPALLOC_RANGE", "10.32.0.0/12"),
        )],
        ..Facts::default()
    };
    assert_eq!(told(&weave), are("weave-net", "10.32.0.0/12", ""));
    let cilium = Facts {
        cilium: Some(
            [(
                "cluster-pool-ipv4-cidr".to_owned(),
                "10.7.0.0/16 10.8.0.0/16".to_owned(),
            )]
            .into(),
        ),
        ..Facts::default()
    };
    assert_eq!(told(&cilium), are("cilium", "10.7.0.0/16, 10.8.0.0/16", ""));
}

#[test]
fn nonsense_is_nothing() {
    let facts = Facts {
        kubeadm: Some("networking: [".to_owned()),
        flannel: Some("{".to_owned()),
        daemon_sets: vec!["flannel".to_owned()],
        service_cidrs: vec!["x".to_owned()],
        node_pod_cidrs: vec![vec!["10.0.0.0/99".to_owned()]],
        pods: vec![pod("kube-apiserver", &["--service-cluster-ip-range"])],
        ..Facts::default()
    };
    assert_eq!(told(&facts), are("flannel", "", ""));
    assert_eq!(told(&Facts::default()), are("generic", "", ""));
}

#[test]
fn what_the_user_gave_wins_and_differences_are_told() {
    let net = |text: &str| parse(text).unwrap();
    let mut network = Network {
        plugin: Plugin::Kindnet,
        pods: net("10.8.0.0/16"),
        services: Vec::new(),
        pods_by_node: true,
    };
    let mismatches = network.overridden(&net("10.9.0.0/16"), &net("10.88.0.0/16"));
    assert!(!network.pods_by_node, "what is given is complete");
    assert_eq!(network.pods, net("10.9.0.0/16"));
    assert_eq!(network.services, net("10.88.0.0/16"));
    assert_eq!(
        mismatches
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "The provided pod CIDR for the cluster (10.9.0.0/16) does not match the discovered CIDR (10.8.0.0/16)"
        ]
    );
    assert_eq!(network.overridden(&[], &[]), []);
    let mut by_node = Network {
        pods: [net("10.8.1.0/24"), net("10.8.2.0/24")].concat(),
        pods_by_node: true,
        ..network
    };
    assert_eq!(by_node.clone().overridden(&net("10.8.0.0/16"), &[]), []);
    assert_eq!(by_node.overridden(&net("10.8.1.0/24"), &[]).len(), 1);
}
