//! An update that one server owes another: what the outbox holds until every target has acknowledged it.

use serde::{Deserialize, Serialize};

/// Where an update goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UpdateTarget {
    pub ip: String,
    pub port: u16,
    pub device: String,
    pub partition: u32,
}

/// What is to be done with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateOp {
    Put,
    Delete,
}

/// A container row (`object` given) or an account row (`object` absent) that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    pub account: String,
    pub container: String,
    pub object: Option<String>,
    pub op: UpdateOp,
    pub targets: Vec<UpdateTarget>,
    /// Backend headers to send, lower-case names.
    pub headers: Vec<(String, String)>,
    /// A newer update about the same row replaces this one in the outbox (reports of counts).
    pub coalesce: bool,
}
