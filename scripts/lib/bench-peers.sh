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
PEERS=() # servers, then clients, of the tool that is running: processes
ON=() # how to start who is measured: with --pin on the first processor

# Wait for a condition, half a minute at most.
await() { # COMMAND...
	local tries=0
	until "$@"; do
		((++tries < 1500)) || die "this did not become true: $*"
		read -rt 0.02 <> <(:) || true
	done
}

listening() { # PORT
	grep -q ":$(printf %04X "$1") 0\+:0000 0A" /proc/net/tcp
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

# Start N servers of a tool, and N clients whose outputs are $WORK/peer.*, each pair on a port of its own.
peers_start() { # N PORT TOOL ARG...
	local n=$1 port=$2 i
	shift 2
	rm -f "$WORK"/peer.*
	PEERS=()
	for ((i = 0; i < n; i++)); do
		: >"$WORK/peer.$i"
		"$@" -p $((port + i)) >"$WORK/server.$i" 2>&1 &
		PEERS+=($!)
	done
	for ((i = 0; i < n; i++)); do
		await listening $((port + i))
	done
	for ((i = 0; i < n; i++)); do
		timeout 300 stdbuf -oL "${ON[@]}" "$@" -p $((port + i)) "$RMEM_HOST" >"$WORK/peer.$i" 2>&1 &
		PEERS+=($!)
	done
}

# Run a tool as server and as client, until they are done.
peer_run() { # PORT TOOL ARG...
	peers_start 1 "$@"
	wait "${PEERS[1]}" || die "${*:2} failed: $(tail -n 3 "$WORK/peer.0")"
	wait "${PEERS[0]}" || die "${*:2} (server) failed: $(tail -n 3 "$WORK/server.0")"
	PEERS=()
}

# What an awk expression is for the last line that matches a condition, all clients' together; nothing unless
# each of N clients has said so many of them.
peers_sum() { # CONDITION EXPRESSION N LINES
	awk "$1 { value[FILENAME] = $2; if (++lines[FILENAME] == $4) clients++ }
		END { for (i in value) sum += value[i]; if (clients == $3) print sum }" "$WORK"/peer.*
}

# Wait until each of N clients has said so many times how fast it is; sets VALUE as peers_sum says.
peers_report() { # CONDITION EXPRESSION N LINES
	local pid
	VALUE=''
	while [[ ! $VALUE ]]; do
		for pid in "${PEERS[@]}"; do
			kill -0 "$pid" 2>/dev/null || die "one of $3 has ended: $(tail -qn 3 "$WORK"/peer.*)"
		done
		read -rt 0.25 <> <(:) || true # not more often: looking takes time from them
		VALUE=$(peers_sum "$@")
	done
}

# Run N of a tool at once that says every second how fast it was in that second, and never ends. All are at
# work when each has said something; then their servers are stopped, since UCX's poll although they have no
# part in it. When each has spoken twice more, its last is about a second in which all were at work.
peers_run() { # N CONDITION EXPRESSION PORT TOOL ARG...
	local n=$1 what=("$2" "$3" "$1")
	shift 3
	peers_start "$n" "$@"
	peers_report "${what[@]}" 1
	kill -STOP "${PEERS[@]:0:n}"
	peers_report "${what[@]}" 3
	peers_kill
}

peers_kill() {
	local pid
	((${#PEERS[@]})) || return 0
	for pid in "${PEERS[@]}"; do
		kill -TERM "$pid" 2>/dev/null || true
		kill -CONT "$pid" 2>/dev/null || true
	done
	wait "${PEERS[@]}" || true # of that signal
	PEERS=()
}

# perftest: same depth, a completion as often as the others ask for one (moderation() in bench/party.h).
# Threads are processes.
perftest_do() { # JOB...
	local mode=$1 direction=$2 bytes=$3 pieces=$4 depth=$5 threads=$6 count=$7 every=1
	local args=(-d "$DEVICE" -x "$GID" -F -s "$bytes") line="\$1 == $bytes" rate="\$5 * 1e6"
	VALUE=''
	((pieces == 1)) || return 0
	if [[ $mode == call ]]; then
		peer_run 18515 "ib_${direction}_lat" "${args[@]}" -n "$count"
		VALUE=$(peers_sum "$line" "\$5" 1 1)
		return
	fi
	((depth < 8)) || every=$((depth / 4))
	args+=(-N -t "$depth" -Q "$every")
	# The rate has six digits after the point, of millions; long messages need the other.
	((bytes <= 4096)) || rate="\$4 * 1048576 / $bytes"
	if ((threads > 1)); then
		peers_run "$threads" "$line" "$rate" 18515 "ib_${direction}_bw" "${args[@]}" --run_infinitely -D 1
		return
	fi
	peer_run 18515 "ib_${direction}_bw" "${args[@]}" -n "$count"
	VALUE=$(peers_sum "$line" "$rate" 1 1)
}

# UCX's transport layer over rc_verbs: its protocol layer does not start on rxe. Zero-copy reads begin at 65
# bytes there: below, its copying form. Its lists of pieces are local and have five at most. Threads are
# processes.
ucx_do() { # JOB...
	local mode=$1 direction=$2 bytes=$3 pieces=$4 depth=$5 threads=$6 count=$7
	local layout=zcopy test=get value="1e6 / \$4" sizes args
	VALUE=''
	((pieces <= 5)) || return 0
	if [[ $direction == write ]]; then
		test=put_bw
		[[ $mode != call ]] || test=put_lat
		((bytes * pieces > 64)) || layout=short
	elif ((bytes * pieces <= 64)); then
		layout=bcopy
	fi
	sizes=$(printf ",$bytes%.0s" $(seq "$pieces"))
	args=(-d "$DEVICE:1" -x rc_verbs -t "$test" -D "$layout" -s "${sizes#,}" -i $((pieces > 1 ? 2 * bytes : 0))
		-w $((count / 8 + 1)) -O "$depth")
	if ((threads > 1)); then
		# The last two are the rates of the last second and of all.
		peers_run "$threads" "NF > 8 && \$NF ~ /^[0-9]+\$/" "\$(NF - 1)" 13337 ucx_perftest "${args[@]}" \
			-n 1000000000
		return
	fi
	# Iterations, median latency, average, and the time of all per message.
	[[ $mode != call ]] || value="\$2"
	peer_run 13337 ucx_perftest -f "${args[@]}" -n "$count"
	VALUE=$(peers_sum "\$1 == $count" "$value" 1 1)
}

rpma_do() { # JOB...
	VALUE=''
	[[ $1 != alloc ]] || return 0
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
