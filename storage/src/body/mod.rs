//! Bodies: small ones inline in the index, larger ones in files with a CRC per block; all verified on every read.

pub(crate) mod buffers;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod reader;
pub(crate) mod writer;

pub use reader::BodyReader;
pub use writer::BodyWriter;
