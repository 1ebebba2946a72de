use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TRIP: Duration = Duration::from_millis(20);

fn path(now: Instant) -> Path {
    Path::new([10, 9, 1, 1].into(), Settings::default(), now)
}

/// Polls every `step` up to `until`, with replies or without; when it became an error, if it did.
fn run(path: &mut Path, from: Instant, until: Instant, replies: bool) -> Option<Instant> {
    let mut now = from;
    while now <= until {
        if let Action::Send = path.poll(now)
            && replies
        {
            path.replied(TRIP);
        }
        if path.health().status == PathStatus::Error {
            return Some(now);
        }
        now += Duration::from_millis(10);
    }
    None
}

/// pinger: "the IP is reachable › should periodically update the statistics"
#[test]
fn pinger_117_a_reachable_target_is_asked_each_interval_and_its_statistics_are_kept() {
    let start = Instant::now();
    let mut path = path(start);
    assert_eq!(
        path.health(),
        Health {
            status: PathStatus::Unknown,
            message: String::new(),
            rtt: None
        }
    );
    for second in 0..10 {
        let now = start + SECOND * second;
        assert_eq!(path.poll(now), Action::Send);
        path.replied(TRIP * (second + 1));
        assert_eq!(path.poll(now), Action::WaitUntil(now + SECOND));
        let health = path.health();
        assert_eq!(
            (health.status, health.message.as_str()),
            (PathStatus::Connected, "")
        );
        let rtt = health.rtt.unwrap();
        assert_eq!(
            (rtt.last, rtt.min, rtt.max),
            (TRIP * (second + 1), TRIP, TRIP * (second + 1))
        );
    }
}

/// pinger: "the IP is not reachable › should mark a failure"
#[test]
fn pinger_128_an_unreachable_target_is_an_error_after_five_losses() {
    let start = Instant::now();
    let mut path = path(start);
    let seen = run(&mut path, start, start + SECOND * 20, false).unwrap();
    assert_eq!(seen - start, Duration::from_millis(4500));
    assert_eq!(
        path.health().message,
        "Failed to successfully ping the remote endpoint IP \"10.9.1.1\""
    );
}

/// pinger: "the pinger timeout expires › should continue to update the statistics"
#[test]
fn pinger_141_after_an_error_it_is_asked_on_and_recovers_with_the_first_reply() {
    let start = Instant::now();
    let mut path = path(start);
    assert_eq!(run(&mut path, start, start + SECOND * 3, true), None);
    let before = path.health().rtt.unwrap();
    let cut = start + SECOND * 3;
    run(&mut path, cut, cut + SECOND * 30, false).unwrap();
    assert_eq!(path.health().rtt, Some(before), "statistics stay");
    let healed = cut + SECOND * 30;
    assert!(matches!(path.poll(healed), Action::Send));
    path.replied(TRIP * 2);
    let health = path.health();
    assert_eq!(
        (health.status, health.message.as_str()),
        (PathStatus::Connected, "")
    );
    assert_eq!(health.rtt.unwrap().last, TRIP * 2);
}

#[test]
fn a_cut_is_seen_within_six_seconds() {
    for cut_after in (0..1000).step_by(50) {
        let start = Instant::now();
        let mut path = path(start);
        let cut = start + SECOND * 3 + Duration::from_millis(cut_after);
        run(&mut path, start, cut, true);
        let seen = run(&mut path, cut, cut + SECOND * 20, false).unwrap();
        assert!(
            seen - cut <= Duration::from_millis(5500),
            "{:?}",
            seen - cut
        );
        assert!(
            seen - cut >= Duration::from_millis(4000),
            "{:?}",
            seen - cut
        );
    }
}

/// Echoes that find all well are rare; a cut is seen soon all the same, and its end at once.
#[test]
fn a_path_that_rests_is_asked_rarely_while_it_replies() {
    let settings = Settings::default().rest(10);
    for cut_after in (0..10_000).step_by(500) {
        let start = Instant::now();
        let mut path = Path::new([10, 9, 1, 1].into(), settings, start);
        let mut sent = 0;
        let cut = start + SECOND * 30 + Duration::from_millis(cut_after);
        let mut now = start;
        while now < cut {
            if path.poll(now) == Action::Send {
                sent += 1;
                path.replied(TRIP);
            }
            now += Duration::from_millis(10);
        }
        assert!(sent <= 5, "{sent} echoes in {:?}", cut - start);
        let seen = run(&mut path, cut, cut + SECOND * 60, false).unwrap();
        assert!(seen - cut <= SECOND * 15, "{:?}", seen - cut);
        // It is asked each second now, so it is heard within one.
        let healed = seen + SECOND * 30;
        assert!(run(&mut path, seen, healed, false).is_some());
        let mut now = healed;
        while path.poll(now) != Action::Send {
            now += Duration::from_millis(10);
        }
        assert!(now - healed <= SECOND, "{:?}", now - healed);
        path.replied(TRIP);
        assert_eq!(path.poll(now), Action::WaitUntil(now + SECOND * 10));
    }
}

#[test]
fn fewer_losses_and_late_replies_are_no_error() {
    let start = Instant::now();
    let mut path = path(start);
    for round in 0..20 {
        let now = start + SECOND * 5 * round;
        // The reply to the first of five comes after 4.2 seconds.
        assert_eq!(
            run(&mut path, now, now + Duration::from_millis(4200), false),
            None
        );
        path.replied(Duration::from_millis(4200));
    }
    assert_eq!(path.health().status, PathStatus::Connected);
}

#[test]
fn without_a_socket_nothing_is_known() {
    let start = Instant::now();
    let mut path = path(start);
    path.poll(start);
    path.cannot_send("Operation not permitted".to_owned());
    let health = path.health();
    assert_eq!(health.status, PathStatus::Unknown);
    assert_eq!(
        health.message,
        "Failed to run the pinger for the remote endpoint IP \"10.9.1.1\": Operation not permitted"
    );
    path.replied(TRIP);
    assert_eq!(path.health().message, "");
}

/// What was remembered on the way of one that began too early does not keep the others from arriving.
#[test]
fn echoes_without_a_reply_are_of_ever_new_flows_and_those_with_one_are_not() {
    let start = Instant::now();
    let mut path = path(start);
    let mut flows = Vec::new();
    let mut now = start;
    let mut send = |path: &mut Path, until: Instant| {
        let mut flows = Vec::new();
        while now < until {
            if path.poll(now) == Action::Send {
                flows.push(path.flow());
            }
            now += Duration::from_millis(10);
        }
        flows
    };
    flows.extend(send(&mut path, start + SECOND * 2));
    assert_eq!(flows.len(), 20);
    flows.dedup();
    assert_eq!(flows.len(), 20, "each of the first is another: {flows:?}");
    // Then as many as may be lost are of one.
    let mut later = send(&mut path, start + SECOND * 62);
    later.dedup();
    assert!((20..25).contains(&later.len()), "{later:?}");
    path.replied(TRIP);
    let kept = path.flow();
    for second in 62..70 {
        let flows = send(&mut path, start + SECOND * (second + 1));
        assert_eq!(flows, [kept]);
        path.replied(TRIP);
    }
}

#[test]
fn zero_is_the_default() {
    assert_eq!(Settings::new(Duration::ZERO, 0), Settings::default());
    assert_eq!(Settings::new(SECOND * 60, 3).patience(), SECOND * 240);
}

#[test]
fn old_round_trips_are_forgotten() {
    let mut path = path(Instant::now());
    path.replied(SECOND);
    for _ in 0..WINDOW {
        path.replied(TRIP);
    }
    assert_eq!(path.health().rtt.unwrap().max, TRIP);
}

proptest! {
    /// Whatever happens and however the clock jumps: no panic, at most one echo at a time, no error while replies come.
    #[test]
    fn any_course_of_events(events in prop::collection::vec((0_u8..3, 0_u64..5_000), 0..200)) {
        let mut now = Instant::now();
        let mut path = path(now);
        let mut since_reply = 0;
        for (event, pause) in events {
            now += Duration::from_millis(pause);
            match event {
                0 => {
                    if let Action::Send = path.poll(now) {
                        since_reply += 1;
                        prop_assert!(matches!(path.poll(now), Action::WaitUntil(later) if later > now));
                    }
                }
                1 => {
                    path.replied(TRIP);
                    since_reply = 0;
                }
                _ => path.cannot_send("why".to_owned()),
            }
            if path.health().status == PathStatus::Error {
                prop_assert!(since_reply >= 5);
            }
        }
    }
}

/// The first echoes are often lost, as the far side is not ready; the next ones come soon, and count for nothing.
#[test]
fn a_new_path_is_asked_more_often_until_it_replies() {
    let start = Instant::now();
    let mut path = path(start);
    let mut sent = Vec::new();
    let mut now = start;
    while now < start + SECOND * 5 {
        if path.poll(now) == Action::Send {
            sent.push(now - start);
        }
        now += Duration::from_millis(10);
    }
    let within = |seconds: u32| sent.iter().filter(|at| **at < SECOND * seconds).count();
    assert_eq!((within(1), within(5)), (10, 32), "{sent:?}");
    assert_eq!(path.unanswered, 5);
    assert_eq!(path.health().status, PathStatus::Error);
    path.replied(TRIP);
    assert_eq!(path.poll(now), Action::Send);
    assert_eq!(
        path.poll(now),
        Action::WaitUntil(now + SECOND / 2),
        "as ever"
    );
}
