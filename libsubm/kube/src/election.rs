//! One leader of several replicas, by a Lease, as client-go elects one: who holds it renews it, who wants it waits until it
//! was not renewed for its duration. Clocks of machines differ, so only changes of the Lease count, not its times.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Timings, in client-go's proportions.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a Lease holds without being renewed.
    pub lease: Duration,
    /// A leader that could not renew for this long steps down; shorter than `lease`.
    pub renew: Duration,
    /// Between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What to do with the Lease as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write it, with us as the holder.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// A candidate's memory of the Lease: pure, the time is given to it.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    /// What the Lease said last, and when we saw that change.
    seen: Option<(Option<LeaseSpec>, Instant)>,
}

impl Candidate {
    pub fn new(identity: &str, timing: Timing) -> Self {
        Self {
            identity: identity.to_owned(),
            timing,
            seen: None,
        }
    }

    /// Judges the Lease, `None` if there is none.
    pub fn judge(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Step {
        let changed = self
            .seen
            .as_ref()
            .is_none_or(|(seen, _)| seen.as_ref() != lease);
        if changed {
            self.seen = Some((lease.cloned(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, at)| *at);
        let holder = lease
            .and_then(|lease| lease.holder_identity.as_deref())
            .unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return Step::Take;
        }
        let seconds = lease
            .and_then(|lease| lease.lease_duration_seconds)
            .unwrap_or_default();
        let duration = u64::try_from(seconds).map_or(self.timing.lease, Duration::from_secs);
        if now.duration_since(since) >= duration {
            Step::Take
        } else {
            Step::Wait
        }
    }

    /// The Lease as we would write it.
    pub fn renewed(&self, lease: Option<&LeaseSpec>, now: Timestamp) -> LeaseSpec {
        let ours =
            lease.is_some_and(|lease| lease.holder_identity.as_deref() == Some(&self.identity));
        let before = lease.cloned().unwrap_or_default();
        let now = Some(MicroTime(now));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
            renew_time: now.clone(),
            acquire_time: if ours {
                before.acquire_time.clone()
            } else {
                now
            },
            lease_transitions: Some(
                before.lease_transitions.unwrap_or_default()
                    + i32::from(!ours && before.holder_identity.is_some()),
            ),
            ..before
        }
    }
}

/// Takes part in an election until dropped.
pub struct Election {
    api: Api<Lease>,
    namespace: String,
    name: String,
    candidate: Candidate,
    timing: Timing,
    /// When the request began by which we lead: others count from no later.
    renewed: Option<Instant>,
    /// The Lease as we wrote it last, while we lead.
    written: Option<Lease>,
}

impl Election {
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        timing: Timing,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            candidate: Candidate::new(identity, timing),
            timing,
            renewed: None,
            written: None,
        }
    }

    /// Tries once, and tells whether we lead. An error does not end a leadership before its time.
    pub async fn attempt(&mut self) -> Result<bool, (bool, kube::Error)> {
        let began = Instant::now();
        let patience = self.timing.retry.max(Duration::from_secs(1)) * 2;
        let left = self.remaining();
        let patience = left.map_or(patience, |left| left.min(patience));
        let result = match tokio::time::timeout(patience, self.round()).await {
            Ok(result) => result,
            Err(_) => Err(kube::Error::Service(
                "the API server does not answer".into(),
            )),
        };
        match result {
            Ok(true) => {
                self.renewed = Some(began);
                Ok(true)
            }
            Ok(false) => {
                self.renewed = None;
                Ok(false)
            }
            Err(error) => {
                let still = self.remaining().is_some();
                if !still {
                    self.renewed = None;
                }
                Err((still, error))
            }
        }
    }

    /// How long a leader may still lead without renewing; `None` where it may not.
    fn remaining(&self) -> Option<Duration> {
        let until = self.renewed? + self.timing.renew;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    async fn round(&mut self) -> kube::Result<bool> {
        // Who leads need not read first: if it is another's by now, or gone, the API server refuses.
        if let Some(lease) = self.written.take() {
            match self.write(Some(lease)).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let existing = self.api.get_opt(&self.name).await?;
        let spec = existing.as_ref().and_then(|lease| lease.spec.as_ref());
        if self.candidate.judge(spec, Instant::now()) == Step::Wait {
            return Ok(false);
        }
        self.write(existing).await
    }

    /// Makes the Lease ours, or renews it; `false` if somebody was faster.
    async fn write(&mut self, existing: Option<Lease>) -> kube::Result<bool> {
        let spec = existing.as_ref().and_then(|lease| lease.spec.as_ref());
        let renewed = self.candidate.renewed(spec, Timestamp::now());
        let params = PostParams::default();
        let written = if let Some(mut lease) = existing {
            lease.spec = Some(renewed);
            self.api.replace(&self.name, &params, &lease).await
        } else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(renewed),
            };
            self.api.create(&params, &lease).await
        };
        match written {
            Ok(lease) => {
                self.candidate.judge(lease.spec.as_ref(), Instant::now());
                self.written = Some(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets others lead at once.
    pub async fn resign(&mut self) -> kube::Result<()> {
        if self.renewed.take().is_none() {
            return Ok(());
        }
        let lease = self.api.get(&self.name).await?;
        let ours = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref())
            == Some(&self.candidate.identity);
        if !ours {
            return Ok(());
        }
        let params = DeleteParams::default().preconditions(Preconditions {
            resource_version: lease.metadata.resource_version,
            uid: lease.metadata.uid,
        });
        self.api.delete(&self.name, &params).await.map(drop)
    }

    /// How long until the next [`Election::attempt`], shortened at random so that candidates do not act in step, and so that a
    /// leader steps down in time.
    pub fn pause(&self) -> Duration {
        let pause = self.timing.retry.mul_f64(rand::random_range(0.8..=1.0));
        self.remaining().map_or(pause, |left| pause.min(left))
    }
}

/// Takes part until `stop`, with `leads` telling whether we lead. Then others may lead at once.
pub async fn take_part(
    mut election: Election,
    leads: watch::Sender<bool>,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let lease = format!("{}/{}", election.namespace, election.name);
    let (mut said, mut troubled) = (None, false);
    loop {
        let leading = match election.attempt().await {
            Ok(leading) => {
                troubled = false;
                leading
            }
            Err((leading, error)) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!("the Lease {lease} cannot be renewed: {error}");
                }
                leading
            }
        };
        if said.replace(leading) != Some(leading) {
            tracing::info!(
                "{}",
                if leading {
                    "this replica leads"
                } else {
                    "another replica leads; this one follows"
                }
            );
        }
        leads.send_if_modified(|current| std::mem::replace(current, leading) != leading);
        tokio::select! {
            () = sleep(election.pause()) => {}
            () = &mut stop => break,
        }
    }
    if let Err(error) = election.resign().await {
        tracing::debug!("the Lease {lease} stays until it expires: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, renewal: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Timestamp::from_second(renewal).ok().map(MicroTime),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_free_lease_is_taken_and_a_held_one_waited_for() {
        let mut candidate = Candidate::new("a", Timing::default());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(candidate.judge(None, at(0)), Step::Take);
        assert_eq!(candidate.judge(Some(&held_by("b", 0)), at(0)), Step::Wait);
        assert_eq!(candidate.judge(Some(&held_by("b", 0)), at(14)), Step::Wait);
        // It was renewed: the wait begins anew, whatever its clock says.
        assert_eq!(
            candidate.judge(Some(&held_by("b", -1_000_000)), at(14)),
            Step::Wait
        );
        assert_eq!(
            candidate.judge(Some(&held_by("b", -1_000_000)), at(28)),
            Step::Wait
        );
        assert_eq!(
            candidate.judge(Some(&held_by("b", -1_000_000)), at(29)),
            Step::Take
        );
    }

    #[test]
    fn a_change_of_holders_is_counted() {
        let candidate = Candidate::new("a", Timing::default());
        let now = Timestamp::from_second(100).expect("in range");
        let first = candidate.renewed(None, now);
        assert_eq!(
            (first.lease_transitions, first.acquire_time.clone()),
            (Some(0), first.renew_time.clone())
        );
        let taken = candidate.renewed(Some(&held_by("b", 0)), now);
        assert_eq!(taken.lease_transitions, Some(1));
        let kept = candidate.renewed(Some(&first), Timestamp::from_second(200).expect("in range"));
        assert_eq!(
            (kept.lease_transitions, kept.acquire_time),
            (Some(0), first.acquire_time)
        );
    }
}
