//! What to say of a directive that is not ours.

use super::DIRECTIVES;
use crate::corefile::Problem;

/// Plugins of CoreDNS that are not here.
const COREDNS: &[&str] = &[
    "acl",
    "any",
    "auto",
    "autopath",
    "azure",
    "cache",
    "cancel",
    "clouddns",
    "debug",
    "dns64",
    "dnssec",
    "dnstap",
    "erratic",
    "etcd",
    "file",
    "forward",
    "geoip",
    "grpc",
    "grpc_server",
    "header",
    "hosts",
    "https",
    "https3",
    "k8s_external",
    "local",
    "loop",
    "metadata",
    "minimal",
    "multisocket",
    "nomad",
    "on",
    "pprof",
    "proxyproto",
    "quic",
    "rewrite",
    "root",
    "route53",
    "secondary",
    "shed",
    "sign",
    "template",
    "timeouts",
    "trace",
    "tsig",
    "view",
    "whoami",
];

pub(super) fn problem(name: &str) -> Problem {
    if COREDNS.contains(&name) {
        let remedy = match name {
            "cache" => {
                "take it away, answers here need no cache; caching is for the CoreDNS that forwards to this server"
            }
            "loop" => "take it away, a server that forwards nothing cannot loop",
            "forward" | "grpc" => {
                "leave forwarding to the cluster's CoreDNS, which sends this server's zones here"
            }
            _ => "take it away or leave it to the cluster's CoreDNS",
        };
        return Problem::NotSupported {
            name: name.to_owned(),
            remedy,
        };
    }
    let names = || DIRECTIVES.iter().map(|directive| directive.name());
    let nearest = names()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min();
    let remedy = match nearest {
        Some((distance, known)) if distance <= 3 && distance < known.len() => {
            format!("did you mean '{known}'?")
        }
        _ => format!("known are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    Problem::UnknownDirective {
        name: name.to_owned(),
        remedy,
    }
}
