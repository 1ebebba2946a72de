//! Watches of everything that a plan depends on, as messages.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::core::ObjectMeta;
use subm_api::{Cluster, GlobalIngressIP, Kind, Namespace, ServiceExport, ServiceImport, Whole};
use subm_kube::{Event, Trouble, Watch, Watched};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use crate::core::Source;

/// What a watch tells.
#[derive(Debug)]
pub(super) enum News {
    Started,
    Listed,
    Item(Box<Item>),
    Gone(ObjectMeta),
    /// The kind is not served.
    Absent,
    Invalid(ObjectMeta, String),
    Trouble(Trouble),
    Recovered,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "an item is boxed as a whole in News"
)]
pub(super) enum Item {
    Export(ServiceExport),
    Service(Service),
    Slice(EndpointSlice),
    Import(ServiceImport),
    Namespace(Namespace),
    Node(Node),
    GlobalIp(GlobalIngressIP),
    Cluster(Cluster),
    Lease(Lease),
}

impl Item {
    pub(super) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Export(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Slice(object) => &object.metadata,
            Self::Import(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::GlobalIp(object) => &object.metadata,
            Self::Cluster(object) => &object.metadata,
            Self::Lease(object) => &object.metadata,
        }
    }
}

/// Starts the watches of this cluster.
pub(super) fn home(
    tasks: &mut JoinSet<()>,
    client: &Client,
    globalnet: bool,
    to: &Sender<(Source, News)>,
) {
    let mut start = Starter {
        tasks,
        client,
        namespace: None,
        to,
    };
    start.watch(Source::Exports, Item::Export);
    start.watch(Source::Services, |service: Whole<Service>| {
        Item::Service(service.0)
    });
    start.watch(Source::Slices, |slice: Whole<EndpointSlice>| {
        Item::Slice(slice.0)
    });
    start.watch(Source::Imports, Item::Import);
    start.watch(Source::Namespaces, Item::Namespace);
    start.watch(Source::Nodes, |node: Whole<Node>| Item::Node(node.0));
    if globalnet {
        start.watch(Source::GlobalIps, Item::GlobalIp);
    }
}

/// Starts those of the broker.
pub(super) fn broker(
    tasks: &mut JoinSet<()>,
    client: &Client,
    namespace: &str,
    to: &Sender<(Source, News)>,
) {
    let namespace = Some(namespace);
    let mut start = Starter {
        tasks,
        client,
        namespace,
        to,
    };
    start.watch(Source::BrokerImports, Item::Import);
    start.watch(Source::BrokerSlices, |slice: Whole<EndpointSlice>| {
        Item::Slice(slice.0)
    });
    start.watch(Source::BrokerClusters, Item::Cluster);
    start.watch(Source::BrokerLeases, |lease: Whole<Lease>| {
        Item::Lease(lease.0)
    });
}

struct Starter<'a> {
    tasks: &'a mut JoinSet<()>,
    client: &'a Client,
    namespace: Option<&'a str>,
    to: &'a Sender<(Source, News)>,
}

impl Starter<'_> {
    fn watch<K: Kind + Watched>(&mut self, source: Source, item: fn(K) -> Item) {
        let mut watch = Watch::<K>::all(self.client.clone());
        if let Some(namespace) = self.namespace {
            watch = watch.in_namespace(namespace);
        }
        let to = self.to.clone();
        self.tasks.spawn(async move {
            loop {
                let news = match watch.next().await {
                    Event::Started => News::Started,
                    Event::Listed => News::Listed,
                    Event::Apply(object) => News::Item(Box::new(item(object))),
                    Event::Delete(metadata) => News::Gone(metadata),
                    Event::Absent => News::Absent,
                    Event::Invalid { metadata, error } => News::Invalid(metadata, error),
                    Event::Trouble(trouble) => News::Trouble(trouble),
                    Event::Recovered => News::Recovered,
                };
                // Nobody listens any more: the agent ends.
                if to.send((source, news)).await.is_err() {
                    return;
                }
            }
        });
    }
}
