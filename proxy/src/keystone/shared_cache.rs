//! What Keystone said of tokens, shared between proxies through memcached, so that each need not ask.
//!
//! Neither tokens nor their hashes stand there: names are HMACs of the hashes with the operator's key. Values carry an HMAC
//! too, so that who can write to memcached cannot pass for anyone. A memcached that does not answer is as an empty one.
//!
//! The four lines of memcached's text protocol that this takes are spoken here; no client crate is worth its weight for it.

use super::config::{AuthTokenConfig, Secret};
use hmac::{Hmac, KeyInit, Mac};
use martlet_protocol::identity::KeystoneUser;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// How long memcached may take to answer; Keystone is asked then.
const TIMEOUT: Duration = Duration::from_millis(500);
/// A server that failed is left alone for so long, in seconds.
const DOWN_SECS: u64 = 10;
/// Connections kept open to each server.
const MAX_IDLE_CONNECTIONS: usize = 8;
/// A user with more roles than fit here is not shared. Far below memcached's own limit of 1 MiB.
const MAX_VALUE_BYTES: usize = 64 * 1024;
const MAX_LINE_BYTES: u64 = 512;

/// What is said of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    pub user: KeystoneUser,
    /// Not believed from this second on.
    pub until_secs: u64,
}

/// The memcached servers of the configuration.
pub struct SharedCache {
    servers: Vec<Server>,
    secret: Secret,
}

struct Server {
    address: String,
    idle: Mutex<Vec<BufStream<TcpStream>>>,
    down_until_secs: AtomicU64,
}

impl SharedCache {
    /// `None` when no servers are named.
    pub fn new(config: &AuthTokenConfig) -> Option<Self> {
        let secret = config
            .memcache_secret_key
            .clone()
            .filter(|secret| !secret.is_empty())?;
        let servers = config.memcached_servers.iter().map(|address| Server {
            address: address.clone(),
            idle: Mutex::default(),
            down_until_secs: AtomicU64::new(0),
        });
        let servers: Vec<Server> = servers.collect();
        (!servers.is_empty()).then_some(SharedCache { servers, secret })
    }

    /// What another proxy has left about a token, by the token's hash.
    pub async fn get(&self, token_hash: &[u8], now_secs: u64) -> Option<Shared> {
        let name = self.name(token_hash);
        let value = self.server(&name).get(&name, now_secs).await?;
        let shared = self.unseal(&name, &value)?;
        (shared.until_secs > now_secs).then_some(shared)
    }

    /// Leaves word for other proxies.
    pub async fn set(&self, token_hash: &[u8], shared: &Shared, now_secs: u64) {
        let name = self.name(token_hash);
        let life_secs = shared.until_secs.saturating_sub(now_secs);
        let Some(value) = self
            .seal(&name, shared)
            .filter(|value| value.len() <= MAX_VALUE_BYTES)
        else {
            return;
        };
        if life_secs > 0 {
            self.server(&name).set(&name, &value, life_secs, now_secs).await;
        }
    }

    fn name(&self, token_hash: &[u8]) -> String {
        format!("martlet/token/{}", self.hmac(&[token_hash]))
    }

    /// All proxies with the same list of servers find a name on the same one.
    fn server(&self, name: &str) -> &Server {
        let last = &name[name.len() - 8..];
        let number = usize::from_str_radix(last, 16).unwrap_or(0);
        &self.servers[number % self.servers.len()]
    }

    fn seal(&self, name: &str, shared: &Shared) -> Option<Vec<u8>> {
        let json = serde_json::to_string(shared).ok()?;
        let seal = self.hmac(&[name.as_bytes(), json.as_bytes()]);
        Some(format!("{seal}{json}").into_bytes())
    }

    fn unseal(&self, name: &str, value: &[u8]) -> Option<Shared> {
        let (given, json) = value.split_at_checked(64)?;
        let right = self.hmac(&[name.as_bytes(), json]);
        let is_right: bool = right.as_bytes().ct_eq(given).into();
        if !is_right {
            tracing::warn!("memcached holds a token's description that is not ours");
            return None;
        }
        serde_json::from_slice(json).ok()
    }

    /// In hexadecimal.
    fn hmac(&self, parts: &[&[u8]]) -> String {
        // HMAC takes keys of every length; the fallback can not be reached, and would match nothing.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.reveal().as_bytes()) else {
            return String::new();
        };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex::encode(mac.finalize().into_bytes())
    }
}

impl Server {
    async fn get(&self, name: &str, now_secs: u64) -> Option<Vec<u8>> {
        let mut connection = self.connection(now_secs).await?;
        let value = self.in_time(get(&mut connection, name), now_secs).await?;
        self.keep(connection);
        value
    }

    async fn set(&self, name: &str, value: &[u8], life_secs: u64, now_secs: u64) {
        let Some(mut connection) = self.connection(now_secs).await else {
            return;
        };
        let done = self
            .in_time(set(&mut connection, name, value, life_secs), now_secs)
            .await;
        if done.is_some() {
            self.keep(connection);
        }
    }

    /// An open connection; `None` while the server is left alone.
    async fn connection(&self, now_secs: u64) -> Option<BufStream<TcpStream>> {
        if now_secs < self.down_until_secs.load(Ordering::Relaxed) {
            return None;
        }
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            // One that memcached has closed meanwhile shows bytes or an end where nothing should be.
            Some(connection) if is_quiet(&connection) => Some(connection),
            _ => {
                let stream = self.in_time(TcpStream::connect(&self.address), now_secs).await?;
                Some(BufStream::new(stream))
            }
        }
    }

    fn keep(&self, connection: BufStream<TcpStream>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    /// A failure makes the server be left alone for a while.
    async fn in_time<T>(&self, work: impl Future<Output = io::Result<T>>, now_secs: u64) -> Option<T> {
        let problem = match tokio::time::timeout(TIMEOUT, work).await {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.down_until_secs
            .store(now_secs + DOWN_SECS, Ordering::Relaxed);
        tracing::warn!(
            server = self.address,
            problem,
            "memcached is left alone for a while"
        );
        None
    }
}

fn is_quiet(connection: &BufStream<TcpStream>) -> bool {
    let mut byte = [0];
    let read = connection.get_ref().try_read(&mut byte);
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

async fn get(connection: &mut BufStream<TcpStream>, name: &str) -> io::Result<Option<Vec<u8>>> {
    connection.write_all(format!("get {name}\r\n").as_bytes()).await?;
    connection.flush().await?;
    let line = line(connection).await?;
    if line == "END" {
        return Ok(None);
    }
    let length = line
        .strip_prefix("VALUE ")
        .and_then(|rest| rest.strip_prefix(name))
        .and_then(|rest| rest.rsplit(' ').next())
        .and_then(|length| length.parse::<usize>().ok())
        .filter(|length| *length <= MAX_VALUE_BYTES)
        .ok_or_else(|| odd(&line))?;
    let mut value = vec![0; length + 2];
    connection.read_exact(&mut value).await?;
    value.truncate(length);
    match self::line(connection).await? {
        end if end == "END" => Ok(Some(value)),
        other => Err(odd(&other)),
    }
}

async fn set(
    connection: &mut BufStream<TcpStream>,
    name: &str,
    value: &[u8],
    life_secs: u64,
) -> io::Result<()> {
    // More than thirty days would be read as a moment since 1970.
    let life_secs = life_secs.min(30 * 24 * 3600);
    let head = format!("set {name} 0 {life_secs} {}\r\n", value.len());
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(value).await?;
    connection.write_all(b"\r\n").await?;
    connection.flush().await?;
    let line = line(connection).await?;
    // Out of room is an answer too.
    match line.as_str() {
        "STORED" | "NOT_STORED" => Ok(()),
        _ if line.starts_with("SERVER_ERROR") => Ok(()),
        _ => Err(odd(&line)),
    }
}

async fn line(connection: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    connection
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)
        .await?;
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn odd(line: &str) -> io::Error {
    io::Error::other(format!("unexpected answer {line:?}"))
}
