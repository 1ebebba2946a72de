//! What our programs take of a machine.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use subm_e2e::Lab;

use crate::OPERATOR;

/// Labels of the pods with our programs.
pub(crate) const APPS: [&str; 4] = [
    "app=submariner-gateway",
    "app=submariner-routeagent",
    "app=submariner-lighthouse-agent",
    "app=submariner-lighthouse-coredns",
];

/// Of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    kib: u64,
    files: usize,
    threads: u64,
}

/// The largest of those that do the same.
pub(crate) async fn all(lab: &Lab) -> Result<BTreeMap<&'static str, Size>> {
    let mut sizes = BTreeMap::new();
    for node in lab.members.iter().flat_map(|member| &member.nodes) {
        for app in APPS {
            for pod in node.ready_pods(OPERATOR, app).await? {
                for id in node.container_ids(OPERATOR, &pod)? {
                    let size = Size::of(id).with_context(|| pod.clone())?;
                    let most: &mut Size = sizes.entry(app).or_insert(size);
                    most.kib = most.kib.max(size.kib);
                    most.files = most.files.max(size.files);
                    most.threads = most.threads.max(size.threads);
                }
            }
        }
    }
    ensure!(sizes.len() == APPS.len(), "not all run: {sizes:?}");
    Ok(sizes)
}

impl Size {
    fn of(id: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .context(name.to_owned())
        };
        Ok(Self {
            kib: field("VmRSS:")?,
            files: fs::read_dir(format!("/proc/{id}/fd"))?.count(),
            threads: field("Threads:")?,
        })
    }
}

/// What was fetched once stays; what is lost with each event of a storm would be far more than this.
pub(crate) fn ensure_not_grown(
    before: &BTreeMap<&'static str, Size>,
    after: &BTreeMap<&'static str, Size>,
) -> Result<()> {
    for (app, now) in after {
        let was = before.get(app).context(*app)?;
        println!("{app}: {was:?}, after the storm {now:?}");
        ensure!(
            now.kib < was.kib + was.kib / 2 + 8 * 1024
                && now.files < was.files + 16
                && now.threads < was.threads + 8,
            "{app} was {was:?}, and is {now:?}"
        );
    }
    Ok(())
}
