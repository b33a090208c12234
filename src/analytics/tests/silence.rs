//! A server that says nothing any more, behind something that goes on to take what is sent to it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::analytics::db::PATIENCE;

/// What is between the relay and its server.
struct Way {
    port: u16,
    silent: AtomicBool,
    /// Something was sent that nobody will answer.
    unanswered: Notify,
}

impl Way {
    /// To the socket of the tests' server.
    async fn to(tasks: &Tasks, socket: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            silent: AtomicBool::new(false),
            unanswered: Notify::new(),
        });
        let (there, tasks) = (way.clone(), tasks.clone());
        tasks.clone().spawn("way", |stop| async move {
            let accept = async {
                while let Ok((client, _)) = listener.accept().await {
                    let server = UnixStream::connect(&socket).await.unwrap();
                    tasks.spawn("way of one", |stop| there.clone().carry(client, server, stop));
                }
            };
            tokio::select! {
                () = accept => {}
                () = stop.cancelled() => {}
            }
        });
        way
    }

    async fn carry(self: Arc<Self>, mut client: TcpStream, mut server: UnixStream, stop: CancellationToken) {
        let (mut there, mut back) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                n = client.read(&mut there) => match n {
                    Ok(n) if n > 0 && self.silent.load(Ordering::Acquire) => self.unanswered.notify_one(),
                    Ok(n) if n > 0 && server.write_all(&there[..n]).await.is_ok() => {}
                    _ => return,
                },
                n = server.read(&mut back) => match n {
                    Ok(n) if n > 0 && client.write_all(&back[..n]).await.is_ok() => {}
                    _ => return,
                },
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn in_time<T>(what: &str, so: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(LONG, so).await;
    done.unwrap_or_else(|_| panic!("waited: {what}"))
}

#[tokio::test]
async fn a_server_that_falls_silent_while_hours_are_added_up_is_left_and_no_session_is_lost() {
    let mut home = Home::postgres().await;
    let address = home.database.take().unwrap();
    let (before, dir) = address.split_once("?host=").expect("a server with a socket");
    let database = before.rsplit('/').next().unwrap();
    let tasks = Tasks::new();
    let way = Way::to(&tasks, format!("{dir}/.s.PGSQL.5432")).await;
    home.database = Some(format!("postgres://louver@127.0.0.1:{}/{database}", way.port));
    let rig = Rig::start(&home, NOON).await;
    drop(rig.watch(1, VLC, "webcam"));
    rig.pass(10).await;

    PATIENCE.set(Duration::from_millis(200));
    way.silent.store(true, Ordering::Release);
    rig.clock.advance(Duration::from_secs(2 * 3600));
    in_time("the hour is to be added up", way.unanswered.notified()).await;
    for n in 2..=20 {
        drop(rig.watch(n, VLC, "webcam"));
    }
    in_time("the writer goes on", rig.recorder.flushed()).await;
    assert!(rig.store.is_failing());

    PATIENCE.set(LONG);
    way.silent.store(false, Ordering::Release);
    let question = Question {
        since: None,
        until: None,
        path: None,
        tier: Tier::Console,
        now: rig.clock.wall(),
    };
    in_time("all are stored", async {
        while stats(&rig.store, &question).await.ok().map(|s| s.total.sessions) != Some(20) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    rig.stop().await;
    assert!(tasks.shutdown(LONG).await);
}
