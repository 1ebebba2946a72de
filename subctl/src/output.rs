//! Answers on standard output.

use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;
use serde_json::Value;
use subm_install::Object;

use crate::error::Error;

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables.
    #[default]
    Text,
    /// Tables with all columns, nothing cut off.
    Wide,
    Json,
    Yaml,
}

impl Format {
    /// For programs rather than people.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// To standard output. Who closed it wants no more; a disk that is full is a failure.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(Error::File {
            path: "standard output".into(),
            what: "cannot be written",
            source,
        }),
        _ => Ok(()),
    }
}

/// A value as JSON or YAML.
pub fn print_data(value: &Value, format: Format) -> Result<(), Error> {
    match format {
        Format::Json => print(&format!("{value:#}\n")),
        _ => print(&yaml(value)),
    }
}

/// Objects as a stream of YAML documents. What is in Secrets is not shown.
pub fn print_objects(where_: &str, objects: &[Object]) -> Result<(), Error> {
    for object in objects {
        let mut value = object.value().clone();
        if object.kind() == "Secret" {
            for (_, data) in value["data"].as_object_mut().into_iter().flatten() {
                *data = Value::Null;
            }
        }
        print(&format!("--- # {where_}\n{}", yaml(&value)))?;
    }
    Ok(())
}

fn yaml(value: &Value) -> String {
    // JSON is YAML, should a value have no other form.
    let mut text = serde_saphyr::to_string(value).unwrap_or_else(|_| format!("{value:#}"));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
