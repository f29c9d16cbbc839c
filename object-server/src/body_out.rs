//! The body of a GET on its way out: whole, one range or several, the first piece checked before anything is promised.

use crate::multipart::{LINE_END, Multipart};
use bytes::Bytes;
use futures_util::stream;
use martlet_protocol::range::ByteRange;
use martlet_service::{Body, BodyError};
use martlet_storage::{BodyReader, StorageError};
use std::collections::VecDeque;

/// What of a body goes out.
pub(crate) enum Plan {
    Range(ByteRange),
    Multipart(Multipart),
}

impl Plan {
    pub fn whole(length: u64) -> Self {
        Plan::Range(ByteRange {
            start: 0,
            end: length,
        })
    }

    /// Bytes of the answer.
    pub fn length(&self) -> u64 {
        match self {
            Plan::Range(range) => range.len(),
            Plan::Multipart(multipart) => multipart.content_length(),
        }
    }
}

/// Reads the first piece, and makes a body of it and of what follows. A body of one piece is handed over as it is.
pub(crate) async fn open(plan: Plan, reader: BodyReader) -> Result<Body, StorageError> {
    let length = plan.length();
    if length == 0 {
        return Ok(Body::empty());
    }
    let mut pieces = Pieces::new(plan, reader);
    let first = pieces.read().await?;
    if first.len() as u64 == length {
        return Ok(Body::full(first));
    }
    pieces.ready.push_back(first);
    let rest = stream::try_unfold(pieces, |mut pieces| async move {
        match pieces.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, pieces))),
            Err(StorageError::Corrupt(_)) => Err(BodyError::Corrupt),
            Err(error) => Err(BodyError::Io(error.to_string())),
        }
    });
    Ok(Body::sized_stream(length, rest))
}

/// Pieces in the order they go out: what is `ready`, then what is left of the range being read, then what `follows`.
struct Pieces {
    reader: BodyReader,
    ready: VecDeque<Bytes>,
    /// Bytes left of the range being read.
    left: u64,
    follows: VecDeque<Piece>,
}

enum Piece {
    Text(Bytes),
    Range(ByteRange),
}

impl Pieces {
    /// Positioned at the first range.
    fn new(plan: Plan, reader: BodyReader) -> Self {
        let mut pieces = Pieces {
            reader,
            ready: VecDeque::new(),
            left: 0,
            follows: VecDeque::new(),
        };
        match plan {
            Plan::Range(range) => pieces.begin(range),
            Plan::Multipart(multipart) => {
                for (at, range) in multipart.ranges.iter().enumerate() {
                    let head = multipart.head(*range);
                    if at == 0 {
                        pieces.ready.push_back(head);
                        pieces.begin(*range);
                    } else {
                        pieces.follows.push_back(Piece::Text(head));
                        pieces.follows.push_back(Piece::Range(*range));
                    }
                    pieces.follows.push_back(Piece::Text(LINE_END));
                }
                pieces.follows.push_back(Piece::Text(multipart.end()));
            }
        }
        pieces
    }

    fn begin(&mut self, range: ByteRange) {
        self.reader.set_range(range.start, range.end);
        self.left = range.len();
    }

    /// The next piece of the range being read, of which something is left.
    async fn read(&mut self) -> Result<Bytes, StorageError> {
        match self.reader.next().await? {
            Some(piece) if !piece.is_empty() && piece.len() as u64 <= self.left => {
                self.left -= piece.len() as u64;
                Ok(piece)
            }
            _ => Err(StorageError::Corrupt(
                "the body's length is not that of its record".into(),
            )),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.left > 0 {
                return self.read().await.map(Some);
            }
            match self.follows.pop_front() {
                None => return Ok(None),
                Some(Piece::Text(piece)) => return Ok(Some(piece)),
                Some(Piece::Range(range)) => self.begin(range),
            }
        }
    }
}
