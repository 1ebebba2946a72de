//! What the route agent's pages tell. Submariner's has no metrics; names and labels are like those of its gateways.

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, Opts, Registry};
use subm_kube::admin::Check;

use crate::node::status::Row;
use crate::shell::pages::{self, register};

pub(super) type Shown = pages::Shown<State>;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Endpoints and Nodes have been read.
    pub(super) home: bool,
    /// Links and routes, and the packet filter, are as planned.
    pub(super) network: bool,
    pub(super) filter: bool,
    pub(super) rows: Vec<Row>,
    /// How often the RouteAgent object was written.
    pub(super) written: u64,
}

impl pages::State for State {
    fn checks(&self) -> Vec<Check> {
        let check = |good, text| Check {
            good,
            text,
            needed: true,
        };
        vec![
            check(self.home, "this cluster has been read"),
            check(self.network, "links and routes are as planned"),
            check(self.filter, "the packet filter is as planned"),
        ]
    }

    fn metrics(&self) -> prometheus::Result<Vec<MetricFamily>> {
        gather(self)
    }
}

const LABELS: [&str; 2] = ["remote_cluster", "remote_hostname"];

/// All values are of one look: nothing stays of what was.
fn gather(state: &State) -> prometheus::Result<Vec<MetricFamily>> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, labels: &[&str]| {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        register(&registry, gauge)
    };
    let connections = gauge(
        "submariner_routeagent_connections",
        "Gateways of other clusters, and how this node reaches them",
        &[LABELS[0], LABELS[1], "status"],
    )?;
    let latency = gauge(
        "submariner_routeagent_connection_latency_seconds",
        "The average of the last round trips from this node",
        &LABELS,
    )?;
    for row in &state.rows {
        let labels = [row.spec.cluster_id.as_str(), &row.spec.hostname];
        connections
            .with_label_values(&[labels[0], labels[1], row.status.as_str()])
            .set(1.0);
        if let Some(rtt) = row.rtt {
            latency
                .with_label_values(&labels)
                .set(rtt.average.as_secs_f64());
        }
    }
    let in_order = gauge(
        "submariner_routeagent_in_order",
        "1 where this part of the node's kernel is as planned",
        &["part"],
    )?;
    for (part, good) in [("network", state.network), ("filter", state.filter)] {
        in_order
            .with_label_values(&[part])
            .set(f64::from(u8::from(good)));
    }
    let iterations = register(
        &registry,
        IntCounter::new(
            "submariner_routeagent_sync_iterations",
            "How often the RouteAgent object was written",
        )?,
    )?;
    iterations.inc_by(state.written);
    Ok(registry.gather())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::TextEncoder;
    use subm_api::submariner::EndpointSpec;
    use subm_tunnel::ConnectionStatus;
    use subm_tunnel::health::Rtt;

    use super::*;

    fn row(status: ConnectionStatus, rtt: Option<Rtt>) -> Row {
        Row {
            spec: EndpointSpec {
                cluster_id: "c2".to_owned(),
                hostname: "c2-gw1".to_owned(),
                ..EndpointSpec::default()
            },
            status,
            message: String::new(),
            rtt,
        }
    }

    #[test]
    fn paths_are_told_with_their_round_trips_and_what_was_is_not() {
        let mut state = State {
            network: true,
            rows: vec![row(
                ConnectionStatus::Connected,
                Rtt::of(&[Duration::from_millis(2)]),
            )],
            written: 3,
            ..State::default()
        };
        let text = |state: &State| {
            let families = gather(state).expect("metrics");
            TextEncoder::new()
                .encode_to_string(&families)
                .expect("text")
        };
        let of_c2 = "remote_cluster=\"c2\",remote_hostname=\"c2-gw1\"";
        for line in [
            format!("submariner_routeagent_connections{{{of_c2},status=\"connected\"}} 1"),
            format!("submariner_routeagent_connection_latency_seconds{{{of_c2}}} 0.002"),
            "submariner_routeagent_in_order{part=\"network\"} 1".to_owned(),
            "submariner_routeagent_in_order{part=\"filter\"} 0".to_owned(),
            "submariner_routeagent_sync_iterations 3".to_owned(),
        ] {
            let text = text(&state);
            assert!(text.contains(&line), "{line}\n{text}");
        }
        state.rows = vec![row(ConnectionStatus::Error, None)];
        let text = text(&state);
        assert!(
            !text.contains("connected\"") && !text.contains("latency"),
            "{text}"
        );
    }
}
