//! The admission policy of the broker: a member writes its own objects only.
//!
//! RBAC cannot say "objects that carry my id", so a ValidatingAdmissionPolicy does (Kubernetes 1.30 and later). It looks at the
//! accounts of members alone; the admin and all other users are RBAC's business.
//!
//! Three kinds of objects:
//! - slices, records per cluster, Leases, Clusters and Endpoints have one owner, who is on the object before and after;
//! - an aggregated ServiceImport belongs to all its exporters. Each may write its spec, its own timestamp annotation and its own
//!   entry of `status.clusters`, and nothing of another's;
//! - nobody may hang an aggregated import on an owner reference or a finalizer: the garbage collector would delete it for
//!   whoever may not, or could never.

use serde_json::{Value, json};
use subm_api::names::{
    BROKER_CLUSTER_ID, DERIVED_FROM, LOCAL_SERVICE_NAME, MEMBER_PREFIX, SERVICE_NAME,
    SOURCE_CLUSTER, SOURCE_NAMESPACE, TIMESTAMP_PREFIX,
};

use crate::Object;

/// The policy and its binding to the broker's namespace.
pub fn admission_policy(namespace: &str) -> [Object; 2] {
    let name = format!("{namespace}-members");
    let accounts = format!("system:serviceaccount:{namespace}:{MEMBER_PREFIX}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    rule("discovery.k8s.io", &["endpointslices"]),
                    rule("multicluster.x-k8s.io", &["serviceimports", "serviceimports/status"]),
                    rule("submariner.io", &["clusters", "endpoints", "clusters/status", "endpoints/status"]),
                    rule("coordination.k8s.io", &["leases"]),
                ],
            },
            "matchConditions": [{
                "name": "account-of-a-member",
                "expression": format!("request.userInfo.username.startsWith('{accounts}')"),
            }],
            "variables": variables(accounts.len()),
            "validations": validations(),
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            },
        },
    });
    [Object::ours(policy), Object::ours(binding)]
}

fn rule(group: &str, resources: &[&str]) -> Value {
    json!({
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": resources,
    })
}

/// In the order of their use: a variable sees those before it.
fn variables(prefix: usize) -> Value {
    let variables = [
        (
            "id",
            format!("request.userInfo.username.substring({prefix})"),
        ),
        ("kind", "request.resource.resource".to_owned()),
        // The object as it was and as it shall be: one of them when it is created or deleted.
        (
            "sides",
            "[object, oldObject].filter(o, o != null)".to_owned(),
        ),
        ("imports", "variables.kind == 'serviceimports'".to_owned()),
        // A record of one cluster, as opposed to the aggregate of all.
        (
            "record",
            format!(
                "variables.sides.exists(o, '{SOURCE_CLUSTER}' in o.metadata.?labels.orValue({{}}))"
            ),
        ),
        (
            "aggregate",
            "variables.imports && !variables.record".to_owned(),
        ),
        ("was", annotations("oldObject")),
        ("shall", annotations("object")),
        ("listed", clusters("oldObject")),
        ("listing", clusters("object")),
        // Keys of other exporters.
        ("wasOthers", others("was")),
        ("shallOthers", others("shall")),
    ];
    let variables =
        variables.map(|(name, expression)| json!({"name": name, "expression": expression}));
    json!(variables)
}

fn annotations(side: &str) -> String {
    format!("{side} == null ? {{}} : {side}.metadata.?annotations.orValue({{}})")
}

fn clusters(side: &str) -> String {
    format!("{side} == null ? [] : {side}.?status.?clusters.orValue([]).map(c, c.cluster)")
}

fn others(annotations: &str) -> String {
    format!(
        "variables.{annotations}.filter(k, k.startsWith('{TIMESTAMP_PREFIX}') && k != '{TIMESTAMP_PREFIX}' + variables.id)"
    )
}

fn validations() -> Value {
    let own_label =
        format!("o.metadata.?labels[?'{BROKER_CLUSTER_ID}'].orValue(variables.id) == variables.id");
    let own_source = format!("o.metadata.?labels[?'{SOURCE_CLUSTER}'].orValue('') == variables.id");
    let unchanged = |key: &str| {
        format!(
            "(!('{key}' in variables.was) || ('{key}' in variables.shall && variables.shall['{key}'] == variables.was['{key}']))"
        )
    };
    let rules = [
        (
            format!("variables.kind != 'endpointslices' || variables.sides.all(o, {own_source} && {own_label})"),
            format!("its slices carry the labels {SOURCE_CLUSTER} and {BROKER_CLUSTER_ID} with its id"),
        ),
        (
            // An agent that copies all labels would hand the slice to kube-proxy as that of a Service, or to itself as another thing.
            format!(
                "variables.kind != 'endpointslices' || object == null || \
                 object.metadata.?labels.orValue({{}}).all(k, !(k in ['{LOCAL_SERVICE_NAME}', '{DERIVED_FROM}']))"
            ),
            format!("its slices carry none of the labels {LOCAL_SERVICE_NAME} and {DERIVED_FROM}"),
        ),
        (
            format!(
                "!variables.imports || !variables.record || \
                 variables.sides.all(o, {own_source} && {own_label} && o.metadata.name.endsWith('-' + variables.id))"
            ),
            format!("its ServiceImports carry the label {SOURCE_CLUSTER} with its id, and end with it"),
        ),
        (
            // As Lighthouse names them, or with ten letters where another service has that: else `east` could have what `us-east` needs.
            format!(
                "!variables.imports || !variables.record || object == null || \
                 [object.metadata.?labels[?'{SERVICE_NAME}'].orValue('') + '-' + object.metadata.?labels[?'{SOURCE_NAMESPACE}'].orValue('')]\
                 .all(n, object.metadata.name == n + '-' + variables.id || (object.metadata.name.startsWith(n + '-') && \
                 size(object.metadata.name) == size(n) + 12 + size(variables.id)))"
            ),
            format!("its ServiceImports are named after the service, the namespace and it, as the labels {SERVICE_NAME} and {SOURCE_NAMESPACE} say"),
        ),
        (
            "!variables.aggregate || object == null || \
             (variables.shallOthers.all(k, k in variables.was && variables.was[k] == variables.shall[k]) && \
              variables.wasOthers.all(k, k in variables.shall))"
                .to_owned(),
            format!("the annotations {TIMESTAMP_PREFIX}* of other clusters are theirs"),
        ),
        (
            "!variables.aggregate || object == null || \
             sets.equivalent(variables.listed.filter(c, c != variables.id), variables.listing.filter(c, c != variables.id))"
                .to_owned(),
            "the entries of other clusters in status.clusters are theirs".to_owned(),
        ),
        (
            format!(
                "!variables.aggregate || object == null || oldObject == null || ({} && {})",
                unchanged(SERVICE_NAME),
                unchanged(SOURCE_NAMESPACE)
            ),
            "an aggregated ServiceImport stays that of its service".to_owned(),
        ),
        (
            // The plain name, or with ten letters behind it where another service has that.
            format!(
                "!variables.aggregate || object == null || !('{SERVICE_NAME}' in variables.shall) || \
                 [variables.shall['{SERVICE_NAME}'] + '-' + variables.shall[?'{SOURCE_NAMESPACE}'].orValue('')].all(n, \
                 object.metadata.name == n || (object.metadata.name.startsWith(n + '-') && \
                 size(object.metadata.name) == size(n) + 11))"
            ),
            "an aggregated ServiceImport is named after its service and namespace".to_owned(),
        ),
        (
            format!(
                "!variables.aggregate || object == null || \
                 (size(object.metadata.?ownerReferences.orValue([])) == 0 && \
                  size(object.metadata.?finalizers.orValue([])) == 0 && \
                  !('{BROKER_CLUSTER_ID}' in object.metadata.?labels.orValue({{}})))"
            ),
            format!(
                "an aggregated ServiceImport has no owner, no finalizer and no label {BROKER_CLUSTER_ID}"
            ),
        ),
        (
            // The second half: just created by another, who has not yet written its status.
            "!variables.aggregate || request.operation != 'DELETE' || \
             (variables.listed.all(c, c == variables.id) && (size(variables.listed) > 0 || size(variables.wasOthers) == 0))"
                .to_owned(),
            "an aggregated ServiceImport is deleted by its last exporter".to_owned(),
        ),
        (
            "variables.kind != 'leases' || variables.sides.all(o, o.metadata.name == 'cluster-' + variables.id)".to_owned(),
            "its Lease is named after it".to_owned(),
        ),
        (
            format!(
                "!(variables.kind in ['clusters', 'endpoints']) || \
                 variables.sides.all(o, o.?spec.?cluster_id.orValue('') == variables.id && {own_label})"
            ),
            "spec.cluster_id of its Cluster and Endpoints is its id".to_owned(),
        ),
        (
            // Else the name that another needs could be taken first.
            "variables.kind != 'clusters' || variables.sides.all(o, o.metadata.name == variables.id)".to_owned(),
            "its Cluster is named after it".to_owned(),
        ),
        (
            "variables.kind != 'endpoints' || variables.sides.all(o, o.metadata.name.startsWith(\
             variables.id + '-submariner-cable-' + variables.id + '-'))"
                .to_owned(),
            "its Endpoints are named after it".to_owned(),
        ),
    ];
    let rules = rules.map(|(expression, message)| {
        json!({
            "expression": expression,
            "messageExpression": format!("'cluster ' + variables.id + ' may write only what is its own: {message}'"),
            "reason": "Forbidden",
        })
    });
    json!(rules)
}
