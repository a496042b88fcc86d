//! Parts of a date, in UTC, by the names that selectors have for them.

/// One of them; each greater one comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// The names of all parts, the greatest first.
pub(super) const PARTS: [(&str, Part); 6] = [
    ("$year", Part::Year),
    ("$month", Part::Month),
    ("$day", Part::Day),
    ("$hour", Part::Hour),
    ("$minute", Part::Minute),
    ("$second", Part::Second),
];

/// The last time that has a date, in milliseconds: some 275,000 years from 1970 on, as in JavaScript.
const LAST_MS: f64 = 8.64e15;

impl Part {
    /// Of a time in milliseconds since 1970; nothing if it is no date.
    pub(super) fn of(self, time_ms: f64) -> Option<i64> {
        if time_ms.is_nan() || time_ms.abs() > LAST_MS {
            return None;
        }
        let seconds = (time_ms / 1_000.0).floor() as i64;
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        Some(match self {
            Part::Year => year,
            Part::Month => month,
            Part::Day => day,
            Part::Hour => second / 3_600,
            Part::Minute => second / 60 % 60,
            Part::Second => second % 60,
        })
    }
}

/// Year, month and day, so many days after the first of 1970 (Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`): years that begin in March have their odd day at the end.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn parts(time_ms: f64) -> [Option<i64>; 6] {
        PARTS.map(|(_, part)| part.of(time_ms))
    }

    #[test]
    fn known_times_have_their_dates() {
        let some = |parts: [i64; 6]| parts.map(Some);
        assert_eq!(parts(0.0), some([1970, 1, 1, 0, 0, 0]));
        assert_eq!(parts(-1.0), some([1969, 12, 31, 23, 59, 59]));
        assert_eq!(parts(951_782_400_000.0), some([2000, 2, 29, 0, 0, 0]));
        assert_eq!(parts(1_534_267_781_805.0), some([2018, 8, 14, 17, 29, 41]));
        assert_eq!(parts(4_107_542_399_999.5), some([2100, 2, 28, 23, 59, 59]));
        assert_eq!(parts(f64::NAN), [None; 6]);
        assert_eq!(parts(8.64e15 + 1_000.0), [None; 6]);
    }

    proptest! {
        #[test]
        fn dates_are_those_that_http_writes(second in 0_u64..253_402_300_800) {
            let written = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(second)).to_string();
            let [year, month, day, hour, minute, second] = parts(second as f64 * 1_000.0).map(Option::unwrap);
            let ours = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
            prop_assert_eq!(ours, written);
        }
    }
}
