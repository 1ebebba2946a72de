//! What a driver cannot do is said and tried again.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Mutex;

use subm_test_support::NetNs;
use subm_tunnel::{Applied, Capabilities, ConnectionStatus, Error};
use tokio::task::JoinHandle;

use super::*;

/// Longer than any number of retries that a test asks for.
const SOON: Duration = Duration::from_secs(20);

/// What somebody does of whom it is told how often it fails.
#[derive(Default)]
struct Script {
    /// How often each call fails yet.
    fails: BTreeMap<&'static str, u32>,
    calls: Vec<String>,
    cables: BTreeSet<String>,
}

/// A driver without a kernel.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn failing(calls: &[&'static str]) -> Self {
        let driver = Self::default();
        driver.fail(calls);
        driver
    }

    /// The next of each of these calls fails; of one that is named twice, the next two.
    fn fail(&self, calls: &[&'static str]) {
        let mut script = self.0.lock().expect("no panic");
        for call in calls {
            *script.fails.entry(call).or_default() += 1;
        }
    }

    fn call(&self, name: &'static str, what: &[Cable]) -> Result<(), Error> {
        let mut script = self.0.lock().expect("no panic");
        let what: Vec<&str> = what.iter().map(|cable| cable.name.as_str()).collect();
        if name != "observe" {
            script
                .calls
                .push(format!("{name} {}", what.join(" ")).trim().to_owned());
        }
        if let Some(left) = script.fails.get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            return Err(Error::Answer(format!("{name} fails")));
        }
        if name == "ensure" {
            script.cables = what.iter().map(|name| (*name).to_owned()).collect();
        }
        Ok(())
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic").calls)
    }
}

impl CableDriver for Scripted {
    fn capabilities(&self) -> Capabilities {
        unreachable!("nobody asks")
    }

    fn backend_config(&self, _: &Local) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn plan(&self, _: &Local, _: &[Cable]) -> (Network, Refusals) {
        (Network::new(), Refusals::new())
    }

    async fn prepare(&mut self, _: &Local) -> Result<(), Error> {
        self.call("prepare", &[])
    }

    async fn ensure(&mut self, _: &Local, cables: &[Cable]) -> Result<Applied, Error> {
        self.call("ensure", cables).map(|()| Applied::default())
    }

    async fn observe(&mut self, _: std::time::Instant) -> Result<Vec<Connection>, Error> {
        self.call("observe", &[])?;
        let script = self.0.lock().expect("no panic");
        let connection = |name: &String| {
            let cable = Cable::new(name, "c2", [172, 31, 2, 11].into(), 4500);
            Connection::new(&cable, ConnectionStatus::Connected, "")
        };
        Ok(script.cables.iter().map(connection).collect())
    }

    async fn teardown(&mut self) -> Result<(), Error> {
        self.call("teardown", &[])?;
        self.0.lock().expect("no panic").cables.clear();
        Ok(())
    }
}

/// One that keeps cables in a network namespace of its own.
struct Gateway {
    driver: Scripted,
    wishes: watch::Sender<Wish>,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
    _kernel: NetNs,
}

impl Gateway {
    fn start(driver: Scripted, wish: Wish) -> Self {
        let netns = NetNs::new().expect("a network namespace");
        let handle = File::open(netns.path()).expect("its handle");
        let kernel = Kernel::open_in(handle, subm_routing::Settings::new()).expect("its kernel");
        let (wishes, receiver) = watch::channel(wish);
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(keep(driver.clone(), kernel, None, receiver, sender));
        Self {
            driver,
            wishes,
            seen,
            task,
            _kernel: netns,
        }
    }

    /// Waits until this is seen.
    async fn until(&mut self, what: impl FnMut(&Seen) -> bool) -> Seen {
        let seen = timeout(SOON, self.seen.wait_for(what)).await;
        seen.expect("in time").expect("it lives").clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn wish(names: &[&str]) -> Wish {
    let cable = |name: &&str| Cable::new(*name, "c2", [172, 31, 2, 11].into(), 4500);
    Wish::Keep(Wanted {
        local: Local {
            private_ip: [172, 31, 1, 11].into(),
            port: 4500,
            mtu: 1500,
            source: None,
            source6: None,
        },
        cables: names.iter().map(cable).collect(),
        targets: BTreeMap::new(),
    })
}

fn cables(seen: &Seen) -> Vec<&str> {
    let connections = seen.connections.iter();
    connections.map(|one| one.cable.as_str()).collect()
}

fn says(seen: &Seen, words: &str) -> bool {
    seen.troubles.iter().any(|trouble| trouble.contains(words))
}

/// cableengine: "driver initialization fails › should fail to start": here it is said, and tried again. Defect 23: a driver that could
/// not begin was used all the same.
#[tokio::test]
async fn tunnel_177_cableengine_331_d23_what_cannot_be_made_is_made_later() {
    let mut gateway = Gateway::start(
        Scripted::failing(&["prepare", "prepare", "ensure"]),
        wish(&["a"]),
    );
    gateway.until(|seen| says(seen, "prepare fails")).await;
    let seen = gateway.until(|seen| says(seen, "ensure fails")).await;
    assert!(seen.connections.is_empty());
    let seen = gateway.until(|seen| seen.troubles.is_empty()).await;
    assert_eq!(cables(&seen), ["a"]);
    let expected = [
        "prepare", "prepare", "prepare", "ensure a", "prepare", "ensure a",
    ];
    assert_eq!(gateway.driver.calls(), expected, "not used before it began");
}

#[tokio::test]
async fn tunnel_188_cableengine_280_what_cannot_be_removed_is_removed_later() {
    let mut gateway = Gateway::start(Scripted::default(), wish(&["a", "b"]));
    gateway.until(|seen| cables(seen) == ["a", "b"]).await;
    gateway.driver.fail(&["ensure"]);
    gateway.wishes.send_replace(wish(&["b"]));
    let seen = gateway.until(|seen| says(seen, "ensure fails")).await;
    assert_eq!(cables(&seen), ["a", "b"], "as it is");
    let seen = gateway.until(|seen| cables(seen) == ["b"]).await;
    assert!(seen.troubles.is_empty());

    gateway.driver.fail(&["teardown"]);
    gateway.wishes.send_replace(Wish::LetGo);
    gateway.until(|seen| says(seen, "teardown fails")).await;
    let seen = gateway.until(|seen| seen.connections.is_empty()).await;
    assert!(seen.troubles.is_empty());
}

#[tokio::test]
async fn cableengine_313_what_cannot_be_seen_is_said() {
    let mut gateway = Gateway::start(Scripted::default(), wish(&["a"]));
    gateway.until(|seen| cables(seen) == ["a"]).await;
    gateway.driver.fail(&["observe"]);
    let seen = gateway.until(|seen| says(seen, "observe fails")).await;
    assert!(seen.connections.is_empty(), "nothing is made up");
    let seen = gateway.until(|seen| cables(seen) == ["a"]).await;
    assert!(seen.troubles.is_empty());
}

/// cableengine: "followed by remove cable before NAT discovery is complete › should not connect": what is not wanted any more while it
/// is waited for is not made.
#[tokio::test]
async fn cableengine_242_what_is_taken_back_in_time_is_not_made() {
    let mut gateway = Gateway::start(Scripted::failing(&["prepare", "prepare"]), wish(&["a"]));
    gateway.until(|seen| says(seen, "prepare fails")).await;
    gateway.wishes.send_replace(wish(&[]));
    gateway.until(|seen| seen.troubles.is_empty()).await;
    let calls = gateway.driver.calls();
    assert_eq!(calls, ["prepare", "prepare", "prepare", "ensure"]);
}
