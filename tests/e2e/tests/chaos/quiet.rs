//! Nobody has anything to do: nothing is written to a kernel, nothing to an API server but what tells that one lives, and no program says a word.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use subm_e2e::Lab;
use subm_test_support::rbac::Access;
use subm_test_support::{Cluster, Monitor};
use tokio::time::interval;

/// All look at what they keep once a minute, and so have done within this.
const A_LOOK_OF_ALL: Duration = Duration::from_secs(65);
/// What was begun by the storm has until then to end.
const UNTIL: Duration = Duration::from_secs(180);
const OFTEN: Duration = Duration::from_secs(3);

type Writes = BTreeMap<(String, Access), usize>;

/// What happened so far, and only grows.
#[derive(Debug, Clone, Default, PartialEq)]
struct Told {
    kernels: Vec<String>,
    logs: BTreeMap<String, usize>,
    writes: Writes,
}

/// Waits for a time of quiet that is long enough.
pub(crate) async fn wait(lab: &Lab) -> Result<()> {
    let mut monitors = Vec::new();
    for node in lab.members.iter().flat_map(|member| &member.nodes) {
        let monitor = Monitor::start(node.net().netns()).await?;
        monitors.push((node.name(), monitor));
    }
    let began = Instant::now();
    let mut ticks = interval(OFTEN);
    let (mut last, mut since, mut loud) = (told(lab, &monitors)?, Instant::now(), String::new());
    while since.elapsed() < A_LOOK_OF_ALL {
        ticks.tick().await;
        let now = told(lab, &monitors)?;
        let news = news(&last, &now)?;
        if !news.is_empty() {
            loud = news;
            println!("{:.0?}: {loud}", began.elapsed());
            since = Instant::now();
            last = now;
        }
        ensure!(began.elapsed() < UNTIL, "it does not become quiet: {loud}");
    }
    Ok(())
}

fn told(lab: &Lab, monitors: &[(&str, Monitor)]) -> Result<Told> {
    let mut told = Told::default();
    for (node, monitor) in monitors {
        let changes = monitor.changes()?.into_iter();
        // kube-proxy follows the Services that there are, in its own time; and pods end.
        let others = |change: &str| {
            [" kube-proxy ", "pod", "link/ether 02:11:"]
                .iter()
                .any(|part| change.contains(part))
        };
        let ours = changes.filter(|change| !others(change));
        told.kernels
            .extend(ours.map(|change| format!("{node}: {change}")));
    }
    for member in &lab.members {
        told.writes.extend(writes(&member.name, &member.cluster)?);
        for node in &member.nodes {
            for entry in fs::read_dir(node.dir())? {
                let path = entry?.path();
                let is_log = path.extension().is_some_and(|extension| extension == "log");
                let name = path.display().to_string();
                if is_log && name.contains("submariner-") {
                    told.logs.insert(name, fs::read(&path)?.len());
                }
            }
        }
    }
    told.writes.extend(writes("the broker", &lab.broker)?);
    Ok(told)
}

fn writes(of: &str, cluster: &Cluster) -> Result<Writes> {
    let audit = cluster.audit()?;
    let ours = audit
        .writes()
        .iter()
        .filter(|((user, _), _)| user.starts_with("system:serviceaccount:submariner"));
    Ok(ours
        .map(|((user, access), count)| ((format!("{of}: {user}"), access.clone()), *count))
        .collect())
}

/// What is new, in words.
fn news(before: &Told, now: &Told) -> Result<String> {
    let mut news: Vec<String> = Vec::new();
    if now.kernels != before.kernels {
        let old = count(&before.kernels);
        for (line, times) in count(&now.kernels) {
            let was = old.get(line).copied().unwrap_or(0);
            if times > was {
                news.push(line.to_owned());
            }
        }
    }
    for (log, length) in &now.logs {
        let was = before.logs.get(log).copied().unwrap_or(0);
        if *length > was {
            let text = fs::read(log)?;
            news.push(format!("{log}: {}", String::from_utf8_lossy(&text[was..])));
        }
    }
    for (what, times) in &now.writes {
        let more = times - before.writes.get(what).copied().unwrap_or(0);
        if more > allowed(&what.1) {
            news.push(format!(
                "{more} × {} {} by {}",
                what.1.verb, what.1.resource, what.0
            ));
        }
    }
    Ok(news.join("\n"))
}

fn count(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.as_str()).or_default() += 1;
    }
    counts
}

/// How often something may be written without news: a Lease as long as it is held, a Gateway object once a minute (docs/adr/0012).
fn allowed(access: &Access) -> usize {
    match (access.verb.as_str(), access.resource.as_str()) {
        ("update" | "patch", "leases.coordination.k8s.io") => usize::MAX,
        ("update", "gateways.submariner.io") => 2,
        _ => 0,
    }
}
