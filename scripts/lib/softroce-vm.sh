# shellcheck shell=bash
# Run a command in one or two test VMs. Sourced by softroce.
#
# All communication with the guests is a run directory which they mount uncached:
#   1/ 2/    conf argv env cwd to each guest; out err status dmesg failure back (see softroce-guest)
#   shared/  for the command itself: both hosts see it at once (RMEM_SHARED)
# and a serial line for events and signals. Every guest has helpers here: two tail(1) carry its output
# (nothing is lost if one is slow), and a sed(1) writes "NUMBER EVENT" into the one pipe that
# supervise() reads. Any process can be killed by somebody, alone or with its whole group, so supervise()
# believes in no word of a helper: it looks whether they are alive.

QEMU_PLAIN=(-machine q35 -nodefaults -no-user-config -display none -no-reboot)
KERNEL_ARGS="console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr tsc=reliable random.trust_cpu=on"
# A machine that shares two processors with others stands still for seconds; that is no lockup.
KERNEL_ARGS+=" rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60 workqueue.watchdog_thresh=300"

BOOT_LIMIT_S=400     # an emulated machine on a loaded host
BOOT_LOOKS_S=10      # a booting machine is looked at so often
GRACE_S=5            # from TERM to KILL, from KILL to the end of the VM, and to the end of waiting for it
PEER_GRACE_S=3       # how long a host may go on after the other has failed

# Variables that reach the command; all others stay outside.
PASSED_ENV='^(PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|TERM|NO_COLOR|CI|CTEST_.*|(A|UB|L|T)SAN_OPTIONS|RMEM_.*)$'

# environment NUMBER: for that host, NUL-terminated
environment() {
	local name
	while read -r name; do
		[[ ! $name =~ $PASSED_ENV ]] || printf '%s=%s\0' "$name" "${!name}"
	done < <(compgen -e)
	printf '%s\0' "RMEM_HOST=10.77.0.$1" "RMEM_SHARED=/run/softroce/shared"
	((HOSTS == 1)) || printf '%s\0' "RMEM_HOST_ID=$1" "RMEM_PEER=10.77.0.$((3 - $1))"
}

prepare_host() {
	local id=$1 dir=$RUN/$1 role=$MODE
	shift
	[[ $id == 1 ]] || role=run
	mkdir "$dir"
	mkfifo "$dir"/control.{in,out}
	touch "$dir"/{out,err,console,qemu}
	printf '%s=%s\n' CHECKOUT "${CHECKOUT@Q}" LIB "${LIB@Q}" HOSTS "$HOSTS" MODE "$role" \
		TTY_SIZE "'${TTY_SIZE:-}'" >"$dir/conf"
	printf '%s\0' "$@" >"$dir/argv"
	environment "$id" >"$dir/env"
	pwd -P >"$dir/cwd"
}

share() { # TAG PATH [OPTION]
	printf '%s\n' -fsdev "local,id=$1,path=${2//,/,,},security_model=none,multidevs=remap${3:-}" \
		-device "virtio-9p-pci,fsdev=$1,mount_tag=$1"
}

# Sets NODE_MIB and NODE_CPUS, where only a number of nodes was given: all alike.
spread_over_nodes() {
	local n
	((${#NODE_MIB[@]} == 0)) || return 0
	for ((n = 0; n < NODES; n++)); do
		NODE_MIB+=("$((MEM_MIB / NODES))")
		NODE_CPUS+=("$((NODES > 1 ? 1 : 2))")
	done
}

sum() {
	local total=0 n
	for n in "$@"; do total=$((total + n)); done
	echo "$total"
}

# Memory and processors over the nodes; each further node in line is 10 more away.
numa_layout() {
	local n a b cpu=0 cpus mib hmat=''
	cpus=$(sum "${NODE_CPUS[@]}") mib=$(sum "${NODE_MIB[@]}")
	printf '%s\n' -smp "$cpus,sockets=$cpus,cores=1" -m "$mib"
	((NODES > 1)) || return 0
	[[ ${NODE_CPUS[*]} != *0* ]] || hmat=1
	for ((n = 0; n < NODES; n++)); do
		local node="node,nodeid=$n"
		if ((NODE_MIB[n])); then
			printf '%s\n' -object "memory-backend-ram,id=ram$n,size=${NODE_MIB[n]}M"
			node+=",memdev=ram$n"
		fi
		((NODE_CPUS[n])) || node+=",initiator=0"
		printf '%s\n' -numa "$node"
		for ((a = 0; a < NODE_CPUS[n]; a++, cpu++)); do
			printf '%s\n' -numa "cpu,node-id=$n,socket-id=$cpu"
		done
	done
	for ((a = 0; a < NODES; a++)); do
		for ((b = 0; b < NODES; b++)); do
			printf '%s\n' -numa "dist,src=$a,dst=$b,val=$((10 + 10 * (a > b ? a - b : b - a)))"
		done
	done
	[[ ! $hmat ]] || memory_attributes
}

# The firmware tells how good each node's memory is (ACPI's HMAT).
memory_attributes() {
	local from to far lb
	printf '%s\n' -machine hmat=on
	for ((from = 0; from < NODES; from++)); do
		((NODE_CPUS[from])) || continue
		for ((to = 0; to < NODES; to++)); do
			((NODE_MIB[to])) || continue
			far=$((NODE_CPUS[to] ? 1 : 2))
			lb="hmat-lb,initiator=$from,target=$to,hierarchy=memory"
			printf '%s\n' -numa "$lb,data-type=access-latency,latency=$((100 * far + (from != to) * 50))" \
				-numa "$lb,data-type=access-bandwidth,bandwidth=$((10 * far - (from != to)))G"
		done
	done
}

# The two hosts are joined by a private socket, not a port that somebody else could use.
wire() {
	local server=off
	((HOSTS == 2)) || return 0
	(($1 == 2)) || server=on
	printf '%s\n' -netdev "stream,id=wire,server=$server,addr.type=unix,addr.path=$RUN/wire" \
		-device "virtio-net-pci,netdev=wire,mac=52:54:00:77:00:0$1,romfile="
}

terminal() {
	[[ $MODE == shell && $1 == 1 ]] || return 0
	printf '%s\n' -chardev stdio,id=terminal,signal=off -device virtio-serial-pci \
		-device virtconsole,chardev=terminal
}

start_host() {
	local id=$1 dir=$RUN/$1 args machine=(-accel "tcg,thread=multi" -cpu "$EMULATED_CPU")
	[[ $ACCEL == tcg ]] || machine=(-accel kvm -cpu host)
	mapfile -t args < <(
		share root / ,readonly=on
		share run "$RUN"
		share checkout "$CHECKOUT"
		share modules "$KERNEL/lib/modules/$RELEASE" ,readonly=on
		numa_layout
		wire "$id"
		terminal "$id"
	)
	# In a session of its own: Ctrl-C is for the command, which softroce asks to stop.
	setsid setpriv --pdeathsig KILL "${QEMU_COMMAND[@]}" "${QEMU_PLAIN[@]}" \
		"${machine[@]}" "${args[@]}" \
		-kernel "$KERNEL/vmlinuz" -initrd "$INITRAMFS" -append "$KERNEL_ARGS softroce_host=$id" \
		-serial "file:$dir/console" -chardev "pipe,id=control,path=$dir/control" \
		-serial chardev:control <&0 2>"$dir/qemu" &
	QEMU[id]=$!
	start_helpers "$id"
	disown -a
	# shellcheck disable=SC1083 # a variable for the descriptor
	exec {CONTROL[id]}<>"$dir/control.in"
}

# Carry a host's events and output until it is gone. Not by the signals that a whole process group gets. Events
# pass through here because a serial line delivers letter by letter: two of them writing into one pipe would
# mix their words.
start_helpers() {
	local id=$1 follow=(tail -q -c +1 -s 0.05 -f --pid="${QEMU[$1]}")
	unsignalled setpriv --pdeathsig KILL sed -u "s/^/$id /" "$RUN/$id/control.out" 1>&"$EVENTS" 2>/dev/null &
	READER[id]=$!
	unsignalled "${follow[@]}" "$RUN/$id/out" 2>/dev/null &
	OUT[id]=$!
	unsignalled "${follow[@]}" "$RUN/$id/err" 1>&2 2>/dev/null &
	ERR[id]=$!
}

# unsignalled CMD...: to be started in the background
unsignalled() {
	trap '' HUP INT TERM
	exec "$@"
}

catch_signals() {
	local signal
	for signal in HUP INT TERM; do
		# shellcheck disable=SC2064 # expand now
		trap "echo 0 signal $signal >&$EVENTS" "$signal"
	done
}

# If softroce is killed, nothing of it stays: QEMU and what reads its events die with it, and this removes the run
# directory. In a session of its own, lest it be killed together with softroce.
start_guard() {
	# shellcheck disable=SC2016 # the shell's own $
	setsid sh -c 'trap "" HUP INT TERM; tail -q -f -s 0.5 --pid="$1" /dev/null; rm -rf "$2"' \
		guard "$$" "$RUN" >/dev/null 2>&1 &
	GUARD=$!
}

alive() { # PID
	kill -0 "$1" 2>/dev/null
}

# Is a host gone, with all its output, or has it lost a helper? Asked ten times a second, when no event waits.
look_after() { # NUMBER
	local out=${OUT[$1]} err=${ERR[$1]}
	if ! alive "${QEMU[$1]}"; then
		alive "$out" || alive "$err" || reader_may_tell "$1" || on_gone "$1"
	elif [[ $INTERRUPTED || ${FINISHED[$1]:-} ]]; then
		return
	elif ! alive "${READER[$1]}" && ((++MOMENTS[$1] > 10)); then
		note "a helper of host $1 was killed; run it again"
		RESULT=$EXIT_OWN INTERRUPTED=$EXIT_OWN
		kill_hosts
	elif ! alive "$out" || ! alive "$err"; then
		# Nobody reads the output, unless that has ended because QEMU has.
		! alive "${QEMU[$1]}" || interrupt PIPE
	fi
}

# It takes a moment to see that QEMU has closed the line, and for ever if QEMU never opened it.
reader_may_tell() { # NUMBER
	alive "${READER[$1]}" && ((++MOMENTS[$1] <= 10))
}

signal_host() {
	[[ ${GONE[$1]:-} ]] || echo "$2" >&"${CONTROL[$1]}"
}

signal_hosts() {
	local id
	for id in "${!QEMU[@]}"; do
		signal_host "$id" "$1"
	done
}

end_hosts() { # SIGNAL for QEMU itself
	local id
	for id in "${!QEMU[@]}"; do
		[[ ${GONE[$id]:-} ]] || kill "-$1" "${QEMU[$id]}" 2>/dev/null || true
	done
}

kill_hosts() {
	end_hosts KILL
	set_deadline "$GRACE_S" abandon_hosts
}

# What does not end now is not waited for: an output that nobody reads, say.
abandon_hosts() {
	local id
	for id in "${!QEMU[@]}"; do
		[[ ${GONE[$id]:-} ]] || on_gone "$id"
	done
}

kill_helpers() {
	kill -KILL "${READER[@]}" "${OUT[@]}" "${ERR[@]}" -"$GUARD" 2>/dev/null || true
}

set_deadline() { # SECONDS ACTION
	DEADLINE_MS=$(($(now_ms) + $1 * 1000))
	AT_DEADLINE=$2
}

# Ask the command to end; what it then answers is the result, unless it does not answer in time.
interrupt() { # SIGNAL
	INTERRUPTED=$((128 + $(kill -l "$1")))
	if ((STARTED < HOSTS)); then
		kill_hosts
	else
		signal_hosts "$1"
		set_deadline "$GRACE_S" stop_hard
	fi
}

on_signal() {
	if [[ ! $INTERRUPTED ]]; then
		interrupt "$1"
	elif [[ $AT_DEADLINE == stop_hard ]]; then
		stop_hard
	fi
}

stop_hard() {
	signal_hosts KILL
	set_deadline "$GRACE_S" kill_hosts
}

boot_failed() {
	local id load
	read -r load _ </proc/loadavg
	for ((id = 1; id <= HOSTS; id++)); do
		echo "did not start within $BOOT_LIMIT_S s (too busy? load $load on $(nproc) processors)" >"$RUN/$id/failure"
	done
	kill_hosts
}

# Milliseconds that QEMU has computed, or waited for a processor. Nothing if the kernel does not say.
busy_ms() { # NUMBER
	{ cat "/proc/${QEMU[$1]}/task"/*/schedstat 2>/dev/null || true; } |
		awk '{ ns += $1 + $2 } END { if (NR) printf "%d", ns / 1000000 }'
}

# Now and then an emulated kernel misses an interrupt and waits for ever. A kernel that boots
# keeps its processor busy, so a host that was idle in two looks is killed, and softroce boots once more.
look_at_boot() {
	local id busy
	(($(now_ms) >= NEXT_LOOK_MS)) || return 0
	NEXT_LOOK_MS=$(($(now_ms) + BOOT_LOOKS_S * 1000))
	for id in "${!QEMU[@]}"; do
		[[ ! -e $RUN/$id/ready && ! ${GONE[$id]:-} ]] || continue
		busy=$(busy_ms "$id")
		[[ $busy ]] || continue
		if ((busy - BUSY_MS[id] >= BOOT_LOOKS_S * 100)); then
			STILL[id]=0
		elif ((++STILL[id] == 2)); then
			note "host $id stands still while it boots"
			kill_hosts
		fi
		BUSY_MS[id]=$busy
	done
}

timed_out() {
	note "time limit of $TIMEOUT reached"
	RESULT=$EXIT_TIMEOUT
	interrupt TERM
}

on_start() {
	((++STARTED == HOSTS)) || return 0
	trace "command starts"
	if [[ $TIMEOUT ]]; then set_deadline "$TIMEOUT_S" timed_out; else DEADLINE_MS=; fi
}

# A guest has written everything, but stays up until the other's command has ended too.
on_done() { # NUMBER STATUS
	trace "host $1: status $2"
	FINISHED[$1]=1
	if [[ $MODE == shell ]]; then
		(($1 != 1)) || end_shell "$2"
	else
		(($2 == 0)) || on_failure "$2"
		end_when_finished
	fi
}

end_when_finished() {
	((${#FINISHED[@]} == HOSTS && ${#GONE[@]} < HOSTS)) || return 0
	end_hosts TERM
	set_deadline "$GRACE_S" end_hard
}

# The output of a command that has ended may be read slowly; only QEMU has to be gone.
end_hard() {
	end_hosts KILL
	[[ ! $INTERRUPTED ]] || set_deadline "$GRACE_S" abandon_hosts
}

# With the prompt everything ends.
end_shell() {
	RESULT=$1 INTERRUPTED=$1
	kill_hosts
}

# The first failure is the result; the other host may go on for a moment.
on_failure() {
	[[ $RESULT ]] || ((${#FINISHED[@]} == HOSTS)) || set_deadline "$PEER_GRACE_S" peer_failed
	RESULT=${RESULT:-$1}
}

peer_failed() {
	interrupt TERM
}

on_gone() {
	GONE[$1]=1 FINISHED[$1]=1
	[[ -e $RUN/$1/status ]] || on_failure "${INTERRUPTED:-$EXIT_KERNEL}"
	end_when_finished
}

# Wait a tenth of a second for an event. In short steps: while read -t waits, bash does not collect dead
# children, and tail takes a dead QEMU that nobody collected for a living one.
next_event() {
	local piece
	if ! IFS= read -r -t 0.1 -u "$EVENTS" piece; then
		PARTIAL+=$piece
		return 1
	fi
	read -r id event argument <<<"$PARTIAL$piece"
	PARTIAL=
}

# Nothing was said: is somebody gone, or time up?
on_silence() {
	local id
	for id in "${!QEMU[@]}"; do
		[[ ${GONE[$id]:-} ]] || look_after "$id"
	done
	((STARTED == HOSTS)) || look_at_boot
	if [[ $DEADLINE_MS ]] && (($(now_ms) >= DEADLINE_MS)); then
		DEADLINE_MS=
		"$AT_DEADLINE"
	fi
}

# Until all hosts are gone. Sets RESULT.
supervise() {
	local id event argument
	STARTED=0
	NEXT_LOOK_MS=$(($(now_ms) + BOOT_LOOKS_S * 1000))
	set_deadline "$BOOT_LIMIT_S" boot_failed
	while ((${#GONE[@]} < HOSTS)); do
		if ! next_event; then
			on_silence
			continue
		fi
		case $event in
		start) on_start ;;
		done) on_done "$id" "${argument:-$EXIT_KERNEL}" ;;
		signal) on_signal "$argument" ;;
		esac
	done
	RESULT=${RESULT:-0}
}

# Say in one line why a host did not come to the end of its command, if so.
explain_host() {
	local dir=$RUN/$1 why
	[[ ! -e $dir/status && ! $INTERRUPTED ]] || return 0
	if [[ -s $dir/failure ]]; then
		why=$(<"$dir/failure")
	elif why=$(grep -ahom1 'softroce: .*' "$dir/console"); then
		why=${why#softroce: }
	elif [[ -s $dir/qemu ]]; then
		why=$(tail -n1 "$dir/qemu")
	else
		may_boot_again || note "host $1 stopped before its command ended"
		return
	fi
	note "host $1: $why; scripts/softroce $MODE -v shows its log"
	RESULT=$EXIT_OWN
}

# The kernel log of a host is clean, or the run has failed.
check_kernel_log() {
	local log=$RUN/$1/dmesg
	[[ -s $log ]] || log=$RUN/$1/console
	report_kernel_log "host $1" <"$log" || RESULT=$((RESULT ? RESULT : EXIT_KERNEL))
	if [[ $VERBOSE ]] && ((RESULT == EXIT_OWN || RESULT == EXIT_KERNEL)); then
		cat "$RUN/$1/qemu" "$log" >&2
	fi
}

check_kernel_logs() {
	local id
	for ((id = 1; id <= HOSTS; id++)); do
		check_kernel_log "$id"
	done
}

# Once in some hundred boots an emulated kernel crashes; more often it stands still (look_at_boot). CMD has not run
# yet, so booting once more hides nothing.
may_boot_again() {
	((STARTED < HOSTS && RESULT == EXIT_KERNEL)) && [[ ! $INTERRUPTED && ! ${SOFTROCE_BOOTED:-} ]]
}

boot_again() {
	may_boot_again || return 0
	note "the emulated kernel did not come up, and the command has not run: starting once more"
	[[ ! $VERBOSE ]] || check_kernel_logs
	cleanup_vm
	trap - EXIT
	SOFTROCE_BOOTED=1 exec "$BASH" "$LIB/../softroce" "${ARGUMENTS[@]}"
}

cleanup_vm() {
	end_hosts KILL
	kill_helpers
	[[ ! ${TTY_STATE:-} ]] || stty "$TTY_STATE" 2>/dev/null || true
	rm -rf "$RUN"
}

# What a softroce left that was killed hard: /tmp/softroce.PID.RANDOM of ours, without such a process.
remove_stale_runs() {
	local run pid
	for run in /tmp/softroce.*.*; do
		pid=${run#*.}
		[[ ! -O $run || -d /proc/${pid%.*} ]] || rm -rf "$run"
	done
}

# run_vm CMD...; a shell runs on host 1, and CMD on host 2 if there is one.
run_vm() {
	local id
	unset RMEM_HOST RMEM_HOST_ID RMEM_PEER RMEM_SHARED
	remove_stale_runs
	RUN=$(mktemp -d "/tmp/softroce.$$.XXXXXX") || die "cannot make a directory in /tmp; see that it has room"
	QEMU=() CONTROL=() READER=() OUT=() ERR=() MOMENTS=() BUSY_MS=() STILL=()
	FINISHED=() GONE=() RESULT='' INTERRUPTED='' DEADLINE_MS='' PARTIAL=''
	spread_over_nodes
	mkdir -m 1777 "$RUN/shared"
	mkfifo "$RUN/events"
	exec {EVENTS}<>"$RUN/events"
	start_guard
	trap cleanup_vm EXIT
	catch_signals
	if [[ $MODE == shell ]]; then
		TTY_STATE=$(stty -g)
		TTY_SIZE=$(stty size)
		[[ $TTY_SIZE =~ ^[1-9][0-9]*\ [1-9] ]] || TTY_SIZE='' # nobody has said how large it is
		note "starting a small VM; its prompt comes within half a minute or so"
	fi
	for ((id = 1; id <= HOSTS; id++)); do
		if [[ $MODE == shell && $id == 1 ]]; then
			prepare_host "$id" "${SHELL:-/bin/bash}"
		else
			prepare_host "$id" "$@"
		fi
		start_host "$id"
		BUSY_MS[id]=0 STILL[id]=0
		while ((HOSTS == 2)) && [[ ! -e $RUN/wire ]] && kill -0 "${QEMU[1]}" 2>/dev/null; do
			sleep 0.02
		done
	done
	supervise
	for ((id = 1; id <= HOSTS; id++)); do
		explain_host "$id"
	done
	boot_again
	check_kernel_logs
	return "$RESULT"
}
