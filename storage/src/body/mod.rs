//! Bodies.
use crate::{Result, StorageError};
use bytes::Bytes;
#[derive(Debug)]
pub struct BodyWriter {}
impl BodyWriter {
    pub async fn write(&mut self, _bytes: Bytes) -> Result<()> { Err(StorageError::Closed) }
    pub fn written(&self) -> u64 { 0 }
}
#[derive(Debug)]
pub struct BodyReader {}
impl BodyReader {
    pub fn length(&self) -> u64 { 0 }
    pub fn set_range(&mut self, _start: u64, _end: u64) {}
    pub async fn prefetch(&mut self) -> Result<()> { Err(StorageError::Closed) }
    pub async fn next(&mut self) -> Result<Option<Bytes>> { Err(StorageError::Closed) }
}
