//! `martlet ring composer`: joins the rings of several builders, as `swift-ring-composer` does.

use super::Outcome;
use super::options::{Given, flag, long_flag, long_value};
use super::session::{Exit, Failure, Session, read_file, write_file};
use martlet_ring::builder::Builder;
use martlet_ring::composite::{Component, check_same, components, compose};
use martlet_ring::file::{self, FormatVersion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const USAGE: &str = "\
martlet ring composer <composite_builder_file> show
    Shows which builders a composite ring is made of.
martlet ring composer <composite_builder_file> compose [<builder> <builder> ...]
                      --output <ring_file> [--force] [--format-version 1|2]
    Joins the rings of builders into one ring file, and notes them in the
    composite builder file. Without builders, those noted there are taken.
    All must have the same partition power, whole replica counts, regions and
    devices of their own, and be rebalanced. --force takes builders that are
    not those noted.";

/// The file of a composite ring: JSON, as Swift has it.
#[derive(Serialize, Deserialize)]
struct Composite {
    components: Vec<Component>,
    /// By id.
    component_builder_files: BTreeMap<String, PathBuf>,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    saved_path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serialization_version: Option<u32>,
}

/// Whether bytes are the file of a composite ring.
pub fn is_composite(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Composite>(bytes).is_ok()
}

pub fn run(session: &mut Session, args: &[String]) -> Outcome {
    let known = [
        long_value("output"),
        long_flag("force"),
        long_value("format-version"),
        flag('h', "help"),
    ];
    let given = Given::parse(&known, args)?;
    if given.has("help") {
        session.say(USAGE);
        return Ok(Exit::Success);
    }
    let [file, command, builders @ ..] = given.args.as_slice() else {
        return Err(Failure::said(USAGE));
    };
    let path = Path::new(file);
    match command.as_str() {
        "show" if builders.is_empty() => show(session, path),
        "compose" => {
            let output = given.text("output").ok_or_else(|| Failure::said(USAGE))?;
            let format = match given.text("format-version") {
                None | Some("1") => FormatVersion::V1,
                Some("2") => FormatVersion::V2,
                Some(_) => return Err(Failure::said(USAGE)),
            };
            join(path, builders, given.has("force"), Path::new(output), format)
        }
        _ => Err(Failure::said(USAGE)),
    }
}

fn show(session: &mut Session, path: &Path) -> Outcome {
    let mut composite = load(path)?;
    composite.saved_path = None;
    composite.serialization_version = None;
    let shown = serde_json::to_value(&composite)?;
    session.say(serde_json::to_string_pretty(&shown)?);
    Ok(Exit::Success)
}

fn load(path: &Path) -> Result<Composite, Failure> {
    let fail = |error: String| {
        Failure::said(format!(
            "An error occurred while loading the composite builder file.\n{}: {error}",
            path.display()
        ))
    };
    let bytes = read_file(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))
}

fn join(path: &Path, given: &[String], force: bool, output: &Path, format: FormatVersion) -> Outcome {
    let fail = |why: Failure| {
        Failure::said(format!(
            "An error occurred while composing the ring.\n{}",
            why.text
        ))
    };
    let old = match path.exists() {
        true => Some(load(path)?),
        false => None,
    };
    let files = builder_files(old.as_ref(), given).map_err(fail)?;
    let mut builders = Vec::new();
    for file in &files {
        builders.push(load_builder(file).map_err(fail)?);
    }
    let new = components(&builders).map_err(|error| fail(error.into()))?;
    if let Some(old) = old.as_ref().filter(|_| !force) {
        let newer = check_same(&old.components, &new).map_err(|error| fail(error.into()))?;
        if !newer {
            return Err(fail(Failure::said(
                "None of the component builders has been modified since the existing composite ring was built.",
            )));
        }
    }
    let parts = compose(&builders).map_err(|error| fail(error.into()))?;
    let composite = Composite {
        component_builder_files: new
            .iter()
            .map(|component| component.id.clone())
            .zip(files)
            .collect(),
        components: new,
        version: old.map_or(0, |old| old.version) + 1,
        saved_path: Some(std::path::absolute(path)?),
        serialization_version: Some(1),
    };
    write_file(output, &file::write(&parts, format)?)?;
    write_file(path, &serde_json::to_vec(&composite)?)?;
    Ok(Exit::Success)
}

/// The builders named now, else those of the existing composite ring; by absolute paths.
fn builder_files(old: Option<&Composite>, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let files: Vec<PathBuf> = match (given.is_empty(), old) {
        (true, Some(old)) => {
            let file = |component: &Component| old.component_builder_files.get(&component.id).cloned();
            let files: Option<Vec<PathBuf>> = old.components.iter().map(file).collect();
            files.ok_or_else(|| Failure::said("a component has no builder file"))?
        }
        _ => given.iter().map(PathBuf::from).collect(),
    };
    if files.len() < 2 {
        return Err(Failure::said("Two or more component builders are required."));
    }
    let absolute = |file: PathBuf| Ok(std::path::absolute(file)?);
    files.into_iter().map(absolute).collect()
}

fn load_builder(path: &Path) -> Result<Builder, Failure> {
    let fail = |error: String| Failure::said(format!("{}: {error}", path.display()));
    let bytes = read_file(path).map_err(|error| fail(error.to_string()))?;
    Builder::from_file(&bytes).map_err(|error| fail(error.to_string()))
}
