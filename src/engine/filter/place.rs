//! Places on earth and how far apart they are.
//!
//! A value is a place if it is a map with the numbers `lat` and `lon`, or `latitude` and `longitude`.
//! Invariant: a [`Place`] is on the globe.

use serde_json::{Map, Value};

/// The mean radius of the earth, in metres.
const EARTH_METRES: f64 = 6_371_008.8;
/// The names a place's members go by.
const NAMES: &[(&str, &str)] = &[("lat", "lon"), ("latitude", "longitude")];

/// Degrees north and east.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    latitude: f64,
    longitude: f64,
}

impl Place {
    /// From -90 to 90 and from -180 to 180.
    pub(super) fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let there = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        there.then_some(Self { latitude, longitude })
    }

    /// The place that a value stands for.
    pub(super) fn of(map: &Map<String, Value>) -> Option<Self> {
        let degrees = |name: &str| map.get(name).and_then(Value::as_f64);
        let pairs = NAMES.iter().map(|(north, east)| (degrees(north), degrees(east)));
        pairs.filter_map(|(north, east)| Place::new(north?, east?)).next()
    }

    /// The way along the surface of a ball, in metres (haversine; within half a percent).
    pub(super) fn metres_to(self, other: Place) -> f64 {
        let north = (other.latitude - self.latitude).to_radians() / 2.0;
        let east = (other.longitude - self.longitude).to_radians() / 2.0;
        let narrowing = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let half_chord = north.sin().powi(2) + narrowing * east.sin().powi(2);
        2.0 * EARTH_METRES * half_chord.clamp(0.0, 1.0).sqrt().asin()
    }
}

#[cfg(test)]
impl Place {
    /// North and east.
    pub(super) fn degrees(self) -> (f64, f64) {
        (self.latitude, self.longitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ways_have_their_length() {
        let place = |latitude, longitude| Place::new(latitude, longitude).expect("a place");
        let berlin_paris = place(52.52, 13.405).metres_to(place(48.8566, 2.3522));
        assert!((berlin_paris - 877_500.0).abs() < 2_000.0, "{berlin_paris}");
        let across_the_date_line = place(0.0, 179.5).metres_to(place(0.0, -179.5));
        assert!((across_the_date_line - 111_195.0).abs() < 1.0, "{across_the_date_line}");
        let half_round = place(90.0, 0.0).metres_to(place(-90.0, 0.0));
        assert!((half_round - 20_015_114.0).abs() < 10.0, "{half_round}");
    }

    #[test]
    fn what_is_not_on_the_globe_is_no_place() {
        assert_eq!(Place::new(90.1, 0.0), None);
        assert_eq!(Place::new(0.0, -180.1), None);
        assert_eq!(Place::new(f64::NAN, 0.0), None);
    }
}
