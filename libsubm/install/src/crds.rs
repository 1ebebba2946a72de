//! Custom resource definitions, as `deploy/crds` has them.

use serde_json::Value;

use crate::Object;

const CLUSTER_PROPERTIES: &str =
    include_str!("../../../deploy/crds/clusterproperties.about.k8s.io.yaml");
const BROKERS: &str = include_str!("../../../deploy/crds/brokers.submariner.io.yaml");
const CLUSTERS: &str = include_str!("../../../deploy/crds/clusters.submariner.io.yaml");
const ENDPOINTS: &str = include_str!("../../../deploy/crds/endpoints.submariner.io.yaml");
const GATEWAYS: &str = include_str!("../../../deploy/crds/gateways.submariner.io.yaml");
const ROUTE_AGENTS: &str = include_str!("../../../deploy/crds/routeagents.submariner.io.yaml");
const SERVICE_EXPORTS: &str =
    include_str!("../../../deploy/crds/serviceexports.multicluster.x-k8s.io.yaml");
const SERVICE_IMPORTS: &str =
    include_str!("../../../deploy/crds/serviceimports.multicluster.x-k8s.io.yaml");

/// What a broker stores.
pub fn of_broker() -> Vec<Object> {
    [BROKERS, CLUSTERS, ENDPOINTS, SERVICE_IMPORTS]
        .map(definition)
        .into()
}

/// What a member stores.
pub fn of_member() -> Vec<Object> {
    [
        CLUSTER_PROPERTIES,
        CLUSTERS,
        ENDPOINTS,
        GATEWAYS,
        ROUTE_AGENTS,
        SERVICE_EXPORTS,
        SERVICE_IMPORTS,
    ]
    .map(definition)
    .into()
}

fn definition(yaml: &str) -> Object {
    // Part of the program; a test reads each.
    let value: Value = serde_saphyr::from_str(yaml).expect("deploy/crds is well formed");
    Object::ours(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_read_and_named_after_its_kind() {
        for crd in of_broker().into_iter().chain(of_member()) {
            assert_eq!(crd.kind(), "CustomResourceDefinition");
            let spec = &crd.value()["spec"];
            let name = format!(
                "{}.{}",
                spec["names"]["plural"].as_str().unwrap(),
                spec["group"].as_str().unwrap()
            );
            assert_eq!(crd.name(), name);
            for version in spec["versions"].as_array().unwrap() {
                // Anchors are resolved, too.
                assert_eq!(
                    version["schema"]["openAPIV3Schema"]["type"], "object",
                    "{name}"
                );
            }
        }
    }
}
