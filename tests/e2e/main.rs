//! End-to-end tests: the real binary on ports the system chose, with real peers (ffmpeg, GStreamer, VLC, retina,
//! Chromium) and hand-made ones where a peer cannot do what a test needs (bind 127.0.0.N, lie about itself).
//!
//! One binary with modules, so that the harness is compiled once. No test waits for time: it waits for a line, a
//! status or a count, with a deadline. `scripts/test` installs the peers; a missing peer is a failure, never a skip.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test helpers: they may panic, make their own clocks, threads and processes, and tell what they saw"
)]

// The harness.
mod bridge; // TCP into WebSocket
mod canary; // what must never be found anywhere
mod clips; // files with identifiable pictures
mod device; // cameras that say what a file of tests/devices says
mod http; // a small HTTP client that chooses its source address
mod island; // a network of its own
mod link; // a network that loses and delays, or has a NAT
mod peers; // ffmpeg, GStreamer, retina, VLC, Chromium
mod readme; // the commands that README tells
mod relay; // the program under test
mod rtsp; // a small RTSP reader that chooses its source address
mod watch; // readers that go on until they have shown enough
mod watchful; // a viewer who notices every missing packet
mod whole; // what came whole over a bad link

// The tests.
mod alerts; // alerts by webhook and e-mail; settings that weaken protection
mod audience; // five hundred scripted viewers
mod backchannel; // readers that speak
mod camera; // V4L2 and UVC cameras in a virtual machine
mod certificates; // pulled sources in TLS
mod chain; // a relay that pulls from a relay
mod choice; // who does not want to be counted
mod codecs; // every codec that ffmpeg puts into RTP
mod containers; // files, downloads, RTMP, SRT, MPEG-TS as sources
mod devices; // makes of cameras and their quirks
mod dialogues; // the rules of RTSP, as dialogues by hand
mod exports; // statistics that leave
mod groups; // who reads by multicast
mod guesses; // what answers tell of users, paths and tokens
mod leftovers; // what crashes, endings and crowds leave
mod limits; // each limit of the configuration
mod matrix; // every publisher with every reader, as README has them
mod memory; // libraries that only the loader needs
mod outside; // what reaches the world beside streams and answers
mod papers; // the trail, the notice, the scan
mod past; // logs of other servers
mod pattern; // the test picture, number by number
mod privacy; // a viewer made of canaries
mod proxies; // who comes through a proxy
mod publishers; // publishers that come one after the other
mod pull; // sources that come and go
mod raw; // what no installed program can publish
mod readers; // what readers are promised, as dialogues by hand
mod recording; // what publishers are promised, as dialogues by hand
mod reload; // SIGHUP
mod rights; // consents, receipts, objections, share links
mod secure; // TLS, tunnels in HTTP and WebSocket
mod seeds; // the commands people asked with
mod shutdown; // signals, taken ports, power cuts
mod stats; // a scripted audience
mod storage; // disks and databases in trouble
mod strangers; // floods, half requests, no descriptors
mod told; // what errors and the API tell
mod trouble; // readers behind a bad link, and behind a NAT
mod tshark; // what Wireshark says
mod vlc; // stock VLC: sound, case, passwords
mod web; // pages, pictures, API
