//! Services and pods of users that come and go in both clusters.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::json;
use subm_e2e::{Lab, Member, deployment, service};
use subm_test_support::eventually;

use crate::NS;

const COUNT: usize = 3;
const SOON: Duration = Duration::from_secs(90);

/// One service of one cluster comes, goes, is exported or not, has more or fewer pods.
pub(crate) async fn stir(lab: &Lab, rng: &mut StdRng) -> Result<String> {
    let member = &lab.members[rng.random_range(0..lab.members.len())];
    let name = name(rng.random_range(0..COUNT));
    let what = match rng.random_range(0..6) {
        0 => {
            delete(member, "Service", &name).await?;
            "is deleted".to_owned()
        }
        1 => {
            delete(member, "ServiceExport", &name).await?;
            "is exported no more".to_owned()
        }
        2 | 3 => {
            member.apply(export(&name)).await?;
            "is exported".to_owned()
        }
        _ => {
            let replicas = rng.random_range(0..3);
            member.apply(deployment(NS, &name, replicas)).await?;
            member.apply(service(NS, &name, &name, false)).await?;
            format!("has {replicas} pods")
        }
    };
    Ok(format!("{name} in {} {what}", member.name))
}

/// The first is one of c2 in the end, with a pod; the others are gone.
pub(crate) struct Settled {
    first: String,
}

pub(crate) async fn settle(lab: &Lab) -> Result<Settled> {
    for member in &lab.members {
        for name in (0..COUNT).map(name) {
            for kind in ["ServiceExport", "Service", "Deployment"] {
                delete(member, kind, &name).await?;
            }
        }
    }
    let (c2, first) = (lab.member("c2"), name(0));
    for object in [
        deployment(NS, &first, 1),
        service(NS, &first, &first, false),
        export(&first),
    ] {
        c2.apply(object).await?;
    }
    Ok(Settled { first })
}

impl Settled {
    pub(crate) async fn are_answered(&self, lab: &Lab) -> Result<()> {
        let service = lab.member("c2").get("Service", NS, &self.first).await?;
        let ip = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        for member in &lab.members {
            for name in (0..COUNT).map(name) {
                let expected = if name == self.first {
                    vec![ip.to_owned()]
                } else {
                    Vec::new()
                };
                let asked = format!("{name}.{NS}.svc.clusterset.local");
                member.wait_dig(&lab.desk, &asked, &expected).await?;
            }
            eventually(SOON, || async {
                let imports = member.list("ServiceImport", NS).await?;
                let mut names: Vec<&str> = imports
                    .iter()
                    .filter_map(|import| import["metadata"]["name"].as_str())
                    .collect();
                names.sort_unstable();
                ensure!(names == [&*self.first, "whereami-cs"], "{names:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
        }
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("churn-{number}")
}

fn export(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport",
        "metadata": {"name": name, "namespace": NS},
    })
}

async fn delete(member: &Member, kind: &str, name: &str) -> Result<()> {
    let api = member.api(kind, NS);
    match api.delete(name, &DeleteParams::background()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => Ok(result.map(drop)?),
    }
}
