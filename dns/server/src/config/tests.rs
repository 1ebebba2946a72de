use std::net::IpAddr;
use std::path::Path;

use subm_dns_core::authority::LostCluster;

use super::*;
use crate::cli::Cli;

fn host() -> Host {
    let interfaces = [
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("eth0", "10.0.0.5"),
        ("eth0", "fe80::1"),
        ("eth0", "fd00::5"),
    ];
    Host {
        name: "node-1".to_owned(),
        env: BTreeMap::new(),
        interfaces: interfaces
            .map(|(name, addr)| (name.to_owned(), addr.parse().unwrap()))
            .into(),
    }
}

fn load(text: &str) -> Result<Config, String> {
    let corefile = corefile::parse(Path::new("Corefile"), text, &host().env)
        .map_err(|error| error.to_string())?;
    resolve::config(corefile, &host(), 53).map_err(|error| error.to_string())
}

/// A block for clusterset.local with `body`.
fn block(body: &str) -> Result<Config, String> {
    load(&format!("clusterset.local:53 {{\n{body}\n}}"))
}

fn flags(args: &[&str]) -> Result<Config, String> {
    let args = std::iter::once(&"lighthouse-dns")
        .chain(args)
        .map(|arg| (*arg).into());
    let cli = Cli::parse_args(args).map_err(|error| error.to_string())?;
    Config::load_on(&cli, &host()).map_err(|error| error.to_string())
}

fn zones(config: &Config) -> Vec<String> {
    config
        .listeners
        .iter()
        .map(|listener| {
            let zones: Vec<_> = listener
                .authority
                .zones()
                .iter()
                .map(|zone| zone.origin.to_string())
                .collect();
            format!("{} {}", listener.label, zones.join(" "))
        })
        .collect()
}

#[test]
fn corefile_of_the_submariner_operator() {
    let block = "{ lighthouse\n errors\n health\n ready\n prometheus :9153\n loadbalance\n}\n";
    let config = load(&format!(
        "clusterset.local:53 {block}Example.ORG:53 {block}"
    ))
    .unwrap();
    assert_eq!(zones(&config), ["dns://:53 example.org. clusterset.local."]);
    assert_eq!(config.listeners[0].addr.to_string(), "[::]:53");
    assert_eq!(config.health.unwrap().addr.port(), 8080);
    assert_eq!(config.ready.unwrap().port(), 8181);
    assert_eq!(config.metrics.unwrap().to_string(), "[::]:9153");
    assert_eq!(
        config.source,
        Source::Kubernetes {
            kubeconfig: None,
            context: None
        }
    );
    let zone = &config.listeners[0].authority.zones()[0];
    assert_eq!(
        zone.name_server,
        ["10.0.0.5", "fd00::5"].map(|addr| addr.parse::<IpAddr>().unwrap())
    );
}

/// P65-P69: what Lighthouse's own parser takes.
#[test]
fn lighthouse_stanzas() {
    let zone = |text: &str| load(text).unwrap().listeners[0].authority.zones()[0].clone();
    let plain = zone("clusterset.local { lighthouse\n}");
    assert_eq!((plain.ttl, plain.fallthrough.len()), (5, 0), "P65, P69");

    let config = load(
        ". {\n lighthouse cluster2.local cluster3.local {\n fallthrough cluster2.local\n }\n}",
    )
    .unwrap();
    assert_eq!(
        zones(&config),
        ["dns://:53 cluster2.local. cluster3.local."],
        "P66"
    );
    assert_eq!(
        config.listeners[0].authority.zones()[1].fallthrough[0].to_string(),
        "cluster2.local.",
        "P66"
    );

    assert!(
        zone("clusterset.local {\n lighthouse {\n fallthrough\n }\n}").fallthrough[0].is_root(),
        "P67"
    );
    assert_eq!(
        zone("clusterset.local {\n lighthouse {\n ttl 30\n }\n}").ttl,
        30,
        "P68"
    );
    assert_eq!(
        zone("clusterset.local {\n lighthouse {\n ttl 0\n }\n}").ttl,
        0
    );
    let ours = zone(
        "clusterset.local {\n lighthouse {\n strict\n lost-cluster keep\n name-server 192.0.2.1\n }\n}",
    );
    assert!(ours.strict && ours.lost_cluster == LostCluster::Keep);
    assert_eq!(ours.name_server[0].to_string(), "192.0.2.1");
}

#[test]
fn wrong_directives_name_line_and_remedy() {
    for (body, expected) in [
        (
            "lighthouse {\n dummy\n}",
            "Corefile:3: plugin/lighthouse: unknown property 'dummy'; known are:",
        ), // P70
        (
            "lighthouse {\n ttl\n}",
            "Corefile:3: plugin/lighthouse: Wrong argument count or unexpected line ending after 'ttl'",
        ), // P71
        (
            "lighthouse {\n ttl -10\n}",
            "Corefile:3: plugin/lighthouse: ttl must be in range [0, 3600]: -10",
        ), // P72
        (
            "lighthouse {\n ttl 3601\n}",
            "Corefile:3: plugin/lighthouse: ttl must be in range [0, 3600]: 3601",
        ),
        (
            "lighthouse {\n ttl x\n}",
            "Corefile:3: plugin/lighthouse: error parsing TTL: 'x'",
        ),
        (
            "lighthouse\nlighthouse",
            "Corefile:3: plugin/lighthouse: this plugin can only be used once per server block, and stands at Corefile:2",
        ),
        (
            "lighthouse example.org",
            "Corefile:2: plugin/lighthouse: zone example.org. is not within",
        ),
        (
            "lighthouse {\n cluster-id a..b\n}",
            "Corefile:3: plugin/lighthouse: 'a..b' is not a cluster id",
        ),
        (
            "lighthouse\nhealht",
            "Corefile:3: Unknown directive 'healht'; did you mean 'health'?",
        ),
        (
            "lighthouse\ncache 30",
            "Corefile:3: 'cache' is not supported yet; take it away",
        ),
        (
            "lighthouse\nforward . 1.1.1.1",
            "Corefile:3: 'forward' is not supported yet;",
        ),
        (
            "errors",
            "Corefile:1: nothing in this server block answers queries; add: lighthouse",
        ),
        (
            "lighthouse\nhealth 8080",
            "Corefile:3: plugin/health: '8080' is not an address to listen on",
        ),
        (
            "lighthouse\nhealth {\n lameduck five\n}",
            "Corefile:4: plugin/health: 'five' is not a duration",
        ),
        (
            "lighthouse\nreload 1s",
            "Corefile:3: plugin/reload: reload interval must be 2s or more: 1s",
        ),
        (
            "lighthouse\nbufsize 100",
            "Corefile:3: plugin/bufsize: bufsize must be 512 to 4096 octets: 100",
        ),
        (
            "lighthouse\nbind eth9",
            "Corefile:3: plugin/bind: not a valid IP address or interface name: 'eth9'; interfaces here: lo, eth0",
        ),
        (
            "lighthouse\ntls no-cert no-key",
            "Corefile:3: plugin/tls: no-cert does not exist",
        ),
        (
            "lighthouse\ntransfer",
            "Corefile:3: plugin/transfer: 'to' is required",
        ),
        (
            "lighthouse\ntransfer {\n to here\n}",
            "Corefile:4: plugin/transfer: 'here' is not *, an address",
        ),
        (
            "lighthouse\nloadbalance weighted f",
            "Corefile:3: plugin/loadbalance: 'loadbalance weighted' is not supported yet",
        ),
        (
            "lighthouse\nlog {\n class some\n}",
            "Corefile:4: plugin/log: 'some' is not all, success, denial or error",
        ),
        (
            "kubernetes",
            "Corefile:2: plugin/kubernetes: zone clusterset.local. is not a multicluster zone and this server does not serve cluster.local yet",
        ),
        (
            "kubernetes {\n multicluster clusterset.local\n}\nlighthouse",
            "Corefile:5: plugin/lighthouse: cannot serve clusterset.local. - it is already defined at Corefile:2",
        ),
    ] {
        let error = block(body).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}

#[test]
fn server_blocks() {
    let serve = "{\n lighthouse\n}\n";
    for (keys, expected) in [
        (". ", &["dns://:53 ."][..]),
        (
            "dns://clusterset.local. :1053",
            &[
                "dns://:53 clusterset.local.",
                "dns://:1053 clusterset.local. .",
            ],
        ),
        (
            "a.example:1053 b.example:1053",
            &["dns://:1053 a.example. b.example."],
        ),
    ] {
        assert_eq!(
            zones(&load(&format!("{keys} {serve}")).unwrap()),
            expected,
            "{keys}"
        );
    }
    for (text, expected) in [
        (
            format!("a {serve}A.:53 {serve}"),
            "Corefile:4: cannot serve dns://a.:53 - it is already defined at Corefile:1",
        ),
        (
            format!("a {{\n lighthouse\n nsid {}\n}}", "x".repeat(129)),
            "Corefile:3: plugin/nsid: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' is not an identifier of 1 to 128 octets",
        ),
        (
            format!("a:0 {serve}"),
            "Corefile:1: port '0' is not a number from 1 to 65535",
        ),
        (
            format!("a..b {serve}"),
            "Corefile:1: 'a..b' is not a zone: a label is empty",
        ),
        (
            format!("grpc://a {serve}"),
            "Corefile:1: transport 'grpc://' is not supported",
        ),
        (
            format!("tls://a {serve}"),
            "Corefile:1: tls:// needs a certificate; add: tls CERT KEY",
        ),
        (
            format!("a {{\n lighthouse\n bind 127.0.0.1\n}}\na {serve}"),
            "Corefile:5: cannot serve dns://a.:53",
        ),
        (
            "a {\n lighthouse\n nsid x\n}\nb {\n lighthouse\n nsid y\n}".to_owned(),
            "Corefile:7: '\"y\"' differs from what Corefile:3 says",
        ),
    ] {
        let error = load(&text).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn the_longest_key_serves_a_zone() {
    let config = load(". {\n lighthouse a.example b.example {\n ttl 1\n }\n}\nb.example {\n lighthouse {\n ttl 2\n }\n}").unwrap();
    let ttls: Vec<_> = config.listeners[0]
        .authority
        .zones()
        .iter()
        .map(|zone| (zone.origin.to_string(), zone.ttl))
        .collect();
    assert_eq!(
        ttls,
        [("a.example.".to_owned(), 1), ("b.example.".to_owned(), 2)]
    );
}

#[test]
fn bind_takes_addresses_and_interfaces() {
    let addrs = |bind: &str| -> Vec<String> {
        block(&format!("lighthouse\n{bind}"))
            .unwrap()
            .listeners
            .iter()
            .map(|listener| listener.addr.to_string())
            .collect()
    };
    assert_eq!(
        addrs("bind 127.0.0.1 eth0"),
        ["10.0.0.5:53", "127.0.0.1:53", "[fd00::5]:53"]
    );
    assert_eq!(addrs("bind eth0 {\n except fd00::5\n}"), ["10.0.0.5:53"]);
    let config = block("lighthouse\nbind 10.0.0.5").unwrap();
    assert_eq!(config.listeners[0].label, "dns://10.0.0.5:53");
    assert_eq!(
        config.listeners[0].authority.zones()[0].name_server,
        ["10.0.0.5".parse::<IpAddr>().unwrap()]
    );
}

#[test]
fn other_directives() {
    let config = block("lighthouse\nnsid\nbufsize 512\nchaos\nlog {\n class denial\n}\nreload 1m\ntransfer {\n to 10.0.0.0/8 192.0.2.1:5353\n}\nhealth {\n lameduck 5s\n}").unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.authority.nsid.as_deref(), Some(&b"node-1"[..]));
    assert_eq!(listener.authority.udp_limit, 512);
    assert_eq!(listener.authority.server_id.as_deref(), Some("node-1"));
    assert!(
        listener
            .authority
            .version
            .as_deref()
            .unwrap()
            .starts_with("lighthouse-dns-")
    );
    assert_eq!(
        listener.query_log,
        [Some(QueryLog {
            success: false,
            denial: true,
            error: false
        })]
    );
    assert_eq!(config.reload, Some(Duration::from_mins(1)));
    assert_eq!(config.health.unwrap().lameduck, Duration::from_secs(5));
    let rule = &listener.transfer[0];
    let allowed = [
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "192.0.2.1",
        "192.0.2.2",
        "::1",
    ]
    .map(|addr| rule.allows(addr.parse().unwrap()));
    assert_eq!(allowed, [true, true, true, false, false]);
    assert_eq!(rule.notify, ["192.0.2.1:5353".parse().unwrap()]);
    assert!(
        block("lighthouse").unwrap().listeners[0].transfer[0]
            .to
            .is_empty()
    );
}

#[test]
fn flags_alone() {
    let config = flags(&[
        "--manifests",
        "m",
        "--listen",
        "127.0.0.1:5300",
        "--zone",
        "A.example",
        "--ttl",
        "9",
        "--health",
        "off",
        "--cluster-id",
        "East",
    ])
    .unwrap();
    assert_eq!(zones(&config), ["dns://127.0.0.1:5300 a.example."]);
    assert_eq!(config.listeners[0].authority.zones()[0].ttl, 9);
    assert_eq!(config.source, Source::Manifests("m".into()));
    assert!(config.health.is_none() && config.ready.is_some());
    assert_eq!(config.cluster_id.unwrap().as_str(), "east");
    assert_eq!(
        zones(&flags(&["-dns.port=1053"]).unwrap()),
        ["dns://:1053 clusterset.local."]
    );
    for (args, expected) in [
        (
            &["--ttl", "-1"][..],
            "--ttl: ttl must be in range [0, 3600]: -1",
        ),
        (
            &["--listen", "tls://:853"],
            "--listen: tls:// needs a certificate",
        ),
        (&["--listen", "here"], "--listen: 'here' is not an address"),
        (
            &["--manifests", "m", "--context", "c"],
            "--manifests and --kubeconfig or --context are two sources",
        ),
        (
            &["--conf", "no-such-file"],
            "cannot read no-such-file; name a Corefile",
        ),
        (
            &["--conf", "f", "--zone", "a"],
            "--zone cannot go with --conf; say it in f",
        ),
    ] {
        let error = flags(args).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{args:?}: {error}");
    }
}

#[test]
fn flags_go_before_a_corefile() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("Corefile");
    std::fs::write(
        &conf,
        "clusterset.local {\n lighthouse {\n cluster-id west\n manifests m\n }\n health\n}\n",
    )
    .unwrap();
    let conf = conf.to_str().unwrap();
    let plain = flags(&["-conf", conf, "-alsologtostderr", "-v=2"]).unwrap();
    assert_eq!(
        (plain.cluster_id.unwrap().as_str(), &plain.source),
        ("west", &Source::Manifests("m".into()))
    );
    assert!(plain.metrics.is_none());
    let config = flags(&[
        "-conf",
        conf,
        "-kubeconfig",
        "k",
        "--cluster-id",
        "east",
        "-dns.port",
        "1053",
    ])
    .unwrap();
    assert_eq!(config.cluster_id.unwrap().as_str(), "east");
    assert_eq!(
        config.source,
        Source::Kubernetes {
            kubeconfig: Some("k".into()),
            context: None
        }
    );
    assert_eq!(config.listeners[0].addr.port(), 1053);
}
