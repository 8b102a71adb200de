# shellcheck shell=bash
# Run a command on this machine's own RDMA device, or on one made of its kernel's software RoCE.
# Sourced by softroce.

# The interface that --load makes; it stays, so that a second softroce finds it.
LOADED_DEVICE=softroce0

# The first IPv4 address among the network interfaces of an RDMA port.
port_address() {
	local interface
	for interface in $(cat "$1"/gid_attrs/ndevs/* 2>/dev/null | sort -u; ls "$1/../../device/net" 2>/dev/null); do
		ip -4 -o address show dev "$interface" 2>/dev/null
	done | awk '{ sub("/.*", "", $4); print $4; exit }'
}

# Sets RMEM_HOST to the address of the first active port that has one.
find_device() {
	local port
	[[ -w /dev/infiniband/rdma_cm ]] || return
	for port in /sys/class/infiniband/*/ports/*; do
		[[ -e $port/state && $(<"$port/state") == *": ACTIVE" ]] || continue
		RMEM_HOST=$(port_address "$port")
		[[ ! $RMEM_HOST ]] || return 0
	done
	return 1
}

load_device() {
	modprobe -a crc32_generic rdma_rxe rdma_ucm 2>/dev/null &&
		ip link add "$LOADED_DEVICE" mtu 9000 type dummy &&
		ip address add 10.77.0.1/24 dev "$LOADED_DEVICE" &&
		ip link set "$LOADED_DEVICE" up &&
		rdma link add rxe0 type rxe netdev "$LOADED_DEVICE"
} 2>/dev/null

find_native() {
	local tries=100
	find_device && return
	[[ $LOAD && $EUID == 0 ]] || return
	if ! load_device; then
		trace "this kernel has no software RoCE"
		return 1
	fi
	note "added rxe0 on $LOADED_DEVICE; to undo: rdma link delete rxe0; ip link delete $LOADED_DEVICE"
	until find_device; do
		((tries--)) || return
		sleep 0.05
	done
}

kernel_log_after() { # SECONDS since boot, as the log counts
	dmesg 2>/dev/null | awk -F '[][]' -v after="$1" '$2 + 0 > after + 0'
}

# timeout(1) puts the command in a process group of its own and passes signals on to it.
run_guarded() {
	local child status signal
	env --default-signal timeout -k 5 "${TIMEOUT:-0}" "$@" </dev/null &
	child=$!
	for signal in HUP INT TERM; do
		# shellcheck disable=SC2064 # expand now
		trap "kill -$signal $child 2>/dev/null || true" "$signal"
	done
	# A signal ends the wait, not the command.
	while :; do
		status=0
		wait "$child" 2>/dev/null || status=$?
		kill -0 "$child" 2>/dev/null || break
	done
	if [[ $TIMEOUT ]] && ((status == 137 && $(now_ms) - BEGIN_MS >= TIMEOUT_S * 1000)); then
		status=$EXIT_TIMEOUT
	fi
	((status != EXIT_TIMEOUT)) || [[ ! $TIMEOUT ]] || note "time limit of $TIMEOUT reached"
	return "$status"
}

run_native() {
	local last status=0
	[[ $MODE == run ]] || set -- "${SHELL:-/bin/bash}"
	check_command "$1"
	RMEM_SHARED=$(mktemp -d)
	trap 'rm -rf "$RMEM_SHARED"' EXIT
	export RMEM_HOST RMEM_SHARED
	last=$(dmesg 2>/dev/null | tail -n1 | awk -F '[][]' '{ print $2 }')
	trace "running on $RMEM_HOST"
	if [[ $MODE == shell ]]; then
		"$@" || status=$?
	else
		run_guarded "$@" || status=$?
	fi
	kernel_log_after "${last:-0}" | report_kernel_log "this machine" ||
		status=$((status ? status : EXIT_KERNEL))
	return "$status"
}
