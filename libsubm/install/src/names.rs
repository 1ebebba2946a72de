//! Names that users, other releases and other programs know.

/// Where a member's components run.
pub const OPERATOR_NAMESPACE: &str = "submariner-operator";
/// The broker's namespace unless the user chose another.
pub const BROKER_NAMESPACE: &str = "submariner-k8s-broker";
/// The Broker object.
pub const BROKER: &str = "submariner-broker";
/// Account and Role on the broker whose token is in `broker-info.subm`.
pub const BROKER_ADMIN: &str = "submariner-k8s-broker-admin";
/// Role on the broker of every member's account.
pub const BROKER_CLUSTER_ROLE: &str = "submariner-k8s-broker-cluster";
/// Secret with the key that all members' IPsec cables share.
pub const IPSEC_PSK: &str = "submariner-ipsec-psk";
/// Secret of a member with its account on the broker.
pub const BROKER_SECRET: &str = "submariner-broker-secret";
/// ConfigMap of a member that says what it joined as.
pub const SETTINGS: &str = "submariner-settings";
pub const AGENT: &str = "submariner-lighthouse-agent";
pub const DNS: &str = "submariner-lighthouse-coredns";
pub const GATEWAY: &str = "submariner-gateway";
pub const ROUTE_AGENT: &str = "submariner-routeagent";
/// ConfigMap on the broker: who has which global CIDR.
pub const GLOBALNET_INFO: &str = "submariner-globalnet-info";
/// ConfigMap on the broker: who has which part of the cluster set IPs.
pub const CLUSTERSETIP_INFO: &str = "submariner-clustersetip-info";
/// The file that `deploy-broker` writes and `join` reads.
pub const BROKER_INFO_FILE: &str = "broker-info.subm";
/// The zone of KEP-1645.
pub const CLUSTERSET_DOMAIN: &str = "clusterset.local";

pub const SERVICE_DISCOVERY: &str = "service-discovery";
pub const CONNECTIVITY: &str = "connectivity";

/// Label of what we installed, and with it what `uninstall` may delete. Value [`INSTALLER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of what we installed: all that belongs together. Value [`PART_OF_SUBMARINER`].
pub const PART_OF: &str = "app.kubernetes.io/part-of";
pub const PART_OF_SUBMARINER: &str = "submariner";
/// Value of [`MANAGED_BY`], and the field manager of what is applied.
pub const INSTALLER: &str = "subctl";
/// Annotation of [`BROKER_SECRET`]: when the token in it expires, RFC 3339.
pub const TOKEN_EXPIRES: &str = "submariner.io/token-expires";
