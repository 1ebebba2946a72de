//! Finds this gateway's public address, and looks again every minute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use http::{Request, Uri};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, Config};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::gateway::public_ip::{Ingress, PublicIp, choose, first_ipv4};

const AGAIN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a gateway that begins waits for it.
const HASTE: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Somebody has looked, or it takes too long to wait for.
    pub(super) tried: bool,
    /// The last that was found.
    pub(super) address: Option<IpAddr>,
    /// Why none was found this time.
    pub(super) trouble: Option<String>,
}

/// Follows the sources; `None` until they are known.
pub(super) async fn follow(
    client: Client,
    namespace: String,
    mut sources: watch::Receiver<Option<Vec<PublicIp>>>,
    known: watch::Sender<Known>,
) {
    loop {
        let list = sources.borrow_and_update().clone();
        if let Some(list) = &list {
            let mut looking = pin!(find(&client, &namespace, list));
            // Where nobody outside answers, the others can do with the private address meanwhile.
            let early = timeout(HASTE, &mut looking).await;
            let result = if let Ok(result) = early {
                result
            } else {
                known.send_if_modified(|known| !std::mem::replace(&mut known.tried, true));
                looking.await
            };
            known.send_if_modified(|known| {
                let before = known.clone();
                known.tried = true;
                match result {
                    Ok(address) => {
                        known.address = address;
                        known.trouble = None;
                    }
                    // What was found before is better than nothing.
                    Err(error) => {
                        // Once: whether a server refuses or does not answer changes by the minute.
                        if known.trouble.is_none() {
                            tracing::warn!("{error:#}");
                        }
                        known.trouble = Some(format!("{error:#}"));
                    }
                }
                *known != before
            });
        }
        tokio::select! {
            changed = sources.changed() => if changed.is_err() { return },
            () = sleep(AGAIN), if list.is_some() => {}
        }
    }
}

/// By the first way that works. All are tried at once: each may take as long as the patience lasts.
async fn find(client: &Client, namespace: &str, sources: &[PublicIp]) -> Result<Option<IpAddr>> {
    // By what they said: most often it is the same.
    let mut troubles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut trouble = |said: String, source: &PublicIp| {
        troubles.entry(said).or_default().push(source.to_string());
    };
    let answers = sources.iter().map(|source| async move {
        let answer = timeout(PATIENCE, ask(client, namespace, source)).await;
        (source, answer)
    });
    let mut answers = answers.collect::<FuturesOrdered<_>>();
    while let Some((source, answer)) = answers.next().await {
        match answer {
            Ok(Ok(address)) => return Ok(Some(address)),
            Ok(Err(error)) => trouble(format!("{error:#}"), source),
            Err(_) => trouble("no answer".to_owned(), source),
        }
    }
    anyhow::ensure!(
        troubles.is_empty(),
        "no public address was found; say what it is by the annotation gateway.submariner.io/public-ip of the node: {}",
        list(&troubles)
    );
    Ok(None)
}

fn list(troubles: &BTreeMap<String, Vec<String>>) -> String {
    let lines = troubles.iter();
    let lines = lines.map(|(said, sources)| format!("{}: {said}", sources.join(", ")));
    lines.collect::<Vec<_>>().join("; ")
}

async fn ask(client: &Client, namespace: &str, source: &PublicIp) -> Result<IpAddr> {
    match source {
        PublicIp::Address(address) => Ok(*address),
        PublicIp::Dns(name) => resolve(name).await,
        PublicIp::LoadBalancer(name) => {
            let services: Api<Service> = Api::namespaced(client.clone(), namespace);
            let service = services.get(name).await?;
            match Ingress::of(&service).context("it has no address yet")? {
                Ingress::Address(address) => Ok(address),
                Ingress::Name(name) => resolve(&name).await,
            }
        }
        PublicIp::Api(server) => {
            let url: Uri = format!("https://{server}").parse()?;
            let path = url.path_and_query().map_or("/", |path| path.as_str());
            let request = Request::get(path).body(Vec::new())?;
            let root = format!("https://{}", url.authority().context("no server")?);
            let mut config = Config::new(root.parse()?);
            config.default_retry = false;
            let text = Client::try_from(config)?.request_text(request).await?;
            let address = first_ipv4(&text).context("no IPv4 address is in its answer")?;
            Ok(address.into())
        }
    }
}

async fn resolve(name: &str) -> Result<IpAddr> {
    let found = tokio::net::lookup_host((name, 0)).await?;
    choose(found.map(|address| address.ip())).with_context(|| format!("{name} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a server that nobody has.
    fn nobody() -> Client {
        subm_kube::daemon::use_tls();
        let url = "http://127.0.0.1:1".parse().expect("a URL");
        Client::try_from(Config::new(url)).expect("a client")
    }

    async fn found(list: &str) -> Option<IpAddr> {
        let list = PublicIp::list(list).expect("a list");
        find(&nobody(), "submariner-operator", &list)
            .await
            .ok()
            .flatten()
    }

    /// endpoint: "an IPv4 entry", "a DNS entry", "multiple entries are specified", "and the first one doesn't succeed".
    #[tokio::test]
    async fn endpoint_116_136_156_166_the_first_way_that_works_counts() {
        let ip = "192.0.2.1".parse().ok();
        assert_eq!(found("ipv4:192.0.2.1").await, ip);
        assert_eq!(found("ipv4:192.0.2.1,ipv4:192.0.2.2").await, ip);
        assert_eq!(found("lb:nobody,ipv4:192.0.2.1").await, ip);
        assert_eq!(found("lb:nobody").await, None);
        assert_eq!(found("dns:localhost").await, "127.0.0.1".parse().ok());
        let none = find(&nobody(), "submariner-operator", &[]).await;
        assert_eq!(none.expect("nothing is asked for"), None);
    }

    /// endpoint: "PublicIPWatcher › should update the public IP of local endpoint accordingly".
    #[tokio::test]
    async fn endpoint_54_another_address_is_followed_and_the_last_one_kept() {
        let list = |text| Some(PublicIp::list(text).expect("a list"));
        let (sources, receiver) = watch::channel(None);
        let (to, mut known) = watch::channel(Known::default());
        let task = tokio::spawn(follow(
            nobody(),
            "submariner-operator".to_owned(),
            receiver,
            to,
        ));
        let mut until = async |address: &str, troubled: bool| {
            let address = address.parse().ok();
            let there = known.wait_for(|known| {
                known.tried && known.address == address && known.trouble.is_some() == troubled
            });
            let there = timeout(Duration::from_secs(10), there).await;
            assert!(matches!(there, Ok(Ok(_))), "{address:?}");
        };
        for (text, address, troubled) in [
            ("ipv4:192.0.2.1", "192.0.2.1", false),
            ("ipv4:192.0.2.2", "192.0.2.2", false),
            ("lb:nobody", "192.0.2.2", true),
            ("ipv4:192.0.2.3", "192.0.2.3", false),
        ] {
            sources.send_replace(list(text));
            until(address, troubled).await;
        }
        task.abort();
    }
}
