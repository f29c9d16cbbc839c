//! Memory does not grow with what is moved: many clients, large objects, one bound.

mod support;

use support::http::{Swift, stream_in, stream_out};
use support::{Cluster, files, watching_memory};

/// What the server may have resident, all its processes together.
const LIMIT_BYTES: u64 = 512 << 20;
const CLIENTS: usize = 8;

async fn eight_clients_move_large_objects(cluster: Cluster) {
    let size = files::large_size_bytes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/big", &[], "").await.status, 201);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let user = user.clone();
            tokio::spawn(async move {
                let path = format!("/big/{client}");
                assert_eq!(stream_in(&user, &path, size).await, 201);
                assert_eq!(stream_out(&user, &path).await, (200, size));
                assert_eq!(user.call("DELETE", &path, &[], "").await.status, 204);
            })
        })
        .collect();
    let all = async {
        for client in clients {
            client.await.expect("no client failed");
        }
    };
    let ((), most) = watching_memory(&cluster.pids(), all).await;
    let most: u64 = most.into_iter().sum();
    assert!(most < LIMIT_BYTES, "{} MiB were resident", most >> 20);
    println!("most resident: {} MiB", most >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    eight_clients_move_large_objects(Cluster::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_sockets() {
    eight_clients_move_large_objects(Cluster::start_processes()).await;
}
