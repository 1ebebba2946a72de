//! More queries than the server can answer.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use domain::base::iana::Rtype;
use subm_test_support::eventually;

use crate::common::wire::query;
use crate::common::{Lighthouse, SOON, folder_with, replace, service};

const ONE: &str = "one.test.svc.clusterset.local";
const DROPS: &str = "subm_dns_kernel_drops_total";
const REQUESTS: &str = "coredns_dns_requests_total";

/// Clients that ask as fast as they can and read no answer, until dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(us: &Lighthouse, clients: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut flood = Self {
            stop: Arc::clone(&stop),
            clients: Vec::new(),
        };
        for id in 0..clients {
            let socket = UdpSocket::bind((us.ip, 0))?;
            socket.connect(us.dns())?;
            let query = query(u16::try_from(id)?, &format!("{ONE}."), Rtype::A);
            let stop = Arc::clone(&stop);
            flood.clients.push(std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    // Refused while the server is gone, or the kernel has no room: both are fine.
                    let _ = socket.send(&query);
                }
            }));
        }
        Ok(flood)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

fn resident_kib(us: &Lighthouse) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", us.process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_the_kernel_queries_and_nothing_else() -> Result<()> {
    let folder = folder_with("one.yaml", &service("one", "243.0.0.1"))?;
    let us = Lighthouse::serving(folder.path(), &["--workers", "1"]).await?;
    let flood = Flood::start(&us, 2)?;
    let drops = eventually(SOON, || async {
        let drops = us.metric(DROPS, &[]).await?;
        ensure!(drops > 0, "nothing dropped yet");
        Ok::<_, anyhow::Error>(drops)
    })
    .await?;
    let (before, answered) = (resident_kib(&us)?, us.metric(REQUESTS, &[]).await?);

    // Streams, pages and changes get through.
    let reply = us.dig(&[ONE, "+tcp"]).await?;
    assert_eq!(reply.answers("A"), ["243.0.0.1"]);
    assert_eq!(us.page("/health").await?.0, 200);
    assert_eq!(us.page("/ready").await?.0, 200);
    replace(
        &folder.path().join("one.yaml"),
        &service("one", "243.0.0.2"),
    )?;
    us.dig_until(&[ONE, "+tcp"], |reply| reply.answers("A") == ["243.0.0.2"])
        .await?;

    // It goes on answering what it can, and nothing piles up.
    eventually(SOON, || async {
        let more = us.metric(REQUESTS, &[]).await? - answered;
        ensure!(more > 30_000, "{more} more answered");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    ensure!(
        us.metric(DROPS, &[]).await? > drops,
        "the flood is over too soon"
    );
    let growth = resident_kib(&us)?.saturating_sub(before);
    ensure!(growth < 16 << 10, "{growth} KiB more in memory");

    drop(flood);
    us.dig_until(&[ONE], |reply| reply.answers("A") == ["243.0.0.2"])
        .await?;
    Ok(())
}
