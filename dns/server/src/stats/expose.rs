//! Sums of all blocks as metric families.

use std::collections::BTreeMap;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use subm_dns_core::facts::ClusterId;

use super::block::{Block, FIRST_TIME_MICROS, RCODES, Row, SIZES, TIMES, TYPES};
use super::{Stats, hits, lock, process};

/// Sums by server, zone and proto.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    rows: BTreeMap<(String, String, &'static str), Sums>,
    servers: BTreeMap<(String, &'static str), [u64; 4]>,
    panics: u64,
}

#[derive(Clone, Debug)]
struct Sums {
    requests: [[u64; TYPES.len() + 1]; 2],
    responses: [u64; RCODES.len() + 1],
    request_sizes: [u64; SIZES.len() + 1],
    request_octets: u64,
    response_sizes: [u64; SIZES.len() + 1],
    response_octets: u64,
    times: [u64; TIMES + 1],
    micros: u64,
    dnssec_ok: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            requests: [[0; TYPES.len() + 1]; 2],
            responses: [0; RCODES.len() + 1],
            request_sizes: [0; SIZES.len() + 1],
            request_octets: 0,
            response_sizes: [0; SIZES.len() + 1],
            response_octets: 0,
            times: [0; TIMES + 1],
            micros: 0,
            dnssec_ok: 0,
        }
    }
}

impl Totals {
    pub(super) fn add(&mut self, block: &Block) {
        for (zone, row) in block.zones.iter().zip(&block.rows) {
            self.rows
                .entry((block.server.clone(), zone.clone(), block.proto))
                .or_default()
                .add(row);
        }
        let server = self
            .servers
            .entry((block.server.clone(), block.proto))
            .or_default();
        let counts = [
            &block.ignored,
            &block.send_dropped,
            &block.truncated,
            &block.cluster_names,
        ];
        for (sum, count) in server.iter_mut().zip(counts) {
            *sum += count.get();
        }
        self.panics += block.panics.get();
    }
}

impl Sums {
    fn add(&mut self, row: &Row) {
        for (sums, counts) in self.requests.iter_mut().zip(&row.requests) {
            add_all(sums, counts);
        }
        add_all(&mut self.responses, &row.responses);
        add_all(&mut self.request_sizes, &row.request_sizes);
        add_all(&mut self.response_sizes, &row.response_sizes);
        add_all(&mut self.times, &row.times);
        self.request_octets += row.request_octets.get();
        self.response_octets += row.response_octets.get();
        self.micros += row.micros.get();
        self.dnssec_ok += row.dnssec_ok.get();
    }
}

fn add_all(sums: &mut [u64], counts: &[super::block::Count]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count.get();
    }
}

/// Everything but what `Meters` holds.
pub(super) fn families(stats: &Stats) -> Vec<MetricFamily> {
    let mut out = Vec::new();
    let totals = lock(&stats.blocks).totals();
    queries(&totals, &mut out);
    servers(stats, &totals, &mut out);
    cluster_set(stats, &mut out);
    for (name, help, is_counter, value) in process::read() {
        let kind = if is_counter {
            MetricType::COUNTER
        } else {
            MetricType::GAUGE
        };
        out.push(family(name, help, kind, vec![number(kind, &[], value)]));
    }
    out
}

fn queries(totals: &Totals, out: &mut Vec<MetricFamily>) {
    let mut requests = Vec::new();
    let mut responses = Vec::new();
    let mut request_sizes = Vec::new();
    let mut response_sizes = Vec::new();
    // CoreDNS gives these without `proto`: sum over it first.
    let mut by_zone: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    let size_bounds: Vec<f64> = SIZES.iter().map(|&limit| f64::from(limit)).collect();
    for ((server, zone, proto), sums) in &totals.rows {
        if sums.responses.iter().all(|&count| count == 0) {
            continue;
        }
        let base = [
            ("server", server.as_str()),
            ("zone", zone),
            ("view", ""),
            ("proto", proto),
        ];
        for (family, counts) in ["1", "2"].into_iter().zip(&sums.requests) {
            let names = TYPES.iter().map(|(_, name)| *name).chain(["other"]);
            for (name, &count) in names.zip(counts).filter(|&(_, &count)| count > 0) {
                let labels = [
                    base[0],
                    base[1],
                    base[2],
                    base[3],
                    ("family", family),
                    ("type", name),
                ];
                requests.push(number(MetricType::COUNTER, &labels, count as f64));
            }
        }
        request_sizes.push(histogram(
            &base,
            &size_bounds,
            &sums.request_sizes,
            sums.request_octets as f64,
        ));
        response_sizes.push(histogram(
            &base,
            &size_bounds,
            &sums.response_sizes,
            sums.response_octets as f64,
        ));
        let zone_sums = by_zone.entry((server, zone)).or_default();
        for (sum, count) in zone_sums.responses.iter_mut().zip(sums.responses) {
            *sum += count;
        }
        for (sum, count) in zone_sums.times.iter_mut().zip(sums.times) {
            *sum += count;
        }
        zone_sums.micros += sums.micros;
        zone_sums.dnssec_ok += sums.dnssec_ok;
    }
    let mut durations = Vec::new();
    let mut dnssec_ok = Vec::new();
    let time_bounds: Vec<f64> = (0..TIMES)
        .map(|n| (FIRST_TIME_MICROS << n) as f64 / 1e6)
        .collect();
    for ((server, zone), sums) in &by_zone {
        let base = [("server", *server), ("zone", *zone), ("view", "")];
        let names = RCODES.iter().map(|(_, name)| *name).chain(["other"]);
        for (name, count) in names.zip(sums.responses).filter(|&(_, count)| count > 0) {
            let plugin = if *zone == "dropped" { "" } else { "lighthouse" };
            let labels = [
                base[0],
                base[1],
                base[2],
                ("rcode", name),
                ("plugin", plugin),
            ];
            responses.push(number(MetricType::COUNTER, &labels, count as f64));
        }
        durations.push(histogram(
            &base,
            &time_bounds,
            &sums.times,
            sums.micros as f64 / 1e6,
        ));
        if sums.dnssec_ok > 0 {
            dnssec_ok.push(number(MetricType::COUNTER, &base, sums.dnssec_ok as f64));
        }
    }
    let counters = [
        (
            "coredns_dns_requests_total",
            "Counter of DNS requests made per zone, protocol and family.",
            requests,
        ),
        (
            "coredns_dns_responses_total",
            "Counter of response status codes.",
            responses,
        ),
        (
            "coredns_dns_do_requests_total",
            "Counter of DNS requests with DO bit set per zone.",
            dnssec_ok,
        ),
    ];
    out.extend(
        counters.map(|(name, help, metrics)| family(name, help, MetricType::COUNTER, metrics)),
    );
    let histograms = [
        (
            "coredns_dns_request_duration_seconds",
            "Histogram of the time (in seconds) each request took per zone. Over UDP all requests of a batch count with \
             the time from its receipt to the sending of its replies.",
            durations,
        ),
        (
            "coredns_dns_request_size_bytes",
            "Size of requests in bytes per zone and protocol.",
            request_sizes,
        ),
        (
            "coredns_dns_response_size_bytes",
            "Size of the returned response in bytes.",
            response_sizes,
        ),
    ];
    out.extend(
        histograms.map(|(name, help, metrics)| family(name, help, MetricType::HISTOGRAM, metrics)),
    );
}

fn servers(stats: &Stats, totals: &Totals, out: &mut Vec<MetricFamily>) {
    let names = [
        (
            "subm_dns_ignored_total",
            "Messages without an answer: not queries, or too short to be any.",
        ),
        (
            "subm_dns_send_dropped_total",
            "UDP replies that the kernel did not take.",
        ),
        ("subm_dns_truncated_total", "Replies with TC set."),
        (
            "subm_dns_cluster_name_queries_total",
            "Queries for names of the form <cluster>.<service>, which KEP-1645 reserves.",
        ),
    ];
    for (i, (name, help)) in names.into_iter().enumerate() {
        let metrics = totals.servers.iter().map(|((server, proto), counts)| {
            number(
                MetricType::COUNTER,
                &[("server", server), ("proto", proto)],
                counts[i] as f64,
            )
        });
        out.push(family(name, help, MetricType::COUNTER, metrics.collect()));
    }
    let drops = stats.kernel_drops();
    let drops = drops
        .iter()
        .map(|(server, &count)| number(MetricType::COUNTER, &[("server", server)], count as f64));
    out.push(family(
        "subm_dns_kernel_drops_total",
        "UDP queries that the kernel dropped because a socket's buffer was full.",
        MetricType::COUNTER,
        drops.collect(),
    ));
    let mut open = Vec::new();
    let mut refused = Vec::new();
    for (server, proto, open_now, refused_so_far) in stats.connection_counts() {
        let labels = [("server", server.as_str()), ("proto", proto)];
        open.push(number(MetricType::GAUGE, &labels, open_now as f64));
        refused.push(number(MetricType::COUNTER, &labels, refused_so_far as f64));
    }
    out.push(family(
        "subm_dns_connections_open",
        "Connections open now.",
        MetricType::GAUGE,
        open,
    ));
    out.push(family(
        "subm_dns_connections_refused_total",
        "Connections closed or refused because too many were open.",
        MetricType::COUNTER,
        refused,
    ));
    out.push(family(
        "coredns_panics_total",
        "A metrics that counts the number of panics.",
        MetricType::COUNTER,
        vec![number(MetricType::COUNTER, &[], totals.panics as f64)],
    ));
    let dropped = stats.log_dropped.load(std::sync::atomic::Ordering::Relaxed);
    out.push(family(
        "subm_dns_query_log_dropped_total",
        "Entries of the query log that were left out because its writer was behind.",
        MetricType::COUNTER,
        vec![number(MetricType::COUNTER, &[], dropped as f64)],
    ));
    let plugins = lock(&stats.plugins);
    let enabled = plugins.iter().map(|plugin| {
        let labels = [
            ("server", plugin.server.as_str()),
            ("zone", &plugin.zone),
            ("view", ""),
            ("name", &plugin.name),
        ];
        number(MetricType::GAUGE, &labels, 1.0)
    });
    out.push(family(
        "coredns_plugin_enabled",
        "A metric that indicates whether a plugin is enabled on per server and zone basis.",
        MetricType::GAUGE,
        enabled.collect(),
    ));
    let version = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", ""),
        ("goversion", ""),
    ];
    out.push(family(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by version, revision, and goversion; of lighthouse-dns here.",
        MetricType::GAUGE,
        vec![number(MetricType::GAUGE, &version, 1.0)],
    ));
}

fn cluster_set(stats: &Stats, out: &mut Vec<MetricFamily>) {
    let mut gauge = |name, help, value: f64| {
        out.push(family(
            name,
            help,
            MetricType::GAUGE,
            vec![number(MetricType::GAUGE, &[], value)],
        ));
    };
    let shared = stats.shared.view.load_full();
    let view = &shared.status;
    gauge(
        "subm_dns_clusters",
        "Clusters that are known.",
        view.clusters().count() as f64,
    );
    let connected = view.clusters().filter(|(_, connected)| *connected).count();
    gauge(
        "subm_dns_clusters_connected",
        "Clusters whose endpoints are given.",
        connected as f64,
    );
    if let Some(updated_at) = view.updated_at() {
        gauge(
            "subm_dns_gateway_updated_timestamp_seconds",
            "When the Gateway that tells which clusters are connected was last written, by its own clock.",
            updated_at as f64,
        );
    }
    let Some(snapshot) = &shared.snapshot else {
        return;
    };
    gauge(
        "subm_dns_services",
        "Services of the cluster set.",
        snapshot.service_count() as f64,
    );
    gauge(
        "subm_dns_endpoints",
        "Endpoints of the cluster set.",
        snapshot.endpoint_count() as f64,
    );
    gauge(
        "subm_dns_snapshot_serial",
        "SOA serial; grows with every visible change.",
        f64::from(snapshot.serial()),
    );
    if let Some(age) = stats.shared.age() {
        gauge(
            "subm_dns_snapshot_age_seconds",
            "Time since the last publication.",
            age,
        );
    }
    let source = view.local().map_or("", |id| id.as_str());
    let ledgers = stats.all_ledgers();
    let mut queries = Vec::new();
    for service in snapshot.services() {
        let clusters = std::iter::once("").chain(service.clusters.iter().map(ClusterId::as_str));
        for (i, cluster) in clusters.enumerate() {
            let count = hits(&ledgers, service.hits + i);
            if count > 0 {
                let labels = [
                    ("source_cluster", source),
                    ("destination_cluster", cluster),
                    ("destination_service_name", service.key.name.as_str()),
                    (
                        "destination_service_namespace",
                        service.key.namespace.as_str(),
                    ),
                ];
                queries.push(number(MetricType::GAUGE, &labels, count as f64));
            }
        }
    }
    out.push(family(
        "submariner_service_discovery_query",
        "Count the number of DNS queries handled by Lighthouse plugin.",
        MetricType::GAUGE,
        queries,
    ));
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn number(kind: MetricType, labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = Metric::from_label(pairs(labels));
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

/// `counts` has one place more than `bounds`: what is above all of them.
fn histogram(labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) -> Metric {
    let mut below = 0;
    let buckets = bounds.iter().zip(counts).map(|(&bound, &count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let buckets = buckets.collect();
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = Metric::from_label(pairs(labels));
    metric.set_histogram(histogram);
    metric
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
