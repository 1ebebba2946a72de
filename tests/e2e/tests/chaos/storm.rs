//! What goes wrong, one thing after the other and several at a time.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use subm_e2e::{Lab, Member};
use subm_test_support::{Cluster, Fault, Link, Packets};
use tokio::time::sleep;

use crate::ghosts::Ghosts;
use crate::programs::APPS;
use crate::workloads::Settled;
use crate::{OPERATOR, workloads};

#[derive(Debug, Clone, Copy)]
enum Event {
    Link,
    Flap,
    Kill(&'static str),
    ApiServer,
    Etcd,
    Controllers,
    Partition,
    Ghosts,
    Workloads,
}

/// All that can happen, so often in each round.
fn round() -> Vec<Event> {
    let mut events = vec![
        Event::Flap,
        Event::ApiServer,
        Event::Etcd,
        Event::Controllers,
    ];
    events.extend(APPS.map(Event::Kill));
    events.extend(APPS.map(Event::Kill));
    events.extend([Event::Link; 4]);
    events.extend([Event::Partition; 2]);
    events.extend([Event::Ghosts; 8]);
    events.extend([Event::Workloads; 6]);
    events
}

pub(crate) struct Storm<'a> {
    lab: &'a Lab,
    rng: StdRng,
    began: Instant,
    ghosts: Ghosts,
    /// Until when each lasts.
    faults: Vec<(Instant, Fault)>,
    story: String,
}

impl<'a> Storm<'a> {
    pub(crate) async fn new(lab: &'a Lab, driver: &str, seed: u64) -> Result<Self> {
        Ok(Self {
            lab,
            rng: StdRng::seed_from_u64(seed),
            began: Instant::now(),
            ghosts: Ghosts::new(lab.broker.client().await?, driver),
            faults: Vec::new(),
            story: String::new(),
        })
    }

    /// Rounds of all events, in another order each time, until the time is over; at least one round.
    pub(crate) async fn rage(&mut self, length: Duration) -> Result<()> {
        self.began = Instant::now();
        for number in 0.. {
            let mut events = round();
            events.shuffle(&mut self.rng);
            for event in events {
                if number > 0 && self.began.elapsed() >= length {
                    return Ok(());
                }
                let what = self.happen(event).await?;
                // Writing to a String does not fail.
                let _ = writeln!(
                    self.story,
                    "{:5.1} s: {what}",
                    self.began.elapsed().as_secs_f32()
                );
                let pause = self.rng.random_range(100..1500);
                sleep(Duration::from_millis(pause)).await;
                let now = Instant::now();
                for (_, fault) in self.faults.extract_if(.., |(until, _)| *until <= now) {
                    fault.heal()?;
                }
            }
        }
        unreachable!("rounds have no end")
    }

    /// What happened so far.
    pub(crate) fn story(&self) -> String {
        self.story.clone()
    }

    /// Heals all, and sends away who does not belong here.
    pub(crate) async fn end(mut self) -> Result<Settled> {
        for (_, fault) in self.faults.drain(..) {
            fault.heal()?;
        }
        self.ghosts.end().await?;
        workloads::settle(self.lab).await
    }

    async fn happen(&mut self, event: Event) -> Result<String> {
        match event {
            Event::Link => self.link(),
            Event::Flap => {
                let (name, link) = self.some_link()?;
                let period = Duration::from_millis(self.rng.random_range(20..300));
                link.flap(3, period).await?;
                Ok(format!("{name} flaps every {period:?}"))
            }
            Event::Kill(app) => self.kill(app).await,
            Event::ApiServer => {
                let (name, cluster) = self.some_cluster();
                let away = Duration::from_millis(self.rng.random_range(0..4000));
                cluster.kill_api_server();
                sleep(away).await;
                cluster.start_api_server().await?;
                Ok(format!("the API server of {name} was away for {away:?}"))
            }
            Event::Etcd => {
                let (name, cluster) = self.some_cluster();
                let away = Duration::from_millis(self.rng.random_range(0..2000));
                cluster.kill_etcd();
                sleep(away).await;
                cluster.start_etcd().await?;
                Ok(format!("etcd of {name} was away for {away:?}"))
            }
            Event::Controllers => {
                let (name, cluster) = self.some_cluster();
                cluster.kill_controllers();
                cluster.start_controllers()?;
                Ok(format!("controllers of {name} are killed"))
            }
            Event::Partition => self.partition(),
            Event::Ghosts => self.ghosts.stir(&mut self.rng).await,
            Event::Workloads => workloads::stir(self.lab, &mut self.rng).await,
        }
    }

    fn link(&mut self) -> Result<String> {
        let (name, link) = self.some_link()?;
        let (what, fault) = match self.rng.random_range(0..5) {
            0 => ("is cut", link.cut()?),
            1 => ("loses each third packet", link.lose(0.33)?),
            2 => (
                "carries no cable's packets out",
                link.drop_packets(Packets::udp(4500).leaving())?,
            ),
            3 => (
                "carries no cable's packets in",
                link.drop_packets(Packets::udp(4500).arriving())?,
            ),
            _ => ("carries nothing", link.drop_packets(Packets::all())?),
        };
        let lasts = self.keep(fault);
        Ok(format!("{name} {what} for {lasts:?}"))
    }

    fn partition(&mut self) -> Result<String> {
        let member = self.some_member();
        let (name, from) = if self.rng.random_ratio(1, 3) {
            ("its own API server", &member.cluster)
        } else {
            ("the broker", &self.lab.broker)
        };
        let fault = member.cluster.lan()?.partition(from)?;
        let lasts = self.keep(fault);
        Ok(format!(
            "{} does not reach {name} for {lasts:?}",
            member.name
        ))
    }

    /// A pod of a program, on some node that has one.
    async fn kill(&mut self, app: &str) -> Result<String> {
        let mut pods = Vec::new();
        for node in self.lab.members.iter().flat_map(|member| &member.nodes) {
            for pod in node.ready_pods(OPERATOR, app).await? {
                pods.push((node, pod));
            }
        }
        let Some((node, pod)) = pods.choose(&mut self.rng) else {
            return Ok(format!("nothing of {app} is ready to be killed"));
        };
        node.kill(OPERATOR, pod)?;
        Ok(format!("{pod} on {} is killed", node.name()))
    }

    /// Until a while from now.
    fn keep(&mut self, fault: Fault) -> Duration {
        let lasts = Duration::from_millis(self.rng.random_range(300..12_000));
        self.faults.push((Instant::now() + lasts, fault));
        lasts
    }

    fn some_member(&mut self) -> &'a Member {
        &self.lab.members[self.rng.random_range(0..self.lab.members.len())]
    }

    fn some_cluster(&mut self) -> (&'a str, &'a Cluster) {
        let mut clusters = vec![("the broker", &self.lab.broker)];
        let members = self.lab.members.iter();
        clusters.extend(members.map(|member| (member.name.as_str(), &member.cluster)));
        clusters[self.rng.random_range(0..clusters.len())]
    }

    /// An uplink, or that of a node.
    fn some_link(&mut self) -> Result<(String, Link)> {
        let member = self.some_member();
        let lan = member.cluster.lan()?;
        if self.rng.random_bool(0.5) {
            return Ok((
                format!("the uplink of {}", member.name),
                lan.uplink()?.clone(),
            ));
        }
        let node = &member.nodes[self.rng.random_range(0..member.nodes.len())];
        Ok((
            format!("the link of {}", node.name()),
            lan.node_link(node.name())?,
        ))
    }
}
