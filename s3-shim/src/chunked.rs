//! Decodes aws-chunked bodies: a pure state machine that takes bytes as they come and gives data, checking sizes,
//! chunk signatures and the trailer on the way.
//!
//! Memory is bounded: data passes through without being gathered; a chunk header is at most [`MAX_LINE_BYTES`], the
//! trailer at most [`MAX_TRAILER_BYTES`].

use crate::errors::{Code, S3Error, S3Result};
use crate::signature::canonical::sha256_hex;
use crate::signature::same;
use crate::signature::v4::ChunkSeed;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// Longest line of a chunk header: a size, `;chunk-signature=` and 64 digits need 98.
pub const MAX_LINE_BYTES: usize = 512;
/// Longest trailer section.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// S3's smallest signed chunk but the last; below it the signatures would cost more than the data.
const MIN_SIGNED_CHUNK_BYTES: u64 = 8 * 1024;

/// Chunk signatures being checked.
struct Signing {
    seed: ChunkSeed,
    previous: String,
    given: String,
    data: Sha256,
}

enum State {
    /// In a chunk header.
    Header,
    /// In chunk data, so many bytes to go.
    Data(u64),
    /// Before the line end that follows chunk data.
    DataEnd,
    /// After the last chunk.
    Trailer,
    /// All was read.
    Done,
}

/// The decoder of one body.
pub struct Decoder {
    state: State,
    line: Vec<u8>,
    signing: Option<Signing>,
    has_trailer: bool,
    trailer_bytes: usize,
    trailers: Vec<(String, String)>,
    trailer_signature: Option<String>,
    saw_small_chunk: bool,
}

impl Decoder {
    /// For bodies whose chunks are signed.
    pub fn signed(seed: ChunkSeed, has_trailer: bool) -> Self {
        let previous = seed.signature.clone();
        let signing = Signing {
            seed,
            previous,
            given: String::new(),
            data: Sha256::new(),
        };
        Decoder::new(Some(signing), has_trailer)
    }

    /// For bodies whose chunks are not signed, which always have a trailer.
    pub fn unsigned() -> Self {
        Decoder::new(None, true)
    }

    fn new(signing: Option<Signing>, has_trailer: bool) -> Self {
        Decoder {
            state: State::Header,
            line: Vec::new(),
            signing,
            has_trailer,
            trailer_bytes: 0,
            trailers: Vec::new(),
            trailer_signature: None,
            saw_small_chunk: false,
        }
    }

    /// The trailer's fields, names in lower case; complete after [`Decoder::finish`].
    pub fn trailers(&self) -> &[(String, String)] {
        &self.trailers
    }

    /// Takes the next bytes and appends the data in them to `out`. After an error the decoder must not be used.
    pub fn feed(&mut self, mut input: Bytes, out: &mut VecDeque<Bytes>) -> S3Result<()> {
        while !input.is_empty() {
            match &mut self.state {
                State::Header => {
                    if let Some(line) = self.take_line(&mut input, MAX_LINE_BYTES)? {
                        self.begin_chunk(&line)?;
                    }
                }
                State::Data(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(length);
                    *left -= length as u64;
                    let is_whole = *left == 0;
                    if let Some(signing) = &mut self.signing {
                        signing.data.update(&data);
                        if is_whole {
                            signing.check()?;
                        }
                    }
                    out.push_back(data);
                    if is_whole {
                        self.state = State::DataEnd;
                    }
                }
                State::DataEnd => {
                    if let Some(line) = self.take_line(&mut input, 2)? {
                        if !line.is_empty() {
                            return Err(malformed("chunk data is longer than its size says"));
                        }
                        self.state = State::Header;
                    }
                }
                State::Trailer => {
                    if let Some(line) = self.take_line(&mut input, MAX_TRAILER_BYTES)? {
                        self.trailer_line(&line)?;
                    }
                }
                State::Done => return Err(malformed("there is data after the last chunk")),
            }
        }
        Ok(())
    }

    /// Says that no more bytes come.
    pub fn finish(&mut self) -> S3Result<()> {
        match self.state {
            State::Done => Ok(()),
            // Some clients leave out the empty line after the last chunk or after the trailer.
            State::Trailer if self.line.is_empty() => self.end_of_trailer(),
            State::Header | State::Data(_) | State::DataEnd | State::Trailer => {
                Err(Code::IncompleteBody.into())
            }
        }
    }

    /// Gathers bytes up to a line feed. The line is given without its end; a lone carriage return inside is an error.
    fn take_line(&mut self, input: &mut Bytes, limit: usize) -> S3Result<Option<Vec<u8>>> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let piece = input.split_to(end.map_or(input.len(), |end| end + 1));
        if self.line.len() + piece.len() > limit {
            return Err(malformed("a line is too long"));
        }
        self.line.extend_from_slice(&piece);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.contains(&b'\r') {
            return Err(malformed("a line holds a carriage return"));
        }
        Ok(Some(line))
    }

    fn begin_chunk(&mut self, line: &[u8]) -> S3Result<()> {
        let line = std::str::from_utf8(line).map_err(|_| malformed("a chunk header is not text"))?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let digits =
            !size.is_empty() && size.len() <= 16 && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = if digits {
            u64::from_str_radix(size, 16).ok()
        } else {
            None
        };
        let size = size.ok_or_else(|| malformed("a chunk size is not a number"))?;
        if let Some(signing) = &mut self.signing {
            let given = extension
                .strip_prefix("chunk-signature=")
                .filter(|given| given.len() == 64)
                .ok_or_else(|| malformed("a chunk has no signature"))?;
            signing.given = given.to_owned();
            if self.saw_small_chunk && size > 0 {
                return Err(Code::InvalidChunkSizeError.into());
            }
            self.saw_small_chunk = size < MIN_SIGNED_CHUNK_BYTES;
        }
        if size > 0 {
            self.state = State::Data(size);
            return Ok(());
        }
        if let Some(signing) = &mut self.signing {
            signing.check()?;
        }
        self.state = State::Trailer;
        Ok(())
    }

    fn trailer_line(&mut self, line: &[u8]) -> S3Result<()> {
        self.trailer_bytes += line.len() + 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES {
            return Err(malformed_trailer());
        }
        if line.is_empty() {
            return self.end_of_trailer();
        }
        let line = std::str::from_utf8(line).map_err(|_| malformed_trailer())?;
        let (name, value) = line.split_once(':').ok_or_else(malformed_trailer)?;
        let name = name.trim_matches([' ', '\t']).to_ascii_lowercase();
        let value = value.trim_matches([' ', '\t']).to_owned();
        if !self.has_trailer || name.is_empty() || self.trailer_signature.is_some() {
            return Err(malformed_trailer());
        }
        if name == "x-amz-trailer-signature" {
            self.trailer_signature = Some(value);
            return Ok(());
        }
        if self.trailers.iter().any(|(known, _)| *known == name) {
            return Err(malformed_trailer());
        }
        self.trailers.push((name, value));
        Ok(())
    }

    fn end_of_trailer(&mut self) -> S3Result<()> {
        if let (Some(signing), true) = (&self.signing, self.has_trailer) {
            let given = self.trailer_signature.as_deref().ok_or_else(malformed_trailer)?;
            let text: String = self
                .trailers
                .iter()
                .map(|(name, value)| format!("{name}:{value}\n"))
                .collect();
            let right = signing
                .seed
                .trailer_signature(&signing.previous, &sha256_hex(text.as_bytes()));
            if !same(right.as_bytes(), given.as_bytes()) {
                return Err(Code::SignatureDoesNotMatch.into());
            }
        }
        self.state = State::Done;
        Ok(())
    }
}

impl Signing {
    /// Checks the chunk that just ended, and makes its signature the one the next is chained to.
    fn check(&mut self) -> S3Result<()> {
        let data = hex::encode(std::mem::take(&mut self.data).finalize());
        let right = self.seed.chunk_signature(&self.previous, &data);
        if !same(right.as_bytes(), self.given.as_bytes()) {
            return Err(Code::SignatureDoesNotMatch.into());
        }
        self.previous = right;
        Ok(())
    }
}

fn malformed(why: &str) -> S3Error {
    S3Error::new(
        Code::IncompleteBody,
        format!("The request body is not in aws-chunked form: {why}."),
    )
}

fn malformed_trailer() -> S3Error {
    Code::MalformedTrailerError.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::v4::signing_key;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn seed(signature: &str) -> ChunkSeed {
        ChunkSeed {
            key: signing_key(
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "20130524",
                "us-east-1",
                "s3",
            ),
            date: "20130524T000000Z".into(),
            scope: "20130524/us-east-1/s3/aws4_request".into(),
            signature: signature.into(),
        }
    }

    const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";

    /// Amazon's published example: 66,560 letters a, in chunks of 64 KiB and 1 KiB.
    fn published() -> Vec<u8> {
        let mut body =
            b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
                .to_vec();
        body.extend([b'a'; 65_536]);
        body.extend(
            b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
        );
        body.extend([b'a'; 1_024]);
        body.extend(
            b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
        );
        body
    }

    /// The same with a trailer.
    fn published_with_trailer() -> Vec<u8> {
        let mut body =
            b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
                .to_vec();
        body.extend([b'a'; 65_536]);
        body.extend(
            b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
        );
        body.extend([b'a'; 1_024]);
        body.extend(
            b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
        );
        body.extend(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        body.extend(b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
        body
    }

    type Decoded = (Vec<u8>, Vec<(String, String)>);

    fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> S3Result<Decoded> {
        let mut out = VecDeque::new();
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        decoder.finish()?;
        let data = out.into_iter().flatten().collect();
        Ok((data, decoder.trailers().to_vec()))
    }

    #[test]
    fn the_published_examples_decode() {
        let (data, trailers) = decode(Decoder::signed(seed(SEED), false), &[&published()]).unwrap();
        assert_eq!((data.len(), trailers.len()), (66_560, 0));
        let (data, trailers) = decode(
            Decoder::signed(seed(TRAILER_SEED), true),
            &[&published_with_trailer()],
        )
        .unwrap();
        assert_eq!(data, vec![b'a'; 66_560]);
        assert_eq!(
            trailers,
            [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]
        );
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let whole = published_with_trailer();
        for position in (0..whole.len()).filter(|p| *p < 120 || *p > whole.len() - 1_600 || p % 4_001 == 0) {
            let mut bad = whole.clone();
            bad[position] ^= 1;
            let result = decode(Decoder::signed(seed(TRAILER_SEED), true), &[&bad]);
            assert!(result.is_err(), "byte {position}");
        }
        for length in (0..whole.len() - 2).rev().step_by(997) {
            assert!(decode(Decoder::signed(seed(TRAILER_SEED), true), &[&whole[..length]]).is_err());
        }
    }

    #[test]
    fn hostile_framing_is_refused() {
        for bad in [
            &b"5"[..],
            b"5\r\nabc",
            b"5\r\nabcdefg\r\n",
            b"5\r\nabcde",
            b"-1\r\n",
            b"+5\r\nabcde\r\n0\r\n\r\n",
            b"ffffffffffffffffff\r\n",
            b"\r\n",
            b" 5\r\nabcde\r\n0\r\n\r\n",
            b"g\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n:value\r\n\r\n",
            b"0\r\na:1\r\na:2\r\n\r\n",
            b"0\r\na:1",
            b"0\r\n\r\nmore",
            b"5\rx\nabcde\r\n0\r\n\r\n",
            b"\xff\xfe\r\n",
        ] {
            assert!(
                decode(Decoder::unsigned(), &[bad]).is_err(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        let endless = vec![b'0'; 100_000];
        assert!(decode(Decoder::unsigned(), &[&endless]).is_err());
        let trailer = [b"0\r\n".to_vec(), b"a:b\r\n".repeat(10_000)].concat();
        assert!(decode(Decoder::unsigned(), &[&trailer]).is_err());
        assert!(decode(Decoder::signed(seed(SEED), false), &[b"0\r\n\r\n"]).is_err());
    }

    #[test]
    fn small_signed_chunks_are_refused_before_they_cost_much() {
        let seed = seed(SEED);
        let mut previous = SEED.to_owned();
        let mut body = Vec::new();
        for _ in 0..2 {
            previous = seed.chunk_signature(&previous, &sha256_hex(b"x"));
            body.extend(format!("1;chunk-signature={previous}\r\nx\r\n").bytes());
        }
        let refused = decode(Decoder::signed(seed, false), &[&body]).unwrap_err();
        assert_eq!(refused.code, Code::InvalidChunkSizeError);
    }

    fn encode(chunks: &[Vec<u8>], trailer: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(format!("0\r\n{trailer}\r\n").bytes());
        body
    }

    /// Random pieces of a body, empty ones among them.
    fn pieces<'a>(body: &'a [u8], random: &mut StdRng) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = (0..random.random_range(0..20))
            .map(|_| random.random_range(0..=body.len()))
            .collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
    }

    #[test]
    fn any_split_gives_the_same_data() {
        let mut random = StdRng::seed_from_u64(1);
        let signed = published_with_trailer();
        for _ in 0..300 {
            let chunks: Vec<Vec<u8>> = (0..random.random_range(0..8))
                .map(|_| {
                    (0..random.random_range(0..300))
                        .map(|_| random.random())
                        .collect()
                })
                .collect();
            let body = encode(&chunks, "x-amz-checksum-crc32:AAAAAA==\r\n");
            let (data, trailers) = decode(Decoder::unsigned(), &pieces(&body, &mut random)).unwrap();
            assert_eq!(data, chunks.concat());
            assert_eq!(trailers.len(), 1);
            let (data, _) = decode(
                Decoder::signed(seed(TRAILER_SEED), true),
                &pieces(&signed, &mut random),
            )
            .unwrap();
            assert_eq!(data.len(), 66_560);
        }
    }

    #[test]
    fn noise_is_refused_and_never_panics() {
        let mut random = StdRng::seed_from_u64(2);
        let alphabet = b"0123456789abcdef;=\r\n\r\n:chunk-signature";
        for _ in 0..5_000 {
            let length = random.random_range(0..400);
            let noise: Vec<u8> = (0..length)
                .map(|_| alphabet[random.random_range(0..alphabet.len())])
                .collect();
            let parts = pieces(&noise, &mut random);
            assert!(decode(Decoder::signed(seed(SEED), true), &parts).is_err());
            if let Ok((data, _)) = decode(Decoder::unsigned(), &parts) {
                assert!(data.len() < noise.len());
            }
        }
    }
}
