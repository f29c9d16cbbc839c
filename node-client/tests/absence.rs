//! Nodes that cannot be reached, are slow, or come back, over real sockets.
//!
//! A machine that is gone is played by a listener whose queue is full: the system drops what comes, as a cut network does.

use http::{Method, StatusCode};
use martlet_node_client::{BackendRequest, Node, NodeClient, NodeClientConfig, NodeError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

fn client() -> NodeClient {
    NodeClient::new(NodeClientConfig {
        connect_timeout_ms: 200,
        // Nothing here may wait for this.
        response_timeout_ms: 3_600_000,
        ..NodeClientConfig::default()
    })
}

/// A node whose listener keeps few waiting.
struct Machine {
    listener: TcpListener,
    node: Node,
    /// What fills the queue.
    crowd: Vec<TcpStream>,
}

impl Machine {
    fn start() -> Machine {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let port = listener.local_addr().unwrap().port();
        Machine {
            listener,
            node: Node::at("127.0.0.1", port, "d1"),
            crowd: Vec::new(),
        }
    }

    /// From now on nobody gets through.
    async fn vanish(&mut self) {
        let address = self.listener.local_addr().unwrap();
        let tries = Duration::from_millis(200);
        while let Ok(connected) = tokio::time::timeout(tries, TcpStream::connect(address)).await {
            self.crowd.push(connected.unwrap());
        }
    }

    /// Whoever calls is heard again, and answered.
    fn come_back(self) {
        drop(self.crowd);
        let listener = self.listener;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    }
}

async fn head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
    Some(seen)
}

async fn serve(mut stream: TcpStream) {
    while head(&mut stream).await.is_some() {
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

async fn ask(client: &NodeClient, node: &Node) -> Result<StatusCode, NodeError> {
    let request = BackendRequest::new(Method::GET, "/0/a");
    client.call(node, request).await.map(|response| response.status())
}

#[tokio::test]
async fn one_caller_waits_for_a_machine_that_is_gone_and_it_is_found_when_it_is_back() {
    let client = client();
    let mut machine = Machine::start();
    let node = machine.node.clone();
    machine.vanish().await;
    assert_eq!(ask(&client, &node).await, Err(NodeError::ConnectTimeout));
    assert_eq!(ask(&client, &node).await, Err(NodeError::Away));
    assert_eq!(client.reachable(&node).await, Err(NodeError::Away));
    // A worker has time to find out for itself.
    let mut waits = client.waits();
    waits.insists = true;
    let worker = client.with_waits(waits);
    assert_eq!(ask(&worker, &node).await, Err(NodeError::ConnectTimeout));
    machine.come_back();
    loop {
        match ask(&client, &node).await {
            Ok(status) => return assert_eq!(status, 204),
            Err(NodeError::Away) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}: nobody waits for it but the one who tries"),
        }
    }
}

#[tokio::test]
async fn silence_over_an_old_connection_ends_when_the_machine_is_gone() {
    let client = client();
    let mut machine = Machine::start();
    let node = machine.node.clone();
    let (answered, accepted) = tokio::join!(ask(&client, &node), async {
        let (mut stream, _) = machine.listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        stream.write_all(ANSWER).await.unwrap();
        stream
    });
    assert_eq!(answered, Ok(StatusCode::NO_CONTENT));
    machine.vanish().await;
    assert_eq!(ask(&client, &node).await, Err(NodeError::ConnectTimeout));
    assert_eq!(ask(&client, &node).await, Err(NodeError::Away));
    drop(accepted);
}

#[tokio::test]
async fn a_slow_node_is_waited_for() {
    let client = client();
    let machine = Machine::start();
    let node = machine.node.clone();
    let slow = async {
        let (mut stream, _) = machine.listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        // Its caller looks whether it is still there, and only then it answers.
        let (_looking, _) = machine.listener.accept().await.unwrap();
        stream.write_all(ANSWER).await.unwrap();
    };
    let (answered, ()) = tokio::join!(ask(&client, &node), slow);
    assert_eq!(answered, Ok(StatusCode::NO_CONTENT));
}
