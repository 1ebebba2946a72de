use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use super::*;

fn example() -> BrokerInfo {
    BrokerInfo {
        broker_url: "https://192.0.2.1:6443".to_owned(),
        client_token: json!({
            "metadata": {"name": "submariner-k8s-broker-admin-token-x7f2k", "namespace": "submariner-k8s-broker"},
            "type": "kubernetes.io/service-account-token",
            "data": {
                "token": BASE64_STANDARD.encode("a.b.c"),
                "ca.crt": BASE64_STANDARD.encode("PEM"),
                "namespace": BASE64_STANDARD.encode("submariner-k8s-broker"),
            },
        }),
        ipsec_psk: json!({"metadata": {"name": "submariner-ipsec-psk"}, "data": {"psk": "Pz8/Pj4+"}}),
        service_discovery: true,
        components: vec!["service-discovery".to_owned(), "connectivity".to_owned()],
        custom_domains: Vec::new(),
        invitation: None,
    }
}

#[test]
fn what_is_written_is_read() {
    let info = example();
    let text = info.encode();
    assert!(!text.contains(['+', '/']), "the URL-safe alphabet");
    assert_eq!(text.len() % 4, 0, "padded");
    let read = BrokerInfo::decode(&text).unwrap();
    assert_eq!(read, info);
    assert_eq!(read.token().as_deref(), Some("a.b.c"));
    assert_eq!(read.ca().as_deref(), Some("PEM"));
    assert_eq!(read.namespace().as_deref(), Some("submariner-k8s-broker"));
}

#[test]
fn keys_are_spelled_as_go_spells_them() {
    let json = BASE64_URL_SAFE.decode(example().encode()).unwrap();
    let document: Map<String, Value> = serde_json::from_slice(&json).unwrap();
    let mut keys: Vec<&str> = document.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "ClientToken",
            "Components",
            "CustomDomains",
            "IPSecPSK",
            "ServiceDiscovery",
            "brokerURL"
        ]
    );
    assert_eq!(document["CustomDomains"], Value::Null);
}

#[test]
fn other_alphabets_key_cases_and_white_space_are_read() {
    // '>>>' and '???' give '-' and '_', or '+' and '/'.
    let mut info = example();
    info.custom_domains = vec!["a.example>>>???".to_owned()];
    let json = BASE64_URL_SAFE.decode(info.encode()).unwrap();
    let json = String::from_utf8(json).unwrap();
    let json = json
        .replace("brokerURL", "BrokerUrl")
        .replace("ClientToken", "clientToken");
    let mut standard = BASE64_STANDARD.encode(json);
    assert!(standard.contains(['+', '/']));
    standard.insert_str(70, "\r\n ");
    standard.push('\n');
    assert_eq!(BrokerInfo::decode(&standard).unwrap(), info);
    let bare = standard.replace('=', "");
    assert_eq!(BrokerInfo::decode(&bare).unwrap(), info);
}

#[test]
fn invitations_carry_id_and_expiry() {
    let mut info = example();
    info.invitation = Some(Invitation {
        cluster_id: ClusterId::new("c1").unwrap(),
        expires: "2027-01-02T03:04:05Z".parse().unwrap(),
        global_cidr: None,
        clusterset_ip_cidr: Some("243.0.0.0/20".to_owned()),
        clusterset_ip_enabled: true,
    });
    assert_eq!(BrokerInfo::decode(&info.encode()).unwrap(), info);
}

#[test]
fn faults_say_what_to_do() {
    let said = |text: &str| BrokerInfo::decode(text).unwrap_err().to_string();
    assert!(said(" \n").starts_with("is empty"));
    assert!(said("{}").starts_with("is not base64"));
    assert!(said("eyJ").starts_with("is not base64") || said("eyJ").contains("JSON"));
    assert!(said(&BASE64_URL_SAFE.encode("token: HUSH")).starts_with("does not hold the JSON"));
    assert!(said(&BASE64_URL_SAFE.encode("{}")).contains("no usable brokerURL"));
    let no_token = BASE64_URL_SAFE.encode(r#"{"brokerURL": "https://b"}"#);
    assert!(said(&no_token).contains("no usable ClientToken"));
}

#[test]
fn backups_are_named_by_the_second() {
    let now = "2023-04-05T02:50:02.7Z".parse().unwrap();
    assert_eq!(
        backup_name("broker-info.subm", now),
        "broker-info.subm.2023-04-05T02_50_02Z"
    );
}
