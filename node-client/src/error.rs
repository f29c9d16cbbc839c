//! Why a node gave no response.

use std::fmt;

/// No response came from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// No connection: refused, unreachable.
    Connect(String),
    ConnectTimeout,
    /// Somebody is there, and did not get through TLS and the proof of the cluster key in time.
    HandshakeTimeout,
    /// It could not be reached a moment ago, and was not called.
    Away,
    /// Who is there did not prove to be of this cluster, or did not believe that we are.
    Untrusted(String),
    /// The request was sent; no head of a response came in time.
    ResponseTimeout,
    /// The node did not take the body, or did not send its own, for the stall time.
    Stalled,
    /// The connection broke in the middle.
    Reset(String),
    /// The node answered before the body was whole; the status is given.
    Refused(u16),
    /// What it sent was not HTTP.
    Protocol(String),
    /// The caller asked for something that cannot be sent.
    BadRequest(String),
}

impl NodeError {
    /// The node (or the way to it) is at fault, so that another node may do better. `false`: the caller is.
    pub fn is_node_fault(&self) -> bool {
        match self {
            NodeError::BadRequest(_) => false,
            NodeError::Connect(_)
            | NodeError::ConnectTimeout
            | NodeError::HandshakeTimeout
            | NodeError::Away
            | NodeError::Untrusted(_)
            | NodeError::ResponseTimeout
            | NodeError::Stalled
            | NodeError::Reset(_)
            | NodeError::Refused(_)
            | NodeError::Protocol(_) => true,
        }
    }

    pub(crate) fn from_hyper(error: &hyper::Error) -> Self {
        if error.is_parse() {
            NodeError::Protocol(error.to_string())
        } else {
            NodeError::Reset(error.to_string())
        }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Connect(text) => write!(f, "cannot connect: {text}"),
            NodeError::ConnectTimeout => f.write_str("timed out connecting"),
            NodeError::HandshakeTimeout => f.write_str("timed out proving the cluster key"),
            NodeError::Away => f.write_str("could not be reached a moment ago"),
            NodeError::Untrusted(text) => write!(f, "not trusted: {text}"),
            NodeError::ResponseTimeout => f.write_str("timed out waiting for a response"),
            NodeError::Stalled => f.write_str("node stalled in the middle of a body"),
            NodeError::Reset(text) => write!(f, "connection broke: {text}"),
            NodeError::Refused(status) => write!(f, "answered {status} before the body was sent"),
            NodeError::Protocol(text) => write!(f, "did not speak HTTP: {text}"),
            NodeError::BadRequest(text) => write!(f, "cannot be sent: {text}"),
        }
    }
}

impl std::error::Error for NodeError {}
