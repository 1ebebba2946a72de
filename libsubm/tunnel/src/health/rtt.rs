//! Round-trip times, and how Go writes them.

use std::time::Duration;

/// What the latest round trips were like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// The latest one.
    pub last: Duration,
    /// The shortest.
    pub min: Duration,
    /// The mean.
    pub average: Duration,
    /// The longest.
    pub max: Duration,
    /// The (population's) standard deviation.
    pub std_dev: Duration,
}

impl Rtt {
    /// Of round trips, the latest last; `None` if there was none.
    pub fn of<'a>(trips: impl IntoIterator<Item = &'a Duration, IntoIter: Clone>) -> Option<Self> {
        let trips = trips.into_iter();
        let last = *trips.clone().last()?;
        let (mut count, mut sum) = (0_u32, 0.0);
        let (mut min, mut max) = (last, last);
        for trip in trips.clone() {
            count += 1;
            sum += trip.as_secs_f64();
            min = min.min(*trip);
            max = max.max(*trip);
        }
        let mean = sum / f64::from(count);
        let squares: f64 = trips.map(|trip| (trip.as_secs_f64() - mean).powi(2)).sum();
        let deviation = (squares / f64::from(count)).sqrt();
        let seconds = |value| Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX);
        Some(Self {
            last,
            min,
            // Rounding must not bring the mean out of its bounds.
            average: seconds(mean).clamp(min, max),
            max,
            std_dev: seconds(deviation),
        })
    }
}

/// The text of a duration in Go, which objects of Submariner have: `787.456µs`, `1.5s`, `2m0s`.
///
/// ```
/// use std::time::Duration;
/// use subm_tunnel::health::go_duration;
///
/// assert_eq!(go_duration(Duration::from_nanos(125_311_232)), "125.311232ms");
/// ```
pub fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return decimal(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => return decimal(nanos, 1_000_000, "ms"),
        _ => {}
    }
    let minute = 60 * 1_000_000_000;
    let (hours, minutes) = (nanos / minute / 60, nanos / minute % 60);
    let seconds = decimal(nanos % minute, 1_000_000_000, "s");
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// `value / unit` with all digits after the point that are not needless.
fn decimal(value: u128, unit: u128, name: &str) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let digits = unit.ilog10() as usize;
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{}{name}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As printed by Go 1.26.
    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (1_100, "1.1µs"),
            (231_624, "231.624µs"),
            (787_456, "787.456µs"),
            (999_999, "999.999µs"),
            (1_000_000, "1ms"),
            (7_417_461, "7.417461ms"),
            (20_396_273, "20.396273ms"),
            (125_311_232, "125.311232ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (59_999_999_999, "59.999999999s"),
            (60_000_000_000, "1m0s"),
            (61_010_000_000, "1m1.01s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_000_000_001, "25h1m1.000000001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    /// pinger: "Statistics › update is called with a sample space › should correctly compute the statistics"
    #[test]
    fn pinger_37_statistics_of_a_sample_space() {
        let trips = [2, 4, 4, 4, 5, 5, 7, 9].map(Duration::from_millis);
        let rtt = Rtt::of(&trips).unwrap();
        let ms = Duration::from_millis;
        assert_eq!((rtt.last, rtt.min, rtt.max), (ms(9), ms(2), ms(9)));
        assert_eq!((rtt.average, rtt.std_dev), (ms(5), ms(2)));
        assert_eq!(Rtt::of(&[]), None);
        assert_eq!(Rtt::of(&[ms(1)]).unwrap().std_dev, Duration::ZERO);
    }

    proptest! {
        #[test]
        fn statistics_have_their_order(trips in prop::collection::vec(any::<u64>(), 1..50)) {
            let trips: Vec<_> = trips.into_iter().map(Duration::from_nanos).collect();
            let rtt = Rtt::of(&trips).unwrap();
            prop_assert!(rtt.min <= rtt.average && rtt.average <= rtt.max);
            prop_assert!(rtt.min <= rtt.last && rtt.last <= rtt.max);
            prop_assert!(rtt.std_dev <= rtt.max);
        }
    }
}
