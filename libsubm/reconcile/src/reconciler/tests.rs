use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::Change;

type Map = State<String, u8>;

/// A target in memory that can be told to fail.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    state: Map,
    looks: Vec<Instant>,
    writes: u32,
    blind: bool,
    refuses: Option<String>,
    forgets: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

impl Target for Memory {
    type Key = String;
    type Value = u8;
    type Error = Refused;

    async fn observe(&mut self, _: &Map) -> Result<Map, Refused> {
        let mut inner = self.0.lock().unwrap();
        inner.looks.push(Instant::now());
        if inner.blind {
            Err(Refused)
        } else {
            Ok(inner.state.clone())
        }
    }

    async fn apply(&mut self, change: &Change<String, u8>) -> Result<(), Refused> {
        let mut inner = self.0.lock().unwrap();
        inner.writes += 1;
        if inner.refuses.as_ref() == Some(change.key()) {
            return Err(Refused);
        }
        if inner.forgets {
            return Ok(());
        }
        match change.to() {
            Some(to) => inner.state.insert(change.key().clone(), *to),
            None => inner.state.remove(change.key()),
        };
        Ok(())
    }

    fn needs(&self, change: &Change<String, u8>) -> Vec<String> {
        // "link/address" needs "link".
        change
            .key()
            .split_once('/')
            .map(|(link, _)| link.to_owned())
            .into_iter()
            .collect()
    }
}

fn map(of: &[(&str, u8)]) -> Arc<Map> {
    Arc::new(
        of.iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect(),
    )
}

struct Running {
    memory: Memory,
    desired: watch::Sender<Option<Arc<Map>>>,
    status: watch::Receiver<Status<String, u8>>,
    hint: Hint,
    task: tokio::task::JoinHandle<Memory>,
}

fn start() -> Running {
    let memory = Memory::default();
    let (desired, receiver) = watch::channel(None);
    let reconciler = Reconciler::new("memory", memory.clone(), receiver, Timing::default());
    Running {
        memory,
        desired,
        status: reconciler.status(),
        hint: reconciler.hint(),
        task: tokio::spawn(reconciler.run(std::future::pending())),
    }
}

impl Running {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.memory.0.lock().unwrap())
    }

    async fn standing(&mut self, standing: Standing) -> Status<String, u8> {
        self.status
            .wait_for(|status| status.standing == standing)
            .await
            .unwrap()
            .clone()
    }
}

#[tokio::test(start_paused = true)]
async fn does_nothing_until_something_is_desired_and_removes_all_when_nothing_is() {
    let mut running = start();
    running.with(|inner| inner.state = BTreeMap::from([("left".to_owned(), 1)]));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        running.with(|inner| inner.looks.len()),
        0,
        "not to know is not to want nothing"
    );
    let empty = map(&[]);
    running.desired.send_replace(Some(empty.clone()));
    let status = running
        .status
        .wait_for(|status| status.converged_to(&empty))
        .await
        .unwrap();
    assert_eq!(status.report.as_ref().unwrap().to_string(), "1 of 1 done");
    drop(status);
    assert!(running.with(|inner| inner.state.is_empty()));
    // Nobody can desire anything any more: it ends.
    drop(running.desired);
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_rest_it_looks_once_a_minute_and_writes_nothing() {
    let mut running = start();
    running.desired.send_replace(Some(map(&[("a", 1)])));
    running.standing(Standing::Converged).await;
    let (looks, writes) = running.with(|inner| (inner.looks.len(), inner.writes));
    assert_eq!((looks, writes), (2, 1), "one to do it, one to see it");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let (looks, writes) = running.with(|inner| (inner.looks.len() - 2, inner.writes));
    assert!((9..=11).contains(&looks), "{looks}");
    assert_eq!(writes, 1);
}

#[tokio::test(start_paused = true)]
async fn drift_is_corrected_after_a_hint() {
    let mut running = start();
    let desired = map(&[("a", 1)]);
    running.desired.send_replace(Some(desired.clone()));
    running.standing(Standing::Converged).await;
    running.with(|inner| inner.state.clear());
    let began = Instant::now();
    for _ in 0..100 {
        running.hint.give();
    }
    running.standing(Standing::Applied).await;
    assert!(
        began.elapsed() <= Duration::from_millis(110),
        "{:?}",
        began.elapsed()
    );
    running.standing(Standing::Converged).await;
    assert_eq!(running.with(|inner| inner.state.clone()), *desired);
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_said_its_dependants_skipped_the_rest_done_and_all_tried_again() {
    let mut running = start();
    running.with(|inner| inner.refuses = Some("link".to_owned()));
    running.desired.send_replace(Some(map(&[
        ("a", 1),
        ("link", 1),
        ("link/address", 1),
        ("z", 1),
    ])));
    let status = running.standing(Standing::Trouble).await;
    assert_eq!(
        status.report.unwrap().to_string(),
        "2 of 4 done\ncreate link: refused\ncreate link/address: skipped, it needs link"
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    let looks = running.with(|inner| {
        let gaps: Vec<_> = inner
            .looks
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        assert!(
            gaps.iter().all(|gap| *gap <= Duration::from_secs(30)),
            "{gaps:?}"
        );
        inner.refuses = None;
        gaps.len()
    });
    assert!((9..30).contains(&looks), "{looks} looks in two minutes");
    running.standing(Standing::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn blindness_and_forgetting_are_trouble_but_no_storm() {
    let mut running = start();
    running.with(|inner| inner.blind = true);
    running.desired.send_replace(Some(map(&[("a", 1)])));
    let status = running.standing(Standing::Trouble).await;
    assert_eq!(status.error.as_deref(), Some("refused"));
    assert_eq!(running.with(|inner| inner.writes), 0);
    running.with(|inner| {
        inner.blind = false;
        inner.forgets = true;
    });
    let hint = running.hint.clone();
    // Each of its changes makes hints, as a kernel's do.
    let hinting = tokio::spawn(async move {
        loop {
            hint.give();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    hinting.abort();
    let looks = running.with(|inner| inner.looks.len());
    assert!(looks < 80, "{looks} looks in a minute");
    assert_eq!(running.status.borrow().standing, Standing::Trouble);
    running.with(|inner| inner.forgets = false);
    running.standing(Standing::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn converging_once_ends_with_what_is_desired_or_says_why_not() {
    let mut memory = Memory::default();
    crate::converge(&mut memory, &map(&[("a", 1)]), 3)
        .await
        .unwrap();
    memory.0.lock().unwrap().refuses = Some("b".to_owned());
    let error = crate::converge(&mut memory, &map(&[("b", 1)]), 3)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "not as desired after 3 rounds; the last one: 0 of 1 done\ncreate b: refused"
    );
}
