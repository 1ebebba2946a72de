//! Pods of our own: started where something is to be measured or probed, asked what they found, and removed whatever happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::de::DeserializeOwned;
use serde_json::Value;
use subm_install::images::Images;
use subm_install::member::nettest::{self, LABEL, RUN, Stand};
use subm_install::names::{GATEWAY, ROUTE_AGENT};
use subm_nettest::report::{self, TERMINATION_LOG};
use tokio::time::timeout;

use crate::cli::Probes;
use crate::cluster::{Cluster, PAUSE, kind, list_at, name, str_at};
use crate::commands::MEMBER;
use crate::commands::interrupt::Work;
use crate::error::Error;
use crate::status::Status;
pub(super) mod nodes;

/// A pod may take so long to be removed.
const REMOVAL: Duration = Duration::from_secs(15);
/// Seconds after which a pod that has ended is nobody's any more.
const LEFT_AFTER: i64 = 600;
/// An image may be on its way to the registry, or the registry busy, for so long.
const PULL: Duration = Duration::from_secs(5);

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
    /// Label of all of them, and of no other run's.
    run: String,
    end: Instant,
    /// Those that are to be removed yet.
    started: RefCell<Vec<(Cluster, String)>>,
    used: RefCell<Vec<Cluster>>,
}

/// Does `work`, whose pods are gone afterwards, also if it is interrupted.
pub(super) async fn with<T>(
    (time, verbose): (Duration, bool),
    work: impl AsyncFnOnce(&Pods) -> Result<T, Error>,
) -> Result<T, Error> {
    let pods = Pods {
        verbose,
        run: token(),
        end: Instant::now() + time,
        started: RefCell::default(),
        used: RefCell::default(),
    };
    let mut signals = Work::begin();
    let result = tokio::select! {
        result = work(&pods) => result,
        () = signals.interrupted() => Err(Error::Interrupted),
    };
    // What was found is worth more than that it could not be cleaned up; pods end by themselves.
    let left = pods.remove().await;
    if !left.is_empty() {
        let namespace = MEMBER.unwrap_or_default();
        Status::new().warning(format!(
            "Pods in {namespace} could not be removed: {}. They end by themselves; `kubectl -n {namespace} delete pods -l {RUN}={}` removes them",
            left.join(", "),
            pods.run
        ));
    }
    if !matches!(result, Err(Error::Interrupted)) {
        pods.sweep().await;
    }
    result
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
        let names = (&*pod.name, &*self.run);
        let object = nettest::pod(&site.images, names, node, stand, &args, limit);
        // Before it is there: who is interrupted in between removes it too.
        self.started
            .borrow_mut()
            .push((pod.cluster.clone(), pod.name.clone()));
        self.used.borrow_mut().push(pod.cluster.clone());
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
        let mut failing: Option<Instant> = None;
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
            let lasting = match waits.pull {
                Pull::Fails => failing.get_or_insert_with(Instant::now).elapsed() >= PULL,
                Pull::Never => true,
                Pull::Fine => {
                    failing = None;
                    false
                }
            };
            let text = || {
                format!(
                    "pod {} with image {} on node {}: {}",
                    pod.name, pod.image, pod.node, waits.why
                )
            };
            if lasting {
                return Err(Error::NotFound(text()));
            }
            if self.left().is_zero() {
                return Err(Error::Timeout(text()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Removes all that were started, and says which are still there, each with the reason; the next call tries those again.
    pub(super) async fn remove(&self) -> Vec<String> {
        let started = self.started.take();
        let removals = started.iter().map(|(cluster, name)| async move {
            match timeout(REMOVAL, cluster.delete(&kind::PODS, MEMBER, name)).await {
                Ok(deleted) => deleted.err().map(|error| error.with_causes()),
                Err(_) => Some("no answer in time".to_owned()),
            }
        });
        let failures = join_all(removals).await;
        let mut left = Vec::new();
        for (pod, failure) in started.into_iter().zip(failures) {
            if let Some(why) = failure {
                left.push(format!("{} ({why})", pod.1));
                self.started.borrow_mut().push(pod);
            }
        }
        left
    }

    /// Removes what runs that were killed have left. Those that ended just now may be another's, which is about to read them.
    async fn sweep(&self) {
        let used = self.used.take();
        let now = jiff::Timestamp::now();
        let others = format!("{LABEL}=true,{RUN}!={}", self.run);
        // Of the two clusters that there can be.
        for cluster in used.iter().take(1).chain(used.iter().skip(1).next_back()) {
            let old = async {
                let pods = cluster.list(&kind::PODS, MEMBER, &others).await;
                let pods = pods.unwrap_or_default();
                join_all(
                    pods.iter()
                        .filter(|pod| is_left(pod, now))
                        .map(|pod| async move { cluster.delete(&kind::PODS, MEMBER, name(pod)).await }),
                )
                .await
            };
            let _ = timeout(REMOVAL, old).await;
        }
    }
}

/// Whether nobody waits for its answer any more.
fn is_left(pod: &Value, now: jiff::Timestamp) -> bool {
    let ended = ["Succeeded", "Failed"].contains(&str_at(pod, "/status/phase"));
    let times = [
        "/status/containerStatuses/0/state/terminated/finishedAt",
        "/metadata/creationTimestamp",
    ];
    let mut times = times.iter().filter_map(|at| str_at(pod, at).parse().ok());
    let since: Option<jiff::Timestamp> = times.next();
    ended && since.is_some_and(|since| now.as_second() - since.as_second() > LEFT_AFTER)
}

/// What to do about a pod that did not get as far as to say anything.
pub(super) fn remedy(error: &Error) -> String {
    let namespace = MEMBER.unwrap_or_default();
    match error {
        Error::Timeout(_) => format!(
            "Give it more time with --validation-timeout; meanwhile `kubectl -n {namespace} describe pods -l {LABEL}=true` says what it waits for"
        ),
        Error::Refused { .. } => format!(
            "This check needs the right to get, list, create and delete pods in {namespace} (docs/subctl.md)"
        ),
        Error::NotFound(_) => format!(
            "This check needs the image of nettest, and that nobody deletes its pods in {namespace}"
        ),
        _ => "This check needs pods of its own, and the API server all the time: try again"
            .to_owned(),
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
    pull: Pull,
}

/// How it is about the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pull {
    Fine,
    /// The first time; it is tried again.
    Fails,
    /// It will not come as things are.
    Never,
}

fn waiting(status: &Value) -> Waiting {
    let container = list_at(status, "/containerStatuses").first();
    let state = |pointer| str_at(container.unwrap_or(&Value::Null), pointer);
    let (reason, message) = (
        state("/state/waiting/reason"),
        state("/state/waiting/message"),
    );
    let pull = match reason {
        "ErrImagePull" => Pull::Fails,
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => Pull::Never,
        _ => Pull::Fine,
    };
    let why = match (reason, str_at(status, "/phase")) {
        ("", "Running") => "it has not answered in time".to_owned(),
        ("", phase) => match str_at(status, "/message") {
            "" => format!("it has not started in time ({phase})"),
            message => message.to_owned(),
        },
        (reason, _) => format!("{reason}: {message}"),
    };
    let remedy = if pull == Pull::Fine {
        ""
    } else {
        "; build and push it (docs/images.md), or name another one with --image-override submariner-nettest=IMAGE"
    };
    Waiting {
        why: why + remedy,
        pull,
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
        let missing = waits("ImagePullBackOff");
        assert!(missing.pull == Pull::Never && missing.why.contains("--image-override"));
        // The registry may have been busy.
        assert_eq!(waits("ErrImagePull").pull, Pull::Fails);
        assert_eq!(waits("ContainerCreating").pull, Pull::Fine);
        assert_eq!(waiting(&json!({"phase": "Pending"})).pull, Pull::Fine);
    }

    #[test]
    fn what_others_are_about_to_read_is_not_removed() {
        let now: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let pod = |phase: &str, finished: &str| {
            json!({
                "metadata": {"creationTimestamp": "2026-01-01T11:00:00Z"},
                "status": {"phase": phase, "containerStatuses": [{"state": {"terminated": {"finishedAt": finished}}}]},
            })
        };
        assert!(!is_left(&pod("Succeeded", "2026-01-01T11:59:00Z"), now));
        assert!(is_left(&pod("Succeeded", "2026-01-01T11:40:00Z"), now));
        assert!(!is_left(&pod("Running", ""), now));
        // Its node never said when.
        assert!(is_left(&pod("Failed", ""), now));
    }

    #[test]
    fn what_to_do_depends_on_what_went_wrong() {
        let text = || "t".to_owned();
        assert!(remedy(&Error::Timeout(text())).contains("--validation-timeout"));
        let refused = Error::Refused {
            doing: text(),
            message: text(),
        };
        assert!(remedy(&refused).contains("right"));
        assert!(remedy(&Error::NotFound(text())).contains("image"));
        for error in [refused, Error::NotFound(text())] {
            assert!(!remedy(&error).contains("timeout"));
        }
    }

    /// At an API server that is not there.
    #[tokio::test]
    async fn what_was_found_is_told_though_pods_are_left_and_they_are_tried_again() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let config = kube::Config::new(uri.parse().unwrap());
        let cluster = Cluster::new(kube::Client::try_from(config).unwrap());
        let found = with((Duration::from_secs(5), false), async |pods| {
            pods.started
                .borrow_mut()
                .push((cluster.clone(), "subctl-look-1".to_owned()));
            for _ in 0..2 {
                let left = pods.remove().await;
                assert!(left[0].starts_with("subctl-look-1 ("), "{left:?}");
            }
            Ok(7)
        })
        .await;
        assert_eq!(found.unwrap(), 7);
    }

    #[test]
    fn tokens_are_names_and_differ() {
        let (one, other) = (token(), token());
        assert!(one != other && subm_api::names::is_label(&format!("a-{one}")));
    }
}
