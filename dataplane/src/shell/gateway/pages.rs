//! What the gateway's pages tell. Names and labels of metrics are Submariner's.
//!
//! All values are of one look, so nothing stays of a cable that is gone or of a status that was (defect 21).

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntGauge, Opts, Registry};
use subm_api::submariner::EndpointSpec;
use subm_kube::admin::Check;
use subm_tunnel::{Connection, ConnectionStatus};

use crate::shell::pages::{self, register};

pub(super) type Shown = pages::Shown<State>;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) home: bool,
    pub(super) broker: bool,
    pub(super) leads: bool,
    pub(super) local: EndpointSpec,
    cables: Vec<(EndpointSpec, Connection)>,
    /// Since when a cable is connected, by its name.
    since: BTreeMap<String, i64>,
    /// How often the Gateway object was written.
    pub(super) written: u64,
}

impl State {
    pub(super) fn cables(&mut self, cables: Vec<(EndpointSpec, Connection)>) {
        let now = Timestamp::now().as_second();
        let connected = |connection: &Connection| connection.status == ConnectionStatus::Connected;
        let before = std::mem::take(&mut self.since);
        self.since = cables
            .iter()
            .filter(|(_, connection)| connected(connection))
            .map(|(_, connection)| {
                let since = before.get(&connection.cable).copied().unwrap_or(now);
                (connection.cable.clone(), since)
            })
            .collect();
        self.cables = cables;
    }
}

impl pages::State for State {
    fn checks(&self) -> Vec<Check> {
        let check = |good, text, needed| Check { good, text, needed };
        vec![
            check(self.home, "this cluster has been read", true),
            check(self.broker, "the broker can be read", false),
            check(self.leads, "this gateway leads", false),
        ]
    }

    fn metrics(&self) -> prometheus::Result<Vec<MetricFamily>> {
        gather(self)
    }
}

const LABELS: [&str; 7] = [
    "cable_driver",
    "local_cluster",
    "local_hostname",
    "local_endpoint_ip",
    "remote_cluster",
    "remote_hostname",
    "remote_endpoint_ip",
];

fn gather(state: &State) -> prometheus::Result<Vec<MetricFamily>> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, labels: &[&str]| {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        register(&registry, gauge)
    };
    let with_status = [&LABELS[..], &["status"]].concat();
    let received = gauge(
        "submariner_gateway_rx_bytes",
        "Bytes received, by cable",
        &LABELS,
    )?;
    let sent = gauge(
        "submariner_gateway_tx_bytes",
        "Bytes sent, by cable",
        &LABELS,
    )?;
    let connections = gauge(
        "submariner_connections",
        "Connections to other clusters and their status",
        &with_status,
    )?;
    let short = gauge(
        "submariner_connections_short",
        "Number of connections, by driver and status",
        &["cable_driver", "status"],
    )?;
    let established = gauge(
        "submariner_connection_established_timestamp",
        "Since when a cable is connected, seconds since 1970",
        &LABELS,
    )?;
    let latency = gauge(
        "submariner_connection_latency_seconds",
        "The average of the last round trips",
        &LABELS,
    )?;
    let local = &state.local;
    for (remote, connection) in &state.cables {
        let labels = [
            local.backend.as_str(),
            &local.cluster_id,
            &local.hostname,
            &local.public_ip,
            &remote.cluster_id,
            &remote.hostname,
            &remote.public_ip,
        ];
        let status = connection.status.as_str();
        connections
            .with_label_values(&[&labels[..], &[status]].concat())
            .set(1.0);
        short.with_label_values(&[labels[0], status]).inc();
        if let Some(traffic) = connection.traffic {
            received
                .with_label_values(&labels)
                .set(traffic.received as f64);
            sent.with_label_values(&labels).set(traffic.sent as f64);
        }
        if let Some(since) = state.since.get(&connection.cable) {
            established.with_label_values(&labels).set(*since as f64);
        }
        if let Some(rtt) = connection.rtt {
            latency
                .with_label_values(&labels)
                .set(rtt.average.as_secs_f64());
        }
    }
    let iterations = register(
        &registry,
        IntCounter::new(
            "submariner_gateway_sync_iterations",
            "How often the Gateway object was written",
        )?,
    )?;
    iterations.inc_by(state.written);
    for (name, help, good) in [
        (
            "submariner_gateway_leader",
            "1 where this gateway leads",
            state.leads,
        ),
        (
            "submariner_gateway_broker_connected",
            "1 while the broker can be read",
            state.broker,
        ),
    ] {
        register(&registry, IntGauge::new(name, help)?)?.set(good.into());
    }
    Ok(registry.gather())
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use subm_tunnel::Cable;

    use super::*;

    fn state(statuses: &[(&str, ConnectionStatus)]) -> State {
        let endpoint = |cluster: &str| EndpointSpec {
            cluster_id: cluster.to_owned(),
            hostname: format!("{cluster}-gw1"),
            backend: "vxlan".to_owned(),
            ..EndpointSpec::default()
        };
        let mut state = State {
            local: endpoint("c1"),
            ..State::default()
        };
        state.cables(of(statuses, endpoint));
        state
    }

    fn of(
        statuses: &[(&str, ConnectionStatus)],
        endpoint: impl Fn(&str) -> EndpointSpec,
    ) -> Vec<(EndpointSpec, Connection)> {
        let cable = |cluster: &str| Cable::new(cluster, cluster, [192, 0, 2, 1].into(), 4500);
        statuses
            .iter()
            .map(|(cluster, status)| {
                (
                    endpoint(cluster),
                    Connection::new(&cable(cluster), *status, ""),
                )
            })
            .collect()
    }

    fn text(state: &State) -> String {
        let families = gather(state).expect("metrics");
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("text")
    }

    #[test]
    fn connections_are_counted_by_driver_and_status() {
        use ConnectionStatus::{Connected, Error};
        let text = text(&state(&[
            ("c2", Connected),
            ("c3", Connected),
            ("c4", Error),
        ]));
        for line in [
            "submariner_connections_short{cable_driver=\"vxlan\",status=\"connected\"} 2",
            "submariner_connections_short{cable_driver=\"vxlan\",status=\"error\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(
            text.contains("remote_cluster=\"c4\"") && text.contains("remote_hostname=\"c2-gw1\"")
        );
        let established = text
            .lines()
            .filter(|line| line.starts_with("submariner_connection_established"));
        assert_eq!(established.count(), 2);
    }

    #[test]
    fn d21_nothing_stays_of_what_was() {
        use ConnectionStatus::{Connected, Error};
        let mut state = state(&[("c2", Connected), ("c3", Connected)]);
        state.cables(of(&[("c2", Error)], |_| EndpointSpec::default()));
        let text = text(&state);
        assert!(
            !text.contains("c3") && !text.contains("\"connected\""),
            "{text}"
        );
        assert!(text.contains("status=\"error\"} 1"), "{text}");
    }
}
