//! An object on its way between two devices: its record at the head of the stream, then its body.

use crate::courtesy::Courtesy;
use crate::wire;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use martlet_protocol::record::ObjectRecord;
use martlet_service::{Body, BodyError, headers};
use martlet_storage::{BodyReader, BodyWriter, Device, StorageError};
use std::fmt;

/// Why what arrived could not be taken.
#[derive(Debug)]
pub enum TransferError {
    /// The frame is not what the protocol says; the text says where.
    Malformed(&'static str),
    /// The stream ended early or broke.
    Broken(BodyError),
    /// The local device refused.
    Storage(StorageError),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::Malformed(what) => write!(f, "malformed transfer: {what}"),
            TransferError::Broken(error) => write!(f, "transfer broke: {error}"),
            TransferError::Storage(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TransferError {}

impl From<StorageError> for TransferError {
    fn from(error: StorageError) -> Self {
        TransferError::Storage(error)
    }
}

/// Headers and body that carry a record, and the object's bytes when `body` is given.
pub fn frame(record: &ObjectRecord, body: Option<BodyReader>) -> Result<(HeaderMap, Body), TransferError> {
    let head = serde_json::to_vec(record).map_err(|_| TransferError::Malformed("record is not JSON"))?;
    let mut map = HeaderMap::new();
    headers::set(&mut map, wire::RECORD_LENGTH, &head.len().to_string());
    headers::set(&mut map, wire::WITH_BODY, if body.is_some() { "1" } else { "0" });
    map.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    let Some(reader) = body else {
        return Ok((map, Body::full(head)));
    };
    // An error ends the stream: the receiver sees it break and stores nothing.
    let chunks = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
            Ok(None) => None,
            Err(_) => Some((Err(BodyError::Corrupt), None)),
        }
    });
    let length = head.len() as u64 + record.data.as_ref().map_or(0, |data| data.length);
    let head = stream::once(async move { Ok(Bytes::from(head)) });
    Ok((map, Body::sized_stream(length, head.chain(chunks))))
}

/// What a frame carried.
pub struct Arrival {
    pub record: ObjectRecord,
    /// The object's bytes, when they came along.
    pub body: Option<ArrivingBody>,
}

/// The bytes after the record.
pub struct ArrivingBody {
    first: Bytes,
    rest: Body,
    length: u64,
}

/// Reads the record at the head of a frame.
pub async fn read_frame(map: &HeaderMap, mut body: Body) -> Result<Arrival, TransferError> {
    let length = headers::text(map, wire::RECORD_LENGTH).and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or(TransferError::Malformed("no record length"))?;
    if length > wire::MAX_RECORD_BYTES {
        return Err(TransferError::Malformed("record too long"));
    }
    let mut head = BytesMut::with_capacity(length);
    while head.len() < length {
        match body.next().await {
            Some(Ok(chunk)) => head.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(TransferError::Broken(error)),
            None => return Err(TransferError::Broken(BodyError::Disconnected)),
        }
    }
    let first = head.split_off(length).freeze();
    let record: ObjectRecord =
        serde_json::from_slice(&head).map_err(|_| TransferError::Malformed("record does not parse"))?;
    let with_body = headers::text(map, wire::WITH_BODY) == Some("1");
    let body = match (&record.data, with_body) {
        (Some(data), true) => Some(ArrivingBody {
            first,
            rest: body,
            length: data.length,
        }),
        (None, true) => return Err(TransferError::Malformed("a tombstone has no body")),
        (_, false) => None,
    };
    Ok(Arrival { record, body })
}

/// Puts a record, and its body when there is one, behind others.
pub fn pack(out: &mut BytesMut, record: &ObjectRecord, body: Option<&[u8]>) -> Result<(), TransferError> {
    let head = serde_json::to_vec(record).map_err(|_| TransferError::Malformed("record is not JSON"))?;
    let body = body.unwrap_or_default();
    out.put_u64(head.len() as u64);
    out.put_u64(body.len() as u64);
    out.put_slice(&head);
    out.put_slice(body);
    Ok(())
}

/// Reads what [`pack`] wrote.
pub fn unpack(mut bytes: Bytes) -> Result<Vec<Arrival>, TransferError> {
    let cut_short = TransferError::Malformed("a pack is cut short");
    let mut found = Vec::new();
    while bytes.has_remaining() {
        let (Ok(head), Ok(length)) = (bytes.try_get_u64(), bytes.try_get_u64()) else {
            return Err(cut_short);
        };
        let whole = head.checked_add(length);
        if whole.is_none_or(|whole| whole > bytes.len() as u64) {
            return Err(cut_short);
        }
        let head = bytes.split_to(head as usize);
        let first = bytes.split_to(length as usize);
        let record: ObjectRecord =
            serde_json::from_slice(&head).map_err(|_| TransferError::Malformed("record does not parse"))?;
        let body = match record.data.as_ref().map(|data| data.length) {
            Some(own) if own == length => Some(ArrivingBody {
                first,
                rest: Body::empty(),
                length,
            }),
            None if length == 0 => None,
            _ => {
                return Err(TransferError::Malformed(
                    "a body is not as long as its record says",
                ));
            }
        };
        found.push(Arrival { record, body });
    }
    Ok(found)
}

impl ArrivingBody {
    /// Writes all bytes to the device. Fewer or more than the record says is an error, and nothing is kept. Who fetched
    /// the body keeps its own budget; to who was given it there is none.
    pub async fn store(
        mut self,
        device: &Device,
        budget: Option<&Courtesy>,
    ) -> Result<BodyWriter, TransferError> {
        let mut writer = device.begin_body(Some(self.length)).await?;
        let mut left = self.length;
        let mut chunk = std::mem::take(&mut self.first);
        loop {
            let length = chunk.len() as u64;
            left = left
                .checked_sub(length)
                .ok_or(TransferError::Malformed("more bytes than the record says"))?;
            if length > 0 {
                writer.write(chunk).await?;
                if let Some(budget) = budget {
                    budget.carried(length).await;
                }
            }
            chunk = match self.rest.next().await {
                Some(Ok(next)) => next,
                Some(Err(error)) => return Err(TransferError::Broken(error)),
                None if left > 0 => return Err(TransferError::Broken(BodyError::Disconnected)),
                None => return Ok(writer),
            };
        }
    }
}
