#!/usr/bin/env bash
# usage: guest.sh LOUVER OUT
#
# What tests/e2e/camera.rs runs in the camera VM, all in one boot. It does things and leaves files in OUT; what they
# must hold is judged outside. Needs a vivid and a uvc camera. Everything is slow here: it waits for what must happen,
# up to PATIENCE seconds each, and never for time.
set -euo pipefail
out=$2
patience=120
thumbnail=$((48 * 36 * 3)) # bytes of a picture in *.rgb

# A place from which anybody may run it: the checkout may be in a private directory.
bin=$(mktemp -d)
chmod 755 "$bin"
install -m 755 "$1" "$bin/louver"
louver=$bin/louver

say() { printf '%s guest: %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$*"; }

# Waits until COMMAND succeeds.
await() { # WHAT COMMAND...
	local what=$1 end=$((SECONDS + patience))
	shift
	until "$@" 2>/dev/null; do
		((SECONDS < end)) || {
			say "gave up waiting: $what"
			tail -n 30 "$out"/*.log
			exit 1
		}
		sleep 0.2
	done
}

# The node that a camera of this name captures by.
node_of() { # NAME
	local class
	for class in /sys/class/video4linux/*; do
		if [[ $(<"$class/name") == *"$1"* && $(<"$class/index") == 0 && -e /dev/${class##*/} ]]; then
			echo "/dev/${class##*/}"
			return
		fi
	done
	return 1
}

# Starts a relay and waits until it listens. Sets relay (its pid), data (its directory), rtsp and http.
start_relay() { # NAME [SETPRIV ARGS... --] SOURCE...
	local name=$1 command=()
	shift
	if [[ ${1-} == setpriv ]]; then
		while [[ $1 != -- ]]; do
			command+=("$1")
			shift
		done
		shift
	fi
	command+=("$louver")
	data=$(mktemp -d)
	chmod 777 "$data"
	printf '[rtsp]\nlisten = "127.0.0.1:0"\nudp_ports = [0, 0]\n[http]\nlisten = "127.0.0.1:0"\n' >"$data/louver.toml"
	"${command[@]}" run --config "$data/louver.toml" --data-dir "$data" --log info "$@" \
		>"$data/listening" 2>"$out/$name.log" </dev/null &
	relay=$!
	await "$name listens" grep -q '^listening http' "$data/listening"
	rtsp=$(sed -n 's/^listening rtsp //p' "$data/listening")
	http=$(sed -n 's/^listening http //p' "$data/listening")
}

# Ends the relay; its exit status goes to NAME.status, what it kept to NAME.data.
stop_relay() { # NAME
	local status=0
	sed -n 's/^VmRSS:[^0-9]*//p' "/proc/$relay/status" >"$out/$1.rss"
	kill -TERM "$relay"
	wait "$relay" || status=$?
	echo "$status" >"$out/$1.status"
	cp -r "$data" "$out/$1.data"
}

# Decodes a path in the background into thumbnails. Sets reader (its pid).
start_reader() { # NAME PATH [FFMPEG OPTIONS...]
	local name=$1 path=$2
	shift 2
	ffmpeg -nostdin -v error -rtsp_transport tcp -i "rtsp://$rtsp/$path" -an "$@" \
		-vsync passthrough -enc_time_base 1:90000 -vf scale=48:36:flags=area -pix_fmt rgb24 -flush_packets 1 -f rawvideo -y "$out/$name.rgb" \
		2>"$out/$name-reader.log" &
	reader=$!
}

pictures() { # NAME
	local bytes
	bytes=$(stat -c %s "$out/$1.rgb" 2>/dev/null) || bytes=0
	echo $((bytes / thumbnail))
}

has_pictures() { (($(pictures "$1") >= $2)); } # NAME COUNT

# Waits until a reader has seen so many more pictures.
await_pictures() { # NAME COUNT
	await "$2 more pictures of $1" has_pictures "$1" $(($(pictures "$1") + $2))
}

said() { (($(grep -c "$2" "$out/$1.log") >= ${3-1})); } # NAME TEXT [TIMES]

say 'devices'
sleep 1000 <"$(node_of vivid)" &
sleeper=$!
echo "$sleeper" >"$out/sleeper"
"$louver" devices --json >"$out/devices.json"
kill "$sleeper"

say 'MJPEG, unplugged and plugged in again while somebody holds the old node'
start_relay replug 'cam=webcam:UVC?size=640x480&fps=5&format=mjpeg'
await 'the stream' said replug 'Encoding H.264'
start_reader replug cam
await_pictures replug 5
curl -sf "http://$http/live/cam/snapshot.jpg" >"$out/snapshot.jpg"
node_of UVC >"$out/node-before"
exec 9<"$(<"$out/node-before")"
camera-unplug uvc0
await 'the end of capture' said replug 'is unplugged'
curl -sf "http://$http/api/v1/paths" >"$out/unplugged.json"
await_pictures replug 4
camera-plug uvc0 >/dev/null
node_of UVC >"$out/node-after"
await 'capture again' said replug 'Capturing UVC' 2
await_pictures replug 5
exec 9<&-
curl -sf "http://$http/api/v1/paths" >"$out/plugged.json"
kill -INT "$reader"
wait "$reader" || true
stop_relay replug

say 'raw pictures'
start_relay raw 'cam=webcam:UVC?size=320x240&fps=5&format=raw'
await 'the stream' said raw 'Encoding H.264'
start_reader raw cam -frames:v 4
wait "$reader"
stop_relay raw

say 'busy, then free'
ffmpeg -nostdin -v error -progress "$out/busy-progress" -f v4l2 -video_size 320x180 -framerate 10 \
	-i "$(node_of vivid)" -f null - 2>/dev/null &
holder=$!
echo "$holder" >"$out/holder"
await 'the other program captures' grep -q '^frame=[1-9]' "$out/busy-progress"
start_relay busy 'cam=webcam:vivid?size=320x180&fps=10'
await 'the error' said busy 'is in use'
kill -KILL "$holder"
await 'capture' said busy 'Capturing vivid'
start_reader busy cam -frames:v 4
wait "$reader"
stop_relay busy

say 'not allowed'
chgrp video /dev/video*
chmod 660 /dev/video*
start_relay forbidden setpriv --reuid=65534 --regid=65534 --clear-groups -- "cam=webcam:$(node_of UVC)"
await 'the error' said forbidden 'no permission'
stop_relay forbidden

say 'nothing configured'
camera-unplug vivid
start_relay alone
await 'the stream' said alone 'Encoding H.264'
start_reader alone webcam -frames:v 3
wait "$reader"
stop_relay alone
say 'done'
touch "$out/done"
