//! Reads a form's parts from the request's body, one after the other, as they come.

use super::multipart::{Decoder, Event, Malformed};
use super::part::PartHead;
use bytes::Bytes;
use martlet_service::{Body, BodyError, BodySender};
use std::time::Duration;

/// Bytes read for nothing after a refusal, so that a client that only then looks for its answer finds it.
const DRAINED_BYTES: usize = 1 << 20;

/// Why reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    Malformed(Malformed),
    /// The body broke off, or nothing came for too long.
    Body(BodyError),
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pumped {
    Whole,
    /// More bytes than the form allows.
    TooLarge,
    /// Nobody wanted the rest.
    Unwanted,
    Broken(ReadError),
}

/// A form on its way.
pub struct Reader {
    body: Body,
    decoder: Decoder,
    patience: Duration,
    is_in_part: bool,
}

impl Reader {
    /// A client that sends nothing for `patience` is given up.
    pub fn new(body: Body, boundary: &str, patience: Duration) -> Result<Self, Malformed> {
        Ok(Reader {
            body,
            decoder: Decoder::new(boundary)?,
            patience,
            is_in_part: false,
        })
    }

    /// The next part; what was left of the one before is passed over. `None`: the form ended well.
    pub async fn next_part(&mut self) -> Result<Option<PartHead>, ReadError> {
        while self.is_in_part {
            self.data().await?;
        }
        loop {
            match self.event().await? {
                Event::Headers(block) => {
                    self.is_in_part = true;
                    return Ok(Some(PartHead::parse(&block)));
                }
                Event::End => return Ok(None),
                Event::Data(_) | Event::PartEnd => {}
            }
        }
    }

    /// The next bytes of the part; `None` at its end.
    async fn data(&mut self) -> Result<Option<Bytes>, ReadError> {
        if !self.is_in_part {
            return Ok(None);
        }
        match self.event().await? {
            Event::Data(data) => Ok(Some(data)),
            Event::Headers(_) | Event::PartEnd | Event::End => {
                self.is_in_part = false;
                Ok(None)
            }
        }
    }

    /// The part's first bytes; the rest of it is passed over.
    pub async fn value(&mut self, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
        let mut value = Vec::new();
        while let Some(data) = self.data().await? {
            let room = max_bytes - value.len();
            value.extend_from_slice(&data[..data.len().min(room)]);
        }
        Ok(value)
    }

    /// Sends the part on. Only a whole part ends the other body well.
    pub async fn pump(&mut self, mut sender: BodySender, max_bytes: u64) -> Pumped {
        let mut left = max_bytes;
        loop {
            match self.data().await {
                Ok(Some(data)) => {
                    let Some(rest) = left.checked_sub(data.len() as u64) else {
                        sender.abort(BodyError::TooLarge).await;
                        return Pumped::TooLarge;
                    };
                    left = rest;
                    if sender.send(data).await.is_err() {
                        return Pumped::Unwanted;
                    }
                }
                Ok(None) => {
                    return match sender.finish().await {
                        Ok(()) => Pumped::Whole,
                        Err(_) => Pumped::Unwanted,
                    };
                }
                Err(error) => {
                    sender.abort(BodyError::Aborted).await;
                    return Pumped::Broken(error);
                }
            }
        }
    }

    /// Reads on for nothing, a bounded while.
    pub async fn drain(&mut self) {
        let mut left = DRAINED_BYTES;
        while left > 0 {
            match self.chunk().await {
                Ok(Some(chunk)) => left = left.saturating_sub(chunk.len()),
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn event(&mut self) -> Result<Event, ReadError> {
        loop {
            if let Some(event) = self.decoder.next().map_err(ReadError::Malformed)? {
                return Ok(event);
            }
            match self.chunk().await.map_err(ReadError::Body)? {
                Some(chunk) => self.decoder.push(&chunk),
                None => return Err(ReadError::Malformed(self.decoder.finish())),
            }
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        match tokio::time::timeout(self.patience, self.body.next()).await {
            Ok(Some(chunk)) => chunk.map(Some),
            Ok(None) => Ok(None),
            Err(_) => Err(BodyError::Timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::collect;

    fn reader(text: &'static str) -> Reader {
        Reader::new(Body::from(text), "b", Duration::from_secs(60)).unwrap()
    }

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nvalue\r\n--b\r\n\
        Content-Disposition: form-data; name=f; filename=g\r\n\r\n0123456789\r\n--b--\r\n";

    #[tokio::test]
    async fn parts_come_in_order_and_values_are_cut() {
        let mut reader = reader(FORM);
        let head = reader.next_part().await.unwrap().unwrap();
        assert_eq!(head.name.as_deref(), Some("a"));
        assert_eq!(reader.value(3).await.unwrap(), b"val");
        assert_eq!(reader.value(3).await.unwrap(), b"");
        // What nobody reads is passed over.
        assert_eq!(
            reader.next_part().await.unwrap().unwrap().filename.as_deref(),
            Some("g")
        );
        assert_eq!(reader.next_part().await, Ok(None));
        reader.drain().await;
    }

    #[tokio::test]
    async fn only_a_whole_file_ends_well() {
        for (form, max_bytes, pumped, received) in [
            (FORM, 10, Pumped::Whole, Ok("0123456789")),
            (FORM, 9, Pumped::TooLarge, Err(BodyError::TooLarge)),
            (
                &FORM[..FORM.len() - 12],
                10,
                Pumped::Broken(ReadError::Malformed(Malformed::Truncated)),
                Err(BodyError::Aborted),
            ),
        ] {
            let mut reader = reader(form);
            reader.next_part().await.unwrap();
            reader.next_part().await.unwrap();
            let (sender, mut body) = Body::channel(1);
            let receive = async {
                let mut all = Vec::new();
                while let Some(chunk) = body.next().await {
                    all.extend_from_slice(&chunk?);
                }
                Ok::<_, BodyError>(all)
            };
            let (found, bytes) = futures_util::join!(reader.pump(sender, max_bytes), receive);
            assert_eq!(found, pumped);
            assert_eq!(bytes, received.map(|text| text.as_bytes().to_vec()));
        }
        let mut reader = reader(FORM);
        reader.next_part().await.unwrap();
        let (sender, body) = Body::channel(1);
        drop(body);
        assert_eq!(reader.pump(sender, 10).await, Pumped::Unwanted);
        assert!(collect(Body::empty(), 0).await.is_ok());
    }
}
