//! A watch of one kind of object that never ends.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use subm_api::{Kind, ResourceKind};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Trouble;
use crate::backoff::Backoff;
use crate::tolerant::Tolerant;

/// A watch is renewed this often, so that a connection that died silently is noticed.
const WATCH_SECONDS: u32 = 60;
/// How often a watched kind's version is looked up: a server ends watches of a version that it stops
/// serving, but a proxy in between may not.
const RECHECK: Duration = Duration::from_secs(30);
/// A server that could not be read is asked after this long whether it is back.
const RECOVERY_CHECK: Duration = Duration::from_secs(1);
/// How long an answer to that may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often a kind that is not served is looked for.
const ABSENT_POLL: Duration = Duration::from_secs(3);
/// A server that has just started may not know its CRDs yet: only as many answers in a row make a
/// kind absent (they take 0.3 s),
const ABSENT_AT_FIRST: u32 = 3;
/// and more (they take 3 s) where it has been there before, as then there is something to lose.
const ABSENT_AGAIN: u32 = 6;
/// Objects per page of a list.
const PAGE: u32 = 500;

/// What happened to the watched kind. Whoever keeps objects forgets, at [`Event::Listed`], those
/// that were not applied since [`Event::Started`].
#[derive(Debug)]
pub enum Event<K> {
    /// A list of all objects begins.
    Started,
    /// An object that exists, new or changed.
    Apply(K),
    Delete(ObjectMeta),
    /// An object that exists but does not have the shape of `K`.
    Invalid {
        metadata: ObjectMeta,
        error: String,
    },
    /// All objects have been given since [`Event::Started`].
    Listed,
    /// The kind is not served, for its CRD is missing: there are no objects. Said once, and again
    /// after [`Event::Trouble`], until it is served.
    Absent,
    /// Nothing is known to have changed, but at present we would not learn of it. Said at each attempt.
    Trouble(Trouble),
    /// After [`Event::Trouble`], the watch works again, though there is no news.
    Recovered,
}

/// What can be watched: an object whose API version is known at run time.
pub trait Watched:
    Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static
{
}

/// See [`Watch::next`].
pub struct Watch<K> {
    client: Client,
    kind: ResourceKind,
    namespace: Option<String>,
    selector: Option<String>,
    name: Option<String>,
    backoff: Backoff,
    /// The last thing said was [`Event::Trouble`].
    troubled: bool,
    /// The kind has been served.
    seen: bool,
    state: State<K>,
}

type Stream<K> = BoxStream<'static, watcher::Result<watcher::Event<Tolerant<K>>>>;

enum State<K> {
    /// Which version is served? `misses` answers in a row were "none".
    Looking { misses: u32, wait: Duration },
    /// The stream is not asked before `resume`, nor the version before `recheck`.
    Watching {
        version: String,
        stream: Stream<K>,
        resume: Instant,
        recheck: Instant,
    },
}

impl<K> State<K> {
    fn look_after(wait: Duration) -> Self {
        Self::Looking { misses: 0, wait }
    }
}

impl<K: Watched + Kind> Watch<K> {
    /// A watch of all objects of the kind.
    pub fn all(client: Client) -> Self {
        Self::new(client, K::KIND, None)
    }
}

impl<K: Watched> Watch<K> {
    /// A watch of all objects of `kind` that a label selector chooses.
    pub fn new(client: Client, kind: ResourceKind, selector: Option<&str>) -> Self {
        Self {
            client,
            kind,
            namespace: None,
            selector: selector.map(str::to_owned),
            name: None,
            backoff: Backoff::new(),
            troubled: false,
            seen: false,
            state: State::look_after(Duration::ZERO),
        }
    }

    /// Only those of one namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Only the one of this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The next thing that happens. Waits as long as nothing does, and between attempts when the
    /// server cannot be read (0.1 s at first, 5 s at most). Cancel safe.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            let event = match &mut self.state {
                State::Looking { misses, wait } => {
                    let misses = *misses;
                    sleep(*wait).await;
                    self.look(misses).await
                }
                State::Watching {
                    version,
                    stream,
                    resume,
                    recheck,
                } => {
                    let item = async {
                        sleep_until(*resume).await;
                        stream.next().await
                    };
                    tokio::select! {
                        item = item => self.take(item),
                        () = sleep_until(*recheck) => {
                            let version = version.clone();
                            self.recheck(&version).await
                        }
                    }
                }
            };
            if let Some(event) = event {
                self.troubled = matches!(event, Event::Trouble(_))
                    || self.troubled && matches!(event, Event::Started);
                return event;
            }
        }
    }

    async fn look(&mut self, misses: u32) -> Option<Event<K>> {
        match served_version(&self.client, &self.kind, None).await {
            Ok(Some(version)) => {
                self.seen = true;
                let now = Instant::now();
                self.state = State::Watching {
                    stream: self.open(&version),
                    version,
                    resume: now,
                    recheck: now + RECHECK,
                };
                None
            }
            Ok(None) => {
                let wait = self.backoff.wait().min(ABSENT_POLL);
                self.state = State::Looking {
                    misses: misses.saturating_add(1),
                    wait,
                };
                let confirmed = if self.seen {
                    ABSENT_AGAIN
                } else {
                    ABSENT_AT_FIRST
                };
                (misses + 1 == confirmed).then_some(Event::Absent)
            }
            Err(error) => {
                self.state = State::look_after(self.backoff.wait());
                Some(Event::Trouble(Trouble::of_request(&self.kind, &error)))
            }
        }
    }

    /// Looks whether the version is still served; after trouble, also whether the server is back,
    /// for a watch that was resumed says nothing until something changes. Errors are left to the stream.
    async fn recheck(&mut self, current: &str) -> Option<Event<K>> {
        let answer = async {
            let served = served_version(&self.client, &self.kind, Some(current)).await?;
            // Nothing was asked about a kind that is always served.
            if self.troubled && !self.kind.custom {
                self.client.apiserver_version().await?;
            }
            Ok::<_, kube::Error>(served)
        };
        // The stream waits meanwhile.
        let back = match timeout(ANSWER, answer).await {
            Ok(Ok(served)) if served.as_deref() != Some(current) => {
                self.state = State::look_after(Duration::ZERO);
                return None;
            }
            Ok(Ok(_)) => true,
            Ok(Err(_)) | Err(_) => false,
        };
        if let State::Watching { recheck, .. } = &mut self.state {
            *recheck = Instant::now() + if back { RECHECK } else { RECOVERY_CHECK };
        }
        (back && self.troubled).then_some(Event::Recovered)
    }

    fn open(&self, version: &str) -> Stream<K> {
        let resource = self.kind.at(version);
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut config = watcher::Config::default()
            .timeout(WATCH_SECONDS)
            .page_size(PAGE);
        config.label_selector.clone_from(&self.selector);
        config.field_selector = self
            .name
            .as_ref()
            .map(|name| format!("metadata.name={name}"));
        watcher(api, config).boxed()
    }

    fn take(
        &mut self,
        item: Option<watcher::Result<watcher::Event<Tolerant<K>>>>,
    ) -> Option<Event<K>> {
        match item {
            Some(Ok(event)) => {
                if !matches!(event, watcher::Event::Init) {
                    self.backoff.reset();
                }
                Some(match event {
                    watcher::Event::Init => Event::Started,
                    watcher::Event::InitDone => Event::Listed,
                    watcher::Event::Delete(object) => Event::Delete(object.meta().clone()),
                    watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                        match object.0 {
                            Ok(object) => Event::Apply(object),
                            Err(invalid) => Event::Invalid {
                                metadata: invalid.metadata,
                                error: invalid.error,
                            },
                        }
                    }
                })
            }
            Some(Err(error)) => {
                let trouble = Trouble::of_watch(&self.kind, &error);
                let wait = self.backoff.wait();
                match &mut self.state {
                    State::Watching {
                        resume, recheck, ..
                    } if !matches!(trouble, Trouble::NotServed(_)) => {
                        *resume = Instant::now() + wait;
                        *recheck = *resume + RECOVERY_CHECK;
                    }
                    // Another version may be served now.
                    state => *state = State::look_after(wait),
                }
                Some(Event::Trouble(trouble))
            }
            // kube's watcher does not end; should it, it is opened anew.
            None => {
                self.state = State::look_after(self.backoff.wait());
                None
            }
        }
    }
}

/// The version of `kind` to read and write, `None` if it is not served: `current` while it is served, else the first of ours that is.
pub async fn served_version(
    client: &Client,
    kind: &ResourceKind,
    current: Option<&str>,
) -> kube::Result<Option<String>> {
    if let (false, Some(version)) = (kind.custom, kind.versions.first()) {
        return Ok(Some((*version).to_owned()));
    }
    for version in current.into_iter().chain(kind.versions.iter().copied()) {
        let api_version = format!("{}/{version}", kind.group);
        match client.list_api_group_resources(&api_version).await {
            Ok(list)
                if list
                    .resources
                    .iter()
                    .any(|resource| resource.name == kind.plural) =>
            {
                return Ok(Some(version.to_owned()));
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
