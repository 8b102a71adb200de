# shellcheck shell=bash
# What every script here shares: how to speak, how to fail. Sourced, never run.
#
# A script that fails by itself (not because of what it was asked to run) says so in one line,
# cause first and remedy after the semicolon, and exits with 125, as env(1) and timeout(1) do.

PROGRAM=${PROGRAM:-${0##*/}}

# shellcheck disable=SC2034 # used by those who source this file
EXIT_TIMEOUT=124 EXIT_OWN=125 EXIT_NOT_EXECUTABLE=126 EXIT_NOT_FOUND=127

note() {
	printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

die() {
	note "$@"
	exit "$EXIT_OWN"
}

# Would exec find this command? Fails as env(1) would, in one line of ours.
check_command() {
	[[ -n $(type -P -- "$1") ]] && [[ ! -d $1 ]] && return
	if [[ $1 == */* && -e $1 ]]; then
		note "$1: not executable"
		exit "$EXIT_NOT_EXECUTABLE"
	fi
	note "${1:-(empty)}: command not found"
	exit "$EXIT_NOT_FOUND"
}
