//! What replies, and their absence, say about one path.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Rtt;

/// So many round trips are remembered.
const WINDOW: usize = 600;

/// So many echoes are sent in quick succession, those that count among them: for three intervals.
const QUICK: u32 = 30;

/// How a path is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Time between two echoes (`SUBMARINER_HEALTHCHECKINTERVAL`).
    pub interval: Duration,
    /// So many echoes in a row may stay without a reply (`SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT`).
    pub max_loss: u32,
    /// So many intervals lie between a reply and the next echo.
    pub rest: u32,
}

impl Default for Settings {
    /// Submariner's: every second; five may be lost.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            max_loss: 5,
            rest: 1,
        }
    }
}

impl Settings {
    /// With 0 meaning the default, as in Submariner's environment.
    pub fn new(interval: Duration, max_loss: u32) -> Self {
        let default = Self::default();
        Self {
            interval: if interval.is_zero() {
                default.interval
            } else {
                interval
            },
            max_loss: if max_loss == 0 {
                default.max_loss
            } else {
                max_loss
            },
            ..default
        }
    }

    /// Asks a path that replies only every so many intervals; one that does not is still asked each interval. For many who ask the same
    /// target: what they cost is mostly the echoes that find all well.
    #[must_use]
    pub fn rest(mut self, intervals: u32) -> Self {
        self.rest = intervals.max(1);
        self
    }

    /// How long a reply is waited for. Late ones count too, up to when the path is given up anyway.
    pub fn patience(&self) -> Duration {
        self.interval
            .saturating_mul(self.max_loss.saturating_add(1))
    }
}

/// A path in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathStatus {
    /// No reply yet, and no reason to think that none will come; or nothing can be sent.
    Unknown,
    /// Replies come.
    Connected,
    /// Too many echoes in a row were lost.
    Error,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub status: PathStatus,
    /// Submariner's sentence for it; empty where all is well.
    pub message: String,
    /// The latest round trips, if there were any.
    pub rtt: Option<Rtt>,
}

/// What [`Path::poll`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an echo.
    Send,
    /// Nothing before then.
    WaitUntil(Instant),
}

/// What tells an echo from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Echo {
    /// Its ICMP identifier follows from it. Kernels on the way remember by it where echoes go, and what becomes of their source, for as long as
    /// they come: those of a flow that began before routes and packet filters were as they should would be lost for ever.
    pub flow: u16,
    /// Its ICMP sequence number.
    pub sequence: u16,
}

/// The state of one path. It sends nothing and has no clock.
///
/// ```text
///              reply                      max_loss echoes in a row without one
///   Unknown ----------> Connected -------------------------------------------> Error
///      \                    ^                                                   |  ^
///       \                   +------------------- reply -------------------------+  |
///        +------------------------ as many without a reply ------------------------+
/// ```
///
/// An echo is without a reply half an interval after it was sent. So with an echo each second, of which five may be lost, a cut is
/// seen between 4.5 and 5.5 seconds after it. At first, before any reply, there are ten times as many, which do not count when they
/// are lost: the far side may be ready a moment later. The reply counts also when it is later; where round trips take longer than five
/// seconds, there is no connection worth the name. With [`Settings::rest`] a cut is seen by as many intervals later, less one.
#[derive(Clone, Debug)]
pub struct Path {
    target: IpAddr,
    settings: Settings,
    status: PathStatus,
    /// Why nothing can be sent.
    trouble: Option<String>,
    next: Instant,
    /// When the latest echo was sent that counts.
    asked: Instant,
    /// When the next one is due.
    due: Instant,
    /// Echoes that are still sent in quick succession, to know sooner whether a new path works.
    quick: u32,
    unanswered: u32,
    /// Of the echo that is to be sent: a new one as long as nothing is known, and when too many were lost.
    flow: u16,
    /// When the latest echo is without a reply.
    overdue: Option<Instant>,
    trips: VecDeque<Duration>,
    rtt: Option<Rtt>,
}

impl Path {
    /// To this address; the first echo goes at once.
    pub fn new(target: IpAddr, settings: Settings, now: Instant) -> Self {
        Self {
            target,
            settings,
            status: PathStatus::Unknown,
            trouble: None,
            next: now,
            asked: now,
            due: now,
            quick: QUICK,
            unanswered: 0,
            flow: 0,
            overdue: None,
            trips: VecDeque::new(),
            rtt: None,
        }
    }

    /// Where echoes go.
    pub fn target(&self) -> IpAddr {
        self.target
    }

    /// The flow to which the echo belongs that [`Path::poll`] has just asked for.
    pub fn flow(&self) -> u16 {
        self.flow
    }

    /// What to do now. To be asked again after each send, and at the time that it says.
    pub fn poll(&mut self, now: Instant) -> Action {
        if self.overdue.is_some_and(|overdue| now >= overdue) {
            self.overdue = None;
            if self.unanswered >= self.settings.max_loss {
                self.status = PathStatus::Error;
            }
        }
        if now < self.next {
            let earlier = self
                .overdue
                .map_or(self.next, |overdue| overdue.min(self.next));
            return Action::WaitUntil(earlier);
        }
        if now >= self.due {
            // Not a new one for each: in an outage all that many ask for would fill the kernels' memory.
            if self.unanswered > 0 && self.unanswered.is_multiple_of(self.settings.max_loss) {
                self.flow = self.flow.wrapping_add(1);
            }
            // What a sleeping machine missed is not sent at once.
            self.asked = now;
            self.due = now + self.settings.interval;
            self.overdue = Some(now + self.settings.interval / 2);
            self.unanswered = self.unanswered.saturating_add(1);
        }
        self.next = self.due;
        if self.status == PathStatus::Unknown && self.quick > 0 {
            self.quick -= 1;
            self.flow = self.flow.wrapping_add(1);
            self.next = self.due.min(now + self.settings.interval / 10);
        }
        Action::Send
    }

    /// A reply came, after this long.
    pub fn replied(&mut self, round_trip: Duration) {
        self.status = PathStatus::Connected;
        self.trouble = None;
        self.unanswered = 0;
        self.overdue = None;
        self.due = self.asked + self.settings.interval.saturating_mul(self.settings.rest);
        self.next = self.due;
        if self.trips.len() == WINDOW {
            self.trips.pop_front();
        }
        self.trips.push_back(round_trip);
        self.rtt = Rtt::of(&self.trips);
    }

    /// No echo can be sent, whatever the path is like: there is no socket for it. A route that is missing is not this but a loss.
    pub fn cannot_send(&mut self, why: String) {
        self.status = PathStatus::Unknown;
        self.trouble = Some(why);
        self.unanswered = 0;
        self.overdue = None;
    }

    /// Whether this is what is known now.
    pub(super) fn is(&self, health: &Health) -> bool {
        // A message follows from the rest, but for the trouble in it.
        self.status == health.status
            && self.rtt == health.rtt
            && (self.trouble.is_none() || self.health() == *health)
    }

    /// What is known now.
    pub fn health(&self) -> Health {
        let message = match (self.status, &self.trouble) {
            (PathStatus::Error, _) => format!(
                "Failed to successfully ping the remote endpoint IP \"{}\"",
                self.target
            ),
            (PathStatus::Unknown, Some(why)) => format!(
                "Failed to run the pinger for the remote endpoint IP \"{}\": {why}",
                self.target
            ),
            _ => String::new(),
        };
        Health {
            status: self.status,
            message,
            rtt: self.rtt,
        }
    }
}

#[cfg(test)]
mod tests;
