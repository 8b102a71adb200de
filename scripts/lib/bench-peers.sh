# shellcheck shell=bash
# The parties of scripts/bench: those of bench/ (one process each, fed with jobs), perftest and UCX (a
# server and a client for every job). Sourced by bench-run, which has DEVICE, GID, WORK and BIN.
#
# shellcheck disable=SC2034 # what is set here is read by bench-run
#
# A job is "MODE DIRECTION BYTES PIECES DEPTH THREADS COUNT", see bench/measure.c. Every function sets
# VALUE: microseconds for mode call, operations per second for the others; '' if this party cannot do it.

declare -A SERVED PROCESS TO FROM # who has another side; processes; file descriptors of the parties' standard input and output
CHILDREN=()
ON=() # how to start who is measured: with --pin on the first processor

# Wait for a condition, half a minute at most.
await() { # COMMAND...
	local tries=0
	until "$@"; do
		((++tries < 1500)) || die "this did not become true: $*"
		read -rt 0.02 <> <(:) || true
	done
}

listening() { # HEX_PORT
	grep -q ":$1 0\+:0000 0A" /proc/net/tcp
}

# Start bench/'s PARTY, and its other side if it needs one.
party_start() { # PARTY
	local in out ready
	mkfifo "$WORK/$1.in" "$WORK/$1.out"
	if [[ $1 != rmem && ! ${SERVED[$1]:-} ]]; then
		SERVED[$1]=1
		mkfifo "$WORK/$1.served"
		"$BIN/$1-bench" --serve >"$WORK/$1.served" &
		CHILDREN+=($!)
		read -rt 30 ready <"$WORK/$1.served" || ready=no
		[[ $ready == ready ]] || die "the other side of $1-bench did not start"
	fi
	"${ON[@]}" "$BIN/$1-bench" <"$WORK/$1.in" >"$WORK/$1.out" &
	CHILDREN+=($!)
	PROCESS[$1]=$!
	exec {in}>"$WORK/$1.in" {out}<"$WORK/$1.out"
	TO[$1]=$in FROM[$1]=$out
}

# Also sets SYSTEM_CALLS, SWITCHES (per operation), DAEMON_US and WALL_US; '-': not known.
party_stop() { # PARTY
	local in=${TO[$1]} out=${FROM[$1]}
	exec {in}>&- {out}<&-
	kill -TERM "${PROCESS[$1]}"
	wait "${PROCESS[$1]}" || true # of that signal
	rm "$WORK/$1.in" "$WORK/$1.out"
}

party_do() { # PARTY JOB...
	local party=$1
	shift
	echo "$*" >&"${TO[$party]}"
	read -rt 300 VALUE SYSTEM_CALLS SWITCHES DAEMON_US WALL_US <&"${FROM[$party]}" ||
		die "$party-bench gave no answer to: $*"
}

# Run a tool as server and as client; the client's output is in $WORK/peer.
peer_run() { # HEX_PORT TOOL ARG...
	local port=$1 server
	shift
	"$@" >"$WORK/peer-server" 2>&1 &
	server=$!
	await listening "$port"
	timeout 300 "${ON[@]}" "$@" "$RMEM_HOST" >"$WORK/peer" 2>&1 ||
		{ kill "$server"; die "$* failed: $(tail -n 3 "$WORK/peer")"; }
	wait "$server" || die "$* (server) failed: $(tail -n 3 "$WORK/peer-server")"
}

# perftest: same depth, a completion as often as the others ask for one (moderation() in bench/party.h).
perftest_do() { # JOB...
	local mode=$1 direction=$2 bytes=$3 pieces=$4 depth=$5 threads=$6 count=$7 every=1
	local args=(-d "$DEVICE" -x "$GID" -F -s "$bytes" -n "$count")
	VALUE=''
	((pieces == 1 && threads == 1)) || return 0
	if [[ $mode == call ]]; then
		peer_run 4853 "ib_${direction}_lat" "${args[@]}"
		VALUE=$(awk -v bytes="$bytes" '$1 == bytes { print $5 }' "$WORK/peer")
	else
		((depth < 8)) || every=$((depth / 4))
		peer_run 4853 "ib_${direction}_bw" "${args[@]}" -N -t "$depth" -Q "$every"
		# The rate has six digits after the point, of millions; long messages need the other.
		VALUE=$(awk -v bytes="$bytes" '$1 == bytes {
			print (bytes > 4096 ? $4 * 1048576 / bytes : $5 * 1e6) }' "$WORK/peer")
	fi
}

# UCX's transport layer over rc_verbs: its protocol layer does not start on rxe. Zero-copy reads begin at 65
# bytes there: below, its copying form.
ucx_do() { # JOB...
	local mode=$1 direction=$2 bytes=$3 pieces=$4 depth=$5 threads=$6 count=$7 layout=zcopy test=get
	VALUE=''
	((pieces == 1 && threads == 1)) || return 0
	if [[ $direction == write ]]; then
		test=put_bw
		[[ $mode != call ]] || test=put_lat
		((bytes > 64)) || layout=short
	elif ((bytes <= 64)); then
		layout=bcopy
	fi
	peer_run 3419 ucx_perftest -f -d "$DEVICE:1" -x rc_verbs -t "$test" -D "$layout" -s "$bytes" \
		-n "$count" -w $((count / 8 + 1)) -O "$depth"
	# Iterations, median latency, average, and the time of all per message.
	VALUE=$(awk -v count="$count" -v call="$([[ $mode != call ]] || echo 1)" '
		$1 == count { print (call ? $2 : 1e6 / $4) }' "$WORK/peer")
}

rpma_do() { # JOB...
	VALUE=''
	(($4 == 1 && $6 == 1)) || return 0
	party_do rpma "$@"
}

rmem_do() { # JOB...
	party_do rmem "$@"
}

raw_do() { # JOB...
	VALUE=''
	[[ $1 != alloc ]] || return 0
	party_do raw "$@"
}
