//! Every case of Submariner's own tests of the parts that stand here, and every one of its known defects in them, has a test that is called
//! by it, or `docs/adr/0013` says why not.
//!
//! A test's name begins with its cases: `cableengine_159_172_d8_…` is lines 159 and 172 of Submariner's tests of its cable engine, and
//! defect 8.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Of each part, the lines of its cases.
const CASES: &[(&str, &[u16])] = &[
    // Of the route agent; the file of its handler for kube-proxy.
    (
        "kubeproxy",
        &[
            71, 80, 90, 105, 122, 132, 138, 148, 165, 169, 173, 182, 189, 193, 204, 216, 220, 224,
            233, 251, 255, 259, 269, 280, 291, 295, 317, 330, 340,
        ],
    ),
    ("mtu", &[39, 56, 77, 98, 108, 116]),
    // Cable driver and devices.
    (
        "vxlan",
        &[
            41, 57, 65, 73, 81, 89, 92, 99, 105, 116, 120, 132, 140, 145, 150, 159,
        ],
    ),
    (
        "cableengine",
        &[
            123, 129, 159, 172, 195, 206, 213, 222, 242, 257, 269, 280, 292, 304, 313, 321, 331,
            341, 347, 363, 369,
        ],
    ),
    // What the cable engine writes of itself.
    (
        "syncer",
        &[
            96, 132, 148, 187, 210, 257, 268, 274, 284, 294, 305, 334, 344, 360, 371, 393,
        ],
    ),
    ("tunnel", &[143, 150, 162, 177, 188]),
    ("healthchecker", &[144, 194, 201, 225, 240, 250]),
    // The health checks of the route agent.
    (
        "agent",
        &[56, 61, 92, 108, 122, 141, 157, 172, 189, 199, 223, 233],
    ),
    ("pinger", &[37, 117, 128, 141, 151]),
    (
        "endpoint",
        &[
            98, 118, 130, 137, 152, 166, 177, 220, 224, 239, 249, 38, 46, 81, 91, 104, 116, 126,
            136, 146, 156, 54,
        ],
    ),
    ("packetfilter", &[126, 135, 147, 163]),
    ("nftables", &[32, 158, 189, 223, 317, 346]),
    ("iptables", &[31]),
];

/// The same of the two files of the datastore syncer: `c` of Clusters, `e` of Endpoints.
const DATASTORE: &[&str] = &[
    "c43", "c56", "c68", "c74", "c84", "c106", "c138", "c147", "e50", "e61", "e78", "e85", "e110",
    "e144", "e153", "e182", "e193", "e203", "e214", "e237", "e272", "e281",
];

/// Submariner's defects, but for those of parts that are not here yet (NAT discovery, IPsec, OVN, Globalnet) and of its documentation.
const DEFECTS: &[&str] = &[
    "d4", "d5", "d6", "d8", "d10", "d11", "d12", "d13", "d15", "d16", "d17", "d18", "d21", "d22",
    "d23", "d24",
];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("two parents").to_owned()
}

/// Names of the functions in the sources below `folder`.
fn functions(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let names = text.split("fn ").skip(1);
            let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            found.extend(names.filter_map(|rest| rest.split(end).next().map(str::to_owned)));
        }
    }
}

/// The cases in a name: numbers count for the word before them.
fn cases_of(name: &str) -> impl Iterator<Item = String> + '_ {
    let mut part = "";
    name.split('_').map(move |word| {
        if word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            part = word;
            return word.to_owned();
        }
        let defect = word
            .strip_prefix('d')
            .is_some_and(|rest| rest.parse::<u8>().is_ok());
        if defect {
            word.to_owned()
        } else {
            format!("{part} {word}")
        }
    })
}

#[test]
fn each_case_and_defect_has_a_test_by_its_name_or_a_reason() {
    let mut names = Vec::new();
    for folder in ["dataplane", "libsubm", "subctl"] {
        functions(&root().join(folder), &mut names);
    }
    let mut known: BTreeSet<String> = names.iter().flat_map(|name| cases_of(name)).collect();
    let reasons = root().join("docs/adr/0013-submariners-cases-that-are-other-here.md");
    let reasons = fs::read_to_string(reasons).expect("the page of reasons");
    // | `syncer 294` | why |
    let rows = reasons.lines().filter_map(|line| line.strip_prefix("| `"));
    known.extend(rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())));

    let of_parts = CASES.iter().flat_map(|(part, lines)| {
        let case = move |line: &u16| format!("{part} {line}");
        lines.iter().map(case)
    });
    let of_stores = DATASTORE
        .iter()
        .map(|case| format!("datastoresyncer {case}"));
    let defects = DEFECTS.iter().map(|defect| (*defect).to_owned());
    let missing: Vec<String> = of_parts
        .chain(of_stores)
        .chain(defects)
        .filter(|case| !known.contains(case))
        .collect();
    assert!(
        missing.is_empty(),
        "neither a test nor a reason: {missing:?}"
    );
}

#[test]
fn cases_are_read_from_names() {
    let cases: Vec<String> = cases_of("cableengine_159_172_tunnel_143_d8_one_of_2").collect();
    for case in ["cableengine 159", "cableengine 172", "tunnel 143", "d8"] {
        assert!(cases.contains(&case.to_owned()), "{cases:?}");
    }
    assert!(cases_of("datastoresyncer_c43_e50_x").any(|case| case == "datastoresyncer e50"));
}
