use super::*;

const WEB: &str = "
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImport
metadata: {name: web, namespace: shop}
spec: {type: ClusterSetIP, ips: [243.0.0.1], ports: []}
";

fn read(name: &str, text: &str) -> Content {
    parse(Path::new(name), name, text)
}

/// Where the facts stand, without those of namespaces.
fn places(content: &Content) -> Vec<&str> {
    let of_objects = content
        .facts
        .iter()
        .filter(|said| !matches!(said.slot, Slot::Namespace(_)));
    of_objects.map(|said| said.place.as_str()).collect()
}

fn namespaces(content: &Content) -> Vec<String> {
    let names = content.facts.iter().filter_map(|said| match &said.slot {
        Slot::Namespace(name) => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

#[test]
fn documents_are_counted_as_a_reader_would() {
    let texts = [
        format!("{WEB}---\n# nothing but words\n---\n{WEB}"),
        format!("---\n{WEB}\n...\n---\n---\n{WEB}---\n"),
        format!("%YAML 1.2\n---\n{WEB}--- # the second\n{WEB}"),
        format!("{WEB}---\n{WEB}").replace('\n', "\r\n"),
        format!("\u{feff}{WEB}---\n{WEB}"),
    ];
    for text in texts {
        let content = read("a.yaml", &text);
        assert_eq!(content.broken, [], "{text}");
        let expected = [
            "a.yaml document 1: ServiceImport shop/web",
            "a.yaml document 2: ServiceImport shop/web",
        ];
        assert_eq!(places(&content), expected, "{text}");
    }
}

#[test]
fn lists_as_kubectl_prints_them() {
    let json_list = serde_json::json!({
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": [
            {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
             "metadata": {"name": "web", "namespace": "shop"}, "spec": {"type": "Headless", "ports": []}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "empty"}},
        ],
    });
    let content = read("a.json", &json_list.to_string());
    assert_eq!(content.broken, []);
    assert_eq!(
        places(&content),
        ["a.json document 1 items[0]: ServiceImport shop/web"]
    );
    assert_eq!(namespaces(&content), ["shop", "empty"]);

    let typed = "
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImportList
items:
- metadata: {name: web, namespace: shop}
  spec: {type: Headless}
";
    let content = read("a.yaml", typed);
    assert_eq!(content.broken, []);
    assert_eq!(
        places(&content),
        ["a.yaml document 1 items[0]: ServiceImport shop/web"]
    );
}

#[test]
fn other_kinds_tell_their_namespace_only() {
    let text = "
apiVersion: v1
kind: ConfigMap
metadata: {name: x, namespace: tools}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
---
apiVersion: example.com/v1
kind: ServiceImport
metadata: {name: web}
";
    let content = read("a.yaml", text);
    assert_eq!((content.broken.len(), content.problems.len()), (0, 0));
    assert_eq!(places(&content), [""; 0]);
    assert_eq!(namespaces(&content), ["tools"]);
}

#[test]
fn an_object_without_namespace_is_in_default() {
    let content = read("a.yaml", &WEB.replace(", namespace: shop", ""));
    assert_eq!(namespaces(&content), ["default"]);
    let key = ObjectKey::new("default", "web");
    assert!(
        content
            .facts
            .iter()
            .any(|said| said.slot == Slot::Import(key.clone()))
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let table = [
        (
            "a.yaml",
            format!("{WEB}---\n  - x\n - y\n"),
            "a.yaml document 2: line ",
        ),
        (
            "a.yaml",
            format!("{WEB}---\njust words\n"),
            "a.yaml document 2: document: ",
        ),
        (
            "a.yaml",
            "metadata: {name: x}\n".to_owned(),
            "a.yaml document 1: kind: ",
        ),
        (
            "a.yaml",
            WEB.replace("name: web, ", ""),
            "a.yaml document 1: ServiceImport: metadata.name: ",
        ),
        (
            "a.yaml",
            WEB.replace("name: web", "name: web, labels: [x]"),
            "a.yaml document 1: ServiceImport: object: ",
        ),
        (
            "a.yaml",
            "apiVersion: v1\nkind: List\nitems: 7\n".to_owned(),
            "a.yaml document 1: items: ",
        ),
        (
            "a.yaml",
            "a: 1\na: 2\n".to_owned(),
            "a.yaml document 1: line 2, ",
        ),
        (
            "a.json",
            "{\"kind\": \"List\"".to_owned(),
            "a.json document 1: line 1, ",
        ),
    ];
    for (name, text, start) in table {
        let content = read(name, &text);
        let [problem] = &content.broken[..] else {
            panic!("one problem in {text}: {content:?}")
        };
        assert!(problem.to_string().starts_with(start), "{problem}");
    }
}

#[test]
fn lines_are_counted_in_the_file() {
    let content = read("a.yaml", "a: 1\n---\nb: 1\n---\nc: [1\nd: 2\n");
    let last = content.broken.last().expect("a problem").to_string();
    assert!(
        last.starts_with("a.yaml document 3: line 6")
            || last.starts_with("a.yaml document 3: line 5"),
        "{last}"
    );
}

#[test]
fn deep_nesting_and_bombs_end() {
    let deep = "[".repeat(100_000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\ni: [*h,*h,*h,*h,*h,*h,*h,*h,*h]\n";
    for text in [deep.as_str(), bomb] {
        assert_ne!(read("a.yaml", text).broken, []);
    }
    assert_ne!(read("a.json", &deep).broken, []);
}

#[test]
fn a_kind_that_its_group_does_not_have_is_told() {
    let object = |version: &str, kind: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web, namespace: shop}}\n")
    };
    let text = [
        object("multicluster.x-k8s.io/v1beta1", "ServiceImprot"),
        object("multicluster.x-k8s.io/v1beta1", "ServiceExport"),
        object("about.k8s.io/v1beta1", "Clusterproperty"),
        object("apps/v1", "Deployment"),
        object("submariner.io/v1", "Endpoint"),
    ]
    .join("---\n");
    let content = read("a.yaml", &text);
    assert_eq!(content.broken, []);
    let told: Vec<String> = content.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with(
            "a.yaml document 1: kind: multicluster.x-k8s.io has no kind \"ServiceImprot\""
        ) && told[0].ends_with("is ServiceImport meant?"),
        "{told:?}"
    );
    assert!(told[1].starts_with("a.yaml document 3: kind: "), "{told:?}");
    assert_eq!(namespaces(&content).len(), 5);
}
