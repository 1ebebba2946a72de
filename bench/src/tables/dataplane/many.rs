//! Many clusters with many networks.

use anyhow::Result;
use serde_json::{Value, json};
use subm_test_support::{Process, objects};

use super::{Bench, LIMIT, WORKER, goal, row};
use crate::controlplane::memory::Memory;
use crate::dataplane::many;
use crate::dataplane::world::{BROKER, FIRST};
use crate::report::{Row, Spread, Table};
use crate::tables::Lab;

/// What it is called, and how it is told.
type Figure = (&'static str, fn(&many::Cost) -> f64);

const CLUSTERS: u16 = 200;
const NETWORKS: u16 = 50;

pub(in crate::tables) fn measure(lab: &Lab) -> Result<Vec<Table>> {
    let mut bench = Bench::start(lab, "wireguard")?;
    let paths = bench.world.paths();
    bench.start_gateways(&paths.workers)?;
    Ok(vec![bench.many(lab.rounds)?])
}

impl Bench {
    /// By the library on a node of its own, then with the programs.
    fn many(&mut self, rounds: usize) -> Result<Table> {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (clusters, costs) in [CLUSTERS / 2, CLUSTERS].into_iter().zip(&mut costs) {
                let cost = self.runtime.block_on(many::measure(clusters, NETWORKS))?;
                eprintln!("{clusters} clusters: {cost:.1?}");
                costs.push(cost);
            }
        }
        let figures: [Figure; 9] = [
            ("objects of the kernel", |cost| cost.objects as f64),
            ("plan, ms", |cost| cost.plan),
            ("all made, ms", |cost| cost.made),
            ("a look that finds nothing to do, ms", |cost| cost.looked),
            ("netlink messages of that look", |cost| {
                cost.messages_of_a_look as f64
            }),
            ("one cluster more, ms", |cost| cost.more),
            ("netlink messages of one more", |cost| {
                cost.messages_of_one_more as f64
            }),
            ("packet filter made, ms", |cost| cost.filter_made),
            ("packet filter looked at, ms", |cost| cost.filter_looked),
        ];
        let of = |costs: &[many::Cost], figure: fn(&many::Cost) -> f64| {
            Spread::of(&costs.iter().map(figure).collect::<Vec<_>>())
        };
        let mut rows: Vec<Row> = figures
            .iter()
            .map(|(name, figure)| row(name, costs.iter().map(|costs| of(costs, *figure)).collect()))
            .collect();
        let (gateway, agent) = self.programs_with_many()?;
        rows.push(row(
            "gateway resident, MiB",
            vec![None, Spread::of(&[gateway])],
        ));
        rows.push(row(
            "route agent resident, MiB",
            vec![None, Spread::of(&[agent])],
        ));
        let messages = costs[1]
            .iter()
            .map(|cost| cost.messages_of_a_look)
            .max()
            .unwrap_or(0);
        Ok(Table {
            title: "Many clusters".to_owned(),
            unit: "as the row says".to_owned(),
            method: format!(
                "A gateway node with VXLAN cables to so many clusters of {NETWORKS} networks each; what the route agent and the gateway plan there, made \
                 and looked at in one after the other. Messages are those that a listener on netlink hears. Resident: the programs, told of {CLUSTERS} \
                 clusters by the broker; WireGuard, so that the gateway has the peers too."
            ),
            columns: vec![
                format!("{} clusters", CLUSTERS / 2),
                format!("{CLUSTERS} clusters"),
            ],
            rows,
            goals: vec![goal("messages of a look", messages as f64, 0.0, 0.0)],
        })
    }

    fn programs_with_many(&self) -> Result<(f64, f64)> {
        let broker = &self.world.sides[FIRST].client;
        self.runtime.block_on(async {
            for number in 0..CLUSTERS {
                for object in cluster(number) {
                    objects::put(broker, object).await?;
                }
            }
            anyhow::Ok(())
        })?;
        let netns = self.world.sides[FIRST].worker.node.net().netns().clone();
        let wanted = usize::from(CLUSTERS * NETWORKS);
        self.runtime
            .block_on(subm_test_support::eventually(LIMIT * 10, || async {
                let routes = netns.output("ip", &["route"])?;
                let count = routes
                    .lines()
                    .filter(|line| line.contains("vx-submariner"))
                    .count();
                anyhow::ensure!(count > wanted, "{count} routes");
                Ok(())
            }))?;
        let mib = |process: &Process| {
            Ok::<_, anyhow::Error>(Memory::of(process.id())?.resident as f64 / f64::from(1 << 20))
        };
        Ok((mib(&self.gateways[FIRST])?, mib(&self.agents[WORKER])?))
    }
}

/// What a cluster that is nowhere else has on the broker.
fn cluster(number: u16) -> [Value; 2] {
    let [high, low] = number.to_be_bytes();
    let (id, address) = (format!("far{number}"), format!("172.30.{high}.{low}"));
    let cable = format!("submariner-cable-{id}-{}", address.replace('.', "-"));
    // Every other /24 from 11.0.0.0 on.
    let networks: Vec<String> = (0..NETWORKS)
        .map(|at| {
            let index = u32::from(number) * u32::from(NETWORKS) + u32::from(at);
            format!(
                "{}/24",
                std::net::Ipv4Addr::from(0x0b00_0000 + (index << 9))
            )
        })
        .collect();
    let metadata = |name: &str| json!({"name": name, "namespace": BROKER, "labels": {"submariner-io/clusterID": id}});
    let mut key = [0; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    key[31] = 1;
    let key = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, key);
    [
        json!({
            "apiVersion": "submariner.io/v1", "kind": "Cluster", "metadata": metadata(&id),
            "spec": {"cluster_id": id, "cluster_cidr": networks, "service_cidr": [], "global_cidr": [], "color_codes": []},
        }),
        json!({
            "apiVersion": "submariner.io/v1", "kind": "Endpoint", "metadata": metadata(&format!("{id}-{cable}")),
            "spec": {
                "cluster_id": id, "cable_name": cable, "hostname": format!("{id}-gw"), "backend": "wireguard", "subnets": networks,
                "private_ip": address, "public_ip": "", "nat_enabled": false,
                "backend_config": {"publicKey": key, "udp-port": "4500"},
            },
        }),
    ]
}
