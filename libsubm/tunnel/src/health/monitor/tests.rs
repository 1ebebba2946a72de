use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;

/// Answers for the addresses that are up, after a millisecond.
#[derive(Clone, Default)]
struct Lan(Arc<Mutex<LanState>>);

#[derive(Default)]
struct LanState {
    up: Vec<IpAddr>,
    broken: bool,
    asked: BTreeMap<IpAddr, u32>,
    under_way: BTreeSet<u16>,
}

impl Pinger for Lan {
    async fn ping(
        &self,
        target: IpAddr,
        Echo { sequence, .. }: Echo,
        patience: Duration,
    ) -> Result<Duration, PingError> {
        let answer = {
            let mut lan = self.0.lock().unwrap();
            *lan.asked.entry(target).or_default() += 1;
            assert!(lan.under_way.insert(sequence), "{sequence}");
            if lan.broken {
                return Err(PingError::Unavailable("no socket".to_owned()));
            }
            lan.up.contains(&target)
        };
        let trip = Duration::from_millis(1);
        tokio::time::sleep(if answer { trip } else { patience }).await;
        self.0.lock().unwrap().under_way.remove(&sequence);
        if answer {
            Ok(trip)
        } else {
            Err(PingError::Lost(None))
        }
    }
}

impl Lan {
    fn asked(&self, target: IpAddr) -> u32 {
        self.0
            .lock()
            .unwrap()
            .asked
            .get(&target)
            .copied()
            .unwrap_or_default()
    }

    fn up(&self, up: &[IpAddr]) {
        self.0.lock().unwrap().up = up.to_vec();
    }
}

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 1, 1));
const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 1, 2));

fn targets(list: &[(&str, IpAddr)]) -> BTreeMap<String, IpAddr> {
    list.iter()
        .map(|(cable, ip)| ((*cable).to_owned(), *ip))
        .collect()
}

fn fast() -> Settings {
    Settings::new(Duration::from_millis(20), 3)
}

async fn until(monitor: &mut Monitor, what: impl Fn(&Healths) -> bool) {
    let wait = async {
        while !what(&monitor.healths()) {
            assert!(monitor.changed().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("in time");
}

fn is(cable: &'static str, status: PathStatus) -> impl Fn(&Healths) -> bool {
    move |healths| {
        healths
            .get(cable)
            .is_some_and(|health| health.status == status)
    }
}

/// healthchecker: "a remote Endpoint is created › should start a Pinger and return the correct LatencyInfo"
#[tokio::test]
async fn healthchecker_144_a_new_target_is_checked() {
    let lan = Lan::default();
    lan.up(&[ONE]);
    let mut monitor = Monitor::start(lan, fast());
    assert!(monitor.healths().is_empty());
    monitor.set_targets(targets(&[("c2", ONE)]));
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
    let rtt = monitor.healths()["c2"].rtt.unwrap();
    assert_eq!(rtt.last, Duration::from_millis(1));
}

/// healthchecker: "a remote Endpoint is deleted › should stop the Pinger"; pinger: "the pinger is stopped"
#[tokio::test]
async fn healthchecker_201_pinger_151_a_target_that_is_gone_is_not_asked() {
    let lan = Lan::default();
    lan.up(&[ONE, TWO]);
    let mut monitor = Monitor::start(lan.clone(), fast());
    monitor.set_targets(targets(&[("c2", ONE), ("c3", TWO)]));
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
    monitor.set_targets(targets(&[("c3", TWO)]));
    until(&mut monitor, |healths| !healths.contains_key("c2")).await;
    let (gone, stays) = (lan.asked(ONE), lan.asked(TWO));
    subm_test_support::eventually(Duration::from_secs(20), || {
        std::future::ready(if lan.asked(TWO) > stays + 5 {
            Ok(())
        } else {
            Err(anyhow::anyhow!("soon"))
        })
    })
    .await
    .unwrap();
    assert_eq!(lan.asked(ONE), gone);
}

/// healthchecker: "the HealthCheckIP was changed › should stop the Pinger and start a new one"
#[tokio::test]
async fn healthchecker_225_another_address_is_another_path() {
    let lan = Lan::default();
    lan.up(&[ONE]);
    let mut monitor = Monitor::start(lan, fast());
    monitor.set_targets(targets(&[("c2", ONE)]));
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
    monitor.set_targets(targets(&[("c2", TWO)]));
    until(&mut monitor, is("c2", PathStatus::Error)).await;
    assert_eq!(
        monitor.healths()["c2"].rtt,
        None,
        "nothing is left of the old one"
    );
}

/// healthchecker: "the HealthCheckIP did not change › should not start a new Pinger"
#[tokio::test]
async fn healthchecker_240_the_same_address_keeps_its_history() {
    let lan = Lan::default();
    lan.up(&[ONE]);
    let mut monitor = Monitor::start(lan.clone(), fast());
    monitor.set_targets(targets(&[("c2", ONE)]));
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
    lan.up(&[]);
    monitor.set_targets(targets(&[("c2", ONE), ("c3", TWO)]));
    until(&mut monitor, is("c2", PathStatus::Error)).await;
    assert!(monitor.healths()["c2"].rtt.is_some());
}

/// healthchecker: "a pinger reports a connection error", and back
#[tokio::test]
async fn one_that_fails_is_told_and_recovers_and_the_others_are_not_disturbed() {
    let lan = Lan::default();
    lan.up(&[ONE, TWO]);
    let mut monitor = Monitor::start(lan.clone(), fast());
    monitor.set_targets(targets(&[("c2", ONE), ("c3", TWO)]));
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
    lan.up(&[TWO]);
    until(&mut monitor, is("c2", PathStatus::Error)).await;
    assert!(is("c3", PathStatus::Connected)(&monitor.healths()));
    lan.up(&[ONE, TWO]);
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
}

/// Each echo has its own number, or one's reply would be taken for the other's: the [`Lan`] insists on it.
#[tokio::test]
async fn two_cables_with_one_target_do_not_disturb_each_other() {
    let lan = Lan::default();
    lan.up(&[ONE]);
    let mut monitor = Monitor::start(lan.clone(), fast());
    monitor.set_targets(targets(&[("c2", ONE), ("c3", ONE)]));
    until(&mut monitor, is("c2", PathStatus::Connected)).await;
    until(&mut monitor, is("c3", PathStatus::Connected)).await;
    lan.up(&[]);
    until(&mut monitor, is("c2", PathStatus::Error)).await;
    until(&mut monitor, is("c3", PathStatus::Error)).await;
}

#[tokio::test]
async fn without_sockets_it_says_so() {
    let lan = Lan::default();
    lan.0.lock().unwrap().broken = true;
    let mut monitor = Monitor::start(lan, fast());
    monitor.set_targets(targets(&[("c2", ONE)]));
    let told = |healths: &Healths| {
        healths
            .get("c2")
            .is_some_and(|h| h.message.ends_with("no socket"))
    };
    subm_test_support::eventually(Duration::from_secs(20), || {
        std::future::ready(if told(&monitor.healths()) {
            Ok(())
        } else {
            Err(anyhow::anyhow!("soon"))
        })
    })
    .await
    .unwrap();
    until(&mut monitor, is("c2", PathStatus::Unknown)).await;
}
