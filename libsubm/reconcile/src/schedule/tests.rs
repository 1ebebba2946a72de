use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A schedule, the start, and the wait from then until the next look.
fn started() -> (Schedule, Instant) {
    let mut schedule = Schedule::new(Timing::default());
    let now = Instant::now();
    assert_eq!(schedule.next(), None, "nothing is desired");
    schedule.hint(now);
    assert_eq!(schedule.next(), None, "hints do not make something desired");
    schedule.desired(now);
    assert_eq!(schedule.next(), Some(now), "at once");
    (schedule, now)
}

#[test]
fn looks_again_after_doing_then_rests() {
    let (mut schedule, now) = started();
    schedule.looked(now, Look::Done, 0.5);
    assert_eq!(schedule.next(), Some(now + ms(50)));
    let then = now + ms(50);
    schedule.looked(then, Look::Nothing, 0.5);
    assert_eq!(schedule.next(), Some(then + ms(60_000)));
    schedule.looked(then, Look::Nothing, 0.0);
    assert_eq!(schedule.next(), Some(then + ms(54_000)));
    assert!(!schedule.in_trouble());
}

#[test]
fn a_burst_of_hints_is_one_look() {
    let (mut schedule, now) = started();
    schedule.looked(now, Look::Nothing, 0.5);
    let mut at = now + ms(1000);
    schedule.hint(at);
    assert_eq!(schedule.next(), Some(at + ms(50)));
    for _ in 0..20 {
        at += ms(20);
        schedule.hint(at);
    }
    // A burst that does not end does not put the look off for ever.
    assert!(schedule.next() <= Some(now + ms(1100)));
}

#[test]
fn hints_of_its_own_changes_are_one_look() {
    let (mut schedule, now) = started();
    schedule.looked(now, Look::Done, 0.5);
    schedule.hint(now + ms(10));
    let next = schedule.next().unwrap();
    assert!(
        next >= now + ms(50) && next <= now + ms(110),
        "{:?}",
        next - now
    );
}

#[test]
fn failures_wait_longer_each_time_and_hints_shorten_it() {
    let (mut schedule, mut now) = started();
    let mut waits = Vec::new();
    for _ in 0..12 {
        schedule.looked(now, Look::Trouble, 0.0);
        let next = schedule.next().unwrap();
        waits.push((next - now).as_millis());
        now = next;
    }
    assert_eq!(waits[..4], [100, 200, 400, 800]);
    assert_eq!(waits[11], 30_000);
    schedule.looked(now, Look::Trouble, 1.0);
    assert_eq!(
        schedule.next(),
        Some(now + ms(15_000)),
        "up to a half sooner"
    );
    schedule.hint(now + ms(10));
    assert_eq!(
        schedule.next(),
        Some(now + ms(1000)),
        "not closer than a second"
    );
    schedule.hint(now + ms(5000));
    assert_eq!(schedule.next(), Some(now + ms(1000)), "and not put off");
    schedule.desired(now + ms(20));
    assert_eq!(schedule.next(), Some(now + ms(20)));
    schedule.looked(now + ms(20), Look::Trouble, 0.0);
    assert_eq!(
        schedule.next(),
        Some(now + ms(120)),
        "a new desire starts anew"
    );
}

#[test]
fn what_is_undone_again_and_again_is_trouble() {
    let (mut schedule, mut now) = started();
    for _ in 0..2 {
        schedule.looked(now, Look::Done, 0.0);
        assert!(!schedule.in_trouble());
        now = schedule.next().unwrap();
    }
    schedule.looked(now, Look::Done, 0.0);
    assert!(schedule.in_trouble());
    schedule.looked(now, Look::Done, 0.0);
    assert_eq!(schedule.next(), Some(now + ms(200)));
    schedule.looked(now, Look::Nothing, 0.0);
    assert!(!schedule.in_trouble());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Desired,
    Hint,
    Looked(Look),
}

proptest! {
    /// Whatever happens: once something is desired there is a next look, within the longest wait, and hints alone never make
    /// it look more often than the settling time allows.
    #[test]
    fn always_looks_again_and_never_spins(
        events in prop::collection::vec(
            (0_u64..200, prop_oneof![
                Just(Event::Desired),
                Just(Event::Hint),
                Just(Event::Looked(Look::Nothing)),
                Just(Event::Looked(Look::Done)),
                Just(Event::Looked(Look::Trouble)),
            ], 0.0..=1.0_f64),
            1..60,
        )
    ) {
        let timing = Timing::default();
        let (mut schedule, mut now) = started();
        for (later, event, chance) in events {
            now += ms(later);
            match event {
                Event::Desired => schedule.desired(now),
                Event::Hint => {
                    let before = schedule.next().unwrap();
                    schedule.hint(now);
                    let next = schedule.next().unwrap();
                    // Either the hint changed nothing, or a look follows within the settling time, or one was due already.
                    prop_assert!(next == before || next >= now || before < now);
                    let closest = if schedule.in_trouble() { timing.retry_closest } else { timing.settle };
                    prop_assert!(next <= before.max(now + closest));
                    prop_assert!(next <= now + closest);
                }
                Event::Looked(look) => {
                    schedule.looked(now, look, chance);
                    prop_assert!(schedule.next().unwrap() >= now + timing.settle);
                }
            }
            let next = schedule.next().unwrap();
            prop_assert!(next <= now + timing.resync.mul_f64(1.1));
        }
    }
}
