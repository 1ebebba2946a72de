use proptest::prelude::*;

use super::*;

const KUBEADM: &str = ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    forward . /etc/resolv.conf\n}\n";

fn forward(domains: &[&str], server: &str) -> Forward {
    Forward {
        domains: domains.iter().map(ToString::to_string).collect(),
        server: server.parse().unwrap(),
    }
}

#[test]
fn the_section_is_upstreams_to_the_byte() {
    let text = with_section(KUBEADM, &forward(&["clusterset.local"], "10.88.78.89")).unwrap();
    assert_eq!(
        text,
        format!(
            "#lighthouse-start AUTO-GENERATED SECTION. DO NOT EDIT\nclusterset.local:53 {{\n    forward . 10.88.78.89\n}}\n\
             #lighthouse-end\n{KUBEADM}"
        )
    );
}

#[test]
fn the_port_is_that_of_the_root_zone() {
    let text = with_section(
        ".:5353 {\n}\n",
        &forward(&["clusterset.local", "a.example"], "10.0.0.9"),
    )
    .unwrap();
    assert!(
        text.contains("\nclusterset.local:5353 {\n") && text.contains("\na.example:5353 {\n"),
        "{text}"
    );
    assert_eq!(port("bind.:x\n.:1053{"), 1053);
    assert_eq!(port(".:{"), 53);
    assert_eq!(port(".:99999 {"), 53);
    assert_eq!(port(""), 53);
}

#[test]
fn what_go_submariner_left_is_taken_over() {
    let old = format!(
        "#lighthouse-start AUTO-GENERATED SECTION. DO NOT EDIT\nclusterset.local:53 {{\n    forward . 10.1.1.1\n}}\n#lighthouse-end\n\
         {KUBEADM}\n\n\n"
    );
    let text = with_section(&old, &forward(&["clusterset.local"], "10.2.2.2")).unwrap();
    assert!(!text.contains("10.1.1.1"), "{text}");
    assert_eq!(without_section(&text).unwrap(), format!("{KUBEADM}\n\n\n"));
}

#[test]
fn half_a_section_is_left_alone() {
    let half = "#lighthouse-start\nclusterset.local:53 {\n}\n.:53 {\n}\n";
    assert_eq!(without_section(half), Err(CorefileError::Unterminated));
}

#[test]
fn openshift_keeps_other_servers_and_defaults() {
    let other = json!({"name": "corp", "zones": ["corp.example"], "forwardPlugin": {"upstreams": ["10.1.1.1"]}});
    let forward = forward(&["clusterset.local", "a.example"], "10.2.2.2");
    let mut servers = openshift_servers(std::slice::from_ref(&other), Some(&forward));
    assert_eq!(servers.len(), 3);
    assert_eq!(servers[0], other);
    servers[1]["forwardPlugin"]["policy"] = json!("Random");
    assert_eq!(openshift_servers(&servers, Some(&forward)), servers);
    assert_eq!(openshift_servers(&servers, None), [other]);
}

#[test]
fn places_are_chosen_in_upstreams_order() {
    let found = Found {
        coredns: true,
        openshift: true,
        microshift: true,
    };
    assert!(
        matches!(choose(parse_custom("coredns-custom"), &found), Some(Place::Custom { namespace, .. }) if namespace == "kube-system")
    );
    assert!(
        matches!(choose(None, &found), Some(Place::Corefile { name, .. }) if name == "coredns")
    );
    let found = Found {
        coredns: false,
        ..found
    };
    assert_eq!(choose(None, &found), Some(Place::OpenShift));
    let found = Found {
        openshift: false,
        ..found
    };
    assert!(
        matches!(choose(None, &found), Some(Place::Corefile { name, .. }) if name == "dns-default")
    );
    assert_eq!(choose(None, &Found::default()), None);
    assert_eq!(parse_custom("a/b/c"), None);
    assert_eq!(parse_custom("a/"), None);
}

proptest! {
    #[test]
    fn a_second_run_changes_nothing_and_removal_restores(
        corefile in "([a-z.:{}0-9 #\r\n]{0,40}\n?){0,6}",
        domains in proptest::collection::vec("[a-z]{1,8}\\.[a-z]{1,8}", 1..4),
        first in any::<u32>(),
        second in any::<u32>(),
    ) {
        let to = |address: u32| Forward { domains: domains.clone(), server: std::net::Ipv4Addr::from(address).into() };
        let once = with_section(&corefile, &to(first)).unwrap();
        prop_assert_eq!(&with_section(&once, &to(first)).unwrap(), &once);
        let moved = with_section(&once, &to(second)).unwrap();
        prop_assert_eq!(&moved, &with_section(&corefile, &to(second)).unwrap());
        prop_assert_eq!(without_section(&moved).unwrap(), corefile);
    }
}
