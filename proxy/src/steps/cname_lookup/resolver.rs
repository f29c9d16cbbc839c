//! Asks name servers, one after the other, and remembers what they say for as long as they say it holds.

use super::dns::{self, Answer, Unusable};
use moka::future::Cache;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions to one name server before the next is asked.
const ATTEMPTS: usize = 2;
/// Look-ups under way at once. Whoever comes when there are more hears that nothing was found.
const MAX_LOOKUPS: usize = 64;
/// Domains remembered.
const REMEMBERED: u64 = 10_000;

/// Finds CNAMEs.
pub struct Resolver {
    servers: Vec<SocketAddr>,
    known: Cache<String, (Instant, Option<String>)>,
    under_way: Semaphore,
}

impl Resolver {
    /// Without servers of its own it asks those of `/etc/resolv.conf`.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let servers = match servers {
            [] => std::fs::read_to_string("/etc/resolv.conf")
                .map(|text| servers_of(&text))
                .unwrap_or_default(),
            servers => servers.to_vec(),
        };
        Resolver {
            servers,
            known: Cache::builder().max_capacity(REMEMBERED).build(),
            under_way: Semaphore::new(MAX_LOOKUPS),
        }
    }

    /// What a domain is another name for; `None` when it is none, or nobody could say.
    pub async fn cname(&self, domain: &str) -> Option<String> {
        let domain = domain.to_ascii_lowercase();
        if let Some((until, cname)) = self.known.get(&domain).await
            && Instant::now() < until
        {
            return cname;
        }
        let _slot = self.under_way.try_acquire().ok()?;
        let answer = self.ask_all(&domain).await?;
        if answer.ttl > 0 {
            let until = Instant::now() + Duration::from_secs(u64::from(answer.ttl.min(86_400)));
            self.known.insert(domain, (until, answer.cname.clone())).await;
        }
        answer.cname
    }

    async fn ask_all(&self, domain: &str) -> Option<Answer> {
        for server in &self.servers {
            for _ in 0..ATTEMPTS {
                let question = dns::question(rand::random(), domain)?;
                match tokio::time::timeout(PATIENCE, ask(*server, &question)).await {
                    Ok(Ok(answer)) => return Some(answer),
                    Ok(Err(problem)) => {
                        tracing::warn!(%server, domain, problem, "a name server gave no usable answer");
                        break;
                    }
                    Err(_) => tracing::warn!(%server, domain, "a name server did not answer"),
                }
            }
        }
        None
    }
}

/// Asks from a port of its own each time, and takes an answer only from whom it asked.
async fn ask(server: SocketAddr, question: &[u8]) -> Result<Answer, String> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let told = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind((own, 0)).await.map_err(told)?;
    socket.connect(server).await.map_err(told)?;
    socket.send(question).await.map_err(told)?;
    let mut bytes = [0; 1_500];
    loop {
        let length = socket.recv(&mut bytes).await.map_err(told)?;
        match dns::answer(question, &bytes[..length]) {
            Ok(answer) => return Ok(answer),
            // Not ours: the right one may still come.
            Err(Unusable::Foreign) => {}
            Err(problem) => return Err(format!("{problem:?}")),
        }
    }
}

fn servers_of(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => {
                let address: IpAddr = address.parse().ok()?;
                Some(SocketAddr::new(address, 53))
            }
            _ => None,
        }
    });
    servers.take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_machine() {
        let text = "# x\nsearch example.com\nnameserver 10.0.0.1\nnameserver ::1 # y\nnameserver junk\n";
        let found: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:53", "[::1]:53"]);
    }
}
