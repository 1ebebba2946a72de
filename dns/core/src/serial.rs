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
    fn the_newest_is_the_one_less_than_half_a_circle_ahead() {
        assert_eq!(newest(1, 2), 2);
        assert_eq!(newest(2, 1), 2);
        assert_eq!(newest(u32::MAX, 1), 1);
        assert_eq!(newest(5, 5), 5);
    }
}
