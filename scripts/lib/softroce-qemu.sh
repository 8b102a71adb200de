# shellcheck shell=bash
# Which QEMU runs the VM, and how fast. Sourced by softroce.
#
#   $CACHE/qemu/              QEMU 10 of Debian 12's backports, unpacked; this machine's own is not touched
#   $CACHE/qemu-unavailable   it could not be had; a day later it is tried again
#
# QEMU 10 emulates half as fast again as the QEMU 7.2 of Debian 12. Its packages want nothing of backports
# but each other, and the libraries of this machine's qemu-system-x86 serve it.

QEMU_PACKAGES=(qemu-system-x86 qemu-system-common qemu-system-data seabios)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# What an emulated processor does slowly, and nothing here needs: QEMU runs rep movsb byte by byte, and
# walks page tables of five levels, or with checks, in software.
EMULATED_CPU=max,erms=off,fsrm=off,la57=off,smap=off,smep=off

# The mirror that this machine's Debian 12 comes from; nothing on another system.
bookworm_mirror() {
	local mirror
	grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release || return 0
	# shellcheck disable=SC2016 # apt's own $
	mirror=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SITE)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "bookworm" && !seen++ { print $3 }') || true
	echo "${mirror:-http://deb.debian.org/debian}"
}

# apt with lists and a cache of its own in a folder: the machine's sources stay as they are.
apt_apart() { # FOLDER ARG...
	local work=$1
	shift
	apt-get -qq -o Dir::Etc::sourcelist="$work/sources" -o Dir::Etc::sourceparts="$work/parts" \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root \
		-o Acquire::Retries=0 -o Acquire::http::Timeout=15 -o Acquire::Languages=none "$@"
}

# unpack_qemu FOLDER MIRROR: QEMU's files in FOLDER/tree
unpack_qemu() {
	local work=$1 package
	mkdir -p "$work"/{parts,lists/partial,cache/archives/partial,tree}
	echo "deb [signed-by=$KEYRING] $2 bookworm-backports main" >"$work/sources"
	apt_apart "$work" update &&
		(cd "$work" && apt_apart "$work" download "${QEMU_PACKAGES[@]/%//bookworm-backports}") || return
	for package in "$work"/*.deb; do
		dpkg-deb --extract "$package" "$work/tree" || return
	done
}

fetch_qemu() {
	local work mirror
	[[ ! -e $CACHE/qemu ]] || return 0
	mirror=$(bookworm_mirror)
	[[ $mirror ]] || return 0
	work=$(mktemp -d "$CACHE/tmp.XXXXXX")
	note "downloading QEMU 10 from Debian's backports (once)"
	# A trial: it may lack a library here.
	if unpack_qemu "$work" "$mirror" >"$work/log" 2>&1 &&
		"$work/tree/usr/bin/qemu-system-x86_64" --version >"$work/log" 2>&1; then
		chmod 755 "$work/tree"
		mv -T "$work/tree" "$CACHE/qemu"
	else
		note "cannot use QEMU 10: $(grep -v '^W:' "$work/log" | tail -n1); this machine's own QEMU is slower"
		touch "$CACHE/qemu-unavailable"
	fi
	rm -rf "$work"
}

qemu_major() {
	qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9]*\).*/\1/p'
}

# Sets QEMU_COMMAND.
choose_qemu() {
	local tree=$CACHE/qemu
	QEMU_COMMAND=(qemu-system-x86_64)
	if [[ ! -e $tree && ! $(find "$CACHE/qemu-unavailable" -mmin -1440 2>/dev/null) ]] &&
		(($(qemu_major) < 10)); then
		with_cache_lock fetch_qemu
	fi
	[[ ! -e $tree ]] ||
		QEMU_COMMAND=("$tree/usr/bin/qemu-system-x86_64" -L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios")
}
