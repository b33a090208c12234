//! Streams of pictures, snapshots, and who is counted.

use super::*;

#[tokio::test]
async fn each_part_of_a_stream_is_a_picture_and_the_viewer_is_counted_from_the_first_on() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut client = Client::watch(&served, "cam", "").await;
    assert_eq!(path.demand().borrow().pictures, 1);
    assert_eq!(served.viewers("cam"), 0, "nothing was sent yet");
    for luma in [50, 100, 200] {
        path.pictures().publish(picture(64, luma));
        let (width, height, seen) = look(&client.part().await);
        assert!(
            (width, height) == (64, 32) && seen.abs_diff(expand(luma)) < 4,
            "{luma} became {seen}"
        );
        assert_eq!(served.viewers("cam"), 1);
    }
    assert_eq!(served.metric("louver_readers{output=\"Mjpeg\"}"), 1);
    assert_eq!(served.metric("louver_units_out_total{output=\"Mjpeg\"}"), 3);
    drop(client);
    served
        .until("leaving", |_| path.demand().borrow().pictures == 0)
        .await;
    assert_eq!(served.viewers("cam"), 0);
    assert_eq!(served.metric("louver_readers{output=\"Mjpeg\"}"), 0);
}

/// Limited range, as our frames have it, to full range, as JPEG has it.
fn expand(luma: u8) -> u8 {
    ((u32::from(luma) - 16) * 255 / 219) as u8
}

#[tokio::test]
async fn who_opts_out_sees_pictures_and_is_not_counted() {
    let served = Served::start().await;
    let path = served.camera("cam");
    for opted_out in ["?stats=off", "\nDNT: 1\r\n", "\nSec-GPC: 1\r\n"] {
        let mut client = Client::watch(&served, "cam", opted_out).await;
        path.pictures().publish(picture(64, 100));
        client.part().await;
        assert_eq!(served.viewers("cam"), 0, "{opted_out}");
    }
}

#[tokio::test]
async fn statistics_tell_of_who_watched_and_of_nobody_who_opted_out_or_took_a_snapshot() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut viewer = Client::watch(&served, "cam", "?token=canary\nUser-Agent: canary\r\n").await;
    let mut hidden = Client::watch(&served, "cam", "?stats=off").await;
    path.pictures().publish(picture(64, 100));
    tokio::join!(viewer.part(), hidden.part());
    served.get("/live/cam/snapshot.jpg").await;
    served.recorder.flushed().await;

    let answer = served.get("/api/v1/stats?path=cam").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stats = answer.json();
    assert_eq!(
        (&stats["sessions"], &stats["viewer_days"]),
        (&1.into(), &1.into()),
        "{stats}"
    );
    assert_eq!(
        stats["live"]["by_path"][0],
        serde_json::json!({ "path": "cam", "sessions": 1 })
    );
    assert_eq!(stats["by_protocol"][0]["protocol"], "mjpeg");
    assert_eq!(stats["by_country"], serde_json::json!([]));
    assert_eq!(served.get("/api/v1/stats?path=other").await.json()["sessions"], 0);
    for target in ["/api/v1/stats", "/api/v1/paths", "/metrics"] {
        let text = served.get(target).await;
        assert!(
            !text.text().contains("canary") && !text.text().contains("127.0.0.1"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn asking_for_the_head_makes_no_demand() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let demand = path.demand();
    for (file, content_type) in [
        ("stream.mjpeg", mjpeg::CONTENT_TYPE),
        ("snapshot.jpg", "image/jpeg"),
    ] {
        let request =
            format!("HEAD /live/cam/{file} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = served.ask(&request).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type))
        );
        assert!(answer.body.is_empty());
    }
    assert!(!demand.has_changed().unwrap(), "somebody asked for pictures");
    let page = served
        .ask("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(page.body.is_empty() && page.header("content-length").unwrap().parse::<u32>().unwrap() > 100);
}

#[tokio::test]
async fn a_slow_viewer_skips_pictures_and_goes_on_with_the_newest() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut client = Client::watch(&served, "cam", "").await;
    // More than all buffers on the way can hold, while nothing is read.
    let sent = |s: &Served| s.metric("louver_units_out_total{output=\"Mjpeg\"}");
    for _ in 0..40 {
        path.pictures().publish(heavy(60, 1 << 20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = sent(&served);
    assert!(
        before < 35,
        "{before} of 40 pictures were sent to somebody who reads nothing"
    );
    path.pictures().publish(heavy(200, 1 << 20));
    let mut late = 0;
    while look(&client.part().await).2 < 150 {
        late += 1;
    }
    assert_eq!(
        late, before,
        "after what was under way comes the newest, and nothing in between"
    );
    assert_eq!(
        served.metric("louver_lost_total{reason=\"ReaderLagged\"}"),
        40 - before
    );
}

#[tokio::test]
async fn a_viewer_who_takes_nothing_is_closed_and_counted() {
    let options = Options {
        write_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let path = served.camera("cam");
    let client = Client::watch(&served, "cam", "").await;
    let publishing = async {
        loop {
            path.pictures().publish(heavy(60, 1 << 20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        () = served.until("closing", |_| path.demand().borrow().pictures == 0) => {}
    }
    assert_eq!(served.metric("louver_lost_total{reason=\"ReaderStuck\"}"), 1);
    served.recorder.flushed().await;
    let stats = served.get("/api/v1/stats").await.json();
    assert_eq!(
        (&stats["sessions"], &stats["live"]["sessions"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        stats["watch_seconds"], 0,
        "the wait for the deadline was not watching"
    );
    drop(client);
}

#[tokio::test]
async fn a_snapshot_waits_for_a_picture_and_is_as_wide_as_asked_but_never_wider() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut demand = path.demand();
    let publish = async {
        demand.wait_for(|d| d.pictures == 1).await.unwrap();
        path.pictures().publish(picture(320, 100));
    };
    let (answer, ()) = tokio::join!(served.get("/live/cam/snapshot.jpg"), publish);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("image/jpeg"))
    );
    assert_eq!(look(&answer.body).0, 320);
    assert_eq!(path.demand().borrow().pictures, 0);

    let _watching = path.subscribe_pictures();
    path.pictures().publish(picture(320, 100));
    for (asked, want) in [
        ("160", (160, 80)),
        ("160", (160, 80)),
        ("16", (16, 8)),
        ("3840", (320, 160)),
    ] {
        let answer = served.get(&format!("/live/cam/snapshot.jpg?width={asked}")).await;
        let (width, height, luma) = look(&answer.body);
        assert_eq!((width, height), want);
        assert!(luma.abs_diff(expand(100)) < 4);
    }
    assert_eq!(served.viewers("cam"), 0, "a snapshot is not watching");
}

#[tokio::test]
async fn a_snapshot_of_nothing_is_a_problem_that_says_when_to_come_back() {
    let options = Options {
        picture_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    served.camera("cam");
    let answer = served.get("/live/cam/snapshot.jpg").await;
    answer.is_problem(503);
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn when_the_program_ends_streams_end_whole_and_sessions_are_stored() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut client = Client::watch(&served, "cam", "").await;
    path.pictures().publish(picture(64, 100));
    client.part().await;
    served.recorder.flushed().await;
    let idle = TcpStream::connect(served.addr).await.unwrap();
    assert!(
        served.tasks.clone().shutdown(Duration::from_secs(5)).await,
        "something did not end"
    );
    assert_eq!(within(client.byte()).await, None);
    drop(idle);
}

#[tokio::test]
async fn how_long_viewers_wait_for_their_first_picture_is_told_and_who_got_none_is_an_attempt() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let gone = Client::watch(&served, "cam", "").await;
    served
        .until("asking", |_| path.demand().borrow().pictures == 1)
        .await;
    drop(gone);
    served
        .until("leaving", |_| path.demand().borrow().pictures == 0)
        .await;
    for version in 1..=5 {
        let agent = format!("\nUser-Agent: VLC/{version}.0\r\n"); // a viewer each
        let mut client = Client::watch(&served, "cam", &agent).await;
        path.pictures().publish(picture(64, 100));
        client.part().await;
    }
    let health = async {
        loop {
            let health = served.get("/api/v1/stats?path=cam").await.json()["health"].take();
            if health["attempts"] == 1 && !health["startup_ms"].is_null() {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let health = tokio::time::timeout(Duration::from_secs(60), health)
        .await
        .unwrap();
    assert!(health["startup_ms"]["p50"].as_i64().unwrap() > 0, "{health}");
}
