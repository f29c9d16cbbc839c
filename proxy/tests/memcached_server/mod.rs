//! A small memcached for tests: `get` and `set` of its text protocol, and faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

pub struct FakeMemcached {
    pub address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, Vec<u8>>,
    talks_nonsense: bool,
}

impl FakeMemcached {
    pub async fn start() -> FakeMemcached {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, shared.clone()));
            }
        });
        FakeMemcached { address, state }
    }

    /// Everything it holds, names and values.
    pub fn contents(&self) -> String {
        let state = self.state.lock().unwrap();
        let lines = state
            .values
            .iter()
            .map(|(name, value)| format!("{name} {}\n", String::from_utf8_lossy(value)));
        lines.collect()
    }

    /// Changes all values, as somebody might who can write to it.
    pub fn replace(&self, from: &str, to: &str) {
        for value in self.state.lock().unwrap().values.values_mut() {
            let changed = String::from_utf8_lossy(value).replace(from, to);
            assert_ne!(changed.as_bytes(), value.as_slice());
            *value = changed.into_bytes();
        }
    }

    pub fn talk_nonsense(&self) {
        self.state.lock().unwrap().talks_nonsense = true;
    }
}

async fn talk(stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .await
            .ok()
            .filter(|length| *length > 0)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            _ if state.lock().unwrap().talks_nonsense => b"VALUE what 0 999999999999\r\n".to_vec(),
            ["get", name] => match state.lock().unwrap().values.get(name) {
                Some(value) => {
                    let mut answer = format!("VALUE {name} 0 {}\r\n", value.len()).into_bytes();
                    answer.extend_from_slice(value);
                    answer.extend_from_slice(b"\r\nEND\r\n");
                    answer
                }
                None => b"END\r\n".to_vec(),
            },
            ["set", name, _, _, length] => {
                let mut value = vec![0; length.parse::<usize>().unwrap() + 2];
                stream.read_exact(&mut value).await.ok()?;
                value.truncate(value.len() - 2);
                state.lock().unwrap().values.insert(name.into(), value);
                b"STORED\r\n".to_vec()
            }
            _ => b"ERROR\r\n".to_vec(),
        };
        stream.write_all(&answer).await.ok()?;
        stream.flush().await.ok()?;
    }
}
