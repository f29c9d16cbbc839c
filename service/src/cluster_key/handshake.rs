//! Three messages before the first byte of HTTP:
//!
//! | from | bytes |
//! |---|---|
//! | caller | magic (8), name of the key (8), nonce (32) |
//! | node | magic (8), nonce (32), its clock (8), proof (32) |
//! | caller | its clock (8), proof (32); HTTP follows at once |
//!
//! A clock is microseconds since 1970, big-endian. A proof is keyed BLAKE3 over the role, all bytes before it, and what
//! names the TLS session below (32 zeros without TLS). The magic begins with a byte that no HTTP request and no TLS session
//! begins with, so that a node tells a caller with a key from one without by one byte; who has none may still ask what is
//! open to all. A node that does not know the caller's key, or gets a wrong proof, answers HTTP's 401 and hangs up.

use super::{ClusterKeys, ID_BYTES, Key};
use crate::clock::wall_micros;
use crate::tls::Binding;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC_FIRST: u8 = 1;
const MAGIC: [u8; 8] = [MAGIC_FIRST, b'M', b'A', b'R', b'T', b'L', b'T', b'1'];
const NONCE_BYTES: usize = 32;
const CLOCK_BYTES: usize = 8;
const PROOF_BYTES: usize = 32;
const HELLO_BYTES: usize = MAGIC.len() + ID_BYTES + NONCE_BYTES;
const ANSWER_BYTES: usize = MAGIC.len() + NONCE_BYTES + CLOCK_BYTES + PROOF_BYTES;
const END_BYTES: usize = CLOCK_BYTES + PROOF_BYTES;

const DENIED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Why two ends do not trust each other.
#[derive(Debug)]
pub enum HandshakeError {
    Io(io::Error),
    /// The node does not know the caller's key.
    UnknownKey,
    /// The other end did not prove that it has the key.
    WrongProof,
    /// What came is not this protocol.
    NotSpoken,
    /// There is no key to call with.
    NoKey,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Io(error) => write!(f, "{error}"),
            HandshakeError::UnknownKey => f.write_str("it has another cluster key"),
            HandshakeError::WrongProof => f.write_str("it did not prove that it has the cluster key"),
            HandshakeError::NotSpoken => f.write_str("it does not speak with a cluster key"),
            HandshakeError::NoKey => f.write_str("there is no cluster key to call with"),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        HandshakeError::Io(error)
    }
}

/// The other end has the key; what its clock said, and between which readings of ours it must have said it, all in
/// microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Proved {
    pub their_clock: u64,
    pub sent: u64,
    pub received: u64,
}

/// Who is at the other end of a connection that was accepted.
#[derive(Debug)]
pub(crate) enum Caller {
    Trusted(Proved),
    /// Speaks HTTP without a proof; the byte it began with.
    Stranger(u8),
}

/// One side's part of the talk so far.
struct Transcript<'k> {
    key: &'k Key,
    binding: &'k Binding,
    bytes: Vec<u8>,
}

impl Transcript<'_> {
    fn proof(&self, role: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key.secret);
        hasher.update(role).update(self.binding).update(&self.bytes);
        hasher.finalize()
    }

    /// In constant time: that is how hashes of this library compare.
    fn is_proved(&self, role: &[u8], proof: &[u8]) -> bool {
        <[u8; PROOF_BYTES]>::try_from(proof).is_ok_and(|proof| self.proof(role) == blake3::Hash::from(proof))
    }
}

const NODE: &[u8] = b"node";
const CALLER: &[u8] = b"call";

/// Proves to a node that this side has the key, and has the node prove it first.
pub async fn call<S>(stream: &mut S, keys: &ClusterKeys, binding: &Binding) -> Result<Proved, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = keys.first().ok_or(HandshakeError::NoKey)?;
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let hello = [&MAGIC[..], &key.id, &nonce].concat();
    let sent = wall_micros();
    stream.write_all(&hello).await?;
    stream.flush().await?;

    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer[..MAGIC.len()]).await?;
    match &answer[..MAGIC.len()] {
        magic if magic == MAGIC => {}
        // Of this protocol's own refusal; a node without a key answers 400 to the hello.
        b"HTTP/1.1" => {
            let mut status = [0; 4];
            stream.read_exact(&mut status).await?;
            return Err(match &status {
                b" 401" => HandshakeError::UnknownKey,
                _ => HandshakeError::NotSpoken,
            });
        }
        _ => return Err(HandshakeError::NotSpoken),
    }
    stream.read_exact(&mut answer[MAGIC.len()..]).await?;
    let received = wall_micros();
    let (told, proof) = answer.split_at(ANSWER_BYTES - PROOF_BYTES);
    let mut transcript = Transcript {
        key: &key,
        binding,
        bytes: [&hello, told].concat(),
    };
    if !transcript.is_proved(NODE, proof) {
        return Err(HandshakeError::WrongProof);
    }

    let mut end = wall_micros().to_be_bytes().to_vec();
    transcript.bytes.extend_from_slice(&end);
    end.extend_from_slice(transcript.proof(CALLER).as_bytes());
    stream.write_all(&end).await?;
    stream.flush().await?;
    Ok(Proved {
        their_clock: clock(&told[told.len() - CLOCK_BYTES..]),
        sent,
        received,
    })
}

/// Finds out who called. An error means that the connection is of no use any more; the caller was told.
pub(crate) async fn answer<S>(
    stream: &mut S,
    keys: &ClusterKeys,
    binding: &Binding,
) -> Result<Caller, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = [0; HELLO_BYTES];
    stream.read_exact(&mut hello[..1]).await?;
    if hello[0] != MAGIC_FIRST {
        return Ok(Caller::Stranger(hello[0]));
    }
    stream.read_exact(&mut hello[1..]).await?;
    if hello[..MAGIC.len()] != MAGIC {
        return Err(HandshakeError::NotSpoken);
    }
    let Some(key) = keys.find(&hello[MAGIC.len()..][..ID_BYTES]) else {
        return deny(stream, HandshakeError::UnknownKey).await;
    };

    let nonce: [u8; NONCE_BYTES] = rand::random();
    let sent = wall_micros();
    let mut told = [&MAGIC[..], &nonce, &sent.to_be_bytes()].concat();
    let mut transcript = Transcript {
        key: &key,
        binding,
        bytes: [&hello[..], &told].concat(),
    };
    told.extend_from_slice(transcript.proof(NODE).as_bytes());
    stream.write_all(&told).await?;
    stream.flush().await?;

    let mut end = [0; END_BYTES];
    stream.read_exact(&mut end).await?;
    let received = wall_micros();
    let (told, proof) = end.split_at(CLOCK_BYTES);
    transcript.bytes.extend_from_slice(told);
    if !transcript.is_proved(CALLER, proof) {
        return deny(stream, HandshakeError::WrongProof).await;
    }
    Ok(Caller::Trusted(Proved {
        their_clock: clock(told),
        sent,
        received,
    }))
}

async fn deny<S: AsyncWrite + Unpin>(stream: &mut S, why: HandshakeError) -> Result<Caller, HandshakeError> {
    stream.write_all(DENIED).await?;
    stream.shutdown().await?;
    Err(why)
}

fn clock(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |clock, byte| clock << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    const PLAIN: Binding = [0; 32];

    fn keys(letters: &[&str]) -> ClusterKeys {
        let lines: Vec<String> = letters.iter().map(|letter| letter.repeat(32)).collect();
        ClusterKeys::parse(&lines.join("\n")).unwrap()
    }

    async fn meet(
        caller: (&ClusterKeys, Binding),
        node: (&ClusterKeys, Binding),
    ) -> (Result<Proved, HandshakeError>, Result<Caller, HandshakeError>) {
        let (mut here, mut there) = duplex(1024);
        tokio::join!(
            async move { call(&mut here, caller.0, &caller.1).await },
            async move { answer(&mut there, node.0, &node.1).await },
        )
    }

    #[tokio::test]
    async fn who_shares_a_key_is_trusted_and_clocks_are_exchanged() {
        // The second line: a key that is being changed is known to both sides all the time.
        for (caller, node) in [(&["a"][..], &["a"][..]), (&["b", "a"], &["a", "b"])] {
            let (called, answered) = meet((&keys(caller), PLAIN), (&keys(node), PLAIN)).await;
            let called = called.unwrap();
            let Caller::Trusted(answered) = answered.unwrap() else {
                panic!("a stranger");
            };
            for proved in [called, answered] {
                assert!((proved.sent..=proved.received).contains(&proved.their_clock));
            }
        }
    }

    #[tokio::test]
    async fn another_key_is_refused_on_both_sides() {
        let (called, answered) = meet((&keys(&["a"]), PLAIN), (&keys(&["b"]), PLAIN)).await;
        assert!(matches!(called, Err(HandshakeError::UnknownKey)), "{called:?}");
        assert!(
            matches!(answered, Err(HandshakeError::UnknownKey)),
            "{answered:?}"
        );
    }

    #[tokio::test]
    async fn a_proof_holds_for_one_tls_session_only() {
        let both = keys(&["a"]);
        let (called, answered) = meet((&both, PLAIN), (&both, [1; 32])).await;
        assert!(matches!(called, Err(HandshakeError::WrongProof)), "{called:?}");
        assert!(answered.is_err(), "{answered:?}");
    }

    #[tokio::test]
    async fn a_recorded_talk_opens_nothing() {
        let both = keys(&["a"]);
        let (mut here, mut there) = duplex(1024);
        let recorded = tokio::join!(
            async {
                let hello = [&MAGIC[..], &both.first().unwrap().id, &[7; NONCE_BYTES]].concat();
                here.write_all(&hello).await.unwrap();
                let mut answer = [0; ANSWER_BYTES];
                here.read_exact(&mut answer).await.unwrap();
                // A node's own proof, sent back to it.
                let mut end = wall_micros().to_be_bytes().to_vec();
                end.extend_from_slice(&answer[ANSWER_BYTES - PROOF_BYTES..]);
                here.write_all(&end).await.unwrap();
                let mut status = [0; 12];
                here.read_exact(&mut status).await.unwrap();
                String::from_utf8_lossy(&status).into_owned()
            },
            answer(&mut there, &both, &PLAIN),
        );
        assert_eq!(recorded.0, "HTTP/1.1 401");
        assert!(
            matches!(recorded.1, Err(HandshakeError::WrongProof)),
            "{:?}",
            recorded.1
        );
    }

    #[tokio::test]
    async fn who_speaks_http_is_a_stranger() {
        let (mut here, mut there) = duplex(64);
        here.write_all(b"GET / HTTP/1.1").await.unwrap();
        let who = answer(&mut there, &keys(&["a"]), &PLAIN).await.unwrap();
        assert!(matches!(who, Caller::Stranger(b'G')), "{who:?}");
    }
}
