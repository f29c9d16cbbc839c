//! A time as Swift's configuration says it: seconds, with a fraction where wanted.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// The longest time that can be set: longer than anybody waits, and short enough to be added to any moment.
const LONGEST: f64 = 86_400.0;

/// A span of time, to the millisecond; more than nothing and at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(Duration);

impl Seconds {
    pub const fn from_millis(millis: u64) -> Self {
        Seconds(Duration::from_millis(millis))
    }

    pub fn get(self) -> Duration {
        self.0
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds: 0.001 to 86400")
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
                match (0.001..=LONGEST).contains(&seconds) {
                    true => Ok(Seconds::from_millis((seconds * 1_000.0).round() as u64)),
                    false => Err(E::custom(format!(
                        "{seconds} is not between 0.001 and 86400 seconds"
                    ))),
                }
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
                self.visit_f64(seconds as f64)
            }
        }

        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct File {
        wait: Seconds,
    }

    #[test]
    fn whole_and_broken_seconds_are_read_and_nonsense_is_not() {
        let read = |text: &str| toml::from_str::<File>(&format!("wait = {text}")).map(|file| file.wait.get());
        assert_eq!(read("60"), Ok(Duration::from_secs(60)));
        assert_eq!(read("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "0.0", "nan", "inf", "1e300", "100000", "\"5\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let written = toml::to_string(&File {
            wait: Seconds::from_millis(500),
        });
        assert_eq!(written.unwrap(), "wait = 0.5\n");
    }
}
