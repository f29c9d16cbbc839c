//! S3's XML: a writer that escapes everything, a reader that refuses everything odd.

pub mod read;
pub mod write;

/// The namespace of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
