//! Who is counted, as what, and who is not.

use super::*;

on_both!(
    twelve_viewers_over_tcp_udp_and_mjpeg_are_counted_exactly,
    who_opted_out_leaves_no_row,
    machines_are_kept_apart,
);

async fn twelve_viewers_over_tcp_udp_and_mjpeg_are_counted_exactly(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let mut sessions = Vec::new();
    for n in 1..=6 {
        sessions.push(rig.watch(n, VLC, "webcam"));
        rig.pass(1).await; // 1, 2 .. 6 seconds apart
    }
    for n in 7..=12 {
        let (protocol, transport) = if n < 10 {
            (Protocol::Rtsp, Transport::Udp)
        } else {
            (Protocol::Mjpeg, Transport::Tcp)
        };
        sessions.push(rig.watch_over(n, "Lavf60.16.100", "door", protocol, transport));
    }
    rig.pass(10).await;
    sessions[0].pause();
    rig.pass(100).await;
    sessions[0].resume();
    let again = rig.watch(12, "Lavf60.16.100", "webcam"); // the same viewer, another session
    rig.pass(5).await;
    sessions.truncate(6); // the door is left
    rig.pass(20).await;

    // webcam: viewer 1 watched 6+10+5+20, viewers 2..6 watched 5,4,3,2,1 + 135; viewer 12 watched 25 more.
    let webcam = 41 + 15 + 5 * 135 + 25;
    let door = 6 * 115;
    let total = counts(13, 12, webcam + door, 13);
    let answer = rig.ask(None).await;
    assert_eq!(plain(answer.total), total);
    assert_eq!(answer.live.sessions, 7);
    assert_eq!(answer.live.by_path, [("webcam".to_string(), 7)]);
    assert_eq!(
        plain(rig.ask(Some("webcam")).await.total),
        counts(7, 7, webcam, 7)
    );
    let by_path: Vec<_> = answer
        .by_path
        .iter()
        .map(|c| (&*c.key, plain(c.counts.unwrap())))
        .collect();
    assert_eq!(
        by_path,
        [
            ("door", counts(6, 6, door, 6)),
            ("webcam", counts(7, 7, webcam, 7))
        ]
    );
    let by_client: Vec<_> = answer
        .by_client
        .iter()
        .map(|c| (&*c.key, c.counts.unwrap().sessions))
        .collect();
    assert_eq!(by_client, [("FFmpeg", 7), ("VLC", 6)]);
    let hidden: Vec<_> = answer
        .by_protocol
        .iter()
        .map(|c| (&*c.key, c.counts.is_none()))
        .collect();
    assert_eq!(
        hidden,
        [("mjpeg", true), ("rtsp", true)],
        "three viewers of mjpeg cannot be had by subtraction"
    );
    assert_eq!((answer.by_hour.len(), answer.restarts), (6 * 24 + 13, 0));

    rig.clock.advance(Duration::from_secs(3)); // not noted any more
    if home.database.is_none() {
        let left = killed(home.path());
        let after = Rig::start_in(left.path(), Options::default(), "2026-11-21T12:30:00Z").await;
        after.pass(1).await;
        let answer = after.ask(None).await;
        assert_eq!(plain(answer.total), total);
        assert_eq!((answer.live.sessions, answer.restarts), (0, 1));
        after.stop().await;
    }
    drop((sessions, again));
    rig.stop().await;
}

async fn who_opted_out_leaves_no_row(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let session = rig.watch(1, "VLC/3 nostats", "webcam");
    rig.pass(10).await;
    session.pause();
    session.resume();
    assert_eq!(rig.ask(None).await.total, Counts::default());
    assert_eq!(rig.ask(None).await.live.sessions, 0);
    drop(session);
    rig.recorder.flushed().await;
    assert_eq!(
        number(
            &rig.store,
            "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM spans)"
        )
        .await,
        0
    );
    rig.stop().await;
}

async fn machines_are_kept_apart(home: Home) {
    let rig = Rig::start(&home, NOON).await;
    let _sessions = [
        rig.watch(1, "FFmpeg Frigate/0.13.2", "webcam"),
        rig.watch(2, VLC, "webcam"),
    ];
    rig.pass(10).await;
    let answer = rig.ask(None).await;
    assert_eq!(plain(answer.total), counts(1, 1, 10, 1));
    assert_eq!(plain(answer.machines), counts(1, 1, 10, 1));
    assert_eq!((answer.live.sessions, answer.live.machines), (1, 1));
    assert!(answer.by_client.iter().all(|cell| cell.key != "Frigate"));
    rig.stop().await;
}

#[tokio::test]
async fn no_file_holds_an_address_or_an_agent_in_any_writing() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    let agent = "CanaryPlayer/9.9 (serial 12345)";
    let mut ids = Vec::new();
    let mut sessions = Vec::new();
    for addr in ["203.0.113.7:51413", "[2001:db8:1:2:3:4:5:6]:51413"] {
        let raw = RawViewer::new(PeerAddr::new(addr.parse().unwrap()), Some(agent));
        let viewer = rig.door.admit(raw).unwrap();
        ids.push(viewer.begin().day_id());
        sessions.push(
            rig.recorder
                .begin(Some(viewer), "webcam", Protocol::Rtsp, Transport::Tcp),
        );
    }
    rig.pass(10).await;
    assert!(
        ids.iter().all(|id| found(home.path(), id)),
        "the search finds what is there"
    );
    for canary in [
        &b"203.0.113.7"[..],
        &[203, 0, 113, 7],
        &[7, 113, 0, 203],
        b"cb007107",
        b"CB007107",
        b"3405803783",
        b"ywBxBw",
        b"2001:db8",
        &[0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2],
        b"20010db8",
        b"51413",
        b"CanaryPlayer",
        b"canaryplayer",
        b"12345)",
    ] {
        assert!(!found(home.path(), canary), "{canary:?}");
    }
    rig.stop().await;
}
