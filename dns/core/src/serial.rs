//! Serials of the SOA record and their arithmetic (RFC 1982): they run in a circle, and of two the one that is less than
//! half of it ahead is the newer.

/// Whether `a` is newer than `b`.
fn is_newer(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// The newer of two.
pub fn newest(a: u32, b: u32) -> u32 {
    if is_newer(b, a) { b } else { a }
}

/// So many steps a serial may be ahead of the clock, for changes that follow one another closely.
const LEAD: u32 = 20;

/// The first serial of a process: as far ahead as the last one of the process before can have been, so that it is newer.
pub fn first(clock: u32) -> u32 {
    clock.wrapping_add(LEAD)
}

/// Whether the serial after `last` would be further ahead of the clock than a later process reckons with.
pub fn must_wait(last: u32, clock: u32) -> bool {
    is_newer(next(Some(last), clock), first(clock))
}

/// The serial after `last`: the clock's, or where the clock has not moved on since, one more than the last.
pub fn next(last: Option<u32>, clock: u32) -> u32 {
    last.map_or(clock, |last| newest(last.wrapping_add(1), clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_grow_with_the_clock_without_it_and_around_the_circle() {
        assert_eq!(next(None, 7), 7);
        assert_eq!(next(Some(7), 9), 9);
        assert_eq!(next(Some(7), 7), 8);
        assert_eq!(next(Some(9), 7), 10);
        assert_eq!(next(Some(u32::MAX), u32::MAX), 0);
        assert_eq!(next(Some(u32::MAX - 1), 3), 3);
    }

    #[test]
    fn a_burst_runs_ahead_and_the_next_process_is_ahead_of_it() {
        for start in [1000, u32::MAX - 3] {
            let mut last = first(start);
            assert!(must_wait(last, start));
            let clock = start.wrapping_add(LEAD);
            let mut steps = 0;
            while !must_wait(last, clock) {
                last = next(Some(last), clock);
                steps += 1;
            }
            assert_eq!(steps, LEAD);
            assert!(!must_wait(last, clock.wrapping_add(1)));
            assert!(is_newer(first(clock.wrapping_add(1)), last));
        }
    }

    #[test]
    fn the_newest_is_the_one_less_than_half_a_circle_ahead() {
        assert_eq!(newest(1, 2), 2);
        assert_eq!(newest(2, 1), 2);
        assert_eq!(newest(u32::MAX, 1), 1);
        assert_eq!(newest(5, 5), 5);
    }
}
