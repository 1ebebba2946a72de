//! The kernel of one network namespace.

mod addresses;
mod hints;
mod links;
mod proc;
mod query;
mod routes;
mod session;
mod socket;

use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use subm_reconcile::{Change, Outcome, Plan, Report};
use tokio::sync::oneshot;

pub use hints::Hints;
pub use query::{DefaultRoute, Interface, Path, interface_within};

use crate::Error;
use crate::mark::{Mark, TakeOver};
use crate::model::{Family, Key, Network, Object, Route};
use session::{Objects, Session};

/// How a [`Kernel`] knows what is ours.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    pub mark: Mark,
    pub take_over: TakeOver,
    /// A file in which it remembers what kernel parameters were before they were changed: below `/run`, one for each namespace
    /// and mark. Without it, what was changed is put back by the same process only.
    pub memory: Option<PathBuf>,
}

impl Settings {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn mark(mut self, mark: Mark) -> Self {
        self.mark = mark;
        self
    }

    #[must_use]
    pub fn take_over(mut self, take_over: TakeOver) -> Self {
        self.take_over = take_over;
        self
    }

    #[must_use]
    pub fn memory(mut self, file: impl Into<PathBuf>) -> Self {
        self.memory = Some(file.into());
        self
    }
}

/// How many netlink messages were exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests for lists.
    pub dumps: u64,
    /// Requests for single objects.
    pub gets: u64,
    /// Requests that change something.
    pub writes: u64,
    /// Messages that came back.
    pub received: u64,
}

/// The kernel of one network namespace: a [`subm_reconcile::Target`] whose objects are those of a [`Network`], and answers to
/// questions.
///
/// It has a thread of its own that stays in the namespace; nothing else does, so any number of them can be open, each in
/// another namespace.
#[derive(Debug)]
pub struct Kernel {
    jobs: mpsc::Sender<Job>,
    settings: Settings,
    /// Whether devices can have IPv6, when last looked at.
    ipv6: bool,
}

type Job = Box<dyn FnOnce(&mut Session) + Send>;

impl Kernel {
    /// In the network namespace of the calling thread.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        Self::start(None, settings)
    }

    /// In the network namespace that `namespace` is a handle of, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// The paths of `/proc` are those of the calling thread's mount namespace.
    pub fn open_in(namespace: File, settings: Settings) -> Result<Self, Error> {
        Self::start(Some(namespace), settings)
    }

    fn start(namespace: Option<File>, settings: Settings) -> Result<Self, Error> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (opened, result) = mpsc::sync_channel(1);
        let own = settings.clone();
        let serve = move || {
            let mut session = match enter(namespace).and_then(|()| Session::open(own)) {
                Ok(session) => session,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let _ = opened.send(Ok(()));
            for job in todo {
                job(&mut session);
            }
        };
        // A new thread begins in the namespaces of the one that makes it.
        let thread = thread::Builder::new()
            .name("netlink".to_owned())
            .spawn(serve);
        thread.map_err(Error::Socket)?;
        result.recv().map_err(|_| Error::Ended)??;
        Ok(Self {
            jobs,
            settings,
            ipv6: true,
        })
    }

    /// Runs `job` on the thread.
    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            // Nobody may be waiting any more.
            let _ = answer.send(job(session));
        });
        self.jobs.send(job).map_err(|_| Error::Ended)?;
        result.await.map_err(|_| Error::Ended)
    }

    /// All that is ours. `desired` tells which kernel parameters to look at.
    pub async fn observe(&self, desired: &Network) -> Result<Network, Error> {
        let sysctls = desired.sysctls().cloned().collect();
        self.ask(move |session| session.observe(sysctls)).await?
    }

    /// Makes what is ours as `desired`, once. For more than once there is [`subm_reconcile::Reconciler`], and
    /// [`subm_reconcile::converge`] for "until it is so".
    pub async fn apply(&mut self, desired: &Network) -> Result<Report<Key, Object>, Error> {
        subm_reconcile::Target::reconcile(self, desired.objects()).await
    }

    /// All devices and their usable addresses, older devices first.
    pub async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        self.ask(Session::interfaces).await?
    }

    /// The default route of the main table with the smallest metric.
    pub async fn default_route(&self, family: Family) -> Result<Option<DefaultRoute>, Error> {
        self.ask(move |session| session.default_route(family))
            .await?
    }

    /// How a packet of this node to `destination` would go now, with all rules and tables; `None` if it would not.
    pub async fn path_to(&self, destination: IpAddr) -> Result<Option<Path>, Error> {
        self.ask(move |session| session.path_to(destination))
            .await?
    }

    /// The routes of a table, whoever made them.
    pub async fn routes(&self, family: Family, table: u32) -> Result<Vec<Route>, Error> {
        self.ask(move |session| session.table(family, table))
            .await?
    }

    /// From now on, word that something changed.
    ///
    /// A forwarder to a reconciler is three lines:
    ///
    /// ```no_run
    /// # async fn f(kernel: subm_routing::Kernel, hint: subm_reconcile::Hint) -> Result<(), subm_routing::Error> {
    /// let mut hints = kernel.hints().await?;
    /// tokio::spawn(async move {
    ///     while hints.changed().await.is_ok() {
    ///         hint.give();
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn hints(&self) -> Result<Hints, Error> {
        let runtime = tokio::runtime::Handle::current();
        self.ask(move |session| Hints::listen(session, &runtime))
            .await?
    }

    /// What was exchanged with the kernel since the beginning.
    pub async fn traffic(&self) -> Result<Traffic, Error> {
        self.ask(|session| session.netlink.traffic).await
    }

    /// What can be, under our mark, whatever mark the planner gave it.
    fn marked(&self, objects: &Objects) -> Objects {
        objects
            .values()
            .filter(|object| self.ipv6 || object.key().family() != Some(Family::V6))
            .map(|object| object.clone().marked(&self.settings.mark))
            .map(|object| (object.key(), object))
            .collect()
    }
}

impl subm_reconcile::Target for Kernel {
    type Key = Key;
    type Value = Object;
    type Error = Error;

    async fn observe(&mut self, desired: &Objects) -> Result<Objects, Error> {
        let sysctls = desired.values().filter_map(|object| match object {
            Object::Sysctl(sysctl) => Some(sysctl.clone()),
            _ => None,
        });
        let sysctls = sysctls.collect();
        let look = move |session: &mut Session| (session.proc.ipv6(), session.observe(sysctls));
        let (ipv6, network) = self.ask(look).await?;
        if !ipv6 && self.ipv6 {
            tracing::info!("IPv6 is disabled on this node: what is wanted of it is left out");
        }
        self.ipv6 = ipv6;
        Ok(network?.into_objects())
    }

    async fn apply(&mut self, change: &Change<Key, Object>) -> Result<(), Error> {
        let change = change.clone();
        self.ask(move |session| session.carry_out_one(&change))
            .await?
    }

    fn plan(&self, desired: &Objects, observed: &Objects) -> Plan<Key, Object> {
        crate::plan::plan(&self.marked(desired), observed)
    }

    fn needs(&self, change: &Change<Key, Object>) -> Vec<Key> {
        crate::plan::needs(change)
    }

    async fn carry_out(&mut self, plan: Plan<Key, Object>) -> Report<Key, Object> {
        let copy = plan.clone();
        match self.ask(move |session| session.carry_out(plan)).await {
            Ok(report) => report,
            Err(error) => {
                let words = error.to_string();
                let failed = |change| subm_reconcile::Step {
                    change,
                    outcome: Outcome::Failed(words.clone()),
                };
                Report {
                    steps: copy.into_iter().map(failed).collect(),
                }
            }
        }
    }
}

fn enter(namespace: Option<File>) -> Result<(), Error> {
    match namespace {
        Some(namespace) => setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|error| Error::Namespace(error.into())),
        None => Ok(()),
    }
}
