# What scripts/run, scripts/test, scripts/check and scripts/bench share. Sourced, not run.
#
# Packages are installed only when they are missing, after saying which and why; a machine that has everything is
# left alone and asked nothing.
# shellcheck shell=bash

set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"
self=scripts/$(basename "$0")

say() { printf '%s: %s\n' "$self" "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# Prints the comment at the head of a script, which is its help text.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//;T;p}' "$0"; }

# apt, dnf or brew, whichever this system has.
package_manager() {
	if command -v apt-get >/dev/null; then
		echo apt
	elif command -v dnf >/dev/null; then
		echo dnf
	elif command -v brew >/dev/null; then
		echo brew
	else
		die "neither apt, dnf nor brew is here: install by hand what the comment in scripts/lib.sh lists, then build
with: cargo build --release --locked"
	fi
}

has_package() { # MANAGER PACKAGE
	case $1 in
	apt) dpkg-query -W -f '${db:Status-Status}' "$2" 2>/dev/null | grep -qx installed ;;
	dnf) rpm -q --whatprovides "$2" >/dev/null 2>&1 ;;
	brew) brew list --versions "$2" >/dev/null 2>&1 ;;
	esac
}

can_be_root() { ((EUID == 0)) || command -v sudo >/dev/null; }

# Runs a command as root.
as_root() {
	if ((EUID == 0)); then
		"$@"
	else
		sudo "$@"
	fi
}

# Installs the packages that are missing. WHY is told to the user; the packages are named for each manager.
install_packages() { # WHY MANAGER PACKAGE...
	local why=$1 manager=$2 package missing=()
	shift 2
	for package; do
		has_package "$manager" "$package" || missing+=("$package")
	done
	((${#missing[@]})) || return 0
	say "$why. Installing with $manager: ${missing[*]}"
	[[ $manager == brew ]] || can_be_root ||
		die "that needs root, and there is no sudo; as root run: $manager install ${missing[*]}"
	case $manager in
	apt)
		# The lists may be absent (container) or old: try, refresh, try again.
		local install=(env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}")
		apt-cache show "${missing[@]}" >/dev/null 2>&1 || as_root apt-get -q update || true
		as_root "${install[@]}" || { as_root apt-get -q update && as_root "${install[@]}"; } ||
			die "apt could not install them (its message is above); run yourself: ${install[*]:2}" ;;
	dnf)
		as_root dnf -q install -y "${missing[@]}" ||
			die "dnf could not install them (its message is above); run yourself: dnf install ${missing[*]}" ;;
	brew)
		brew install "${missing[@]}" ||
			die "brew could not install them (its message is above); run yourself: brew install ${missing[*]}" ;;
	esac
}

# What `cargo build` needs: FFmpeg's libraries to link with, clang to read their headers, a linker.
install_build_packages() {
	local why='Louver links FFmpeg'\''s libraries; clang reads their headers'
	case $(package_manager) in
	apt)
		install_packages "$why" apt gcc libc6-dev pkg-config clang libclang-dev libavcodec-dev libavformat-dev \
			libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev libswresample-dev ;;
	dnf) # By capability: either Fedora's own FFmpeg or RPM Fusion's will do.
		install_packages "$why" dnf gcc glibc-devel pkgconf-pkg-config clang clang-devel 'pkgconfig(libavcodec)' \
			'pkgconfig(libavformat)' 'pkgconfig(libavutil)' 'pkgconfig(libavfilter)' 'pkgconfig(libavdevice)' \
			'pkgconfig(libswscale)' 'pkgconfig(libswresample)' ;;
	brew)
		install_packages "$why" brew pkgconf llvm ffmpeg
		LIBCLANG_PATH=${LIBCLANG_PATH:-$(brew --prefix llvm)/lib}
		export LIBCLANG_PATH ;;
	esac
}

# Who typed `sudo scripts/...` wants packages installed as root, but neither files of root in the checkout nor a relay
# that runs as root: goes on as that user.
drop_sudo() { # ARGS...
	local user=${SUDO_USER:-root}
	((EUID == 0)) && [[ $user != root ]] || return 0
	exec sudo -u "$user" -H -- "$repo/$self" "$@"
}

rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# Whether the compiler is there and new enough.
has_rust() {
	local version
	version=$(rustc --version 2>/dev/null | cut -d' ' -f2) && command -v cargo >/dev/null || return 1
	[[ $(printf '%s\n' "$(rust_wanted)" "${version%%-*}" | sort -V | head -n1) == "$(rust_wanted)" ]]
}

# Finds a Rust toolchain that is new enough, or gets one through rustup, or says how to get one.
need_rust() {
	local wanted
	wanted=$(rust_wanted)
	PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
	has_rust && return
	if ! command -v rustup >/dev/null; then
		case $(package_manager) in
		apt)
			if apt-cache show rustup >/dev/null 2>&1; then
				install_packages "Louver needs Rust $wanted" apt rustup
			else
				install_packages "Rust's installer is fetched with curl" apt curl ca-certificates
			fi ;;
		dnf)
			install_packages "Louver needs Rust $wanted" dnf rustup
			rustup-init -y --profile minimal --no-modify-path ;;
		brew)
			install_packages "Louver needs Rust $wanted" brew rustup
			PATH=$(brew --prefix rustup)/bin:$PATH ;;
		esac
	fi
	if command -v rustup >/dev/null; then
		say "Louver needs Rust $wanted or newer. Installing the stable toolchain with rustup"
		rustup toolchain install stable --profile minimal --component rustfmt --component clippy || true
		export RUSTUP_TOOLCHAIN=stable
		has_rust && return
	fi
	die "Louver needs Rust $wanted or newer; here is: $(rustc --version 2>/dev/null || echo none). Install it with
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
and start $self again (in the same terminal; ~/.cargo/bin is found without more ado)."
}

# rustfmt and clippy, which a minimal toolchain lacks.
need_rust_tools() {
	local tool missing=()
	for tool in rustfmt clippy; do
		case $tool in
		rustfmt) cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt) ;;
		clippy) cargo clippy --version >/dev/null 2>&1 || missing+=(clippy) ;;
		esac
	done
	((${#missing[@]})) || return 0
	command -v rustup >/dev/null || die "the Rust toolchain lacks ${missing[*]}; install them as it was installed"
	say "the checks need ${missing[*]}. Installing with rustup"
	rustup component add "${missing[@]}" || die "rustup could not install ${missing[*]}"
}

step() {
	say "$*"
	"$@" || die "failed: $*"
}

# Everything that is checked without running Louver.
static_checks() {
	step cargo fmt --check
	step cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings step cargo doc --locked --no-deps --document-private-items
}

# Runs every test; prints how many ran. None at all, or an ignored one, is a failure: a test that does not run proves
# nothing.
all_tests() { # ARGS FOR cargo test...
	local log counts
	log=$(mktemp)
	say "cargo test --locked $*"
	scripts/postgres run cargo test --locked "$@" 2>&1 | tee "$log" || die 'tests failed (see above)'
	counts=$(awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
		END { print passed + 0, failed + 0, ignored + 0 }' "$log")
	rm -f "$log"
	local passed failed ignored
	read -r passed failed ignored <<<"$counts"
	((passed > 0)) || die 'no test ran'
	((ignored == 0)) || die "$ignored tests were ignored; every test must run"
	say "$passed tests ran, $failed failed, $ignored ignored"
}

# Licences, advisories and doubles among the dependencies. Not installed by us: building it takes longer than Louver.
dependencies() {
	if cargo deny --version >/dev/null 2>&1; then
		step cargo deny --locked check bans licenses sources
		# The list of advisories comes from the network, which may not be there; what it says counts.
		if cargo deny --locked fetch db >/dev/null 2>&1; then
			step cargo deny --locked check advisories
		else
			say 'NOT CHECKED: advisories (their list could not be fetched)'
		fi
	else
		say 'NOT CHECKED: licences and advisories (cargo-deny is not installed; cargo install --locked cargo-deny)'
	fi
}
