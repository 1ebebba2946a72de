//! Pods of our own: started where something is to be measured or probed, asked what they found, and removed whatever happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use subm_install::images::Images;
use subm_install::member::nettest::{self, LABEL, Stand};
use subm_install::names::{GATEWAY, ROUTE_AGENT};
use subm_nettest::report::{self, TERMINATION_LOG};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Probes;
use crate::cluster::{Cluster, PAUSE, kind, list_at, name, str_at};
use crate::commands::MEMBER;
use crate::error::Error;

pub(super) mod nodes;

/// A cluster, and from where its images come.
#[derive(Clone)]
pub(super) struct Site {
    cluster: Cluster,
    images: Images,
}

impl Site {
    pub(super) async fn of(cluster: &Cluster, flags: &Probes) -> Result<Self, Error> {
        let mut images = None;
        for workload in [GATEWAY, ROUTE_AGENT] {
            let set = cluster.get(&kind::DAEMON_SETS, MEMBER, workload).await?;
            let image = set.as_ref().map(|set| {
                let containers = list_at(set, "/spec/template/spec/containers");
                str_at(containers.first().unwrap_or(&Value::Null), "/image").to_owned()
            });
            images = images.or(image.filter(|image| !image.is_empty()));
        }
        let Some(image) = images else {
            return Err(Error::NotFound(
                "Submariner connectivity feature is not installed: run `subctl join` with it first"
                    .to_owned(),
            ));
        };
        Ok(Self {
            cluster: cluster.clone(),
            images: Images {
                overrides: flags
                    .image_override
                    .iter()
                    .cloned()
                    .collect::<BTreeMap<_, _>>(),
                ..Images::like(&image)
            },
        })
    }
}

/// A pod of ours.
#[derive(Clone)]
pub(super) struct Pod {
    cluster: Cluster,
    name: String,
    node: String,
    image: String,
}

/// Pods that were started, and until when they have to have answered.
pub(super) struct Pods {
    /// Whether it is to be said what they sent and saw.
    pub(super) verbose: bool,
    end: Instant,
    started: RefCell<Vec<(Cluster, String)>>,
}

/// Does `work`, whose pods are gone afterwards, also if it is interrupted.
pub(super) async fn with<T>(
    (time, verbose): (Duration, bool),
    work: impl AsyncFnOnce(&Pods) -> Result<T, Error>,
) -> Result<T, Error> {
    let pods = Pods {
        verbose,
        end: Instant::now() + time,
        started: RefCell::default(),
    };
    let result = tokio::select! {
        result = work(&pods) => result,
        () = interrupted() => Err(Error::Interrupted),
    };
    // What was found is worth more than that it could not be cleaned up; pods end by themselves.
    let removed = pods.remove().await;
    let value = result?;
    removed.map(|()| value)
}

async fn interrupted() {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    } else {
        std::future::pending::<()>().await;
    }
}

impl Pods {
    /// Starts a pod on a node; `words` is what it is told.
    pub(super) async fn start(
        &self,
        site: &Site,
        node: &str,
        stand: Stand,
        words: &[String],
    ) -> Result<Pod, Error> {
        let what = words.first().map_or("", String::as_str);
        let pod = Pod {
            cluster: site.cluster.clone(),
            name: format!("subctl-{what}-{}", token()),
            node: node.to_owned(),
            image: String::new(),
        };
        let mut args = vec!["--result".to_owned(), TERMINATION_LOG.to_owned()];
        args.extend_from_slice(words);
        // Longer than anybody here waits.
        let limit = self.left() + Duration::from_secs(60);
        let object = nettest::pod(&site.images, &pod.name, node, stand, &args, limit);
        // Before it is there: who is interrupted in between removes it too.
        self.started
            .borrow_mut()
            .push((pod.cluster.clone(), pod.name.clone()));
        pod.cluster
            .create_value(&kind::PODS, object.value())
            .await?;
        let image = str_at(object.value(), "/spec/containers/0/image").to_owned();
        Ok(Pod { image, ..pod })
    }

    /// Its address, as soon as it runs.
    pub(super) async fn address(&self, pod: &Pod) -> Result<IpAddr, Error> {
        self.wait(pod, |status| match str_at(status, "/phase") {
            "Running" | "Succeeded" | "Failed" => str_at(status, "/podIP").parse().ok(),
            _ => None,
        })
        .await
    }

    /// What it says when it has ended; the inner error is its own word.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        pod: &Pod,
    ) -> Result<Result<T, String>, Error> {
        self.wait(pod, |status| answer(status, &pod.image)).await
    }

    /// The same, if it has ended by now.
    pub(super) async fn answer_by_now<T: DeserializeOwned>(
        &self,
        pod: &Pod,
    ) -> Result<Option<Result<T, String>>, Error> {
        let object = pod.cluster.get(&kind::PODS, MEMBER, &pod.name).await?;
        Ok(object.and_then(|object| answer(&object["status"], &pod.image)))
    }

    async fn wait<T>(&self, pod: &Pod, found: impl Fn(&Value) -> Option<T>) -> Result<T, Error> {
        loop {
            let object = pod.cluster.get(&kind::PODS, MEMBER, &pod.name).await?;
            let Some(object) = object else {
                return Err(Error::NotFound(format!(
                    "somebody has deleted pod {} on node {} of {}",
                    pod.name,
                    pod.node,
                    MEMBER.unwrap_or_default()
                )));
            };
            let status = &object["status"];
            if let Some(found) = found(status) {
                return Ok(found);
            }
            let waits = waiting(status);
            if self.left().is_zero() || waits.is_for_ever {
                return Err(Error::Timeout(format!(
                    "pod {} with image {} on node {}: {}",
                    pod.name, pod.image, pod.node, waits.why
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Removes all that were started, and what an earlier run that was killed has left.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        let started = self.started.take();
        let mut result = Ok(());
        for (cluster, name) in &started {
            let deleted = cluster.delete(&kind::PODS, MEMBER, name).await;
            result = result.and(deleted.map(drop));
        }
        if let Some((cluster, _)) = started.first() {
            for pod in cluster
                .list(&kind::PODS, MEMBER, &format!("{LABEL}=true"))
                .await
                .unwrap_or_default()
            {
                if ["Succeeded", "Failed"].contains(&str_at(&pod, "/status/phase")) {
                    let _ = cluster.delete(&kind::PODS, MEMBER, name(&pod)).await;
                }
            }
        }
        result
    }
}

/// Eight letters and digits that nobody else has.
pub(super) fn token() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random: [u8; 8] = rand::random();
    let letters = random.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    letters.iter().collect()
}

fn answer<T: DeserializeOwned>(status: &Value, image: &str) -> Option<Result<T, String>> {
    let container = list_at(status, "/containerStatuses").first()?;
    let ended = container.pointer("/state/terminated")?;
    Some(match str_at(ended, "/message") {
        "" => Err(format!(
            "it ended with code {} and without an answer: is {image} an image of this version's nettest?",
            ended["exitCode"]
        )),
        text => report::decode(text),
    })
}

struct Waiting {
    why: String,
    /// It will not begin as things are.
    is_for_ever: bool,
}

fn waiting(status: &Value) -> Waiting {
    let container = list_at(status, "/containerStatuses").first();
    let state = |pointer| str_at(container.unwrap_or(&Value::Null), pointer);
    let (reason, message) = (
        state("/state/waiting/reason"),
        state("/state/waiting/message"),
    );
    let is_for_ever = [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
    ]
    .contains(&reason);
    let why = match (reason, str_at(status, "/phase")) {
        ("", "Running") => "it has not answered in time".to_owned(),
        ("", phase) => match str_at(status, "/message") {
            "" => format!("it has not started in time ({phase})"),
            message => message.to_owned(),
        },
        (reason, _) => format!("{reason}: {message}"),
    };
    let remedy = if is_for_ever {
        "; build and push it (docs/images.md), or name another one with --image-override submariner-nettest=IMAGE"
    } else {
        ""
    };
    Waiting {
        why: why + remedy,
        is_for_ever,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_pod_says_when_it_ends_is_its_answer() {
        let ended = |message: &str| json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": message}}}]});
        let of = |status: &Value| answer::<u32>(status, "a/nettest:1");
        assert_eq!(of(&ended("{\"Ok\":7}")), Some(Ok(7)));
        assert_eq!(of(&ended("{\"Err\":\"no\"}")), Some(Err("no".to_owned())));
        let silent = of(&ended("")).unwrap().unwrap_err();
        assert!(
            silent.contains("code 1") && silent.contains("a/nettest:1"),
            "{silent}"
        );
        let running =
            json!({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]});
        assert_eq!(of(&running), None);
        assert_eq!(of(&json!({"phase": "Pending"})), None);
    }

    #[test]
    fn an_image_that_is_not_there_is_not_waited_for() {
        let waits = |reason: &str| {
            waiting(
                &json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "m"}}}]}),
            )
        };
        let missing = waits("ErrImagePull");
        assert!(missing.is_for_ever && missing.why.contains("--image-override"));
        assert!(!waits("ContainerCreating").is_for_ever);
        assert!(!waiting(&json!({"phase": "Pending"})).is_for_ever);
    }

    #[test]
    fn tokens_are_names_and_differ() {
        let (one, other) = (token(), token());
        assert!(one != other && subm_api::names::is_label(&format!("a-{one}")));
    }
}
