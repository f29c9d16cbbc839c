//! Options between arguments, as Python's `optparse` takes them: short, joined, long, shortened, with `=` or without.

use super::session::Failure;
use martlet_ring::builder::NewDevice;
use martlet_ring::syntax::{DeviceChange, DeviceSearch, normalize_address};
use std::collections::BTreeMap;
use std::str::FromStr;

/// One option that a command knows.
pub struct Known {
    pub short: Option<char>,
    pub long: &'static str,
    /// Whether a value follows.
    pub has_value: bool,
}

pub const fn value(short: char, long: &'static str) -> Known {
    Known {
        short: Some(short),
        long,
        has_value: true,
    }
}

pub const fn long_value(long: &'static str) -> Known {
    Known {
        short: None,
        long,
        has_value: true,
    }
}

pub const fn flag(short: char, long: &'static str) -> Known {
    Known {
        short: Some(short),
        long,
        has_value: false,
    }
}

pub const fn long_flag(long: &'static str) -> Known {
    Known {
        short: None,
        long,
        has_value: false,
    }
}

/// What was given: options by their long names, the last of each, and everything else in order.
#[derive(Debug, Default, PartialEq)]
pub struct Given {
    values: BTreeMap<&'static str, String>,
    pub args: Vec<String>,
}

impl Given {
    pub fn parse(known: &[Known], args: &[String]) -> Result<Given, Failure> {
        let mut given = Given::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                given.args.extend(rest.cloned());
                break;
            } else if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                given.take(by_long(known, name)?, value, &mut rest)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                let mut letters = arg[1..].chars();
                while let Some(letter) = letters.next() {
                    let known = known
                        .iter()
                        .find(|known| known.short == Some(letter))
                        .ok_or_else(|| Failure::usage(format!("no such option: -{letter}")))?;
                    let joined = letters.as_str();
                    let takes_joined = known.has_value && !joined.is_empty();
                    given.take(known, takes_joined.then(|| joined.to_owned()), &mut rest)?;
                    if takes_joined {
                        break;
                    }
                }
            } else {
                given.args.push(arg.clone());
            }
        }
        Ok(given)
    }

    fn take<'a>(
        &mut self,
        known: &Known,
        value: Option<String>,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        let value = match (known.has_value, value) {
            (false, None) => String::new(),
            (false, Some(_)) => {
                return Err(Failure::usage(format!(
                    "--{} option does not take a value",
                    known.long
                )));
            }
            (true, Some(value)) => value,
            (true, None) => rest
                .next()
                .ok_or_else(|| Failure::usage(format!("--{} option requires 1 argument", known.long)))?
                .clone(),
        };
        self.values.insert(known.long, value);
        Ok(())
    }

    pub fn has(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    pub fn text(&self, long: &str) -> Option<&str> {
        self.values.get(long).map(String::as_str)
    }

    pub fn parsed<T: FromStr>(&self, long: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(long) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| Failure::usage(format!("option --{long}: invalid value: {text:?}")))
    }

    /// Addresses are compared in their normal form.
    fn address(&self, long: &str) -> Result<Option<String>, Failure> {
        let address = self.text(long).map(normalize_address);
        address.transpose().map_err(Failure::from)
    }
}

/// An option by its name or the begin of it, when no other begins so.
fn by_long<'a>(known: &'a [Known], name: &str) -> Result<&'a Known, Failure> {
    if let Some(exact) = known.iter().find(|known| known.long == name) {
        return Ok(exact);
    }
    let mut begins = known.iter().filter(|known| known.long.starts_with(name));
    match (begins.next(), begins.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Failure::usage(format!("ambiguous option: --{name}"))),
        (None, _) => Err(Failure::usage(format!("no such option: --{name}"))),
    }
}

/// Options that name devices, and what to change of them.
const DEVICE: [Known; 17] = [
    value('u', "id"),
    value('r', "region"),
    value('z', "zone"),
    value('i', "ip"),
    value('p', "port"),
    value('j', "replication-ip"),
    value('q', "replication-port"),
    value('d', "device"),
    value('w', "weight"),
    value('m', "meta"),
    value('I', "change-ip"),
    value('P', "change-port"),
    value('J', "change-replication-ip"),
    value('Q', "change-replication-port"),
    value('D', "change-device"),
    value('M', "change-meta"),
    flag('y', "yes"),
];

/// The options that look for devices; with any of them, search values are not taken from arguments.
const SEARCH: [&str; 10] = [
    "id",
    "region",
    "zone",
    "ip",
    "port",
    "replication-ip",
    "replication-port",
    "device",
    "weight",
    "meta",
];

/// The arguments of a command that names devices.
pub struct DeviceArgs {
    given: Given,
}

impl DeviceArgs {
    pub fn parse(args: &[String]) -> Result<DeviceArgs, Failure> {
        Ok(DeviceArgs {
            given: Given::parse(&DEVICE, args)?,
        })
    }

    pub fn args(&self) -> &[String] {
        &self.given.args
    }

    /// Questions are answered with yes.
    pub fn yes(&self) -> bool {
        self.given.has("yes")
    }

    pub fn names_devices(&self) -> bool {
        SEARCH.iter().any(|long| self.given.has(long))
    }

    pub fn search(&self) -> Result<DeviceSearch, Failure> {
        let given = &self.given;
        Ok(DeviceSearch {
            id: given.parsed("id")?,
            region: given.parsed("region")?,
            zone: given.parsed("zone")?,
            ip: given.address("ip")?,
            port: given.parsed("port")?,
            replication_ip: given.address("replication-ip")?,
            replication_port: given.parsed("replication-port")?,
            device: given.text("device").map(str::to_owned),
            weight: given.parsed("weight")?,
            meta: given.text("meta").map(str::to_owned),
        })
    }

    pub fn change(&self) -> Result<DeviceChange, Failure> {
        let given = &self.given;
        Ok(DeviceChange {
            ip: given.address("change-ip")?,
            port: given.parsed("change-port")?,
            replication_ip: given.address("change-replication-ip")?,
            replication_port: given.parsed("change-replication-port")?,
            device: given.text("change-device").map(str::to_owned),
            meta: given.text("change-meta").map(str::to_owned),
        })
    }

    /// The one device that options describe.
    pub fn new_device(&self) -> Result<NewDevice, Failure> {
        fn required<T>(value: Option<T>, option: &str) -> Result<T, Failure> {
            value.ok_or_else(|| Failure::said(format!("Required argument {option} not specified.")))
        }
        let given = &self.given;
        Ok(NewDevice {
            region: required(given.parsed("region")?, "-r/--region")?,
            zone: required(given.parsed("zone")?, "-z/--zone")?,
            ip: required(given.address("ip")?, "-i/--ip")?,
            port: required(given.parsed("port")?, "-p/--port")?,
            device: required(given.text("device"), "-d/--device")?.to_owned(),
            weight: required(given.parsed("weight")?, "-w/--weight")?,
            replication_ip: given.address("replication-ip")?,
            replication_port: given.parsed("replication-port")?,
            meta: given.text("meta").unwrap_or_default().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(args: &[&str]) -> Result<Given, String> {
        let known = [
            value('s', "seed"),
            flag('f', "force"),
            flag('d', "debug"),
            long_value("format-version"),
        ];
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Given::parse(&known, &args).map_err(|failure| failure.text)
    }

    #[test]
    fn options_stand_anywhere_and_in_every_form() {
        let forms: [&[&str]; 6] = [
            &["a", "-s", "7", "-f", "b"],
            &["-fs7", "a", "b"],
            &["-f", "a", "--seed=7", "b"],
            &["--seed", "7", "--force", "--", "a", "b"],
            &["--se", "7", "a", "--forc", "b"],
            &["-s3", "a", "-s7", "b", "-f"],
        ];
        for form in forms {
            let given = given(form).unwrap();
            assert_eq!(given.text("seed"), Some("7"), "{form:?}");
            assert!(given.has("force") && !given.has("debug"), "{form:?}");
            assert_eq!(given.args, ["a", "b"], "{form:?}");
        }
    }

    #[test]
    fn unknown_and_cut_options_are_refused() {
        for form in [
            &["-x"][..],
            &["--nothing"],
            &["--fo=1"],
            &["-s"],
            &["--seed"],
            &["--f"],
            &["--force=1"],
        ] {
            assert!(given(form).is_err(), "{form:?}");
        }
    }
}
