//! `explain export NAME`: the way of an exported service from link to link, up to the first that is broken.

mod links;

use crate::cli::KubeFlags;
use crate::commands::export::{member_id, namespace};
use crate::contexts;
use crate::error::Error;
use crate::status::Status;
use links::{Link, Walk};

pub(super) async fn run(kube: &KubeFlags, name: &str) -> Result<(), Error> {
    let own = contexts::selected(kube).await?;
    let namespace = namespace(kube, &own);
    let mut status = Status::new();
    let walk = Walk {
        id: member_id(&own.cluster).await?.unwrap_or_default(),
        namespace: &namespace,
        name,
    };
    let report = |status: &mut Status, link: Link| match link {
        Link::Fine(what) => {
            status.success(what);
            Ok(())
        }
        Link::Doubtful(what) => {
            status.warning(what);
            Ok(())
        }
        Link::Broken { what, remedy } => {
            status.failure(&what);
            status.note(&remedy);
            Err(Error::Told(Box::new(Error::Broken(format!(
                "{what}. {remedy}"
            )))))
        }
    };
    // Each link is looked at only if those before hold: later ones would be broken because of it.
    report(&mut status, walk.service(&own.cluster).await?)?;
    report(&mut status, walk.endpoints(&own.cluster).await?)?;
    report(&mut status, walk.export(&own.cluster).await?)?;
    report(&mut status, walk.agent(&own.cluster, "this cluster").await?)?;
    for link in walk.conditions(&own.cluster).await? {
        report(&mut status, link)?;
    }
    for link in walk.broker(&own.cluster).await? {
        report(&mut status, link)?;
    }
    let everywhere = KubeFlags {
        context: None,
        ..kube.clone()
    };
    let (targets, _) = contexts::all(&everywhere).await?;
    let mut looked = 0;
    let mut broken = None;
    for other in targets.into_iter().filter(|target| target.url != own.url) {
        // One cluster's trouble says nothing of the next one's.
        match walk.elsewhere(&other).await {
            Ok(links) => {
                looked += usize::from(!links.is_empty());
                for link in links {
                    if let Err(error) = report(&mut status, link) {
                        broken.get_or_insert(error);
                        break;
                    }
                }
            }
            Err(error) => status.warning(format!(
                "{:?} could not be asked: {}",
                other.context,
                error.with_causes()
            )),
        }
    }
    if looked == 0 {
        status.warning(
            "No other context leads to a member: whether it arrives there was not looked at",
        );
    }
    broken.map_or(Ok(()), Err)
}
