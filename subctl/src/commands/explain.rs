//! `explain export NAME`: the way of an exported service from link to link, up to the first that is broken.
//!
//! The answer is on standard output, as lines or as data; what goes on meanwhile on standard error.

mod links;

use serde_json::{Value, json};

use crate::broker::Access;
use crate::cli::KubeFlags;
use crate::commands::export::{member_id, namespace};
use crate::commands::finding::{Finding, Verdict};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::{Format, print, print_data};
use links::{Walk, permitted};

pub(super) async fn run(kube: &KubeFlags, name: &str, format: Format) -> Result<(), Error> {
    let own = contexts::selected(kube).await?;
    let namespace = namespace(kube, &own);
    let mut report = Report {
        lines: !format.is_data(),
        links: Vec::new(),
    };
    let walked = walk(kube, &own, (&namespace, name), &mut report).await;
    if format.is_data() {
        let links: Vec<Value> = report.links.iter().map(Finding::to_json).collect();
        let answer = json!({
            "service": format!("{namespace}/{name}"), "cluster": own.name, "context": own.context, "links": links,
        });
        print_data(&answer, format)?;
    }
    walked
}

/// What was found so far.
struct Report {
    /// Told at once, for people.
    lines: bool,
    links: Vec<Finding>,
}

impl Report {
    /// The error is that the link is broken.
    fn tell(&mut self, link: Finding) -> Result<(), Error> {
        if self.lines {
            print(&link.lines())?;
        }
        let is_broken = link.verdict == Verdict::Broken;
        let words = format!("{}. {}", link.text, link.remedy);
        self.links.push(link);
        if is_broken {
            return Err(Error::Told(Box::new(Error::Broken(words))));
        }
        Ok(())
    }

    fn tell_all(&mut self, links: Result<Vec<Finding>, Error>) -> Result<(), Error> {
        let mut links = permitted(links)?.into_iter();
        links.try_for_each(|link| self.tell(link))
    }

    fn tell_one(&mut self, link: Result<Finding, Error>) -> Result<(), Error> {
        self.tell_all(link.map(|link| vec![link]))
    }
}

async fn walk(
    kube: &KubeFlags,
    own: &Target,
    (namespace, name): (&str, &str),
    report: &mut Report,
) -> Result<(), Error> {
    let api = &own.cluster;
    let id = match member_id(api).await {
        Err(refused @ Error::Refused { .. }) => {
            report.tell_all(Err(refused))?;
            None
        }
        id => id?,
    };
    let walk = Walk {
        id: id.unwrap_or_default(),
        namespace,
        name,
    };
    // Each link is looked at only if those before hold: later ones would be broken because of it.
    report.tell_one(walk.service(api).await)?;
    report.tell_one(walk.endpoints(api).await)?;
    report.tell_one(walk.export(api).await)?;
    report.tell_one(walk.agent(api, "this cluster").await)?;
    report.tell_all(walk.conditions(api).await)?;
    report.tell_all(walk.broker(api).await)?;
    let broker = Access::of_member(api).await.ok().flatten();
    let everywhere = KubeFlags {
        context: None,
        ..kube.clone()
    };
    let (targets, _) = contexts::all(&everywhere).await?;
    let mut looked = 0;
    let mut broken = None;
    for other in targets.into_iter().filter(|target| target.url != own.url) {
        // One cluster's trouble says nothing of the next one's.
        match walk.elsewhere(&other, broker.as_ref()).await {
            Ok(links) => {
                looked += usize::from(!links.is_empty());
                if let Err(error) = report.tell_all(Ok(links)) {
                    broken.get_or_insert(error);
                }
            }
            Err(error) => report.tell(Finding::doubtful(format!(
                "{:?} could not be asked: {}",
                other.context,
                error.with_causes()
            )))?,
        }
    }
    if looked == 0 {
        report.tell(Finding::doubtful(
            "No other context leads to a member: whether it arrives there was not looked at"
                .to_owned(),
        ))?;
    }
    broken.map_or(Ok(()), Err)
}
